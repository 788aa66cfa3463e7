"""JOSE: `mkms jws`, and `mkms jwks`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command, Group
from minikms_client.cli.data import from_json, message, takes_certificate_header, takes_data
from minikms_client.cli.operations import say_signature, say_valid
from minikms_client.cli.session import Session, pass_session


@click.group(cls=Group)
def jws() -> None:
    """Sign and verify JSON Web Signatures."""


@jws.command(
    "sign",
    examples='mkms jws sign signer \'{"sub": "alice"}\' --header \'{"typ": "JWT"}\'\n'
    "mkms jws sign signer --file message.bin --detached\n"
    "mkms jws sign signer hello --serialization flattened",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@click.option(
    "--alg", shell_complete=completion.jose_names, help="A JOSE name of the key, such as PS256."
)
@click.option("--header", help="More members of the header, as JSON.")
@click.option("--detached", is_flag=True, default=None, help="Omit the payload (RFC 7797).")
@click.option(
    "--kid-header",
    type=click.Choice(["alias", "kid", "none"]),
    help="Name of the key in the header.",
)
@takes_certificate_header("x5c", "x5t#S256")
@click.option(
    "--serialization",
    type=click.Choice(["compact", "flattened", "general"]),
    help="Serialization of the JWS; compact by default.",
)
@click.option(
    "--disclosure",
    "disclosures",
    multiple=True,
    help="A disclosure of an SD-JWT, for a key whose rules require them; repeatable.",
)
@pass_session
def sign_jws(
    session: Session,
    /,
    name: str,
    data: str | None,
    file: Path | None,
    header: str | None,
    disclosures: tuple[str, ...],
    **options: Any,
) -> None:
    """Print a JWS of DATA by the key NAME, a kid or an alias."""
    members = None if header is None else from_json(header.encode(), "The header")
    options |= {"header": members, "disclosures": disclosures or None}
    call = partial(session.client.sign_jws, message(data, file), **options)
    signed = session.by_name(name, call)
    session.show({"jws": signed}, signed if isinstance(signed, str) else json.dumps(signed))


@jws.command(
    "sign-input",
    examples="mkms jws sign-input signer eyJhbGciOiJFUzI1NiJ9.aGVsbG8",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("signing_input", metavar="HEADER.PAYLOAD")
@click.option(
    "--disclosure",
    "disclosures",
    multiple=True,
    help="A disclosure of an SD-JWT, for a key whose rules want them shown; repeatable.",
)
@pass_session
def sign_input(
    session: Session, name: str, signing_input: str, disclosures: tuple[str, ...]
) -> None:
    """Print the signature over a JWS Signing Input by the key NAME, in base64url."""
    sign = session.client.sign_signing_input
    call = partial(sign, signing_input, disclosures=disclosures or None)
    say_signature(session, session.by_name(name, call))


@jws.command(
    "verify",
    examples='mkms jws verify signer "$(mkms jws sign signer hello)"\n'
    'mkms jws verify signer "$(mkms jws sign signer hello)" --json',
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("token", metavar="JWS")
@click.option("--payload", help="The payload of a detached JWS.")
@pass_session
def verify_jws(session: Session, name: str, token: str, payload: str | None) -> None:
    """Verify a JWS by the key NAME: exit code 0 or 1; --json shows its payload."""
    detached = None if payload is None else payload.encode()
    jws = from_json(token.encode(), "The JWS") if token.startswith("{") else token
    found = session.by_name(name, partial(session.client.verify_jws, jws, payload=detached))
    say_valid(session, found, found.valid)


@click.command(
    cls=Command,
    examples="mkms jwks\nmkms jwks --use sig --kty EC",
)
@click.option("--kty", multiple=True, help="Only keys of this type.")
@click.option(
    "--alg",
    multiple=True,
    shell_complete=completion.jose_names,
    help="Only keys for this JOSE name.",
)
@click.option("--use", multiple=True, help="Only keys for this use: sig or enc.")
@pass_session
def jwks(
    session: Session, kty: tuple[str, ...], alg: tuple[str, ...], use: tuple[str, ...]
) -> None:
    """Print the profile's public keys as a JWK Set."""
    found = session.client.jwks(kty=kty, alg=alg, use=use)
    session.show_json({"keys": found.keys if found else ()})
