"""Options whose value is a time or a duration."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from minikms_client.shapes import moment
from minikms_client.wire import UNSET, UnsetType

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(text: str) -> timedelta | None:
    """Parse a duration such as 7d; None if the text has another form."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    return found and timedelta(**{_UNITS[found[2]]: int(found[1])})


def _a_duration(_: click.Context, __: click.Parameter, given: str | None) -> timedelta | None:
    if given is None:
        return None
    duration = _duration(given)
    if duration is None:
        raise click.BadParameter("Give a number of s, m, h or d, such as 7d.")
    return duration


def _bound(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> timedelta | UnsetType | None:
    if given is None:
        return UNSET
    return None if given == "none" else _a_duration(context, parameter, given)


def _bound_in_seconds(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> int | UnsetType | None:
    bound = _bound(context, parameter, given)
    return int(bound.total_seconds()) if isinstance(bound, timedelta) else bound


def _expires(_: click.Context, __: click.Parameter, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        duration = _duration(given)
        return moment(given) if duration is None else datetime.now(UTC) + duration
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            "Give a duration such as 90d, or RFC 3339 with its zone, such as 2030-01-31T12:00:00Z."
        ) from error


def _past(_: click.Context, __: click.Parameter, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        duration = _duration(given)
        return moment(given) if duration is None else datetime.now(UTC) - duration
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            "Give a duration such as 24h, or RFC 3339 with its zone, such as 2026-01-31T12:00:00Z."
        ) from error


def expires_option(what: str) -> Callable[[Any], Any]:
    """Make the option --expires; `what` describes the time in its help."""
    return click.option(
        "--expires", metavar="TIME", callback=_expires, help=f"{what}: 90d, 12h, or RFC 3339."
    )


def past_option(name: str, what: str) -> Callable[[Any], Any]:
    """Make an option for an earlier time; `what` describes it in the help."""
    return click.option(name, metavar="TIME", callback=_past, help=f"{what}: 24h ago, or RFC 3339.")


def duration_option(name: str, what: str) -> Callable[[Any], Any]:
    """Make an option that is a duration; `what` is its help."""
    return click.option(name, metavar="DURATION", callback=_a_duration, help=what)


after_option = duration_option(
    "--after", "Delay the deletion, such as 7d; until then it can be cancelled."
)


def bound_option(name: str, what: str, *, in_seconds: bool = False) -> Callable[[Any], Any]:
    """Make an option that is a duration or `none`, and UNSET by default; `what` is its help."""
    callback = _bound_in_seconds if in_seconds else _bound
    return click.option(
        name, metavar="DURATION", callback=callback, help=f"{what}; none removes it."
    )
