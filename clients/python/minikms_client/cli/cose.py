"""COSE and key attestations: `mkms cose`, and `mkms attest`."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command, Group
from minikms_client.cli.data import (
    encoded,
    from_json,
    message,
    takes_certificate_header,
    takes_data,
    takes_output,
    write_bytes,
)
from minikms_client.cli.operations import say_signature, say_valid
from minikms_client.cli.session import Session, pass_session
from minikms_client.wire import encode


@click.group(cls=Group)
def cose() -> None:
    """Sign and verify COSE messages."""


@cose.command(
    "sign",
    examples="mkms cose sign signer hello --typ application/cwt\n"
    "mkms cose sign signer --file message.bin --output message.cose",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_output
@click.option(
    "--alg", shell_complete=completion.jose_names, help="A JOSE name of the key, such as PS256."
)
@click.option("--detached", is_flag=True, default=None, help="Omit the payload.")
@click.option("--aad", help="Data that is signed, and not in the message.")
@click.option("--typ", help="The type of the message, such as application/cwt.")
@click.option("--content-type", help="The media type of the payload.")
@click.option(
    "--kid-header",
    type=click.Choice(["kid", "alias", "none"]),
    help="Name of the key in the message.",
)
@takes_certificate_header("x5chain", "x5t", "x5chain-protected", "x5t-protected")
@click.option("--untagged", is_flag=True, help="Omit the CBOR tag, as in mdocs.")
@pass_session
def sign_cose(
    session: Session,
    /,
    name: str,
    data: str | None,
    file: Path | None,
    output: Path | None,
    aad: str | None,
    untagged: bool,
    **options: Any,
) -> None:
    """Print a COSE_Sign1 of DATA by the key NAME, a kid or an alias, in base64url."""
    call = partial(
        session.client.sign_cose,
        message(data, file),
        external_aad=None if aad is None else aad.encode(),
        tagged=False if untagged else None,
        **options,
    )
    signed = session.by_name(name, call)
    if output is not None:
        write_bytes(signed, output)
    else:
        session.show({"cose": encode(signed)}, encode(signed))


@cose.command(
    "sign-structure",
    examples="mkms cose sign-structure signer hGpTaWduYXR1cmUxQ6EBJkBFaGVsbG8",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("text", metavar="SIG_STRUCTURE", required=False)
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Read the bytes from a file."
)
@pass_session
def sign_structure(session: Session, name: str, text: str | None, file: Path | None) -> None:
    """Print the signature over a Sig_structure by the key NAME, in base64url."""
    call = partial(session.client.sign_sig_structure, encoded(text, file))
    say_signature(session, session.by_name(name, call))


@cose.command(
    "verify",
    examples="mkms cose sign signer hello --output message.cose\n"
    "mkms cose verify signer --file message.cose",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("text", metavar="COSE", required=False)
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Read the message from a file."
)
@click.option("--payload", help="The payload of a detached message.")
@click.option("--aad", help="Data that is signed, and not in the message.")
@pass_session
def verify_cose(
    session: Session,
    name: str,
    text: str | None,
    file: Path | None,
    payload: str | None,
    aad: str | None,
) -> None:
    """Verify a COSE message by the key NAME: exit code 0 or 1; --json shows its payload."""
    call = partial(
        session.client.verify_cose,
        encoded(text, file),
        payload=None if payload is None else payload.encode(),
        external_aad=None if aad is None else aad.encode(),
    )
    found = session.by_name(name, call)
    say_valid(session, found, found.valid)


@click.command(
    cls=Command,
    examples="mkms attest provider signer --nonce 8Zk1 --audience https://issuer.example",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("keys", nargs=-1, required=True, shell_complete=completion.keys)
@click.option("--nonce", help="The nonce of the issuer.")
@click.option("--audience", help="The issuer (aud).")
@click.option(
    "--expires-in", type=click.IntRange(1), help="Seconds until it expires; 300 by default."
)
@click.option("--key-storage", multiple=True, help="Your claim, such as iso_18045_basic.")
@click.option("--user-authentication", multiple=True, help="Your claim, such as iso_18045_basic.")
@click.option("--certification", help="Your claim: the URL of a certification.")
@click.option("--claims", help="Your further claims, as JSON.")
@takes_certificate_header("x5c", "x5t#S256")
@click.option("--allow-imported", is_flag=True, default=None, help="Attest imported keys, too.")
@click.option(
    "--approval",
    is_flag=True,
    default=None,
    help="State that each use of the keys needs an approval.",
)
@pass_session
def attest(
    session: Session,
    /,
    name: str,
    keys: tuple[str, ...],
    key_storage: tuple[str, ...],
    user_authentication: tuple[str, ...],
    claims: str | None,
    **options: Any,
) -> None:
    """Print a key attestation of KEYS, each a kid or an alias, by the key NAME."""
    call = partial(
        session.client.attest_keys,
        keys,
        key_storage=key_storage or None,
        user_authentication=user_authentication or None,
        claims=None if claims is None else from_json(claims.encode(), "--claims"),
        **options,
    )
    jwt = session.by_name(name, call)
    session.show({"jwt": jwt}, jwt)
