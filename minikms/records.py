"""The record of a key: everything about the key but its material.

It is over 300 lines, since each member, its changes and its stored form are read together.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import (
    KeyExists,
    KeyNotFound,
    KeyNotUsable,
    TooLargeRecord,
    UnsupportedOperation,
    ValidationFailed,
)
from minikms.key_bounds import (
    MAX_CERTIFICATE_BYTES,
    SECOND,
    bytes_of_labels,
    require_room,
    require_small_labels,
)
from minikms.rule_members import RulesError
from minikms.rules import Rules

# A state that can be set, and a state in effect: a `next` key is published and does not sign yet.
State: TypeAlias = Literal["enabled", "disabled", "verify-only"]
StateInEffect: TypeAlias = State | Literal["next"]
NEXT: Final = "next"

# An operation of the audit log by which the service goes on with a key's rotation.
StepCall: TypeAlias = Literal["nextKey", "rotateKey", "retireKey"]

# The operations that a `verify-only` key refuses; it still verifies, decrypts and unwraps.
_PRODUCING: Final = frozenset({"sign", "mac", "encrypt", "wrap", "box", "jwe-encrypt"})

# The operations of a `next` key: nothing is made or opened with it before it replaces its key.
_OF_NEXT: Final = frozenset({"verify", "mac-verify"})

# JWK members whose values many keys share, and the labels of a key without labels.
_SHARED_MEMBERS: Final = frozenset({"kty", "crv", "e"})
_EMPTY: Final[Mapping[str, Any]] = {}

# The critical members of a record with rules.
RULED: Final = ("rules",)

# The critical member of a record of a provider's key.
PROVIDED: Final = ("provider",)

# The critical member of a next key's record: earlier versions do not use the key.
FOLLOWING: Final = ("follows",)

# Separates a record from its sealed material in the store; in JSON, it is escaped.
_SEPARATOR: Final = b"\0"


class Step(NamedTuple):
    """What the service does next with a key on its schedule, and when, in nanoseconds.

    It makes the next key, rotates the key, or retires it.
    """

    call: StepCall
    at: int


class PrivateRecordError(ValueError):
    """A stored record has a private member in its public JWK."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key of one profile: everything but its material.

    `jwk` is the public JWK, `b58` and `multikey` encode the bytes of the public key, `did` is its
    did:key; each is None if the key has no such form, as a symmetric key. `operations` are the
    allowed operations of its algorithm. `material` is the form of its material in the store: an
    Askar key, bytes, or "none" for a public key alone. `sealed` has these bytes, encrypted
    (store/keys/entries.py): the store keeps record and material in one entry. `seq` orders listings
    and is set by the store.

    `created`, `expires` and `deletes` are the times of its creation, its change to `verify-only`
    and its deletion, in nanoseconds since the epoch. `state` is the state that was set; `state_at`
    gives the state in effect. `aliases` are in the order in which the key, and the keys that
    rotations replaced by it, got them. `replaced` says that a rotation has replaced the key and
    left it enabled. `named_by` counts the aliases that have the key among their versions
    (versions.py), and may be too high; None if it is not known. `certificates` are in DER as
    base64: its own certificate, and the chain above it, each signed by the next. `imported` says
    that its private part, or its secret, was imported. `rules` bound its use, None for none; they
    are critical. `rotate_every` is the number of seconds between scheduled rotations, and `rotates`
    the time of the next one. `scheduled` says that a scheduled rotation made the key.

    `next_kid` is the kid of the next key, which the next rotation puts in the key's place; None if
    there is none. `follows` is the kid of the key that such a next key replaces, and is critical.
    `publish_ahead` is the number of seconds for which the service publishes a next key before a
    scheduled rotation, None for no next key. `retire_after` is the number of seconds after which a
    rotation's old key retires, which means that it is disabled. `retires` is the time of that, None
    if it does not retire.

    `provider` names the provider that has the private key, None if the store has it. It is
    critical. `object_id` is then the identifier of the key pair there, in hexadecimal, and
    `token_serial` the serial number of its token, None if version 0.3.0 made the key. `ends` is the
    time of the deletion that the key was made with, None without one. It never changes, and no
    other deletion comes later. While `deletes` has the same time, the key is used as any other.

    `last_used` is the time of its last use, None if none is known since `noted_since`. Only records
    for answers have both (keys/described_keys.py): the store keeps them elsewhere.

    `unknown` keeps members that this version does not know, None if there are none. `crit` names
    critical members: a version that does not know one of them must not use the key, as in a JWS
    (RFC 7515 section 4.1.11).
    """

    kid: str
    alg: str
    kty: str
    jwk: Mapping[str, str] | None
    b58: str | None
    multikey: str | None
    did: str | None
    operations: tuple[str, ...]
    material: Literal["askar", "bytes", "none"]
    created: int
    exportable: bool = False
    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    state: State = "enabled"
    seq: str = ""
    expires: int | None = None
    deletes: int | None = None
    replaced: bool = False
    named_by: int | None = 0
    crit: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    imported: bool = False
    rules: Rules | None = None
    rotate_every: int | None = None
    rotates: int | None = None
    scheduled: bool = False
    provider: str | None = None
    object_id: str | None = None
    token_serial: str | None = None
    ends: int | None = None
    publish_ahead: int | None = None
    retire_after: int | None = None
    retires: int | None = None
    next_kid: str | None = None
    follows: str | None = None
    last_used: int | None = field(default=None, compare=False)
    noted_since: int = field(default=0, compare=False)
    unknown: Mapping[str, Any] | None = field(default=None, repr=False)
    sealed: bytes = field(default=b"", repr=False, compare=False)

    def state_at(self, now: int) -> StateInEffect:
        """The state in effect, with all that is scheduled; `now` is in nanoseconds."""
        if self.deletes is not None and self.deletes != self.ends:
            return "disabled"
        if self.follows is not None:
            return "next"
        if self.retires is not None and self.retires <= now:
            return "disabled"
        if self.state == "enabled" and self.expires is not None and self.expires <= now:
            return "verify-only"
        return self.state

    @property
    def current_state(self) -> StateInEffect:
        """The state in effect now."""
        return self.state_at(time.time_ns())

    def fits(
        self, alg: str | None, labels: Iterable[tuple[str, str]], *, only_next: bool = False
    ) -> bool:
        """Tell whether the key has this algorithm (any for None), and all of these labels.

        With `only_next`, it must also be a next key.
        """
        return (
            alg in (None, self.alg)
            and (self.follows is not None or not only_next)
            and all(self.labels.get(name) == value for name, value in labels)
        )

    @property
    def is_scheduled(self) -> bool:
        """Tell whether its deletion was scheduled by a call, which disables it until then."""
        return self.deletes is not None and self.deletes != self.ends

    @property
    def is_gone(self) -> bool:
        """Tell whether its deletion is due, so that it no longer exists for callers."""
        return self._is_due(time.time_ns())

    def _is_due(self, now: int) -> bool:
        # 0 records that the deletion was due once: setting the clock back, even before 1970, does
        # not undo it.
        return self.deletes is not None and (self.deletes == 0 or self.deletes <= now)

    def require_same(self, other: "KeyRecord") -> None:
        """Raise KeyExists unless this existing key can stand for another one with its kid.

        Both have the same public key, and so the same private key if they have one.
        """
        if self.alg != other.alg:
            raise KeyExists(f"The key already exists, as one of {self.alg}.")
        if self.material == "none" and other.material != "none":
            raise KeyExists("The key already exists, without its private part.")
        if other.rules not in (None, self.rules):
            raise KeyExists("The key already exists, with other rules.")

    @property
    def is_always_usable(self) -> bool:
        """Tell whether `require_usable` raises at no time, for no operation."""
        is_unlimited = self.expires is None and self.deletes is None and self.retires is None
        return self.state == "enabled" and is_unlimited and not self.crit

    def require_usable(self, operation: str, now: int, *, as_next: bool = False) -> None:
        """Raise KeyNotUsable if its state at `now`, or a critical member, forbids the operation.

        `as_next` says that a next key may perform it too. Raises KeyNotFound if its deletion is due
        at `now`.
        """
        if self._is_due(now):
            raise KeyNotFound()
        self.require_understood()
        state = self.state_at(now)
        if (
            state == "disabled"
            or (state == "verify-only" and operation in _PRODUCING)
            or (state == "next" and not as_next and operation not in _OF_NEXT)
        ):
            raise self.not_usable(now)

    def require_understood(self) -> None:
        """Raise KeyNotUsable if a member is critical and this version cannot read it."""
        unread = self.rules is None and "rules" in self.crit
        if unread or not _MEMBERS.issuperset(self.crit):
            raise KeyNotUsable("A newer Mini KMS has given the key rules that this one ignores.")

    def require_begun(self) -> None:
        """Raise KeyNotUsable for a next key, which cannot be changed: its key can."""
        if self.follows is not None:
            raise self.not_usable(time.time_ns())

    def require_rotatable(self) -> None:
        """Raise UnsupportedOperation or KeyNotUsable unless it can be rotated; expired keys can."""
        if self.material == "none":
            raise UnsupportedOperation("A public key alone is replaced by importing another.")
        self.require_understood()
        self.require_begun()
        if self.replaced:
            raise KeyNotUsable("A rotation has replaced the key already.")
        if self.ends is not None:
            raise KeyNotUsable("A key that was made to be deleted is not rotated.")
        if self.state != "enabled" or self.is_scheduled:
            raise self.not_usable(time.time_ns())

    def not_usable(self, now: int) -> KeyNotUsable:
        """Make the error that names its state at `now`."""
        state, why = self.state_at(now), ""
        if self.is_scheduled:
            why = ": it is scheduled for deletion"
        elif state == "next":
            why = f", until a rotation replaces {self.follows}"
        elif state != self.state:
            why = ": it was replaced and has retired" if state == "disabled" else ": it has expired"
        return KeyNotUsable(f"The key is {state}{why}.")

    def deleted_at(self, at: int | None) -> Self:
        """Return the record with a deletion scheduled for `at`, or with none scheduled for None.

        A key that was made to be deleted is deleted no later than that, and at that time for None.
        """
        if self.ends is not None:
            # Another time than its own tells that a call has scheduled the deletion.
            at = self.ends if at is None else min(at, self.ends - 1)
        return replace(self, deletes=at)

    def succeeding(
        self, old: "KeyRecord", *, scheduled: bool = False, rotates: int | None = None
    ) -> Self:
        """Return the record as the successor of `old`, with its aliases, labels and schedule.

        A next key also gets the rules of `old`, which may have changed. A new rotation period
        begins, unless `rotates` is the time of the next rotation. `scheduled` says that a scheduled
        rotation made the key. Raises TooManyAliases and TooLargeRecord: a key from an older version
        may have more.
        """
        require_room(old.aliases)
        require_small_labels(bytes_of_labels(old.labels))
        if rotates is None and old.rotate_every is not None:
            begins = self.created if self.follows is None else time.time_ns()
            rotates = begins + old.rotate_every * SECOND
        return replace(
            self,
            aliases=old.aliases,
            labels=old.labels,
            rules=old.rules,
            crit=old.crit,
            named_by=len(old.aliases),
            rotate_every=old.rotate_every,
            rotates=rotates,
            publish_ahead=old.publish_ahead,
            retire_after=old.retire_after,
            scheduled=scheduled,
            follows=None,
        )

    def succeeded(self, *, enabled: bool = False) -> Self:
        """Return the record after another key has replaced it: `verify-only` or `enabled`."""
        state: State = self.state if enabled else "verify-only"
        retires = None
        if self.retire_after is not None:
            retires = time.time_ns() + self.retire_after * SECOND
        return replace(
            self,
            state=state,
            aliases=(),
            replaced=enabled,
            rotate_every=None,
            rotates=None,
            publish_ahead=None,
            retire_after=None,
            retires=retires,
            next_kid=None,
        )

    def as_next_of(self, old: "KeyRecord") -> Self:
        """Return a new record as that of the next key of `old`."""
        require_small_labels(bytes_of_labels(old.labels))
        crit = (*self.crit, *FOLLOWING)
        return replace(self, labels=old.labels, named_by=0, follows=old.kid, crit=crit)

    def with_next(self, kid: str | None) -> Self:
        """Return the record with a next key, or with none.

        A scheduled rotation waits until a new next key has been published for `publish_ahead`.
        """
        rotates = self.rotates
        if kid is not None and rotates is not None and self.publish_ahead is not None:
            rotates = max(rotates, time.time_ns() + self.publish_ahead * SECOND)
        return replace(self, next_kid=kid, rotates=rotates)

    @property
    def has_succession(self) -> bool:
        """Tell whether it has a next key, or a scheduled rotation."""
        return self.next_kid is not None or self.rotates is not None

    @property
    def has_retired(self) -> bool:
        """Tell whether it was replaced, and its retirement is due or done."""
        return self.retires is not None and self.retires <= time.time_ns()

    def require_schedule(self) -> Self:
        """Raise ValidationFailed if its schedule does not fit its rules; return the record."""
        faults = []
        if self.publish_ahead is not None and not (self.rotate_every or 0) > self.publish_ahead:
            faults.append(("#/publish_ahead", "Must be less than rotate_every."))
        jws = None if self.rules is None else self.rules.jws
        lifetime = None if jws is None else jws.max_lifetime
        if self.retire_after is not None and self.retire_after < (lifetime or 0):
            what = "Must not be less than max_lifetime of its rules: signatures would outlive it."
            faults.append(("#/retire_after", what))
        if faults:
            raise ValidationFailed(errors=faults)
        return self

    @property
    def next_step(self) -> Step | None:
        """What the service does next with the key on its schedule; None for nothing."""
        if self.retires is not None and self.state != "disabled":
            return Step("retireKey", self.retires)
        if self.rotates is None:
            return None
        if self.publish_ahead is not None and self.next_kid is None:
            return Step("nextKey", self.rotates - self.publish_ahead * SECOND)
        return Step("rotateKey", self.rotates)

    def with_alias(self, alias: str, *, again: bool = False) -> Self:
        """The record with one more alias; raises TooManyAliases and TooLargeRecord.

        Raises KeyNotUsable for a next key: it gets the aliases of its key. `again` says that the
        key is already among the versions of the alias. With an alias, it does not retire.
        """
        self.require_begun()
        aliases = (*self.aliases, alias)
        require_room(aliases)
        count = self.named_by if again or self.named_by is None else self.named_by + 1
        retires = self.retires if self.has_retired else None
        return replace(self, aliases=aliases, replaced=False, named_by=count, retires=retires)

    def rotating(self, every: int | None, at: int | None = None) -> Self:
        """Return the record with a rotation every `every` seconds, the next one `at` a time.

        By default that is one period from now; an unchanged period keeps the time of the next
        rotation.
        """
        if every is None:
            return replace(self, rotate_every=None, rotates=None, publish_ahead=None)
        if at is None:
            same = every == self.rotate_every
            at = self.rotates if same else time.time_ns() + every * SECOND
        return replace(self, rotate_every=every, rotates=at)

    def require_labels_of(self, before: "KeyRecord") -> None:
        """Raise TooLargeRecord if its labels are too large, and larger than they were before."""
        size = bytes_of_labels(self.labels)
        if size > bytes_of_labels(before.labels):
            require_small_labels(size)

    def with_certificates(self, chain: tuple[str, ...]) -> Self:
        """Return the record with this certificate chain; raises TooLargeRecord."""
        if sum(3 * len(each) // 4 - each.count("=") for each in chain) > MAX_CERTIFICATE_BYTES:
            raise TooLargeRecord(
                f"All certificates of a key have at most {MAX_CERTIFICATE_BYTES:,} bytes in DER."
            )
        return replace(self, certificates=chain)

    def with_rules(self, rules: Rules) -> Self:
        """Return the record with these rules.

        Raises RulesLoosened if they allow anything that its current rules refuse, and KeyNotUsable
        if this version cannot read the current ones.
        """
        self.require_understood()
        if self.rules is not None:
            rules = self.rules.tightened(rules)
        return replace(self, rules=rules, crit=tuple(dict.fromkeys((*self.crit, *RULED))))

    def without_alias(self, alias: str) -> Self:
        """The record without an alias."""
        return replace(self, aliases=tuple(name for name in self.aliases if name != alias))

    def released(self) -> Self:
        """Return the record after an alias has dropped the key from its versions."""
        return replace(self, named_by=self.named_by and self.named_by - 1)

    def drop_material(self) -> Self:
        """Drop the sealed material of a new record, since callers keep records.

        It mutates this record: `replace` would take half as long as parsing it.
        """
        object.__setattr__(self, "sealed", b"")
        return self

    def is_unused(self, length: int | None) -> bool:
        """Tell whether the key was unused for the last `length` nanoseconds; true for None.

        The record must have its last use. False if uses were not noted during all that time.
        """
        known = max(self.last_used or 0, self.noted_since)
        return length is None or known + length <= time.time_ns()

    def set_last_use(self, at: int | None, since: int) -> None:
        """Set the time of its last use, and the time since when uses are noted.

        It mutates this record, which others may hold: each answer sets both again.
        """
        object.__setattr__(self, "last_used", at)
        object.__setattr__(self, "noted_since", max(since, self.created))

    def to_bytes(self) -> bytes:
        """Encode the record for the store: JSON, then the sealed material, if any."""
        members = {name: getattr(self, name) for name in _NAMES}
        if self.rules is not None:
            members["rules"] = self.rules.document()
        if self.rotate_every is not None or self.scheduled:
            members |= {name: getattr(self, name) for name in _SCHEDULE}
        if self.provider is not None:
            members |= {name: getattr(self, name) for name in _OBJECT}
        for name in _IF_SET:
            if (value := getattr(self, name)) is not None:
                members[name] = value
        record = orjson.dumps(members if self.unknown is None else {**members, **self.unknown})
        return record + _SEPARATOR + self.sealed if self.sealed else record

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Parse the result of `to_bytes` of this or another version.

        Raises PrivateRecordError: earlier versions did not check the JWK of an algorithm.
        """
        record, _, sealed = value.partition(_SEPARATOR)
        data: dict[str, Any] = orjson.loads(record)
        if data["jwk"] is not None and not PRIVATE_MEMBERS.isdisjoint(data["jwk"]):
            raise PrivateRecordError()
        unknown = None
        if "rules" in data:
            try:
                data["rules"] = _shared_rules(Rules.read(data["rules"]))
            except RulesError:  # from a later version: the key is not used
                unknown = {"rules": data.pop("rules")}
        if not data.keys() <= _MEMBERS:
            others = {name: data.pop(name) for name in data.keys() - _MEMBERS}
            unknown = {**others, **(unknown or {})}
        if data.get("rotate_every") is None:  # version 0.4.0 ends a schedule without it
            data.pop("publish_ahead", None)
        # Many records stay in memory, so equal values are shared.
        for name in ("alg", "kty", "material", "state"):
            data[name] = sys.intern(data[name])
        jwk = data["jwk"] or {}
        for name in _SHARED_MEMBERS & jwk.keys():
            jwk[name] = sys.intern(jwk[name])
        data["operations"] = _shared(tuple(data["operations"]))
        data["aliases"] = tuple(data["aliases"])
        data["crit"] = tuple(data.get("crit", ()))
        data["certificates"] = tuple(data.get("certificates", ()))
        data.setdefault("named_by")
        data["labels"] = data["labels"] or _EMPTY
        return cls(**data, unknown=unknown, sealed=sealed)


