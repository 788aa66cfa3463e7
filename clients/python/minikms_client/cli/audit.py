"""`mkms audit`: events of the audit log."""

import re
from itertools import islice
from typing import Any, Final

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command
from minikms_client.cli.display import shown_time
from minikms_client.cli.session import Session, pass_session
from minikms_client.cli.times import past_option
from minikms_client.models import AuditEvent

# A kid, also of a key that may be deleted.
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@click.command(
    cls=Command,
    examples="mkms audit signer --since 24h\nmkms audit --outcome failed --who issuer",
)
@click.argument("key", required=False, shell_complete=completion.keys)
@click.option("--who", metavar="NAME", help="Only events of callers with this name.")
@click.option("--operation", metavar="NAME", help="Only events of this operation, such as sign.")
@click.option("--outcome", metavar="SLUG", help="Only events with this outcome; also ok, failed.")
@past_option("--since", "Only events from then on")
@past_option("--until", "Only events before then")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Number of events to show.",
)
@pass_session
def audit(session: Session, /, key: str | None, limit: int, **filters: Any) -> None:
    """Show who did what, newest first: all calls, or the uses of KEY.

    An alias stands for all keys that it names or has named, such as before a rotation. Give the kid
    for a single key, even a deleted one.
    """
    kid = key if key and _KID.fullmatch(key) else None
    alias = key if kid is None else None
    session.show_rows(
        islice(session.client.audit_events(kid=kid, alias=alias, **filters), limit),
        {
            "time": lambda event: shown_time(event.time),
            "who": lambda event: event.who,
            "operation": lambda event: event.operation,
            "outcome": _outcome,
            "profile": lambda event: event.profile or "",
            "key": _key,
            "address": lambda event: event.address,
        },
    )


def _outcome(event: AuditEvent) -> str:
    return event.outcome if event.rule is None else f"{event.outcome} {event.rule}"


def _key(event: AuditEvent) -> str:
    """Return an event's key, the alias that it requested, or the id of its token."""
    if event.new_kid is not None:
        return f"{event.kid} -> {event.new_kid}"
    return event.kid or event.alias or event.token or ""
