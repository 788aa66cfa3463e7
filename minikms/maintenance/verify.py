"""Verifies a store: checks records, material and aliases against each other."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from minikms.encodings import thumbprint
from minikms.errors import KeyNotUsable, KeyUnreadable, ProfileNotFound
from minikms.maintenance.inspect import ASKAR_KEY, StoredKey, StoreInspector, material_category
from minikms.plugin.protocol import KeyPairAlgorithm, Stored
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.entries import ALIAS, DELETION, KEY, MATERIAL, deletion_tags, tags_of

Report = Callable[[str, str, str], None]


@dataclass
class Tally:
    """How much was checked, and how many faults were found."""

    profiles: int = 0
    keys: int = 0
    aliases: int = 0
    faults: int = 0


async def entries(inspector: StoreInspector) -> int:
    """How many entries `verify` would check now."""
    number = 0
    for profile, askar_profile in (await inspector.directory()).askar_profiles.items():
        try:
            if not await inspector.fault(profile, askar_profile):
                number += await inspector.entries(profile)
        except ProfileNotFound:
            continue  # removed meanwhile
    return number


async def verify(
    inspector: StoreInspector,
    registry: AlgorithmRegistry,
    report: Report,
    note: Callable[[str], None],
    advance: Callable[[int], None] = lambda number: None,
) -> Tally:
    """Check a store, which may be in use.

    `report` is called with each fault: the profile and the kid, empty where they do not apply, and
    what is wrong. `note` is called with what is left over and does no harm, and `advance` with the
    number of entries that were checked since its last call.
    """
    tally = Tally()

    def fault(profile: str, kid: str, what: str) -> None:
        tally.faults += 1
        report(profile, kid, what)

    before = await inspector.askar_profiles()
    directory = await inspector.directory()
    if directory.unreadable:
        fault("", "", f"{directory.unreadable} entries of the directory of profiles do not decrypt")
    for profile in directory.removed:
        note(f"the profile {profile} was removed, and is not gone yet")
    for profile, askar_profile in directory.askar_profiles.items():
        tally.profiles += 1
        try:
            if unusable := await inspector.fault(profile, askar_profile):
                fault(profile, "", unusable)
            else:
                await _ProfileCheck(inspector, registry, profile, tally, fault, advance).run()
        except ProfileNotFound:
            continue  # removed meanwhile
    # A profile that is being made or removed is not in both listings.
    left = before & await inspector.askar_profiles()
    directory = await inspector.directory()
    named = {*directory.askar_profiles.values(), *directory.removed.values()}
    for askar_profile in sorted(left - named):
        note(f"Askar's profile {askar_profile} is that of no profile")
    return tally


class _ProfileCheck:
    """Checks one profile. What seems wrong is read again while nobody writes.

    A key may be made or deleted between two reads, which is no fault.
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
        self._registry = registry
        self._profile = profile
        self._tally = tally
        self._fault = fault
        self._advance = advance
        self._unreadable: set[tuple[str, str]] = set()
        self._reported: set[tuple[str, str]] = set()

    async def run(self) -> None:
        hidden = Counter({KEY: await self._check_records(), ALIAS: await self._check_aliases()})
        hidden[MATERIAL] = await self._check_materials()
        hidden[DELETION] = await self._check_deletions()
        named = Counter(category for category, _ in self._unreadable)
        for category, number in (hidden - named).items():
            self._report("", f"{number} entries of {category} do not decrypt, nor do their names")

    async def _check_records(self) -> int:
        """Check every key that has a record; gives how many records do not decrypt."""
        newest = hidden = 0
        async with aclosing(self._inspector.kids(self._profile)) as batches:
            async for batch in batches:
                kids = [kid for kid in batch if kid is not None]
                hidden += len(batch) - len(kids)
                self._tally.keys += len(batch)
                for stored in await self._inspector.inspect(self._profile, kids):
                    if stored.record:
                        newest = max(newest, int(stored.record.seq))
                    if any(_faults(stored, self._registry)):
                        await self._confirm(stored.kid)
                self._advance(len(batch))
        try:
            if newest > await self._inspector.last_seq(self._profile):
                self._report("", "its next key would take another's place in the order of creation")
        except KeyUnreadable as exc:
            self._report("", exc.detail)
        return hidden

    async def _check_materials(self) -> int:
        """Check that material belongs to a record; gives how much, of bytes, does not decrypt."""
        hidden = 0
        async with aclosing(self._inspector.materials(self._profile)) as batches:
            async for batch in batches:
                hidden += batch.count((MATERIAL, None))
                if (ASKAR_KEY, None) in batch:
                    self._report("", "Askar keys of an algorithm do not decrypt as a whole")
                named = [(category, kid) for category, kid in batch if kid is not None]
                records = await self._inspector.find(self._profile, [kid for _, kid in named])
                for (category, kid), record in zip(named, records, strict=True):
                    if record is None or material_category(record) != category:
                        await self._confirm(kid)
                self._advance(len(batch))
        return hidden

    async def _check_aliases(self) -> int:
        """Check that the record of an alias lists it; gives how many do not decrypt."""
        hidden = 0
        async with aclosing(self._inspector.aliases(self._profile)) as batches:
            async for batch in batches:
                named = [entry for entry in batch if entry is not None]
                hidden += len(batch) - len(named)
                self._tally.aliases += len(batch)
                records = await self._inspector.find(self._profile, [kid for _, kid in named])
                for (alias, kid), record in zip(named, records, strict=True):
                    if record is None or alias not in record.aliases:
                        await self._confirm(kid, alias)
                self._advance(len(batch))
        return hidden

    async def _check_deletions(self) -> int:
        """Check that scheduled deletions belong to records; gives how many do not decrypt."""
        hidden = 0
        async with aclosing(self._inspector.deletions(self._profile)) as batches:
            async for batch in batches:
                kids = [kid for kid in batch if kid is not None]
                hidden += len(batch) - len(kids)
                records = await self._inspector.find(self._profile, kids)
                for kid, record in zip(kids, records, strict=True):
                    if record is None or record.deletes is None:
                        await self._confirm(kid)
        return hidden

    async def _confirm(self, kid: str, *aliases: str) -> None:
        (stored,) = await self._inspector.inspect(self._profile, [kid], aliases, exclusively=True)
        self._unreadable.update(stored.unreadable)
        for what in _faults(stored, self._registry):
            self._report(kid, what)

    def _report(self, kid: str, what: str) -> None:
        if (kid, what) not in self._reported:
            self._reported.add((kid, what))
            self._fault(self._profile, kid, what)


