"""Scheduled rotation of the key of a name: Vault's `auto_rotate_period`."""

import re
from dataclasses import replace
from typing import Final

from minikms.doors import MAX_ROTATE_EVERY, KeyRef
from minikms_vault.body import Body
from minikms_vault.errors import invalid
from minikms_vault.operation import VaultCall

PERIOD: Final = "auto_rotate_period"

_HOUR: Final = 3600
_DURATION: Final = re.compile(r"([0-9]{1,12})([smhd]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": _HOUR, "d": 24 * _HOUR}
_SECOND: Final = 10**9


def period_of(body: Body) -> int | None:
    """Read the seconds between two rotations, 0 for never; None if the member is absent or null."""
    if body.members.get(PERIOD) is None:
        return None
    match = _DURATION.fullmatch(body.text(PERIOD) or "0")
    if match is None:
        raise invalid("auto_rotate_period is not a duration such as 24h")
    seconds = int(match[1]) * _UNITS[match[2]]
    if 0 < seconds < _HOUR:
        raise invalid("auto rotate period must be 0 to disable or at least an hour")
    if seconds > MAX_ROTATE_EVERY:
        raise invalid("auto rotate period must be ten years or less")
    return seconds


async def schedule(call: VaultCall, name: str, seconds: int) -> None:
    """Schedule the rotation of a name's key and its successors at this age; never for 0.

    From now on, rotations leave earlier versions enabled. Raises AliasNotFound, and KeyNotUsable if
    the key is disabled.
    """
    if seconds:
        await call.service.change_versions(
            call.profile, name, lambda _, versions: replace(versions, kept=True)
        )
    versions = await call.service.versions(call.profile, name, fresh=True)
    record = await call.service.get(call.profile, KeyRef(kid=versions.latest_kid))
    if seconds:
        changes = {"rotate_every": seconds, "rotates": record.created + seconds * _SECOND}
        await call.service.update(call.profile, record.kid, changes)
    elif record.rotate_every is not None:
        await call.service.update(call.profile, record.kid, {"rotate_every": None})
