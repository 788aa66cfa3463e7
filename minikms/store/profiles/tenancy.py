"""The id of a profile, which tells it from earlier profiles of the same name.

The name of a removed profile may be given to another tenant, and a writer of the database can put
the former rows back. So tokens and lines of the audit log name ids of profiles. An id is derived
from the profile's sealing key, which only the encrypted marker has: former rows have another key,
wherever they are put.
"""

import hashlib
from typing import Final, NamedTuple

# Askar's name of a profile is also derived from the sealing key, so that the name in the directory
# leads to this marker alone. Up to version 0.3.0, names were random, and shorter.
_NAME_BYTES: Final = 20
_ID_BYTES: Final = 8


class Tenancy(NamedTuple):
    """One of the profiles that have had a name.

    `id` is None if the profile has no sealing key, which an older layout lacks. `created` is the
    time of its creation in nanoseconds since the epoch, 0 if unknown. `has_bound_tokens` says that
    tokens of the version that made it name ids of profiles.
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
        """Tell whether a token is for this profile: by its id `bound`, or the token's time `made`.

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
    """Hash a sealing key; its 256 random bits do not follow from the hash."""
    return hashlib.blake2b(sealing_key, digest_size=length, person=b"minikms " + use).hexdigest()
