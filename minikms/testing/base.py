"""The base of all parts of the contract."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import pytest
from aries_askar import Key as AskarKey

from minikms.encodings import b64url_decode
from minikms.errors import DecryptionFailed
from minikms.plugin.protocol import (
    Aead,
    Box,
    Capability,
    Hpke,
    HpkeOptions,
    JwkImporter,
    Kem,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    KeyWrap,
    Mac,
    PublicKeyEncryption,
    SignatureOptions,
    Signer,
)

PartT = TypeVar("PartT", bound=KeyAlgorithm[Any] | Capability)

Part: TypeAlias = type[KeyAlgorithm[Any]] | type[Capability]

MESSAGES: Final = {"empty": b"", "short": b"hello", "long": bytes(range(256)) * 400}
MESSAGE: Final = MESSAGES["short"]

each_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


class Contract:
    """A part of the contract: tests of one capability, for algorithms that have it."""

    algorithm: ClassVar[KeyAlgorithm[Any]]
    """The algorithm under test."""
    seed_size: ClassVar[int] = 32
    """Bytes of a seed, for a SeedImporter."""
    seconds: ClassVar[float] = 60.0
    """The time limit of a test, in seconds."""

    applies_to: ClassVar[tuple[Part, ...]] = ()
    """This part applies to algorithms that are instances of all these classes."""

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Fail a test over the time limit, at the line where it hangs; needs SIGALRM."""
        if not hasattr(signal, "SIGALRM"):
            yield
            return

        def fail(*_: Any) -> None:
            pytest.fail(
                f"It has not ended after {self.seconds} s; the last line is where it hangs."
            )

        before = signal.signal(signal.SIGALRM, fail)
        left = signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *left)  # pytest-timeout uses it

    @pytest.fixture(autouse=True)
    def _in_time(self) -> Iterator[None]:
        with self.in_time():
            yield

    def secret_of(self, key: Any) -> bytes:
        """Return the bytes that `import_secret` makes `key` from; override it if they differ."""
        stored = self.algorithm.pack(key)
        if isinstance(stored, AskarKey):
            return stored.get_secret_bytes()
        if isinstance(self.algorithm, JwkImporter):
            jwk = self.algorithm.export_jwk(key)
            return b64url_decode(next(jwk[name] for name in ("d", "k", "priv") if name in jwk))
        return stored

    @classmethod
    @cache
    def keys(cls) -> tuple[Any, Any]:
        """Two keys, made once per class, since some algorithms are slow."""
        return cls.algorithm.generate(), cls.algorithm.generate()

    def declared(self, part: type[PartT]) -> PartT:
        """The algorithm, typed as `part`."""
        assert isinstance(self.algorithm, part)
        return self.algorithm

    def public(self, key: Any) -> Any:
        """Return the public key of `key`, converted through its JWK."""
        pair = self.declared(KeyPairAlgorithm)
        return pair.load_public(pair.public_jwk(key))

    def same_key(self, one: Any, two: Any) -> bool:
        """Tell whether every operation of the algorithm gives the same result for two keys."""
        algorithm = self.algorithm
        same = []
        if isinstance(algorithm, KeyPairAlgorithm):
            same.append(algorithm.public_jwk(one) == algorithm.public_jwk(two))
            same.append(algorithm.public_bytes(one) == algorithm.public_bytes(two))
        if isinstance(algorithm, Signer):
            options = signing_options(algorithm)[0]
            signature = algorithm.sign(two, MESSAGE, options)
            same.append(algorithm.verify(self.public(one), MESSAGE, signature, options))
        if isinstance(algorithm, Mac):
            same.append(algorithm.mac(one, MESSAGE) == algorithm.mac(two, MESSAGE))
        try:
            if isinstance(algorithm, Aead):
                sealed = algorithm.encrypt(one, MESSAGE, b"")
                same.append(algorithm.decrypt(two, sealed, b"") == MESSAGE)
            if isinstance(algorithm, PublicKeyEncryption):
                ciphertext = algorithm.encrypt(self.public(one), MESSAGE)
                same.append(algorithm.decrypt(two, ciphertext) == MESSAGE)
            if isinstance(algorithm, KeyWrap):
                wrapped = algorithm.wrap(one, bytes(16))
                same.append(algorithm.unwrap(two, wrapped) == bytes(16))
            if isinstance(algorithm, Box):
                peer = algorithm.load_box_peer(algorithm.public_jwk(one))
                same.append(algorithm.open_sealed(two, algorithm.seal(peer, MESSAGE)) == MESSAGE)
            if isinstance(algorithm, Kem):
                made = algorithm.encapsulate(self.public(one))
                same.append(algorithm.decapsulate(two, made.ciphertext) == made.secret)
            if isinstance(algorithm, Hpke):
                sent = algorithm.hpke_seal(self.public(one), MESSAGE, HpkeOptions())
                same.append(algorithm.hpke_open(two, sent, HpkeOptions()) == MESSAGE)
        except DecryptionFailed:
            same.append(False)
        if isinstance(algorithm, KeyAgreement):
            peer = algorithm.load_peer(algorithm.public_jwk(algorithm.generate()))
            same.append(algorithm.derive(one, peer) == algorithm.derive(two, peer))
        if isinstance(algorithm, JwkImporter):
            same.append(algorithm.export_jwk(one) == algorithm.export_jwk(two))
        return bool(same) and all(same)


def signing_options(signer: Signer[Any, Any]) -> list[SignatureOptions]:
    """Return options for each `alg` of an algorithm, or for an empty `alg` if it has none."""
    return [SignatureOptions(alg) for alg in signer.signing_algs or ("",)]
