"""Names of the Transit engine, which are aliases, and the key of each version of a name."""

import re
from contextlib import suppress
from typing import Final, NamedTuple

from minikms.doors import KeyPolicy, KeyRef, KeyVersions, errors
from minikms_vault.errors import invalid
from minikms_vault.operation import StaleVersions, VaultCall
from minikms_vault.types import KeyType

NAME: Final = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)
"""Names that Vault allows: its GenericNameRegex."""

TOO_OLD: Final = "ciphertext or signature version is disallowed by policy (too old)"
SOFT_DELETED: Final = "refusing to use soft-deleted key"


class NamedKey(NamedTuple):
    """The key of one version of a name."""

    version: int
    ref: KeyRef


class Name(NamedTuple):
    """A name with its versions; each method raises VaultError with 400 and Vault's message.

    Methods with a version argument also raise StaleVersions unless the versions are `fresh`.
    """

    name: str
    versions: KeyVersions
    fresh: bool

    def to_produce(self, version: int, does: str) -> NamedKey:
        """Return the key that encrypts or signs: the key of a version, or of the latest for 0.

        `does` is "encryption" or "signing".
        """
        versions = self.versions
        self.require_kept()
        if version == 0:
            return NamedKey(versions.latest, KeyRef(versions.latest_kid))
        if version < 0:
            raise invalid(f"requested version for {does} is negative")
        self.require_current(version)
        if version > versions.latest:
            raise invalid(f"requested version for {does} is higher than the latest key version")
        if version < versions.min_encryption_version:
            raise invalid(
                f"requested version for {does} is less than the minimum encryption key version"
            )
        return self._key(version)

    def to_check(self, version: int, what: str) -> NamedKey:
        """Return the key that decrypts or verifies; `what` is "ciphertext" or "signature"."""
        self.require_kept()
        self.require_current(version)
        if version > self.versions.latest:
            raise invalid(f"invalid {what}: version is too new")
        if version < self.versions.min_decryption_version:
            raise invalid(TOO_OLD)
        return self._key(version)

    def require_kept(self) -> None:
        """Raise if the name is soft-deleted."""
        if self.versions.soft_deleted:
            raise invalid(SOFT_DELETED)

    def require_current(self, version: int) -> None:
        """Raise StaleVersions for a version that the cached versions may lack."""
        if version > self.versions.latest and not self.fresh:
            raise StaleVersions

    def _key(self, version: int) -> NamedKey:
        kid = self.versions.kid_of(version)
        if kid is None:  # its version was trimmed
            raise invalid(TOO_OLD)
        return NamedKey(version, KeyRef(kid=kid))


async def find(call: VaultCall, name: str) -> Name:
    """Find the versions of a name; raises AliasNotFound."""
    if not NAME.fullmatch(name):
        raise errors.AliasNotFound
    versions = await call.service.versions(call.profile, name, fresh=call.fresh)
    return Name(name, versions, call.fresh)


async def make(
    call: VaultCall,
    name: str,
    key_type: KeyType,
    *,
    exportable: bool = False,
    rotate_every: int | None = None,
) -> None:
    """Make a key with a name, unless a key has the name."""
    with suppress(errors.AliasNotFound):
        await call.service.get(call.profile, KeyRef(alias=name))
        return  # some keys take long to make
    policy = KeyPolicy(
        aliases=(name,),
        alias_taken="refuse",
        exportable=exportable,
        rotate_every=rotate_every,
        keep_versions=rotate_every is not None,
    )
    with suppress(errors.AliasExists):
        await call.service.generate(call.profile, key_type.alg, policy)
