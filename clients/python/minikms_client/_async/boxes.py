"""NaCl's boxes, and the envelopes of DIDComm v1, which are made of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import Box, Unpacked
from minikms_client.wire import Call, Json, Jwk, decode, encode, named


class AsyncBoxes(AsyncTransport):
    """Messages between two keys on X25519, or Ed25519 keys that may be used so."""

    async def make_box(
        self, plaintext: bytes, to: Jwk, *, kid: str | None = None, alias: str | None = None
    ) -> Box:
        """Encrypt to a public JWK, from a key (X25519, XSalsa20-Poly1305)."""
        body = named(kid, alias) | {"to": dict(to), "plaintext": encode(plaintext)}
        return Box.from_json(await self._json(Call("POST", "/box", body)))

    async def open_box(
        self,
        ciphertext: bytes,
        nonce: bytes,
        from_: Jwk,
        *,
        kid: str | None = None,
        alias: str | None = None,
    ) -> bytes:
        """The plaintext of a box that the holder of a public JWK made; raises DecryptionFailed."""
        body = named(kid, alias) | {
            "from": dict(from_),
            "ciphertext": encode(ciphertext),
            "nonce": encode(nonce),
        }
        return await self._opened("/box/open", body)

    async def seal_box(self, plaintext: bytes, to: Jwk) -> bytes:
        """Encrypt to a public JWK, from nobody."""
        body = {"to": dict(to), "plaintext": encode(plaintext)}
        return decode((await self._json(Call("POST", "/box/seal", body)))["ciphertext"])

    async def open_sealed_box(
        self, ciphertext: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> bytes:
        """The plaintext of a sealed box; raises DecryptionFailed."""
        body = named(kid, alias) | {"ciphertext": encode(ciphertext)}
        return await self._opened("/box/seal/open", body)

    async def pack_didcomm(
        self, to: Iterable[str], message: bytes, *, from_: str | None = None
    ) -> dict[str, Any]:
        """A message in an envelope of DIDComm v1 (Aries RFC 0019).

        `to` are base58 Ed25519 verkeys, `from_` the kid or an alias of the sender's key.
        """
        body: Json = {"to": list(to), "message": encode(message)}
        if from_ is not None:
            body["from"] = from_
        packed: dict[str, Any] = (await self._json(Call("POST", "/didcomm/pack", body)))["packed"]
        return packed

    async def unpack_didcomm(self, packed: Mapping[str, Any]) -> Unpacked:
        """The message of an envelope to one of the profile's keys; raises DecryptionFailed."""
        call = Call("POST", "/didcomm/unpack", {"packed": dict(packed)})
        return Unpacked.from_json(await self._json(call))

    async def _opened(self, path: str, body: Json) -> bytes:
        return decode((await self._json(Call("POST", path, body)))["plaintext"])
