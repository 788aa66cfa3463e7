"""JOSE: signatures as JWS, messages as JWE, and the JWK Set of a profile."""

from collections.abc import Iterable, Mapping
from typing import Any

from minikms_client._sync.transport import Transport
from minikms_client.models import DecryptedJwe, JwkSet, JwsVerification
from minikms_client.shapes import each, members, text
from minikms_client.wire import Call, Jwk, encode, encode_optional, named, present


class Jose(Transport):
    """What speaks JOSE (RFC 7515 to 7518)."""

    def sign_jws(
        self,
        payload: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        header: Mapping[str, Any] | None = None,
        detached: bool | None = None,
        kid_header: str | None = None,
    ) -> str:
        """A compact JWS of `payload`; `detached` leaves the payload out of it (RFC 7797).

        `kid_header` "kid" names the key by its kid in the header, although an alias named it here.
        """
        body = named(kid, alias) | present(
            payload=encode(payload),
            alg=alg,
            header=None if header is None else dict(header),
            detached=detached,
            kid_header=kid_header,
        )
        return self._read(Call("POST", "/jws/sign", body), lambda data: text(data["jws"]))

    def verify_jws(
        self,
        jws: str,
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        payload: bytes | None = None,
    ) -> JwsVerification:
        """Whether a JWS is valid, and what it says; `payload` is that of a detached one."""
        body = named(kid, alias, jwk) | present(jws=jws, payload=encode_optional(payload))
        return self._read(Call("POST", "/jws/verify", body), JwsVerification.from_json)

    def encrypt_jwe(
        self,
        plaintext: bytes,
        enc: str,
        recipients: Iterable[Mapping[str, Any]],
        *,
        from_: str | None = None,
        header: Mapping[str, Any] | None = None,
        aad: bytes | None = None,
        serialization: str | None = None,
    ) -> str | dict[str, Any]:
        """A JWE: a text where it is compact, or else an object.

        A recipient has `alg`, one of `jwk`, `kid` and `alias`, and perhaps a `header`; `from_` is
        the kid or an alias of the sender's key, for ECDH-1PU.
        """
        body = present(
            plaintext=encode(plaintext),
            enc=enc,
            recipients=[dict(recipient) for recipient in recipients],
            from_=from_,
            header=None if header is None else dict(header),
            aad=encode_optional(aad),
            serialization=serialization,
        )
        return self._read(Call("POST", "/jwe/encrypt", body), _jwe)

    def decrypt_jwe(
        self,
        jwe: str | Mapping[str, Any],
        *,
        kid: str | None = None,
        alias: str | None = None,
        from_: Jwk | None = None,
    ) -> DecryptedJwe:
        """The plaintext of a JWE to this key; raises DecryptionFailed.

        `from_` is the sender's public JWK, for ECDH-1PU.
        """
        message = jwe if isinstance(jwe, str) else dict(jwe)
        sender = None if from_ is None else dict(from_)
        body = named(kid, alias) | present(jwe=message, from_=sender)
        return self._read(Call("POST", "/jwe/decrypt", body), DecryptedJwe.from_json)

    def jwks(
        self,
        *,
        kty: Iterable[str] = (),
        alg: Iterable[str] = (),
        use: Iterable[str] = (),
        if_none_match: str | None = None,
    ) -> JwkSet | None:
        """The profile's public keys; None where `if_none_match` is still their `etag`.

        Each of `kty`, `alg` and `use` narrows the set to keys that have one of its values.
        """
        filters = {"kty": kty, "alg": alg, "use": use}
        query = [(name, value) for name, values in filters.items() for value in values]
        headers = {} if if_none_match is None else {"If-None-Match": if_none_match}
        answer = self._send(Call("GET", "/jwks.json", query=query), headers)
        if answer.status == 304:
            return None
        keys = answer.read(lambda data: each(members, data["keys"]))
        return JwkSet(keys, answer.headers.get("ETag"))


def _jwe(data: Mapping[str, Any]) -> str | dict[str, Any]:
    """The JWE of an answer."""
    jwe = data["jwe"]
    return text(jwe) if isinstance(jwe, str) else members(jwe)
