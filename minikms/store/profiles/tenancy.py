"""The id of a profile, which tells it from earlier profiles of the same name.

A name is used again once its profile is removed, perhaps by another tenant, and whoever can write
to the database can put the former rows back. So a token names the ids of its profiles, and so does
a line of the audit log. An id follows from the profile's sealing key, which only the encrypted
marker of the profile has: former rows have another one, wherever they are put.
"""

import hashlib
from typing import Final, NamedTuple

# Askar's name of a profile also follows from its sealing key, so that the directory, which has the
# name, leads to this marker alone. Up to version 0.3.0, names were random, and shorter.
_NAME_BYTES: Final = 20
_ID_BYTES: Final = 8


class Tenancy(NamedTuple):
    """One of the profiles that a name has had.

    `id` is None if the profile has no sealing key, which an older layout lacks. `created` is the
    time of its creation in nanoseconds since the epoch, 0 if unknown; with `has_bound_tokens`, it
    was made by a version whose tokens name the ids of their profiles.
    """

    id: str | None
    created: int
    has_bound_tokens: bool

    @classmethod
    def of(cls, askar_profile: str, sealing_key: bytes, created: int) -> "Tenancy":
        """The tenancy of a profile with this name of Askar's."""
        profile_id = _derived(sealing_key, b"id", _ID_BYTES) if sealing_key else None
        return cls(profile_id, created, _is_derived(askar_profile))

    def admits(self, bound: str | None, made: int) -> bool:
        """Tell whether a token is for this profile: by the id in it, else by its time of creation.

        Only tokens of version 0.3.0 and earlier ones have no id.
        """
        if bound is not None:
            return bound == self.id
        return not self.has_bound_tokens and made >= self.created


def new_name(sealing_key: bytes) -> str:
    """Askar's name of a new profile."""
    return _derived(sealing_key, b"name", _NAME_BYTES)


def fits(askar_profile: str, sealing_key: bytes) -> bool:
    """Tell whether a profile with this sealing key may have this name of Askar's."""
    return not _is_derived(askar_profile) or askar_profile == new_name(sealing_key)


def _is_derived(askar_profile: str) -> bool:
    return len(askar_profile) == 2 * _NAME_BYTES


def _derived(sealing_key: bytes, use: bytes, length: int) -> str:
    """A hash of a sealing key, which is random and has 256 bits, so that nothing tells the key."""
    return hashlib.blake2b(sealing_key, digest_size=length, person=b"minikms " + use).hexdigest()
