"""NaCl's boxes, and DIDComm v1 envelopes, which are made of boxes."""

from collections.abc import Iterable, Mapping
from typing import Any

from minikms_client._sync.transport import Transport
from minikms_client.models import Box, Unpacked
from minikms_client.shapes import members
from minikms_client.wire import Call, Json, Jwk, decode, encode, named


class Boxes(Transport):
    """Messages between two X25519 keys, or Ed25519 keys that may act as X25519 keys."""

    def make_box(
        self, plaintext: bytes, to: Jwk, *, kid: str | None = None, alias: str | None = None
    ) -> Box:
        """Encrypt to a public JWK, from a key (X25519, XSalsa20-Poly1305)."""
        body = named(kid, alias) | {"to": dict(to), "plaintext": encode(plaintext)}
        return self._read(Call("POST", "/box", body), Box.from_json)

    def open_box(
        self,
        ciphertext: bytes,
        nonce: bytes,
        from_: Jwk,
        *,
        kid: str | None = None,
        alias: str | None = None,
    ) -> bytes:
        """Open a box from the holder of a public JWK; raises DecryptionFailed."""
        body = named(kid, alias) | {
            "from": dict(from_),
            "ciphertext": encode(ciphertext),
            "nonce": encode(nonce),
        }
        return self._opened("/box/open", body)

    def seal_box(self, plaintext: bytes, to: Jwk) -> bytes:
        """Encrypt to a public JWK, without a sender."""
        body = {"to": dict(to), "plaintext": encode(plaintext)}
        call = Call("POST", "/box/seal", body)
        return self._read(call, lambda data: decode(data["ciphertext"]))

    def open_sealed_box(
        self, ciphertext: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> bytes:
        """Open a sealed box; raises DecryptionFailed."""
        body = named(kid, alias) | {"ciphertext": encode(ciphertext)}
        return self._opened("/box/seal/open", body)

    def pack_didcomm(
        self, to: Iterable[str], message: bytes, *, from_: str | None = None
    ) -> dict[str, Any]:
        """Pack a message into an envelope of DIDComm v1 (Aries RFC 0019).

        `to` are base58 Ed25519 verkeys, `from_` the kid or an alias of the sender's key.
        """
        body: Json = {"to": list(to), "message": encode(message)}
        if from_ is not None:
            body["from"] = from_
        call = Call("POST", "/didcomm/pack", body)
        return self._read(call, lambda data: members(data["packed"]))

    def unpack_didcomm(self, packed: Mapping[str, Any]) -> Unpacked:
        """Open an envelope to one of the profile's keys; raises DecryptionFailed."""
        call = Call("POST", "/didcomm/unpack", {"packed": dict(packed)})
        return self._read(call, Unpacked.from_json)

    def _opened(self, path: str, body: Json) -> bytes:
        call = Call("POST", path, body)
        return self._read(call, lambda data: decode(data["plaintext"]))
