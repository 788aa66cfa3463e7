"""Creates keys: generates, imports and stores them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, Unpack

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import UnsupportedOption
from minikms.events import keep_key, set_key
from minikms.key_requests import KeyPolicy, KeyRef, KeySource, require_own_aliases
from minikms.keys.described_keys import DescribedKeys
from minikms.keys.encryption import Unwrap
from minikms.keys.making import KeyMaker, KeyPair, maker
from minikms.keys.operations import KeySettings
from minikms.keys.providers.objects import ObjectMaker
from minikms.plugin.protocol import (
    JwkImporter,
    KeyAlgorithm,
    SecretImporter,
    SeedImporter,
    Stored,
)
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord
from minikms.store.keys.checks import CheckVersions
from minikms.store.keys.key_store import KeyStore

# Makes the record and the material of a key.
MakeKey: TypeAlias = Callable[[], tuple[KeyRecord, Stored]]


class Creation(DescribedKeys):
    """Generates, imports and stores keys."""

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, **settings: Unpack[KeySettings]
    ) -> None:
        super().__init__(registry, store, **settings)
        self._maker = KeyMaker(self.threads)
        self.objects = ObjectMaker(store)

    async def generate(self, profile: str, alg: str, policy: KeyPolicy) -> KeyRecord:
        """Generate and store a key.

        Raises UnsupportedAlgorithm, UnsupportedOption, AliasExists, TooManyKeys, TooLargeRecord,
        TooBusy and ProviderUnavailable.
        """
        require_own_aliases(self.reserved_aliases, *policy.aliases)
        algorithm = self.registry.get(alg)
        insert = partial(
            self.store.insert,
            profile,
            aliases=policy.aliases,
            binding=policy.alias_taken,
            is_unique=True,
            kept=policy.keep_versions,
        )
        if policy.provider is not None:
            making = self._making_at_provider(profile, algorithm, policy)
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
        algorithm = self.registry.get(alg)
        if policy.provider is not None:
            making = self._making_at_provider(profile, algorithm, policy, count, check)
            async with making as keys:
                return await self.store.insert_all(profile, keys)
        make = maker(algorithm, policy, algorithm.generate)
        made = await self._maker.make_several(profile, algorithm, count, make, check)
        return await self.store.insert_all(profile, made)

    @asynccontextmanager
    async def _making_at_provider(
        self,
        profile: str,
        algorithm: KeyAlgorithm[Any],
        policy: KeyPolicy,
        count: int = 1,
        check: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[list[tuple[KeyRecord, Stored]]]:
        """Make `count` keys at the provider that the policy names; the block stores them.

        The keys are destroyed if the block fails. Raises UnsupportedOption, TooBusy and
        ProviderUnavailable.
        """
        provider = self.providers.asked(policy.provider or "")
        if policy.exportable:
            raise UnsupportedOption("A key of a provider cannot be exported.")
        bound = self.registry.bound(provider.name, algorithm)
        provider.require(algorithm.name)
        maker(bound, policy, bound.generate)  # raise its errors before an object is made

        def make_some(some: Sequence[MakeKey]) -> list[tuple[KeyRecord, Stored]]:
            return [make() for make in some]

        async with self.objects.making(profile, provider, count) as being_made:
            makers = [
                maker(bound, policy, partial(being_made.make, bound.make, key_id))
                for key_id in being_made.key_ids
            ]
            if count == 1:
                yield [await provider.run(makers[0], making=True)]
            else:
                yield await provider.making.run_all(profile, makers, make_some, check, slow=True)

    async def generate_pair(self, profile: str, alg: str) -> KeyPair:
        """Make a key pair without storing it.

        Raises UnsupportedAlgorithm, UnsupportedOperation and TooBusy.
        """
        return await self._maker.make_pair(profile, self.registry.get(alg))

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
        require_own_aliases(self.reserved_aliases, *policy.aliases)
        if source.wrapped is not None:
            self.registry.get(source.alg or "").require(SecretImporter)
            by = KeyRef(kid=source.unwrap_kid)
            secret = await self.perform(profile, by, Unwrap(source.wrapped))
            keep_key()
            source = replace(source, secret=secret)
        record, material = await self.read_key(profile, source, policy)
        set_key(record.kid, record.alg)
        stored = await self.store.insert(
            profile,
            record,
            material,
            policy.aliases,
            binding=policy.alias_taken if check is None else "update",
            keep=keep,
            check=check,
            kept=policy.keep_versions,
        )
        return await self._described(profile, stored) if keep else self._shown(stored)

    async def read_key(
        self, profile: str, source: KeySource, policy: KeyPolicy
    ) -> tuple[KeyRecord, Stored]:
        """Read the key of `source`, without storing it; returns its record and its material.

        Raises UnsupportedAlgorithm, UnsupportedOperation, InvalidKey, TooLargeRecord and TooBusy.
        """
        if policy.provider is not None:
            raise UnsupportedOption("A provider takes no imported key: it makes its keys itself.")
        jwk, named = source.jwk or {}, source.alg
        algorithm = self.registry.for_jwk(jwk) if named is None else self.registry.get(named)
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
        return await self.store.insert(profile, record, material, aliases, binding="leave")
