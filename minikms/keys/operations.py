"""What is done with a key: sign, verify, encrypt, wrap, agree, authenticate."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import (
    InvalidKey,
    KeyNotFound,
    KeyNotUsable,
    KmsError,
    UnsupportedOperation,
    UnsupportedOption,
)
from minikms.events import set_key
from minikms.keys import jws
from minikms.keys.cache import Opened, OpenedKeys
from minikms.keys.signing import Signing, SignOptions, sign_as, verify_as
from minikms.keys.threads import Batches
from minikms.plugin.protocol import (
    Aead,
    Capability,
    KeyAgreement,
    KeyAlgorithm,
    KeyWrap,
    Mac,
    Sealed,
    Signer,
)
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyRecord, KeyRef
from minikms.store.cache import NOTHING, Bounds
from minikms.store.keys import KeyStore

CapabilityT = TypeVar("CapabilityT", bound=Capability)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
UseT = TypeVar("UseT")


class Signed(NamedTuple):
    """A signature, the JOSE name it was made for, if it has one, and the key that made it."""

    sig: bytes
    alg: str | None
    kid: str


class JwsResult(NamedTuple):
    """What became of a JWS: its header where it has one, its payload only where it is valid."""

    valid: bool
    header: dict[str, Any] | None
    payload: bytes | None


class KeyOperations:
    """What keys are used for.

    `profile` names the tenant in every call. Where a call names a key, it raises KeyNotFound or
    AliasNotFound, UnsupportedOperation for a key that cannot, or may not, do this, and KeyNotUsable
    for one whose state excludes it. What verifies by an alias also tries the keys that the alias
    named before a rotation.
    """

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, *, cache: Bounds = NOTHING
    ) -> None:
        self._registry = registry
        self._store = store
        self.opened = OpenedKeys(registry, store, cache)
        self.batches = Batches()
        self._to_sign = self._use(Signer, "sign")
        self._to_verify = self._use(Signer, "verify")
        self._to_encrypt = self._use(Aead, "encrypt")
        self._to_decrypt = self._use(Aead, "decrypt")

    async def sign(self, profile: str, ref: KeyRef, message: bytes, options: SignOptions) -> Signed:
        """The signature over `message`; raises UnsupportedOption."""
        record, signer, key = await self._open(profile, ref, self._to_sign)
        signing = Signing.choose(signer, options)
        sig = await run(signer, "sign", partial(signing.sign, key, message))
        return Signed(sig, signing.alg or None, record.kid)

    def sign_now(
        self, profile: str, ref: KeyRef, message: bytes, options: SignOptions
    ) -> Signed | None:
        """The same where nothing has to be waited for; otherwise None, and nothing is done."""
        found = self._opened(profile, ref, self._to_sign)
        if found is None or "sign" in found[1].slow:
            return None
        record, signer, key = found
        signing = Signing.choose(signer, options)
        return Signed(signing.sign(key, message), signing.alg or None, record.kid)

    async def verify(
        self,
        profile: str,
        by: KeyRef | Mapping[str, Any],
        message: bytes,
        signature: bytes,
        options: SignOptions,
    ) -> bool:
        """Whether `signature` over `message` is good by a key, or by a public JWK.

        Raises UnsupportedOption, and InvalidKey for a JWK that is none.
        """
        signing, public = await self._verifying(profile, by, options)

        async def good(public: Any) -> bool:
            check = partial(signing.verify, public, message, signature)
            return await run(signing.signer, "verify", check)

        async def load(ref: KeyRef) -> Any:
            return (await self._verifying(profile, ref, options))[1]

        return await self._by_any(profile, by, public, load, good)

    def verify_now(
        self,
        profile: str,
        by: KeyRef | Mapping[str, Any],
        message: bytes,
        signature: bytes,
        options: SignOptions,
    ) -> bool | None:
        """The same where nothing has to be waited for; otherwise None, and nothing is done."""
        found = self.opened.get(profile, by) if isinstance(by, KeyRef) else None
        if found is None:
            return None
        signer = self._verifier_of(found)
        if "verify" in signer.slow:
            return None
        signing = Signing.choose(signer, options)
        if signing.verify(found.load_public(signer), message, signature):
            return True
        return None if found.record.predecessors else False

    async def sign_batch(
        self,
        profile: str,
        ref: KeyRef,
        messages: Sequence[bytes | KmsError],
        options: SignOptions,
        check: Callable[[], None] = lambda: None,
    ) -> list[Signed | KmsError]:
        """A signature over each message, or what is wrong with it, in order.

        Raises TooBusy, and now and then what `check` does, where nobody wants the rest.
        """
        record, signer, key = await self._open(profile, ref, self._to_sign)
        signing = Signing.choose(signer, options)

        def one(message: bytes) -> Signed:
            return Signed(signing.sign(key, message), signing.alg or None, record.kid)

        return await self.batches.run(profile, messages, _tried(one), check)

    async def verify_batch(
        self,
        profile: str,
        by: KeyRef | Mapping[str, Any],
        items: Sequence[tuple[bytes, bytes] | KmsError],
        options: SignOptions,
        check: Callable[[], None] = lambda: None,
    ) -> list[bool | KmsError]:
        """Whether each signature over its message is good, or what is wrong with it, in order.

        Raises TooBusy, and now and then what `check` does, where nobody wants the rest.
        """
        signing, public = await self._verifying(profile, by, options)
        results: list[bool | KmsError] = [False] * len(items)

        async def all_good(public: Any) -> bool:
            def good(item: tuple[bytes, bytes]) -> bool:
                return signing.verify(public, *item)

            left = [place for place, result in enumerate(results) if result is False]
            pairs = [items[place] for place in left]
            done = await self.batches.run(profile, pairs, _tried(good), check)
            for place, result in zip(left, done, strict=True):
                results[place] = result
            return False not in results

        async def load(ref: KeyRef) -> Any:
            return (await self._verifying(profile, ref, options))[1]

        await self._by_any(profile, by, public, load, all_good)
        return results

    async def encrypt(self, profile: str, ref: KeyRef, plaintext: bytes, aad: bytes) -> Sealed:
        """`plaintext` sealed under a new nonce."""
        _, aead, key = await self._open(profile, ref, self._to_encrypt)
        return await run(aead, "encrypt", partial(aead.encrypt, key, plaintext, aad))

    def encrypt_now(self, profile: str, ref: KeyRef, plaintext: bytes, aad: bytes) -> Sealed | None:
        """The same where nothing has to be waited for; otherwise None, and nothing is done."""
        found = self._opened(profile, ref, self._to_encrypt)
        if found is None or "encrypt" in found[1].slow:
            return None
        return found[1].encrypt(found[2], plaintext, aad)

    async def decrypt(self, profile: str, ref: KeyRef, sealed: Sealed, aad: bytes) -> bytes:
        """The plaintext; raises DecryptionFailed."""
        _, aead, key = await self._open(profile, ref, self._to_decrypt)
        return await run(aead, "decrypt", partial(aead.decrypt, key, sealed, aad))

    def decrypt_now(self, profile: str, ref: KeyRef, sealed: Sealed, aad: bytes) -> bytes | None:
        """The same where nothing has to be waited for; otherwise None, and nothing is done."""
        found = self._opened(profile, ref, self._to_decrypt)
        if found is None or "decrypt" in found[1].slow:
            return None
        return found[1].decrypt(found[2], sealed, aad)

    async def wrap(self, profile: str, ref: KeyRef, secret: bytes) -> bytes:
        """`secret` wrapped; raises InvalidKey where it is too short."""
        _, wrapper, key = await self._open(profile, ref, self._use(KeyWrap, "wrap"))
        return await run(wrapper, "wrap", partial(wrapper.wrap, key, secret))

    async def unwrap(self, profile: str, ref: KeyRef, wrapped: bytes) -> bytes:
        """The secret in `wrapped`; raises DecryptionFailed."""
        _, wrapper, key = await self._open(profile, ref, self._use(KeyWrap, "unwrap"))
        return await run(wrapper, "unwrap", partial(wrapper.unwrap, key, wrapped))

    async def derive(self, profile: str, ref: KeyRef, peer: Mapping[str, Any]) -> bytes:
        """The raw shared secret with a peer's public JWK; raises InvalidKey."""
        _, agreement, key = await self._open(profile, ref, self._use(KeyAgreement, "derive"))
        _refuse_private(peer)
        return await run(
            agreement, "derive", lambda: agreement.derive(key, agreement.load_public(peer))
        )

    async def mac(self, profile: str, ref: KeyRef, message: bytes) -> bytes:
        """The authentication code of `message`."""
        _, algorithm, key = await self._open(profile, ref, self._use(Mac, "mac"))
        return await run(algorithm, "mac", partial(algorithm.mac, key, message))

    async def verify_mac(self, profile: str, ref: KeyRef, message: bytes, mac: bytes) -> bool:
        """Whether `mac` is that of `message`."""
        use = self._use(Mac, "mac-verify")
        _, algorithm, key = await self._open(profile, ref, use)

        async def good(key: Any) -> bool:
            check = partial(algorithm.verify_mac, key, message, mac)
            return await run(algorithm, "mac-verify", check)

        async def load(ref: KeyRef) -> Any:
            return (await self._open(profile, ref, use))[2]

        return await self._by_any(profile, ref, key, load, good)

    async def sign_jws(
        self,
        profile: str,
        ref: KeyRef,
        payload: bytes,
        *,
        header: Mapping[str, Any],
        alg: str | None = None,
        detached: bool = False,
    ) -> str:
        """A compact JWS, by a signature or an authentication code; raises UnsupportedOption.

        Its `kid` is the alias, where that named the key.
        """
        record, signer, key = await self._open(profile, ref, self._use_for_jws)
        algs = signer.jws_algs
        if not algs:
            raise UnsupportedOption(_NO_JWS)
        alg = algs[0] if alg is None else alg
        if alg not in algs:
            raise UnsupportedOption(f"This key signs for: {', '.join(algs)}.")
        named = ref.alias or record.kid
        protected = jws.protected_header(alg, named, header, detached=detached)
        message = jws.signing_input(protected, payload, plain=detached)
        operation = "sign" if isinstance(signer, Signer) else "mac"
        sig = await run(signer, operation, partial(sign_as, signer, key, message, alg))
        return jws.compact(protected, payload, sig, detached=detached)

    async def verify_jws(
        self, profile: str, by: KeyRef | Mapping[str, Any], text: str, payload: bytes | None
    ) -> JwsResult:
        """Whether a compact JWS is good by a key, or by a public JWK; raises UnsupportedOption.

        `payload` is that of a detached one.
        """
        signer, key, algs = await self._jws_verifier(profile, by)
        parsed = jws.Jws.parse(text, payload)
        if parsed is None:
            return JwsResult(valid=False, header=None, payload=None)
        alg = parsed.header.get("alg")
        valid = False
        if alg in algs and parsed.understood:
            message, sig = parsed.signing_input, parsed.signature
            operation = "verify" if isinstance(signer, Signer) else "mac-verify"

            async def good(key: Any) -> bool:
                check = partial(verify_as, signer, key, message, sig, str(alg))
                return await run(signer, operation, check)

            async def load(ref: KeyRef) -> Any:
                return (await self._jws_verifier(profile, ref))[1]

            valid = await self._by_any(profile, by, key, load, good)
        return JwsResult(valid, parsed.header, parsed.payload if valid else None)

    def random(self, length: int) -> bytes:
        """`length` bytes from the system's randomness."""
        return secrets.token_bytes(length)

    async def _open(
        self, profile: str, ref: KeyRef, use: Callable[[KeyRecord, int], UseT]
    ) -> tuple[KeyRecord, UseT, Any]:
        """A key, and what `use` makes of its record and the time, before the key is opened."""
        if found := self._opened(profile, ref, use):
            return found
        now = time.time_ns()

        def permit(record: KeyRecord) -> UseT:
            set_key(record.kid, record.alg)
            return use(record, now)

        return await self.opened.open(profile, ref, permit)

    def _opened(
        self, profile: str, ref: KeyRef, use: Callable[[KeyRecord, int], UseT]
    ) -> tuple[KeyRecord, UseT, Any] | None:
        """The same of a key that is open already; None for any other."""
        found = self.opened.get(profile, ref)
        if found is None or found.key is None:
            return None
        record = found.record
        set_key(record.kid, record.alg)
        return record, use(record, time.time_ns()), found.key

    async def _by_any(
        self,
        profile: str,
        by: KeyRef | Mapping[str, Any],
        key: Any,
        load: Callable[[KeyRef], Awaitable[Any]],
        check: Callable[[Any], Awaitable[bool]],
    ) -> bool:
        """Whether `check` is true of `key`, or of one that its alias named before a rotation.

        `load` gives such a key; one that is gone, or may not be used, is passed over.
        """
        if await check(key):
            return True
        if not isinstance(by, KeyRef) or by.alias is None:
            return False
        record = (await self.opened.find(profile, by)).record
        for kid in record.predecessors.get(by.alias, ()):
            try:
                predecessor = await load(KeyRef(kid=kid))
            except (KeyNotFound, KeyNotUsable, UnsupportedOperation):
                continue
            if await check(predecessor):
                return True
        set_key(record.kid, record.alg)
        return False

    def _use(
        self, capability: type[CapabilityT], operation: str
    ) -> Callable[[KeyRecord, int], CapabilityT]:
        """From a record to its algorithm as `capability`, where the key may do `operation` now."""

        def use(record: KeyRecord, now: int) -> CapabilityT:
            algorithm = self._registry.of(record).require(capability)
            if operation not in record.operations:
                may = ", ".join(record.operations) or "nothing"
                raise UnsupportedOperation(f"This key may not {operation}; it may: {may}.")
            record.require_usable(operation, now)
            return algorithm

        return use

    def _use_for_jws(self, record: KeyRecord, now: int) -> Signer[Any, Any] | Mac[Any]:
        if isinstance(self._registry.of(record), Mac):
            return self._use(Mac, "mac")(record, now)
        return self._to_sign(record, now)

    async def _jws_verifier(
        self, profile: str, by: KeyRef | Mapping[str, Any]
    ) -> tuple[Signer[Any, Any] | Mac[Any], Any, Sequence[str]]:
        """What checks a JWS, its key, and the JOSE names that the key is for."""
        if isinstance(by, KeyRef):
            record = (await self.opened.find(profile, by)).record
            if isinstance(self._registry.of(record), Mac):
                ref = KeyRef(kid=record.kid)
                _, mac, key = await self._open(profile, ref, self._use(Mac, "mac-verify"))
                return mac, key, mac.jws_algs
        signer, public, named = await self._verifier(profile, by)
        if not signer.jws_algs:
            raise UnsupportedOption(_NO_JWS)
        return signer, public, [alg for alg in signer.jws_algs if named in (None, alg)]

    async def _verifying(
        self, profile: str, by: KeyRef | Mapping[str, Any], options: SignOptions
    ) -> tuple[Signing, Any]:
        """A public key, and how to verify with it."""
        signer, public, named = await self._verifier(profile, by)
        if named is not None:
            if options.alg not in (None, named):
                raise UnsupportedOption("The JWK is for another alg.")
            options = replace(options, alg=named)
        return Signing.choose(signer, options), public

    async def _verifier(
        self, profile: str, by: KeyRef | Mapping[str, Any]
    ) -> tuple[Signer[Any, Any], Any, str | None]:
        """A public key, its algorithm, and the JOSE name that its JWK is bound to, if any."""
        if isinstance(by, KeyRef):
            found = await self.opened.find(profile, by)
            signer = self._verifier_of(found)
            return signer, found.load_public(signer), None
        _refuse_private(by)
        signer = self._registry.for_jwk(by).require(Signer)
        named = by.get("alg")
        return signer, signer.load_public(by), named if isinstance(named, str) else None

    def _verifier_of(self, found: Opened) -> Signer[Any, Any]:
        """The algorithm of a key that may verify now."""
        set_key(found.record.kid, found.record.alg)
        return self._to_verify(found.record, time.time_ns())


# Some plugins' algorithms are such.
_NO_JWS: Final = "JOSE has no name for what this key makes, so that no JWS is made with it."


def _refuse_private(jwk: Mapping[str, Any]) -> None:
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise InvalidKey("Give the public JWK: a private member must not be sent here.")


def is_slow(algorithm: KeyAlgorithm[Any] | Capability, operation: str) -> bool:
    """Whether an operation leaves the event loop; "import" stands for every way to import."""
    slow = algorithm.slow
    return operation in slow or ("import" in slow and operation.startswith("import-"))


async def run(
    algorithm: KeyAlgorithm[Any] | Capability, operation: str, call: Callable[[], ResultT]
) -> ResultT:
    """`call` here, or in a thread where the algorithm says that it is slow."""
    if is_slow(algorithm, operation):
        return await asyncio.to_thread(call)
    return call()


def _tried(
    call: Callable[[ItemT], ResultT],
) -> Callable[[ItemT | KmsError], ResultT | KmsError]:
    """`call`, but that an item which is an error, or makes one, gives it."""

    def tried(item: ItemT | KmsError) -> ResultT | KmsError:
        if isinstance(item, KmsError):
            return item
        try:
            return call(item)
        except KmsError as exc:
            return exc

    return tried
