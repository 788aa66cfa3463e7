"""`mkms due` and `mkms key due`: events that are due for keys and their certificates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from minikms_client.cli.commands import Command
from minikms_client.cli.display import shown_time
from minikms_client.cli.keys import key as key_commands
from minikms_client.cli.session import Session, pass_session
from minikms_client.models import Key


@dataclass(frozen=True)
class _End:
    """An event that is due for a key, or for one of its certificates."""

    time: datetime
    event: str
    kid: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class _Step:
    """The next step of a key's rotation."""

    time: datetime
    event: str
    profile: str
    kid: str
    aliases: tuple[str, ...]


@click.command(
    cls=Command,
    examples="mkms due\nmkms due --json",
)
@pass_session
def due(session: Session) -> None:
    """List deletions, expiries, steps of rotations and ends of certificates by time."""
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


@key_commands.command(
    "due",
    examples="mkms key due\nmkms key due --json",
)
@pass_session
def key_due(session: Session) -> None:
    """List the next step of each key's rotation, the first one first.

    The service makes the next key, rotates the key, or retires it after its rotation.
    """
    profile = session.client.profile or "default"
    keys = session.client.keys()
    steps = [_Step(*step, profile, key.kid, key.aliases) for key in keys if (step := _step(key))]
    session.show_rows(
        sorted(steps, key=lambda step: step.time),
        {
            "time": lambda step: shown_time(step.time),
            "event": lambda step: step.event,
            "profile": lambda step: step.profile,
            "kid": lambda step: step.kid,
            "aliases": lambda step: " ".join(step.aliases),
        },
    )


def _step(key: Key) -> tuple[datetime, str] | None:
    """Return what the service does next with the key on its schedule, and when; None for nothing.

    It rotates no key without an alias, and no key that is disabled or scheduled for deletion.
    """
    if key.retires is not None and key.state != "disabled":
        return key.retires, "key retires"
    has_expired = key.expires is not None and key.expires <= datetime.now(UTC)
    is_enabled = key.state == "enabled" or (key.state == "verify-only" and has_expired)
    if key.rotates is None or not key.aliases or not is_enabled or key.deletes is not None:
        return None
    if key.publish_ahead is not None and key.next is None:
        return key.rotates - key.publish_ahead, "next key is made"
    return key.rotates, "key is rotated"


def _ends(key: Key) -> Iterator[_End]:
    events = [
        (key.deletes, "key is deleted"),
        (key.expires, "key verifies only"),
        _step(key) or (None, ""),
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
