"""The entries of the cache of keys, and their memory."""

import sys
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson

from minikms.plugin.protocol import KeyAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord

# The profile, kid and alias by which a call finds a key; either kid or alias is None.
Name: TypeAlias = tuple[str, str | None, str | None]

# Bytes of a cached key besides its strings and key objects: cache entry, record and their objects.
# bench/measurements.md names the script that compared the sum with the memory of a process.
_EACH: Final = 900

# Bytes of another name of the entry, besides the alias itself.
_EACH_NAME: Final = 150
# Bytes of a member of a dictionary.
_EACH_MEMBER: Final = 64

# Bytes of rules with about ten strings, besides the strings. Equal rules may share one object.
_EACH_RULES: Final = 1000

# Bytes in memory for each JSON byte of record members that this version does not know.
_EACH_UNKNOWN: Final = 10


@dataclass(slots=True)
class CachedKey:
    """The record of a key, with its private and public key after their first use.

    Every use is checked against the record again, since the time may matter, unless the key
    `is_always_usable`. `period` is the last period in which the key was used (`NotedUses`). The
    first use sets `algorithm`.
    """

    record: KeyRecord
    key: Any = field(default=None, repr=False)
    public: Any = field(default=None, repr=False)
    period: int = 0
    algorithm: KeyAlgorithm[Any] | None = None
    is_always_usable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_always_usable = self.record.is_always_usable

    def names(self, profile: str) -> tuple[Name, ...]:
        """Return the names by which calls find the key: its kid and its aliases.

        The record lists an alias as long as the alias names the key, so the aliases are current if
        the record is.
        """
        place, record = sys.intern(profile), self.record
        return (place, record.kid, None), *[(place, None, alias) for alias in record.aliases]

    def weight(self, registry: AlgorithmRegistry) -> int:
        """Estimate its bytes in the cache."""
        record = self.record
        names = len(record.aliases) * _EACH_NAME
        members = len(record.labels) * _EACH_MEMBER
        texts = sum([sys.getsizeof(text) for text in _texts(record) if text is not None])
        weight = _EACH + names + members + texts
        if record.unknown:
            weight += _EACH_UNKNOWN * len(orjson.dumps(record.unknown))
        if record.rules is not None:
            weight += _EACH_RULES + 2 * record.rules.size
        opened = [key for key in (self.key, self.public) if key is not None]
        if opened:
            weight += sum(map(registry.of(record).memory_of, opened))
        return weight


def _texts(record: KeyRecord) -> list[str | None]:
    """List the strings of a record that other records do not share."""
    texts = [record.kid, record.b58, record.multikey, record.did, *record.aliases]
    texts += record.certificates
    texts += (record.jwk or {}).values()
    for label in record.labels.items():
        texts += label
    return texts
