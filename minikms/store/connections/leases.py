"""Leases: checks that values read from a profile in PostgreSQL are still current.

A notice of a change may be lost. So now and then a process checks each profile that it uses: one
small entry lists the entries that were changed since the last check (`store/askar/sequence.py`).
Their changes are counted; all other values of the profile were current when the check began. If one
statement shows that this entry has not changed (`store/connections/profile_rows.py`), it is not
read: so a check of many profiles costs as much as one of a few.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from minikms.basics import clocks
from minikms.errors import ProfileNotFound
from minikms.store.askar.sequence import CONTENTS, SLOTS, Position, Sequence, slot_of
from minikms.store.categories import PROFILE
from minikms.store.connections.counters import IN_USE, ChangeCounters, Lease
from minikms.store.connections.profile_rows import ProfileRows

LOGGER = logging.getLogger(__name__)

# Reads the entry of a profile; None is the store's own.
Read: TypeAlias = Callable[[str | None], Awaitable[Sequence]]

# Askar's present name of a profile, if this process knows it.
Known: TypeAlias = Callable[[str], str | None]

# Parts of the time that a lease lasts: the age at which a lease in use is renewed, the pause
# between two searches for such leases, the time for which a lease whose rows are known stays in
# use, and the age at which an unused lease is forgotten. Until then, one check makes all values of
# an idle profile valid again.
_DUE: Final = 0.6
_PAUSE: Final = 0.1
_KEPT: Final = 12.0
_FORGOTTEN: Final = 60.0

# The longest pause, in seconds.
_LONGEST_PAUSE: Final = 1.0

# The number of profiles whose entries are read at the same time.
_AT_ONCE: Final = 4
# The number of profiles whose rows one statement compares.
_TOGETHER: Final = 500


class _Checked(Lease):
    """The lease of a profile, the time of the last check, and the position that it read.

    The uses are counted from `counted` on; the last one was found at `used`. `failing` says that
    the last check failed. `left` is the sequence that a write has left since the check under way
    began, if there was one. `rows` are set if a check has found the entry. `changed` says that they
    have changed, or that a write of this process has changed them, since the entry was read.
    """

    __slots__ = ("changed", "checked", "counted", "failing", "left", "rows", "seen", "used")

    def __init__(self) -> None:
        super().__init__()
        self.checked = self.counted = self.used = -math.inf
        self.seen: Position | None = None
        self.left: Sequence | None = None
        self.rows: ProfileRows | None = None
        self.failing = self.changed = False

    @property
    def is_in_use(self) -> bool:
        """Tell whether the uses are worth reading the entry."""
        return self.uses >= IN_USE

    def is_due(self, now: float, ttl: float, *, compares: bool) -> bool:
        """Tell whether the lease is in use and due for renewal; restart an old count of uses.

        `compares` says that a statement compares the rows of many profiles.
        """
        window = _KEPT * ttl if compares else ttl
        if self.uses:
            self.used = now
        if not self.is_in_use:
            if self.uses and now - self.counted > window:
                self.uses, self.counted = 0, now
            if not compares or self.rows is None or now - self.used > window:
                return False
        return now - self.checked > _DUE * ttl

    def is_late(self, now: float, ttl: float) -> bool:
        """Tell whether the last check began too long ago, or failed."""
        return now - self.checked > ttl

    def is_forgotten(self, now: float, ttl: float) -> bool:
        """Tell whether the lease has not been in use for long."""
        return not self.uses and now - max(self.checked, self.counted) > _FORGOTTEN * ttl


class Leases:
    """The leases of the profiles that a process uses, and of the store's own profile."""

    def __init__(self, counters: ChangeCounters) -> None:
        self._counters = counters
        self._known: Known = lambda _: None
        self._own = _Checked()
        self._tenants: dict[str, _Checked] = {}
        self.late = 0
        """The number of times that a profile in use was not checked in time."""

    def of(self, profile: str | None) -> Lease:
        """The lease of a profile from which a value was just read; None is the store's own."""
        lease = self._own if profile is None else self._tenants.get(profile)
        if lease is None:
            lease = self._tenants[str(profile)] = _Checked()
        lease.uses += 1
        return lease

    def note_write(self, profile: str | None, found: Sequence, left: Sequence) -> None:
        """Count the changes by others that a write has found, so that no later call misses them.

        A change whose notice was lost may concern the same names: an alias that was moved before,
        or a key that was deleted and imported again. `left` is the sequence after the write.
        """
        lease = self._own if profile is None else self._tenants.get(profile)
        if lease is not None:
            self._count(profile, lease.seen, found)
            lease.seen, lease.left, lease.changed = left.position, left, True

    async def keep(self, read: Read, ttl: float, known: Known = lambda _: None) -> None:
        """Renew the leases in use before they end, `ttl` seconds after their last check."""
        self._known = known
        pause = min(_PAUSE * ttl, _LONGEST_PAUSE)
        # Later checks confirm profiles that are looked up from now on.
        await self._check(None, self._own, read)
        while True:
            await asyncio.sleep(pause)
            now, due, succeeded = clocks.now(), [], True
            compares = self._counters.compares_rows
            for profile, lease in list(self._tenants.items()):
                if lease.is_due(now, ttl, compares=compares):
                    due.append((profile, lease))
                elif lease.is_forgotten(now, ttl):
                    del self._tenants[profile]
            leases = [lease for _, lease in due]
            if self._own.is_due(now, ttl, compares=False):
                leases.append(self._own)
                await self._check(None, self._own, read)
            due = await self._renew_unchanged(due, read, pause)
            for start in range(0, len(due), _AT_ONCE):
                # The directory of profiles, in the store's own profile, must be recent for each
                # value. If a check has failed, checking it tells whether others will fail.
                recent = succeeded and self._own_is_recent(pause)
                if not (recent or await self._check(None, self._own, read)):
                    break
                some = due[start : start + _AT_ONCE]
                checks = [self._check(*each, read) for each in some]
                succeeded = all(await asyncio.gather(*checks))
            self.late += sum(lease.is_late(clocks.now(), ttl) for lease in leases)

    async def _renew_unchanged(
        self, due: list[tuple[str, _Checked]], read: Read, pause: float
    ) -> list[tuple[str, _Checked]]:
        """Renew the leases of unchanged profiles; return the others whose entries must be read."""
        others, watched = [], []
        for profile, lease in due:
            if lease.rows is not None and lease.rows.askar_profile == self._known(profile):
                watched.append((profile, lease, lease.rows))
            elif lease.is_in_use:
                others.append((profile, lease))
        same: set[ProfileRows] | None = set()
        for start in range(0, len(watched), _TOGETHER):
            some = watched[start : start + _TOGETHER]
            if not (self._own_is_recent(pause) or await self._check(None, self._own, read)):
                break
            began = clocks.now()
            if same is not None:
                same = await self._counters.unchanged([rows for _, _, rows in some])
            ended = clocks.now()
            for profile, lease, rows in some:
                if same is None:
                    if lease.is_in_use:
                        others.append((profile, lease))
                    continue
                lease.changed = lease.changed or rows not in same
                if lease.changed:
                    others.append((profile, lease))
                else:
                    lease.uses, lease.counted = 0, began
                    self._confirm(lease, began, ended)
        return others

    def _own_is_recent(self, pause: float) -> bool:
        """Tell whether the store's own profile was just checked."""
        return clocks.now() - self._own.checked < pause

    def _confirm(self, lease: _Checked, began: float, ended: float) -> None:
        """Renew a lease after a check of its profile, up to the last check of the directory."""
        lease.checked = began
        lease.renew(min(began, self._own.checked), ended)

    async def _check(self, profile: str | None, lease: _Checked, read: Read) -> bool:
        """Count the changes since the last check, and renew a lease; False if it cannot be done."""
        began = lease.counted = clocks.now()
        lease.uses, lease.left = 0, None
        askar_profile = None if profile is None else self._known(profile)
        try:
            current = await read(profile)
        except ProfileNotFound:
            self._tenants.pop(str(profile), None)
            return False
        except Exception as exc:
            if not lease.failing:
                LOGGER.warning(
                    "cached keys and tokens are not used after --cache-ttl: no check of %s, %s",
                    "the store" if profile is None else "a profile",
                    type(exc).__name__,
                )
            lease.failing = True
            return False
        ended, lease.failing = clocks.now(), False
        has_entry = current != Sequence()
        if lease.left is not None and lease.left.changes_since(current.position) is not None:
            current = lease.left  # a write has counted later changes than this check
        before, lease.seen = lease.seen, current.position
        if before is not None:
            self._count(profile, before, current)
        lease.changed = lease.left is not None
        if profile is not None:
            self._watch(profile, lease, askar_profile if has_entry else None)
        self._confirm(lease, began, ended)
        return True

    def _watch(self, profile: str, lease: _Checked, askar_profile: str | None) -> None:
        """Compare the rows of Askar's profile from now on if its entry was found there."""
        if not self._counters.compares_rows or askar_profile != self._known(profile):
            askar_profile = None  # the entry that was read may be another profile's
        if askar_profile is None:
            lease.rows = None
        elif lease.rows is None or lease.rows.askar_profile != askar_profile:
            lease.rows = ProfileRows(askar_profile)

    def _count(self, profile: str | None, before: Position | None, current: Sequence) -> None:
        """Count the entries that were changed since a position, or all if the log lacks it."""
        changed = None if before is None else current.changes_since(before)
        if profile is None:
            self._counters.count(range(SLOTS) if changed is None else changed)
            return
        if changed is None:
            changed = {slot_of(PROFILE, profile)}
        if current.position != before:
            changed.add(slot_of(CONTENTS, profile))
        self._counters.count(changed)
