"""Algorithms whose private keys are in a provider."""

import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from minikms.errors import KeyNotUsable
from minikms.plugin.protocol import EcdsaSigner, SignatureOptions, Signer, Stored
from minikms.plugin.provider import KEY_ID_SIZE, Provider, ProviderKey, ProviderSigner

# The class attributes that it shares with the algorithm in software.
_FACTS: Final = (
    *("name", "aliases", "kty", "crv", "multicodec", "did_key"),
    *("signing_algs", "signing_hashes"),
)


class BoundSigner(Signer[ProviderKey, Any]):
    """A signing algorithm with private keys in a provider; the store has references to them.

    The algorithm in software hashes, and does all that needs only the public key. A key signs and
    verifies, and does nothing else. Signing and making run in threads of the provider
    (keys/providers/providers.py).
    """

    def __init__(
        self, software: ProviderSigner[Any, Any], name: str, provider: Provider | None
    ) -> None:
        self._software = software
        self.provider_name = name
        self._provider = provider

    def make(self, key_id: bytes) -> ProviderKey:
        """Make a key pair with this identifier."""
        return self._there.make(self.name, key_id)

    def generate(self) -> ProviderKey:
        return self.make(secrets.token_bytes(KEY_ID_SIZE))

    def sign(self, key: ProviderKey, message: bytes, options: SignatureOptions) -> bytes:
        data, scheme = self._software.prepare(message, options)
        return self._there.sign(key, data, scheme)

    def pack(self, key: ProviderKey) -> Stored:
        return key.to_bytes()

    def unpack(self, stored: Stored) -> ProviderKey:
        if not isinstance(stored, bytes):
            raise TypeError("references to keys of providers are kept as bytes")
        return ProviderKey.from_bytes(stored)

    def memory_of(self, key: Any) -> int:
        return 900 if isinstance(key, ProviderKey) else self._software.memory_of(key)

    def public_jwk(self, key: Any) -> dict[str, str]:
        return self._software.public_jwk(self._public_of(key))

    def public_bytes(self, key: Any) -> bytes:
        return self._software.public_bytes(self._public_of(key))

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        return self._software.load_public(jwk)

    def verify(
        self, public: Any, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        return self._software.verify(public, message, signature, options)

    @property
    def jws_algs(self) -> tuple[str, ...]:
        return self._software.jws_algs

    @cached_property
    def cose_algs(self) -> Mapping[int, str]:
        return self._software.cose_algs

    @property
    def _there(self) -> Provider:
        """The provider; raises KeyNotUsable if the service has no provider with this name."""
        if self._provider is None:
            raise KeyNotUsable(f"The service has no provider {self.provider_name!r}.")
        return self._provider

    def _public_of(self, key: Any) -> Any:
        """Return the public key of a reference, or `key` itself if it is a public key."""
        if not isinstance(key, ProviderKey):
            return key
        return self._software.load_spki(key.public)


class BoundEcdsa(BoundSigner, EcdsaSigner[ProviderKey, Any]):
    """An ECDSA algorithm with private keys in a provider."""

    _software: Any

    def to_der(self, signature: bytes) -> bytes:
        der: bytes = self._software.to_der(signature)
        return der

    def from_der(self, der: bytes) -> bytes:
        signature: bytes = self._software.from_der(der)
        return signature


def bound_to(
    name: str, provider: Provider | None, software: ProviderSigner[Any, Any]
) -> BoundSigner:
    """Return the algorithm with private keys in the provider `name`.

    `provider` is None if the service lacks it. A class is made for the algorithm, since class
    attributes describe it.
    """
    base = BoundEcdsa if isinstance(software, EcdsaSigner) else BoundSigner
    facts = {fact: getattr(software, fact) for fact in _FACTS}
    facts["slow"] = software.slow | {"generate", "sign"}
    kind = type(f"{base.__name__}{software.name}", (base,), facts)
    bound: BoundSigner = kind(software, name, provider)
    return bound
