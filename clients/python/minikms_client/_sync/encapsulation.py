"""Key encapsulation (FIPS 203), and HPKE (RFC 9180), which uses it."""

from minikms_client._sync.transport import Transport
from minikms_client.models import Encapsulated, HpkeSealed
from minikms_client.wire import Call, Jwk, decode, encode, encode_optional, named, present


class Encapsulation(Transport):
    """Secrets and messages to a public key, without a sender."""

    def encapsulate(self, to: Jwk) -> Encapsulated:
        """Make a secret, and the ciphertext by which the holder of an ML-KEM key gets it."""
        call = Call("POST", "/encapsulate", {"to": dict(to)})
        return self._read(call, Encapsulated.from_json)

    def decapsulate(
        self, ciphertext: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> bytes:
        """Return the secret of a ciphertext; a ciphertext for another key gives another secret."""
        body = named(kid, alias) | {"ciphertext": encode(ciphertext)}
        call = Call("POST", "/decapsulate", body)
        return self._read(call, lambda data: decode(data["secret"]))

    def seal_hpke(
        self,
        plaintext: bytes,
        to: Jwk,
        *,
        info: bytes | None = None,
        aad: bytes | None = None,
        kdf: str | None = None,
        aead: str | None = None,
    ) -> HpkeSealed:
        """Encrypt to a public JWK (base mode, single shot)."""
        body = present(
            to=dict(to),
            plaintext=encode(plaintext),
            info=encode_optional(info),
            aad=encode_optional(aad),
            kdf=kdf,
            aead=aead,
        )
        return self._read(Call("POST", "/hpke/seal", body), HpkeSealed.from_json)

    def open_hpke(
        self,
        enc: bytes,
        ciphertext: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        info: bytes | None = None,
        aad: bytes | None = None,
        kdf: str | None = None,
        aead: str | None = None,
    ) -> bytes:
        """Decrypt with the same options; raises DecryptionFailed."""
        body = named(kid, alias) | present(
            enc=encode(enc),
            ciphertext=encode(ciphertext),
            info=encode_optional(info),
            aad=encode_optional(aad),
            kdf=kdf,
            aead=aead,
        )
        call = Call("POST", "/hpke/open", body)
        return self._read(call, lambda data: decode(data["plaintext"]))
