"""The protocol of providers, which keep private keys outside of the store and use them.

An HSM is one. A key of a provider is a key of an algorithm such as `p256`: the provider makes the
key pair and signs, and the algorithm does all that the public key is enough for.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple, Self, TypeAlias

from minikms.plugin.protocol import KeyT, PublicT, SignatureOptions, Signer

KEY_ID_SIZE: Final = 16
"""Bytes of the identifier by which a provider finds a key; the service chooses it at random."""

SchemeName: TypeAlias = Literal["ecdsa", "eddsa", "rsa-pkcs1v15", "rsa-pss"]

# The first byte of a stored reference.
_FORM: Final = b"\x01"


class Scheme(NamedTuple):
    """The scheme of a signature: over a digest that the service made, or with EdDSA a message.

    `hash` is the hash of the digest, one of `minikms.plugin.HASHES`; RSA-PSS also uses it in MGF1.
    It is None for EdDSA, and for PKCS #1 v1.5 without a DigestInfo, which then signs the data as it
    is. ECDSA signs the leftmost bits of the data, whatever its hash. `salt_length` is the length of
    the salt of RSA-PSS in bytes.
    """

    name: SchemeName
    hash: str | None = None
    salt_length: int | None = None


class ProviderSigner(Signer[KeyT, PublicT]):
    """A signer whose private keys may also be in a provider."""

    @abstractmethod
    def prepare(self, message: bytes, options: SignatureOptions) -> tuple[bytes, Scheme]:
        """The data that a provider signs for `message`, and the scheme; raises as `sign` does."""

    @abstractmethod
    def load_spki(self, spki: bytes) -> PublicT:
        """The public key of a SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).

        Raises InvalidKey if it is not a key of this algorithm.
        """


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A reference to a key pair of a provider, which the store keeps instead of the private key.

    `token` is the serial number of the token that has the key, `key_id` the identifier that `make`
    was given, and `public` the public key as SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).
    """

    token: str
    key_id: bytes
    public: bytes

    def to_bytes(self) -> bytes:
        """The stored form: a byte for the form, the token after its length, identifier, public."""
        token = self.token.encode()
        return _FORM + bytes([len(token)]) + token + self.key_id + self.public

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read the result of `to_bytes`; raises ValueError."""
        if stored[:1] != _FORM or len(stored) < 2 + KEY_ID_SIZE:
            raise ValueError("not a reference to a key of a provider")
        end = 2 + stored[1]
        return cls(
            stored[2:end].decode(), stored[end : end + KEY_ID_SIZE], stored[end + KEY_ID_SIZE :]
        )


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """The state of a provider in this process.

    `detail` is a sentence for an operator, without any secret. `sessions` counts the open sessions,
    and `reconnects` the times that the provider connected again after a loss.
    """

    available: bool
    detail: str = ""
    sessions: int = 0
    reconnects: int = 0


class Provider(ABC):
    """One token or service that has keys, in one process.

    The entry point of a class is in the group `minikms.providers`, and its name is the scheme of
    the URIs that the class takes. Each process that uses keys makes its own provider, and opens it
    after a fork. All methods but `status` are called in threads that belong to this provider,
    several at once, and return in bounded time as far as the device lets them.

    A provider connects again by itself: after a loss the next call tries, and only one call tries
    at a time. Methods raise ProviderUnavailable if the token does not answer or is full, and
    ProviderFault if it will not answer before a restart, such as with a wrong PIN, which must not
    be tried twice. No error may contain a secret.
    """

    api_version: ClassVar[int] = 2
    """The API_VERSION of `minikms.plugin` that the class was written for."""

    @abstractmethod
    def __init__(self, uri: str) -> None:
        """Parse `uri`, without any I/O; raises ValueError with a sentence that names no secret."""

    @abstractmethod
    def open(self) -> None:
        """Connect if there is no connection; raises ProviderUnavailable or ProviderFault.

        It is called at the start, and every few seconds while `status` is not available, but not
        after a ProviderFault. Of several processes, one at a time opens the provider.
        """

    @abstractmethod
    def close(self) -> None:
        """Disconnect if there is a connection; a call may still be under way.

        No other method is called afterwards.
        """

    @abstractmethod
    def algorithms(self) -> frozenset[str]:
        """The names of the algorithms that it can make keys of and sign with; called after `open`.

        They are canonical names, such as `p256`. Others than the service has are ignored.
        """

    @abstractmethod
    def make(self, algorithm: str, key_id: bytes) -> ProviderKey:
        """Make a key pair of one of `algorithms`, whose private key never leaves the token.

        If the token does not guarantee that, the key pair is destroyed, and UnsupportedOption is
        raised.
        """

    @abstractmethod
    def sign(self, key: ProviderKey, data: bytes, scheme: Scheme) -> bytes:
        """The signature over `data`; of ECDSA r‖s, each half as long as the field.

        Raises KeyUnreadable if the token of the key is there, and has no such key; and
        ProviderUnavailable if another token is in its place.
        """

    @abstractmethod
    def find(self) -> Collection[bytes]:
        """The identifiers of all key pairs that `make` made, whichever process called it.

        A key pair of which only one half is left counts.
        """

    @abstractmethod
    def destroy(self, key_id: bytes) -> None:
        """Remove both halves of a key pair; succeeds if they are gone."""

    def destroy_in(self, token: str, key_id: bytes) -> bool:
        """Remove a key pair from the token with this serial number; True if it is gone.

        False if another token is in place, which does not have it: then it is tried again later. By
        default, it is removed from any token.
        """
        self.destroy(key_id)
        return True

    @abstractmethod
    def status(self) -> ProviderStatus:
        """The present state, without any I/O; called at any time, on the event loop."""
