"""Every key operation once, from a caller's words to the store and back."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

from minikms.encodings import b58, thumbprint
from minikms.errors import AliasNotFound, KeyNotFound
from minikms.protocol import Capability, KeyAlgorithm, KeyPairAlgorithm, Signer
from minikms.records import KeyRecord, KeyRef
from minikms.registry import AlgorithmRegistry
from minikms.store import KeyStore

CapabilityT = TypeVar("CapabilityT", bound=Capability)
ResultT = TypeVar("ResultT")


class KeyService:
    """What the service does with keys: no HTTP above it, no Askar in it.

    `profile` names the tenant in every call; what another tenant has is as if it were not there.
    """

    def __init__(self, registry: AlgorithmRegistry, store: KeyStore) -> None:
        self._registry = registry
        self._store = store

    async def generate(self, profile: str, alg: str) -> KeyRecord:
        """Make a key and store it; raises UnsupportedAlgorithm."""
        algorithm = self._registry.get(alg)
        key = await _run(algorithm, "generate", algorithm.generate)
        material = algorithm.pack(key)
        jwk = public = None
        if isinstance(algorithm, KeyPairAlgorithm):
            jwk = algorithm.public_jwk(key)
            public = b58(algorithm.public_bytes(key))
        record = KeyRecord(
            # RFC 7638 section 7: the thumbprint of a secret would tell of it.
            kid=thumbprint(jwk) if jwk else secrets.token_urlsafe(32),
            alg=algorithm.name,
            kty=algorithm.kty,
            jwk=jwk,
            b58=public,
            material="bytes" if isinstance(material, bytes) else "askar",
            created=time.time_ns(),
        )
        return await self._store.insert(profile, record, material)

    async def get(self, profile: str, ref: KeyRef) -> KeyRecord:
        """What is known of a key; raises KeyNotFound or AliasNotFound."""
        return await self._store.record(profile, ref)

    async def list_keys(
        self,
        profile: str,
        *,
        limit: int,
        after: str = "",
        alg: str | None = None,
        alias: str | None = None,
    ) -> tuple[list[KeyRecord], bool]:
        """Up to `limit` keys in order of creation, and whether there are more.

        `after` is the `seq` of the last key of the page before; `alg` and `alias` narrow the list.
        """
        name = None if alg is None else self._registry.get(alg).name
        if alias is None:
            return await self._store.page(profile, limit=limit, after=after, alg=name)
        try:
            record = await self._store.record(profile, KeyRef(alias=alias))
        except (AliasNotFound, KeyNotFound):
            return [], False
        fits = record.seq > after and name in (None, record.alg)
        return [record] if fits else [], False

    async def associate(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name this key, and no other any more; raises KeyNotFound."""
        await self._store.bind_alias(profile, kid, alias)

    async def delete(self, profile: str, kid: str) -> None:
        """Remove a key and its aliases; raises KeyNotFound."""
        await self._store.delete(profile, kid)

    async def sign(self, profile: str, ref: KeyRef, message: bytes) -> bytes:
        """The signature over `message`; raises UnsupportedOperation."""
        signer, key = await self._open(profile, ref, Signer)
        alg = signer.signing_algs[0]
        return await _run(signer, "sign", lambda: signer.sign(key, message, alg, False))

    async def verify(self, profile: str, ref: KeyRef, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` is good; raises UnsupportedOperation."""
        record = await self._store.record(profile, ref)
        signer = self._registry.get(record.alg).require(Signer)
        public = signer.load_public(record.jwk or {})
        alg = signer.signing_algs[0]
        return await _run(
            signer, "verify", lambda: signer.verify(public, message, signature, alg, False)
        )

    async def create_profile(self, name: str) -> None:
        """Make an empty profile; raises ProfileExists."""
        await self._store.create_profile(name)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False where it is not there."""
        return await self._store.remove_profile(name)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._store.profiles()

    async def ping(self) -> None:
        """Return once the store has answered; raises StoreUnavailable."""
        await self._store.ping()

    async def _open(
        self, profile: str, ref: KeyRef, capability: type[CapabilityT]
    ) -> tuple[CapabilityT, Any]:
        """A key and its algorithm as `capability`, which it must be before the key is opened."""

        def permit(record: KeyRecord) -> None:
            self._registry.get(record.alg).require(capability)

        record, material = await self._store.open_key(profile, ref, permit)
        algorithm = self._registry.get(record.alg)
        return algorithm.require(capability), algorithm.unpack(material)


async def _run(algorithm: KeyAlgorithm, operation: str, call: Callable[[], ResultT]) -> ResultT:
    """`call` here, or in a thread where the algorithm says that it is slow."""
    if operation in algorithm.slow:
        return await asyncio.to_thread(call)
    return call()