# The known members of stored records, in order.
_SCHEDULE: Final = ("rotate_every", "rotates", "scheduled")
_OBJECT: Final = ("provider", "object_id", "token_serial")
_IF_SET: Final = ("ends", "publish_ahead", "retire_after", "retires", "next_kid", "follows")
_APART: Final = frozenset(
    ("rules", *_SCHEDULE, *_OBJECT, *_IF_SET, "last_used", "noted_since", "unknown", "sealed")
)
_NAMES: Final = tuple(each.name for each in fields(KeyRecord) if each.name not in _APART)
_MEMBERS: Final = frozenset((*_NAMES, *RULED, *_SCHEDULE, *_OBJECT, *_IF_SET))


@lru_cache(maxsize=1024)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Intern names: equal names are the same object."""
    return names


@lru_cache(maxsize=256)
def _shared_rules(rules: Rules) -> Rules:
    """Intern rules: equal rules are the same object."""
    return rules


@dataclass(frozen=True, slots=True)
class OrphanRecord(KeyRecord):
    """The record of a key whose algorithm is not installed; answers say so."""

    installed: ClassVar[bool] = False

    @classmethod
    def of(cls, record: KeyRecord) -> Self:
        """Return the same record as an orphan."""
        return cls(**{each.name: getattr(record, each.name) for each in fields(record)})
