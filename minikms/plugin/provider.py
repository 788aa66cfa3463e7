"""The protocol of providers, which keep and use private keys outside the store.

An HSM is such a provider. A key of a provider is a key of an algorithm such as `p256`: the provider
makes the key pair and signs; the algorithm does everything that needs only the public key.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple, Self, TypeAlias

from minikms.plugin.protocol import KeyT, PublicT, SignatureOptions, Signer

KEY_ID_SIZE: Final = 16
"""The size in bytes of a key's identifier at a provider; the service chooses it at random."""

SchemeName: TypeAlias = Literal["ecdsa", "eddsa", "rsa-pkcs1v15", "rsa-pss"]

# The first byte of a stored reference.
_FORM: Final = b"\x01"


class Scheme(NamedTuple):
    """The scheme of a signature: over a digest made by the service, or for EdDSA over a message.

    `hash` is the hash of the digest, one of `minikms.plugin.HASHES`; RSA-PSS also uses it in MGF1.
    It is None for EdDSA, and for PKCS #1 v1.5 without a DigestInfo, which signs the data unchanged.
    ECDSA signs the leftmost bits of the data, whatever its hash. `salt_length` is the length of the
    salt of RSA-PSS in bytes.
    """

    name: SchemeName
    hash: str | None = None
    salt_length: int | None = None


class ProviderSigner(Signer[KeyT, PublicT]):
    """A signer whose private keys may also be in a provider."""

    @abstractmethod
    def prepare(self, message: bytes, options: SignatureOptions) -> tuple[bytes, Scheme]:
        """Return the data that a provider signs for `message`, and the scheme; raises as `sign`."""

    @abstractmethod
    def load_spki(self, spki: bytes) -> PublicT:
        """Load a public key from SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).

        Raises InvalidKey if it is not a key of this algorithm.
        """


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A reference to a key pair of a provider, stored in place of a private key.

    `token` is the serial number of the token that has the key, `key_id` the identifier given to
    `make`, and `public` the public key as SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).
    """

    token: str
    key_id: bytes
    public: bytes

    def to_bytes(self) -> bytes:
        """Encode it: a format byte, the token after its length, the identifier, the public key."""
        token = self.token.encode()
        return _FORM + bytes([len(token)]) + token + self.key_id + self.public

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Parse the result of `to_bytes`; raises ValueError."""
        if stored[:1] != _FORM or len(stored) < 2 + KEY_ID_SIZE:
            raise ValueError("not a reference to a key of a provider")
        end = 2 + stored[1]
        return cls(
            stored[2:end].decode(), stored[end : end + KEY_ID_SIZE], stored[end + KEY_ID_SIZE :]
        )


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """The state of a provider in this process.

    `detail` is a sentence for an operator, without any secret. `sessions` counts open sessions, and
    `reconnects` how often the provider reconnected after a loss.
    """

    available: bool
    detail: str = ""
    sessions: int = 0
    reconnects: int = 0


class Provider(ABC):
    """A connection of one process to a token or service that has keys.

    A class is an entry point of the group `minikms.providers`, named by the scheme of its URIs.
    Each process that uses keys makes its own provider, and opens it after a fork. All methods
    except `status` are called in this provider's own threads, several concurrently, and should
    return in bounded time. A provider reconnects by itself: after a loss the next call tries, and
    only one call tries at a time. Methods raise ProviderUnavailable if the token does not answer or
    is full, and ProviderFault if it will not answer before a restart, for example after a wrong
    PIN, which must not be tried twice. No error may contain a secret.
    """

    api_version: ClassVar[int] = 2
    """The API_VERSION of `minikms.plugin` that the class is written for."""

    @abstractmethod
    def __init__(self, uri: str) -> None:
        """Parse `uri` without I/O; raises ValueError with a sentence that quotes no secret."""

    @abstractmethod
    def open(self) -> None:
        """Connect unless connected; raises ProviderUnavailable or ProviderFault.

        Called at the start, and every few seconds while `status` is not available, but not after a
        ProviderFault. Only one process of a service at a time opens the provider.
        """

    @abstractmethod
    def close(self) -> None:
        """Disconnect if connected; a call may still be running.

        No other method is called afterwards.
        """

    @abstractmethod
    def algorithms(self) -> frozenset[str]:
        """Return the algorithms that it can generate keys for and sign with; called after `open`.

        They are canonical names, such as `p256`. Algorithms that the service lacks are ignored.
        """

    @abstractmethod
    def make(self, algorithm: str, key_id: bytes) -> ProviderKey:
        """Generate a key pair of one of `algorithms` whose private key cannot leave the token.

        If the token does not guarantee that, destroy the key pair and raise UnsupportedOption.
        """

    @abstractmethod
    def sign(self, key: ProviderKey, data: bytes, scheme: Scheme) -> bytes:
        """Sign `data`; an ECDSA signature is r‖s, each half as long as the field.

        Raises KeyUnreadable if the key's token is present but has no such key, and
        ProviderUnavailable if another token is in its place.
        """

    @abstractmethod
    def find(self) -> Collection[bytes]:
        """Return the identifiers of all key pairs that `make` made, in any process.

        A key pair with only one half left is included.
        """

    @abstractmethod
    def destroy(self, key_id: bytes) -> None:
        """Destroy both halves of a key pair; succeeds if they are already gone."""

    def destroy_in(self, token: str, key_id: bytes) -> bool:
        """Destroy a key pair on the token with this serial number; True if it is gone.

        False if another token is in its place and lacks the key pair: the service tries again
        later. By default, the key pair is destroyed on any token.
        """
        self.destroy(key_id)
        return True

    @abstractmethod
    def status(self) -> ProviderStatus:
        """Return the present state without I/O; called at any time, on the event loop."""
