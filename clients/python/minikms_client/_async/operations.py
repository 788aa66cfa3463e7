"""Operations on keys: signatures, encryption, wrapping, key agreement, authentication codes."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import Ciphertext, Signature, SignResult, VerifyResult
from minikms_client.shapes import each, flag
from minikms_client.wire import Call, Json, Jwk, decode, encode, encode_optional, named, present

ResultT = TypeVar("ResultT")


class AsyncOperations(AsyncTransport):
    """Operations on a key, which `kid` or `alias` names.

    A call that needs only the public key also takes a `jwk`.
    """

    async def sign(
        self,
        data: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        encoding: str | None = None,
        prehashed: bool | None = None,
    ) -> Signature:
        """Sign `data`; with `prehashed`, `data` is a digest.

        `alg` is one of the key's JOSE names, `encoding` is "raw" or, for ECDSA, "der".
        """
        body = named(kid, alias) | present(
            data=encode(data), alg=alg, encoding=encoding, prehashed=prehashed
        )
        return await self._read(Call("POST", "/sign", body), Signature.from_json)

    async def verify(
        self,
        data: bytes,
        sig: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        alg: str | None = None,
        encoding: str | None = None,
        prehashed: bool | None = None,
    ) -> bool:
        """Verify a signature of `data`; the options are the same as for `sign`."""
        body = named(kid, alias, jwk) | present(
            data=encode(data), sig=encode(sig), alg=alg, encoding=encoding, prehashed=prehashed
        )
        return await self._is_valid("/verify", body)

    async def sign_batch(
        self,
        items: Iterable[bytes],
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        encoding: str | None = None,
        prehashed: bool | None = None,
    ) -> tuple[SignResult, ...]:
        """Sign 1 to 1,000 messages with one key; the options are the same as for `sign`."""
        body = named(kid, alias) | present(
            items=[{"data": encode(data)} for data in items],
            alg=alg,
            encoding=encoding,
            prehashed=prehashed,
        )
        return await self._results("/sign/batch", body, SignResult.from_json)

    async def verify_batch(
        self,
        items: Iterable[tuple[bytes, bytes]],
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        alg: str | None = None,
        encoding: str | None = None,
        prehashed: bool | None = None,
    ) -> tuple[VerifyResult, ...]:
        """Verify 1 to 1,000 pairs of a message and its signature with one key."""
        body = named(kid, alias, jwk) | present(
            items=[{"data": encode(data), "sig": encode(sig)} for data, sig in items],
            alg=alg,
            encoding=encoding,
            prehashed=prehashed,
        )
        return await self._results("/verify/batch", body, VerifyResult.from_json)

    async def encrypt(
        self,
        plaintext: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        aad: bytes | None = None,
    ) -> Ciphertext:
        """Encrypt; `aad` is also authenticated, but is not part of the ciphertext.

        A public RSA key, by name or as a `jwk`, encrypts by OAEP, without `aad`.
        """
        body = named(kid, alias, jwk) | present(
            plaintext=encode(plaintext), aad=encode_optional(aad)
        )
        return await self._read(Call("POST", "/encrypt", body), Ciphertext.from_json)

    async def decrypt(
        self,
        ciphertext: bytes,
        nonce: bytes | None = None,
        tag: bytes | None = None,
        *,
        kid: str | None = None,
        alias: str | None = None,
        aad: bytes | None = None,
    ) -> bytes:
        """Decrypt; raises DecryptionFailed if anything does not fit."""
        body = named(kid, alias) | present(
            ciphertext=encode(ciphertext),
            nonce=encode_optional(nonce),
            tag=encode_optional(tag),
            aad=encode_optional(aad),
        )
        return await self._bytes("/decrypt", body, "plaintext")

    async def wrap(self, key: bytes, *, kid: str | None = None, alias: str | None = None) -> bytes:
        """Wrap the secret bytes of a key (RFC 3394, RFC 5649)."""
        return await self._bytes("/wrap", named(kid, alias) | {"key": encode(key)}, "wrapped")

    async def unwrap(
        self, wrapped: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> bytes:
        """Return the secret bytes that `wrap` has wrapped; raises DecryptionFailed."""
        return await self._bytes("/unwrap", named(kid, alias) | {"wrapped": encode(wrapped)}, "key")

    async def derive(self, peer: Jwk, *, kid: str | None = None, alias: str | None = None) -> bytes:
        """Return the raw shared secret with a peer's public JWK, for a key derivation function."""
        return await self._bytes("/derive", named(kid, alias) | {"peer": dict(peer)}, "secret")

    async def mac(self, data: bytes, *, kid: str | None = None, alias: str | None = None) -> bytes:
        """Return the authentication code of `data`."""
        return await self._bytes("/mac", named(kid, alias) | {"data": encode(data)}, "mac")

    async def verify_mac(
        self, data: bytes, mac: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> bool:
        """Verify an authentication code of `data`."""
        body = named(kid, alias) | {"data": encode(data), "mac": encode(mac)}
        return await self._is_valid("/mac/verify", body)

    async def random(self, length: int) -> bytes:
        """Return 1 to 65,536 random bytes of the service's system."""
        return await self._bytes("/random", {"length": length}, "bytes")

    async def _bytes(self, path: str, body: Json, name: str) -> bytes:
        """Return the bytes of an answer under `name`."""
        return await self._read(Call("POST", path, body), lambda data: decode(data[name]))

    async def _is_valid(self, path: str, body: Json) -> bool:
        """Return the answer of a call that verifies."""
        return await self._read(Call("POST", path, body), lambda data: flag(data["valid"]))

    async def _results(
        self, path: str, body: Json, form: Callable[[Any], ResultT]
    ) -> tuple[ResultT, ...]:
        """Return the answer of a batch, item by item."""
        return await self._read(Call("POST", path, body), lambda data: each(form, data["results"]))
