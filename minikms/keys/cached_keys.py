"""Opened keys in the cache, and the memory that they take."""

import sys
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson

from minikms.plugin.protocol import KeyAlgorithm
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord

# The profile, kid and alias by which a call finds a key: one of the last two is None.
Name: TypeAlias = tuple[str, str | None, str | None]

# Bytes of a key in the cache besides its texts and its opened keys: its entry there, its record,
# and the objects in it. bench/key_memory.py compares them with the memory of a process.
_EACH: Final = 900

# Bytes of one more name of the entry, besides the alias itself, and of a dictionary's member.
_EACH_NAME: Final = 150
_EACH_MEMBER: Final = 64

# Bytes of rules besides their texts, for about ten of these. Equal rules may be one object.
_EACH_RULES: Final = 1000

# Bytes for each byte in JSON of members that this version does not know.
_EACH_UNKNOWN: Final = 10


@dataclass(slots=True)
class CachedKey:
    """The record of a key, with its private and its public key once a call has used them.

    Each use is checked against the record again, since it may depend on the time. `period` is the
    last one in which the key was used (keys/described_keys.py). `algorithm` is known since the
    first use.
    """

    record: KeyRecord
    key: Any = field(default=None, repr=False)
    public: Any = field(default=None, repr=False)
    period: int = 0
    algorithm: KeyAlgorithm[Any] | None = None

    def names(self, profile: str) -> tuple[Name, ...]:
        """The names by which calls find it: its kid, and its aliases.

        The record lists an alias as long as the alias names the key, so an alias is as current as
        the record.
        """
        place, record = sys.intern(profile), self.record
        return (place, record.kid, None), *[(place, None, alias) for alias in record.aliases]

    def weight(self, registry: AlgorithmRegistry) -> int:
        """The bytes that it takes in the cache."""
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
    """The texts of a record that it does not share with others."""
    texts = [record.kid, record.b58, record.multikey, record.did, *record.aliases]
    texts += record.certificates
    texts += (record.jwk or {}).values()
    for label in record.labels.items():
        texts += label
    return texts
