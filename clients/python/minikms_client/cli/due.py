"""`mkms due`: deletions, expiries, rotations and certificates of keys that end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import click

from minikms_client.cli.commands import Command
from minikms_client.cli.display import shown_time
from minikms_client.cli.session import Session, pass_session
from minikms_client.models import Key


@dataclass(frozen=True)
class _End:
    """An event that is due for a key, or for one of its certificates."""

    time: datetime
    event: str
    kid: str
    aliases: tuple[str, ...]


@click.command(
    cls=Command,
    examples="mkms due\nmkms due --json",
)
@pass_session
def due(session: Session) -> None:
    """List deletions, expiries, rotations and ends of certificates, the first one first."""
    keys = session.client.keys()
    session.show_rows(
        sorted((end for key in keys for end in _ends(key)), key=lambda end: end.time),
        {
            "time": lambda end: shown_time(end.time),
            "event": lambda end: end.event,
            "kid": lambda end: end.kid,
            "aliases": lambda end: " ".join(end.aliases),
        },
    )


def _ends(key: Key) -> Iterator[_End]:
    events = [
        (key.deletes, "key is deleted"),
        (key.expires, "key verifies only"),
        (key.rotates, "key is rotated"),
        *((_end_of(certificate), "certificate ends") for certificate in key.certificates),
    ]
    for time, event in events:
        if time is not None:
            yield _End(time, event, key.kid, key.aliases)


def _end_of(certificate: bytes) -> datetime:
    try:
        from cryptography import x509
    except ImportError:
        needed = "A key has certificates, which need: pip install 'minikms-client[cli,pyca]'."
        raise click.UsageError(needed) from None
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc
