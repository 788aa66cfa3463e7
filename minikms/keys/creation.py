"""Creates keys: generates, imports and stores them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import UnsupportedOption
from minikms.events import keep_key, set_key
from minikms.key_requests import KeyPolicy, KeyRef, KeySource, require_own_aliases
from minikms.keys.approvers import require_approvers
from minikms.keys.described_keys import DescribedKeys
from minikms.keys.encryption import Unwrap
from minikms.keys.making import KeyMaker, KeyPair, maker
from minikms.keys.operations import KeyOperations
from minikms.plugin.protocol import (
    JwkImporter,
    SecretImporter,
    SeedImporter,
    Stored,
)
from minikms.records import KeyRecord
from minikms.store import CheckVersions


class Creation:
    """Generates, imports and stores keys."""

    def __init__(
        self,
        keys: KeyOperations,
        maker: KeyMaker,
        descriptions: DescribedKeys,
        reserved_aliases: Sequence[str],
    ) -> None:
        self._keys = keys
        self._registry = keys.registry
        self._store = keys.store
        self._maker = maker
        self._descriptions = descriptions
        self._reserved_aliases = reserved_aliases

    async def generate(self, profile: str, alg: str, policy: KeyPolicy) -> KeyRecord:
        """Generate and store a key.

        Raises UnsupportedAlgorithm, UnsupportedOption, AliasExists, TooManyKeys, TooLargeRecord,
        TooBusy and ProviderUnavailable.
        """
        require_own_aliases(self._reserved_aliases, *policy.aliases)
        require_approvers(self._registry, policy.rules)
        algorithm = self._registry.get(alg)
        insert = partial(
            self._store.insert,
            profile,
            aliases=policy.aliases,
            binding=policy.alias_taken,
            is_unique=True,
            kept=policy.keep_versions,
        )
        if policy.provider is not None:
            making = self._maker.making_at_provider(profile, algorithm, policy)
            async with making as [(record, material)]:
                set_key(record.kid, record.alg)
                return await insert(record, material)
        make = maker(algorithm, policy, algorithm.generate)
        record, material = await self._maker.in_turn(profile, algorithm, "generate", make)
        set_key(record.kid, record.alg)
        return await insert(record, material)

    async def generate_batch(
        self,
        profile: str,
        alg: str,
        count: int,
        policy: KeyPolicy,
        check: Callable[[], None] = lambda: None,
    ) -> list[KeyRecord]:
        """Generate `count` keys in threads for batches, and store all of them or none.

        Raises UnsupportedAlgorithm, UnsupportedOperation, UnsupportedOption, TooManyKeys,
        TooLargeRecord, TooBusy and ProviderUnavailable. `check` is called before each slice, and
        raises if the caller is gone.
        """
        policy.require_bounded(count)
        require_approvers(self._registry, policy.rules)
        algorithm = self._registry.get(alg)
        if policy.provider is not None:
            making = self._maker.making_at_provider(profile, algorithm, policy, count, check)
            async with making as keys:
                return await self._store.insert_all(profile, keys)
        make = maker(algorithm, policy, algorithm.generate)
        made = await self._maker.make_several(profile, algorithm, count, make, check)
        return await self._store.insert_all(profile, made)

    async def generate_pair(self, profile: str, alg: str) -> KeyPair:
        """Make a key pair without storing it.

        Raises UnsupportedAlgorithm, UnsupportedOperation and TooBusy.
        """
        return await self._maker.make_pair(profile, self._registry.get(alg))

    async def import_key(
        self,
        profile: str,
        source: KeySource,
        policy: KeyPolicy,
        *,
        keep: bool = False,
        check: CheckVersions | None = None,
    ) -> KeyRecord:
        """Store the key of `source`.

        With `keep`, a key that exists already gets the alias, and its record is returned. With
        `check`, the key becomes the next version of its one alias, or AliasNotFound is raised.
        `check` is called before the change, with the newest record and the versions; if it raises,
        nothing is stored. Raises the errors of `read_key`, DecryptionFailed, KeyExists, AliasExists
        and TooManyKeys.
        """
        require_own_aliases(self._reserved_aliases, *policy.aliases)
        if source.wrapped is not None:
            self._registry.get(source.alg or "").require(SecretImporter)
            by = KeyRef(kid=source.unwrap_kid)
            secret = await self._keys.perform(profile, by, Unwrap(source.wrapped))
            keep_key()
            source = replace(source, secret=secret)
        record, material = await self.read_key(profile, source, policy)
        set_key(record.kid, record.alg)
        stored = await self._store.insert(
            profile,
            record,
            material,
            policy.aliases,
            binding=policy.alias_taken if check is None else "update",
            keep=keep,
            check=check,
            kept=policy.keep_versions,
        )
        return (
            await self._descriptions.described(profile, stored)
            if keep
            else self._keys.shown(stored)
        )

    async def read_key(
        self, profile: str, source: KeySource, policy: KeyPolicy
    ) -> tuple[KeyRecord, Stored]:
        """Read the key of `source`, without storing it; returns its record and its material.

        Raises UnsupportedAlgorithm, UnsupportedOperation, InvalidKey, TooLargeRecord and TooBusy.
        """
        if policy.provider is not None:
            raise UnsupportedOption("A provider takes no imported key: it makes its keys itself.")
        require_approvers(self._registry, policy.rules)
        jwk, named = source.jwk or {}, source.alg
        algorithm = self._registry.for_jwk(jwk) if named is None else self._registry.get(named)
        if source.secret is not None:
            operation = "import-secret"
            create = partial(algorithm.require(SecretImporter).import_secret, source.secret)
        elif source.seed is not None:
            operation = "import-seed"
            create = partial(algorithm.require(SeedImporter).import_seed, source.seed)
        elif PRIVATE_MEMBERS.isdisjoint(jwk):
            return await self._maker.make_public(profile, algorithm, policy, jwk)
        else:
            operation = "import-jwk"
            create = partial(algorithm.require(JwkImporter).import_jwk, jwk)
        make = maker(algorithm, policy, create)
        record, material = await self._maker.in_turn(profile, algorithm, operation, make)
        return replace(record, imported=True), material

    async def add_missing(
        self, profile: str, record: KeyRecord, material: Stored, aliases: Sequence[str]
    ) -> KeyRecord:
        """Store a key that `read_key` returned; raises KeyExists.

        Aliases of other keys are left to them. Aliases that a protocol owns are allowed.
        """
        return await self._store.insert(profile, record, material, aliases, binding="leave")
