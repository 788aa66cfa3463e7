"""X.509: `mkms csr`, `mkms certificate`, `mkms crl`, and `mkms key certificates`."""

import ssl
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command
from minikms_client.cli.data import contents
from minikms_client.cli.session import Session, pass_session

_PROFILES: Final = click.Choice(
    [
        *("self-signed", "iaca", "document-signer", "reader", "client"),
        *("access", "pid-provider", "document"),
    ]
)
_FILE: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@click.command(
    cls=Command,
    examples="mkms csr signer CN=issuer.example,C=DE --alternative-name DNS:issuer.example",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("subject")
@click.option(
    "--alternative-name", multiple=True, help="Another name of the subject, such as DNS:a.example."
)
@click.option(
    "--alg", shell_complete=completion.jose_names, help="A JOSE name of the key, such as PS256."
)
@pass_session
def csr(
    session: Session, name: str, subject: str, alternative_name: tuple[str, ...], alg: str | None
) -> None:
    """Print a certificate request for SUBJECT, such as CN=a,C=DE, by the key NAME."""
    call = partial(session.client.make_csr, subject, alternative_names=alternative_name, alg=alg)
    _show(session, "csr", session.by_name(name, call))


@click.command(
    cls=Command,
    examples="mkms certificate signer self-signed --days 365 --subject CN=a >signer.pem\n"
    "mkms key certificates signer signer.pem\n"
    "mkms certificate signer client --days 30 --key provider --subject CN=wallet",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("kind", type=_PROFILES)
@click.option("--days", type=click.IntRange(1), required=True, help="Days of validity.")
@click.option("--subject", help="The subject, such as CN=a,C=DE. Required without --csr.")
@click.option(
    "--alternative-name",
    multiple=True,
    help="Another name of the subject, such as DNS:a.example; by default those of --csr.",
)
@click.option("--csr", "request", type=_FILE, help="A file with the subject's request in PEM.")
@click.option(
    "--key",
    shell_complete=completion.keys,
    help="Kid or alias of the subject's key, instead of --csr.",
)
@click.option(
    "--issuer-alternative-name",
    multiple=True,
    help="How to reach the issuer: URI:… or email:…. An iaca needs one.",
)
@click.option("--crl", help="The URI of the issuer's revocation list.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="The object identifier of a policy, such as 0.4.0.194118.1.2.",
)
@click.option("--cps", help="The URI of the issuer's practice statement.")
@click.option("--issuer-url", help="The URI of the issuer's certificate.")
@click.option(
    "--document-signing",
    is_flag=True,
    default=None,
    help="Add the purpose of signing documents to a document certificate.",
)
@pass_session
def certificate(
    session: Session,
    /,
    name: str,
    kind: str,
    request: Path | None,
    alternative_name: tuple[str, ...],
    issuer_alternative_name: tuple[str, ...],
    **options: Any,
) -> None:
    """Print a certificate of this KIND, signed with the key NAME.

    All kinds but self-signed and iaca need --csr or --key.
    """
    call = partial(
        session.client.issue_certificate,
        kind,
        csr=None if request is None else contents(request).decode("ascii", "replace"),
        alternative_names=alternative_name,
        issuer_alternative_names=issuer_alternative_name,
        **options,
    )
    _show(session, "certificate", session.by_name(name, call))


@click.command(
    cls=Command,
    examples="mkms crl iaca --days 7 >iaca.crl\nmkms crl iaca --days 7 revoked.txt >iaca.crl",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("file", required=False, type=_FILE)
@click.option(
    "--days", type=click.IntRange(1), required=True, help="Days until the next list, at most."
)
@click.option(
    "--number",
    type=click.IntRange(0),
    help="A larger number than in the list before; by default the time in seconds.",
)
@pass_session
def crl(session: Session, name: str, file: Path | None, days: int, number: int | None) -> None:
    """Print a revocation list, signed with the key NAME.

    Each line of FILE has the serial number of a revoked certificate, hexadecimal, and the time of
    its revocation, such as 2026-01-30T08:15:00Z. Without FILE the list is empty.
    """
    revoked = _revoked(contents(file).decode("ascii", "replace")) if file else {}
    number = int(time.time()) if number is None else number
    call = partial(session.client.make_crl, number, days, revoked)
    _show(session, "crl", session.by_name(name, call))


@click.command(
    cls=Command,
    examples="mkms certificate signer self-signed --days 365 --subject CN=a >signer.pem\n"
    "mkms key certificates signer signer.pem\n"
    "mkms key certificates signer --remove",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("files", nargs=-1, type=_FILE)
@click.option("--remove", is_flag=True, help="Remove the certificates of the key.")
@pass_session
def certificates(session: Session, name: str, files: tuple[Path, ...], remove: bool) -> None:
    """Give the key NAME the certificates in PEM FILES, its own first; without FILES, print them."""
    if files and remove:
        raise click.UsageError("Give files or --remove, not both.")
    key = session.key(name)
    if remove:
        session.show_key(session.client.remove_certificates(key.kid))
    elif files:
        text = "\n".join(contents(file).decode("ascii", "replace") for file in files)
        session.show_key(session.client.set_certificates(key.kid, _found(text)))
    else:
        chain = "".join(map(ssl.DER_cert_to_PEM_cert, key.certificates))
        _show(session, "certificates", chain)


def _revoked(text: str) -> dict[int, datetime]:
    """Read a serial number and a time from each line; empty lines and comments (#) are skipped."""
    revoked: dict[int, datetime] = {}
    for place, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            serial, date = words
            number, moment = int(serial.replace(":", ""), 16), datetime.fromisoformat(date)
            if moment.tzinfo is None:
                raise ValueError
        except ValueError:
            fault = f"Line {place} is not a serial number and a time such as 2026-01-30T08:15:00Z."
            raise click.UsageError(fault) from None
        if number in revoked:
            raise click.UsageError(f"Line {place} repeats a serial number.")
        revoked[number] = moment
    return revoked


def _found(text: str) -> list[str]:
    """Return the certificates in a PEM text, without the text between them."""
    found, start = [], text.find(_BEGIN)
    while start >= 0 and (end := text.find(_END, start)) >= 0:
        end += len(_END)
        found.append(text[start:end])
        start = text.find(_BEGIN, end)
    return found


def _show(session: Session, member: str, pem: str) -> None:
    """Print PEM, or as JSON."""
    if session.is_json:
        session.show_json({member: pem})
        return
    for line in pem.splitlines():
        session.show(None, line)
