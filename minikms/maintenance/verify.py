"""Verifies a store: checks records, material and aliases against each other."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.maintenance.faults import Report, faults_of
from minikms.maintenance.inspect import StoredRecord, StoreInspector
from minikms.maintenance.progress import Progress
from minikms.maintenance.stored_key import ASKAR_KEY, StoredKey, holder_of, material_category
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store import ALIAS, KEY, Entry, alias_entry, token_entries
from minikms.store.internals import BATCH, DELETION, ROTATION, SEQ_TAG

ItemT = TypeVar("ItemT")


@dataclass
class Tally:
    """The numbers of profiles, keys and aliases that were checked, and of faults."""

    profiles: int = 0
    keys: int = 0
    aliases: int = 0
    faults: int = 0

    def add(self, other: "Tally") -> None:
        """Add other numbers to these."""
        self.profiles += other.profiles
        self.keys += other.keys
        self.aliases += other.aliases
        self.faults += other.faults


# The types of the facts that `verify` notes of a profile.
VERIFY_NOTES: Final = dict.fromkeys(asdict(Tally()), int)


async def entries(inspector: StoreInspector, *, jobs: int = 1, done: Container[str] = ()) -> int:
    """Count the entries that `verify` would check now; `done` has Askar's names of profiles."""

    async def number(of: tuple[str, str]) -> int:
        with suppress(ProfileNotFound):  # removed meanwhile
            if of[1] not in done and not await inspector.fault(*of):
                return await inspector.entries(of[0])
        return 0

    profiles = (await inspector.directory()).askar_profiles.items()
    return sum([each async for each in inspector.at_once(jobs, number, profiles)])


