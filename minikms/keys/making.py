"""Makes the record and the material of new keys, and limits how many slow ones are made at a time.

The record has everything public about the key, computed once.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from joserfc.jwk import import_key

from minikms.encodings import PRIVATE_MEMBERS, b58, multikey, thumbprint
from minikms.errors import InvalidKey, UnsupportedOperation, UnsupportedOption
from minikms.key_bounds import SECOND
from minikms.key_requests import KeyPolicy
from minikms.keys.operations import KeyOperations
from minikms.keys.providers.objects import ObjectMaker
from minikms.plugin.protocol import (
    JwkImporter,
    KeyAlgorithm,
    KeyPairAlgorithm,
    Mac,
    Signer,
    Stored,
)
from minikms.plugin.provider import ProviderKey
from minikms.plugin.pyca import Pkcs8KeyAlgorithm
from minikms.records import PROVIDED, RULED, KeyRecord
from minikms.rules import Rules

ResultT = TypeVar("ResultT")

# Makes the record and the material of a key.
MakeKey: TypeAlias = Callable[[], tuple[KeyRecord, Stored]]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair that is not stored: its public JWK, and its private key in PKCS #8 (RFC 5958)."""

    jwk: Mapping[str, str]
    private: bytes = field(repr=False)


class KeyMaker:
    """Makes keys without storing them.

    An RSA key can take a second of processor time. So each kind of slow key has its own threads,
    which profiles share fairly.
    """

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys
        self.objects = ObjectMaker(keys.store)

    async def make_pair(self, profile: str, algorithm: KeyAlgorithm[Any]) -> KeyPair:
        """Make a key pair; raises UnsupportedOperation and TooBusy."""
        pairs = algorithm.require(JwkImporter)
        if not isinstance(algorithm, KeyPairAlgorithm):
            raise UnsupportedOperation(f"A key of {algorithm.name} is not a key pair.")

        def make() -> KeyPair:
            key = algorithm.generate()
            stored = algorithm.pack(key) if isinstance(algorithm, Pkcs8KeyAlgorithm) else None
            if not isinstance(stored, bytes):
                of_jose: Any = import_key({**pairs.export_jwk(key)})
                stored = of_jose.as_der(private=True)
            return KeyPair(public_jwk(algorithm, key), stored)

        return await self.in_turn(profile, algorithm, "generate", make)

    async def in_turn(
        self,
        profile: str,
        algorithm: KeyAlgorithm[Any],
        operation: str,
        make: Callable[[], ResultT],
    ) -> ResultT:
        """Call `make`, in a thread and in turn if it is slow; raises TooBusy.

        `operation` is "generate" or a way to import, such as "import-jwk".
        """
        if not is_slow_to_make(algorithm, operation):
            return make()
        return await self._keys.threads.making(algorithm.kty, operation).run(profile, make)

    async def make_several(
        self,
        profile: str,
        algorithm: KeyAlgorithm[Any],
        count: int,
        make: Callable[[], ResultT],
        check: Callable[[], None],
    ) -> list[ResultT]:
        """Generate `count` keys by `make`, in threads; raises TooBusy and the errors of `check`."""

        def make_some(places: Sequence[int]) -> list[ResultT]:
            return [make() for _ in places]

        slow, threads = is_slow_to_make(algorithm, "generate"), self._keys.threads.batches
        if slow:
            threads = self._keys.threads.making(algorithm.kty, "generate")
        return await threads.run_all(profile, range(count), make_some, check, slow=slow)

    async def make_public(
        self,
        profile: str,
        algorithm: KeyAlgorithm[Any],
        policy: KeyPolicy,
        jwk: Mapping[str, Any],
    ) -> tuple[KeyRecord, Stored]:
        """Make the record of a public key alone, with empty material."""
        if not isinstance(algorithm, KeyPairAlgorithm):
            raise InvalidKey("The JWK has no private part, and its algorithm no public one.")
        policy.require_bounded()
        if policy.exportable:
            raise UnsupportedOption("A public key alone has nothing to export.")
        if policy.rotate_every is not None or policy.retire_after is not None:
            raise UnsupportedOperation("A public key alone is replaced by importing another.")

        def make() -> KeyRecord:
            key = algorithm.load_public(jwk)
            operations = allowed_operations(algorithm, policy, public_only=True)
            return describe(algorithm, key, "none", policy, operations)

        is_slow = is_slow_to_make(algorithm, "import-jwk")
        return await self._keys.threads.slow.run(profile, make) if is_slow else make(), b""

    @asynccontextmanager
    async def making_at_provider(
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
        provider = self._keys.providers.asked(policy.provider or "")
        if policy.exportable:
            raise UnsupportedOption("A key of a provider cannot be exported.")
        bound = self._keys.registry.bound(provider.name, algorithm)
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


def is_slow_to_make(algorithm: KeyAlgorithm[Any], operation: str) -> bool:
    """Tell whether to make a key in a thread; "import" in `slow` means every way to import."""
    return not algorithm.slow.isdisjoint((operation, operation.partition("-")[0]))


def maker(
    algorithm: KeyAlgorithm[Any], policy: KeyPolicy, create: Callable[[], Any]
) -> Callable[[], tuple[KeyRecord, Stored]]:
    """Return the function that calls `create`, and returns the record and the material of the key.

    Raises UnsupportedOperation if the policy names an operation that such a key does not support,
    UnsupportedOption if the rules do not fit the key, and TooManyAliases or TooLargeRecord if
    aliases, labels and rules are too large.
    """
    policy.require_bounded()
    operations = allowed_operations(algorithm, policy, public_only=False)

    def make() -> tuple[KeyRecord, Stored]:
        key = create()
        stored = algorithm.pack(key)
        place: Literal["bytes", "askar"] = "bytes" if isinstance(stored, bytes) else "askar"
        return describe(algorithm, key, place, policy, operations), stored

    return make


def describe(
    algorithm: KeyAlgorithm[Any],
    key: Any,
    material: Literal["askar", "bytes", "none"],
    policy: KeyPolicy,
    operations: tuple[str, ...],
) -> KeyRecord:
    """Make the record of `key`, which is a public key if `material` is "none".

    `allowed_operations` returns the `operations` for the policy.
    """
    jwk = public = None
    if isinstance(algorithm, KeyPairAlgorithm):
        jwk, public = public_jwk(algorithm, key), algorithm.public_bytes(key)
    multibase = None
    if public is not None and algorithm.multicodec is not None:
        multibase = multikey(algorithm.multicodec, public)
    created, every = time.time_ns(), policy.rotate_every
    ends = None if policy.delete_after is None else created + policy.delete_after * SECOND
    return KeyRecord(
        # The thumbprint of a secret would reveal something about it (RFC 7638 section 7).
        kid=secrets.token_urlsafe(32) if jwk is None else thumbprint(jwk),
        alg=algorithm.name,
        kty=algorithm.kty,
        jwk=jwk,
        b58=None if public is None else b58(public),
        multikey=multibase,
        did=f"did:key:{multibase}" if multibase and algorithm.did_key else None,
        operations=operations,
        material=material,
        created=created,
        exportable=policy.exportable,
        labels=policy.labels,
        expires=policy.expires,
        deletes=ends,
        ends=ends,
        rules=policy.rules,
        crit=(() if policy.rules is None else RULED)
        + (() if policy.provider is None else PROVIDED),
        rotate_every=every,
        rotates=None if every is None else created + every * SECOND,
        publish_ahead=policy.publish_ahead,
        retire_after=policy.retire_after,
        provider=policy.provider,
        object_id=key.key_id.hex() if isinstance(key, ProviderKey) else None,
        token_serial=key.token if isinstance(key, ProviderKey) else None,
    ).require_schedule()


def allowed_operations(
    algorithm: KeyAlgorithm[Any], policy: KeyPolicy, *, public_only: bool
) -> tuple[str, ...]:
    """Return the operations of a new key: the policy's, or by default all except opt-in operations.

    Raises UnsupportedOperation if the key does not support one of them, and UnsupportedOption if
    the rules do not fit the key.
    """
    if policy.rules is not None:
        require_fitting(policy.rules, algorithm)
    can = algorithm.public_operations if public_only else algorithm.key_operations
    if policy.operations is None:
        return tuple([op for op in can if op not in algorithm.opt_in])
    beyond = [op for op in policy.operations if op not in can]
    if beyond:
        raise UnsupportedOperation(f"Such a key can: {', '.join(can) or 'nothing'}.")
    return tuple([op for op in can if op in policy.operations])


def require_fitting(rules: Rules, algorithm: KeyAlgorithm[Any]) -> None:
    """Raise UnsupportedOption if rules name an algorithm by which the key cannot sign.

    A key with only such algorithms could never sign, and its rules could not be loosened.
    """
    can: tuple[str, ...] = ()
    if isinstance(algorithm, Signer):
        can = algorithm.signing_algs
    elif isinstance(algorithm, Mac):
        can = algorithm.jws_algs
    if not set(rules.algs or ()) <= set(can):
        may = ", ".join(can) or "no JOSE name"
        raise UnsupportedOption(f"Such a key signs for: {may}.")


class PublicJwkIsPrivate(TypeError):
    """The `public_jwk` of an algorithm has a private member."""


def public_jwk(algorithm: KeyPairAlgorithm[Any, Any], key: Any) -> dict[str, str]:
    """Return the public JWK of a key, and raise PublicJwkIsPrivate if it has a private member.

    So a faulty algorithm does not reveal a private key.
    """
    jwk = algorithm.public_jwk(key)
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise PublicJwkIsPrivate(algorithm.name)
    return jwk