def _faults(stored: StoredKey, registry: AlgorithmRegistry) -> Iterator[str]:
    """What is wrong with a key, in a few words each."""
    record = stored.record
    for category, name in stored.unreadable:
        parts = {
            KEY: "its record",
            ALIAS: f"its alias {name!r}",
            DELETION: "its scheduled deletion",
        }
        part = parts.get(category, "its material")
        yield f"{part} does not decrypt"
    if record is None:
        yield from _faults_without_record(stored)
        return
    if record.kid != stored.kid:
        yield "its record is that of another key"
    if dict(stored.tags) != tags_of(record):
        yield "its tags are not those of its record"
    if not stored.materials.keys() <= {material_category(record)}:
        yield "it has material that its record does not tell of"
    if stored.stored is not None:
        yield from _faults_of_material(record, stored.stored, registry)
    elif not stored.unreadable_materials:
        yield "its material is missing"
    for alias, holder in stored.aliases.items():
        if alias not in record.aliases and holder == stored.kid:
            yield f"the alias {alias!r} names it, and its record does not list it"
        elif alias in record.aliases and holder is None:
            yield f"its alias {alias!r} is missing"
        elif alias in record.aliases and holder != stored.kid:
            yield f"its alias {alias!r} names the key {holder}"
    yield from _faults_of_deletion(stored, record)


def _faults_of_deletion(stored: StoredKey, record: KeyRecord) -> Iterator[str]:
    if stored.deletion is None:
        if record.deletes is not None and (DELETION, stored.kid) not in stored.unreadable:
            yield "it is scheduled for deletion, and nothing would remove it"
    elif stored.deletion != deletion_tags(record):
        yield "its scheduled deletion is not that of its record"


def _faults_without_record(stored: StoredKey) -> Iterator[str]:
    if stored.recorded:
        if (KEY, stored.kid) not in stored.unreadable:
            yield "its record cannot be read"
        return
    if stored.materials or stored.unreadable_materials:
        yield "it has material and no record"
    if stored.deletion is not None:
        yield "it is scheduled for deletion, and has no record"
    for alias, holder in stored.aliases.items():
        if holder == stored.kid:
            yield f"the alias {alias!r} names it, and it has no record"


def _faults_of_material(
    record: KeyRecord, stored: Stored, registry: AlgorithmRegistry
) -> Iterator[str]:
    try:
        algorithm = registry.of(record)
    except KeyNotUsable:
        yield f"its algorithm {record.alg} is not installed"
        return
    jwk = None
    try:
        if not isinstance(algorithm, KeyPairAlgorithm):
            algorithm.unpack(stored)
        elif record.material == "none":
            jwk = algorithm.public_jwk(algorithm.load_public(record.jwk or {}))
        else:
            jwk = algorithm.public_jwk(algorithm.unpack(stored))
    # An algorithm may raise anything for bytes that are no key of it.
    except Exception as exc:
        yield f"its material does not open: {type(exc).__name__}"
        return
    if jwk != record.jwk or algorithm.kty != record.kty:
        yield "its material is not that of its public key"
    if jwk is not None and thumbprint(jwk) != record.kid:
        yield "its kid is not the thumbprint of its key"
    if record.material == "none" and stored != b"":
        yield "it is a public key alone, and has material"