async def verify(
    inspector: StoreInspector,
    registry: AlgorithmRegistry,
    report: Report,
    note: Callable[[str], None],
    advance: Callable[[int], None] = lambda number: None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Tally:
    """Check a store, which may be in use, `jobs` profiles at a time.

    `report` is called with each fault: the profile and the kid, empty if they do not apply, and a
    few words. `note` is called with harmless leftovers, and `advance` with the number of entries
    that were checked since its last call. Profiles without faults are noted in `progress`; profiles
    already noted there are not checked again.
    """
    tally, progress = Tally(), progress or Progress()
    fault = _counted(tally, report)
    before = await inspector.database.directory.askar_profiles()
    directory = await inspector.directory()
    progress.kept(directory.askar_profiles.values())
    progress.begin()
    if directory.unreadable:
        fault("", "", f"{directory.unreadable} entries of the directory of profiles do not decrypt")
    for profile in directory.removed:
        note(f"the profile {profile} was removed, but parts of it remain")

    async def check(of: tuple[str, str]) -> None:
        profile, askar_profile = of
        if earlier := progress.done.get(askar_profile):
            tally.add(Tally(**earlier))
            return
        found = Tally(profiles=1)
        its_fault = _counted(found, report)
        with suppress(ProfileNotFound):  # removed meanwhile
            if unusable := await inspector.fault(profile, askar_profile):
                its_fault(profile, "", unusable)
            else:
                check = _ProfileCheck(inspector, registry, profile, found, its_fault, advance)
                await check.run(askar_profile)
            if not found.faults:
                progress.note(askar_profile, **asdict(found))
        tally.add(found)

    async with aclosing(
        inspector.at_once(jobs, check, directory.askar_profiles.items())
    ) as checked:
        async for _ in checked:
            pass
    await _check_tokens(inspector, fault, note)
    # A profile that is being made or removed is not in both listings.
    left = before & await inspector.database.directory.askar_profiles()
    directory = await inspector.directory()
    named = {*directory.askar_profiles.values(), *directory.removed.values()}
    for askar_profile in sorted(left - named):
        note(f"no profile uses Askar's profile {askar_profile}")
    return tally


def _counted(tally: Tally, report: Report) -> Report:
    """A report that also counts the fault in `tally`."""

    def fault(profile: str, kid: str, what: str) -> None:
        tally.faults += 1
        report(profile, kid, what)

    return fault


async def _check_tokens(
    inspector: StoreInspector, fault: Report, note: Callable[[str], None]
) -> None:
    """Check the profile ids and the tags of tokens.

    A token names profiles with their ids, and must not match a later profile with the same name.
    Somebody may have restored the token of an earlier profile, or the profile.
    """
    unreadable, directory = 0, inspector.database.directory
    async for batch in inspector.tokens.all_rows():
        for row in batch:
            if row is None:
                unreadable += 1
                continue
            record, tags = row
            expected = token_entries.token_tags(record.profiles, record.expires, record.seq)
            if record.seq and not _same_tags(tags, expected):
                fault("", "", f"the tags of the token {record.id} do not match its record")
            for profile in record.profiles or ():
                named = record.ids.get(profile)
                with suppress(ProfileNotFound, KeyUnreadable):
                    if (await directory.tenancy(profile)).admits(named, record.created):
                        continue
                    if named == "":
                        note(f"the token {record.id} is older than the profile {profile}")
                    else:
                        what = f"the token {record.id} is for an earlier profile of this name"
                        fault(profile, "", what)
    if unreadable:
        fault("", "", f"{unreadable} entries of tokens do not decrypt")


def _same_tags(tags: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Compare the tags of a token, except for the time of its last use."""

    def plain(value: Any) -> Any:
        return {value} if isinstance(value, str) else set(value)

    last_use = token_entries.LAST_USE
    return {name: plain(value) for name, value in tags.items() if name != last_use} == {
        name: plain(value) for name, value in expected.items()
    }


class _ProfileCheck:
    """Checks one profile. A key that seems wrong is read again, at last while nobody writes.

    A key may be made or deleted between two reads, which is not a fault. Entries are read by
    category, which takes a fraction of the time of looking up each by its name.
    """

    def __init__(
        self,
        inspector: StoreInspector,
        registry: AlgorithmRegistry,
        profile: str,
        tally: Tally,
        fault: Report,
        advance: Callable[[int], None],
    ) -> None:
        self._inspector = inspector
        self._database = inspector.database
        self._registry = registry
        self._profile = profile
        self._tally = tally
        self._fault = fault
        self._advance = advance
        self._unreadable: set[tuple[str, str]] = set()
        self._reported: set[tuple[str, str]] = set()
        # Entries without a record so far, by the name of an alias's entry, or by kid.
        self._aliases: dict[str, str] = {}
        self._deletions: dict[str, Mapping[str, Any]] = {}
        self._rotations: dict[str, Mapping[str, Any]] = {}
        self._askar_keys: dict[str, None] = {}

    async def run(self, askar_profile: str) -> None:
        """Check the profile; `askar_profile` is Askar's name of it."""
        of_alias = await self._read(ALIAS, self._aliases, lambda row: holder_of(row.value))
        hidden = Counter({ALIAS: of_alias})
        self._tally.aliases += (aliases := len(self._aliases) + hidden[ALIAS])
        self._advance(aliases)
        hidden[DELETION] = await self._read(DELETION, self._deletions, lambda row: row.tags)
        hidden[ROTATION] = await self._read(ROTATION, self._rotations, lambda row: row.tags)
        await self._read_askar_keys()
        hidden[KEY] = await self._check_records(askar_profile)
        await self._check_aliases()
        await self._check_rest(self._askar_keys, lambda key: key.material == "askar")
        await self._check_rest(self._deletions, lambda key: key.deletes is not None)
        named = Counter(category for category, _ in self._unreadable)
        for category, number in (hidden - named).items():
            self._report("", f"{number} entries of {category} do not decrypt, nor do their names")

    async def _read(
        self, category: str, found: dict[str, ItemT], value: Callable[[Entry], ItemT]
    ) -> int:
        """Put the values of entries by name into `found`; return the number that do not decrypt."""
        hidden = 0
        async with aclosing(self._database.batches(self._profile, category)) as batches:
            async for batch in batches:
                found.update((row.name, value(row)) for row in batch if row is not None)
                hidden += batch.count(None)
        return hidden

    async def _read_askar_keys(self) -> None:
        async with aclosing(self._database.askar_keys(self._profile)) as batches:
            async for keys in batches:
                if keys is None:
                    self._report("", "Askar keys of an algorithm do not decrypt as a whole")
                    continue
                self._askar_keys.update((entry.name, None) for entry in keys)

    async def _check_records(self, askar_profile: str) -> int:
        """Check every key that has a record; return the number that do not decrypt."""
        newest = hidden = 0
        # SQLite would sort all rows first, for a minute if there are a million.
        rows = self._inspector.records(self._profile, in_order=False)
        async with aclosing(rows) as batches:
            async for batch in batches:
                found = sorted((entry for entry in batch if entry is not None), key=_place)
                hidden += len(batch) - len(found)
                self._tally.keys += len(batch)
                newest = max([newest, *(int(each.record.seq) for each in found if each.record)])
                # Read again by name, since a store in use changes.
                if suspects := await self._suspects(found):
                    for stored in await self._inspector.inspect(self._profile, suspects):
                        if any(faults_of(stored, self._registry)):
                            await self._confirm(stored.kid)
                self._advance(len(batch))
        try:
            last = await self._inspector.last_seq(self._profile)
            # If the profile was removed and made again, the places of its keys began anew.
            if (
                newest > last
                and await self._inspector.askar_profile(self._profile) == askar_profile
            ):
                self._report("", "its next key would take another's place in the order of creation")
        except KeyUnreadable as exc:
            self._report("", exc.detail)
        return hidden

    async def _suspects(self, entries: Sequence[StoredRecord]) -> list[str]:
        """The kids of keys whose records seem not to match their other entries."""
        suspects = [entry.kid for entry in entries if entry.record is None]
        readable = [(entry, entry.record) for entry in entries if entry.record is not None]
        records = [record for _, record in readable]
        materials = await self._inspector.material(self._profile, records)
        paired = [kid for each in records if (kid := each.next_kid or each.follows)]
        found = await self._inspector.find(self._profile, paired) if paired else []
        others = {each.kid: each for each in found if each is not None}
        for (entry, record), material in zip(readable, materials, strict=True):
            category = material_category(record)
            if category == ASKAR_KEY:
                self._askar_keys.pop(record.kid, None)
            stored = StoredKey(
                entry.kid,
                recorded=True,
                record=record,
                tags=entry.tags,
                materials={} if material is None else {category: material},
                aliases={
                    name: self._aliases.get(name) for name in map(alias_entry, record.aliases)
                },
                deletion=self._deletions.pop(entry.kid, None),
                rotation=self._rotations.pop(entry.kid, None),
                other=others.get(record.next_kid or record.follows or ""),
                unreadable=(),
            )
            for alias, holder in stored.aliases.items():
                if holder in (entry.kid, ""):
                    del self._aliases[alias]
            if any(faults_of(stored, self._registry)):
                suspects.append(entry.kid)
        return suspects

    async def _check_aliases(self) -> None:
        """Check the aliases for which no record was found."""
        for aliases in _batches(self._aliases.items()):
            records = await self._inspector.find(self._profile, [kid for _, kid in aliases])
            for (alias, kid), record in zip(aliases, records, strict=True):
                if not kid:
                    self._report("", f"the versions of the alias {alias!r} cannot be read")
                elif record is None or alias not in map(alias_entry, record.aliases):
                    await self._confirm(kid, alias)

    async def _check_rest(self, kids: Iterable[str], fits: Callable[[KeyRecord], bool]) -> None:
        """Check kids for which no record was found; `fits` tells whether an entry fits a record."""
        for some in _batches(kids):
            records = await self._inspector.find(self._profile, some)
            for kid, record in zip(some, records, strict=True):
                if record is None or not fits(record):
                    await self._confirm(kid)

    async def _confirm(self, kid: str, *aliases: str) -> None:
        """Read a key again while nobody writes, and report its faults."""
        (stored,) = await self._inspector.inspect(self._profile, [kid], aliases, exclusively=True)
        self._unreadable.update(stored.unreadable)
        for what in faults_of(stored, self._registry):
            self._report(kid, what)

    def _report(self, kid: str, what: str) -> None:
        if (kid, what) not in self._reported:
            self._reported.add((kid, what))
            self._fault(self._profile, kid, what)


def _place(entry: StoredRecord) -> str:
    """The place of a key in the order of creation, for the order of faults; empty if it is lost."""
    return str(entry.tags.get(SEQ_TAG, ""))


def _batches(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Lists of items, each for one session."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
