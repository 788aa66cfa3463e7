"""JOSE: signatures as JWS, messages as JWE, and the JWK Set of a profile; certificates."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, overload

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import DecryptedJwe, JwkSet, JwsVerification, Signature
from minikms_client.shapes import each, members, text
from minikms_client.wire import (
    Call,
    Jwk,
    encode,
    encode_optional,
    encode_time,
    named,
    one_or_several,
    present,
)


class AsyncJose(AsyncTransport):
    """The operations of JOSE (RFC 7515 to 7518), and of X.509 (RFC 5280)."""

    @overload
    async def sign_jws(
        self,
        payload: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        header: Mapping[str, Any] | None = None,
        detached: bool | None = None,
        kid_header: str | None = None,
        certificate_header: str | Iterable[str] | None = None,
        serialization: Literal["compact"] | None = None,
        disclosures: Iterable[str] | None = None,
    ) -> str: ...

    @overload
    async def sign_jws(
        self,
        payload: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        header: Mapping[str, Any] | None = None,
        detached: bool | None = None,
        kid_header: str | None = None,
        certificate_header: str | Iterable[str] | None = None,
        serialization: Literal["flattened", "general"],
        disclosures: Iterable[str] | None = None,
    ) -> dict[str, Any]: ...

    async def sign_jws(
        self,
        payload: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        header: Mapping[str, Any] | None = None,
        detached: bool | None = None,
        kid_header: str | None = None,
        certificate_header: str | Iterable[str] | None = None,
        serialization: str | None = None,
        disclosures: Iterable[str] | None = None,
    ) -> str | dict[str, Any]:
        """Make a JWS of `payload`; `detached` omits the payload (RFC 7797).

        The header names the key as the call does; if `kid_header` is "kid", always by its kid; if
        "none", not at all. With `certificate_header` "x5c" it contains the key's certificate chain,
        with "x5t#S256" the certificate's thumbprint, with a list both. The result is a compact
        string, or an object with `serialization` "flattened" or "general". `disclosures` of an
        SD-JWT are for a key whose rules require them.
        """
        body = named(kid, alias) | present(
            payload=encode(payload),
            alg=alg,
            header=None if header is None else dict(header),
            detached=detached,
            kid_header=kid_header,
            certificate_header=one_or_several(certificate_header),
            serialization=serialization,
            disclosures=None if disclosures is None else list(disclosures),
        )
        read = text if serialization in (None, "compact") else members
        return await self._read(Call("POST", "/jws/sign", body), lambda data: read(data["jws"]))

    async def sign_signing_input(
        self,
        signing_input: str,
        *,
        kid: str | None = None,
        alias: str | None = None,
        disclosures: Iterable[str] | None = None,
    ) -> Signature:
        """Sign the JWS Signing Input that a library has made (RFC 7515 section 5.1).

        It is the encoded header, a dot, and the encoded payload. The `alg` of its header must be
        one of the key's, and the rules of the key hold, as in `sign_jws`.
        """
        body = named(kid, alias) | present(
            signing_input=signing_input,
            disclosures=None if disclosures is None else list(disclosures),
        )
        return await self._read(Call("POST", "/jws/sign", body), Signature.from_json)

    async def verify_jws(
        self,
        jws: str | Mapping[str, Any],
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        payload: bytes | None = None,
    ) -> JwsVerification:
        """Verify a JWS in any form and return its content; detached, it needs `payload`."""
        message = jws if isinstance(jws, str) else dict(jws)
        body = named(kid, alias, jwk) | present(jws=message, payload=encode_optional(payload))
        return await self._read(Call("POST", "/jws/verify", body), JwsVerification.from_json)

    async def attest_keys(
        self,
        keys: Iterable[str],
        *,
        kid: str | None = None,
        alias: str | None = None,
        nonce: str | None = None,
        audience: str | None = None,
        expires_in: int | None = None,
        certificate_header: str | Iterable[str] | None = None,
        key_storage: Iterable[str] | None = None,
        user_authentication: Iterable[str] | None = None,
        certification: str | None = None,
        allow_imported: bool | None = None,
        approval: bool | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a key attestation, a JWT by this key about `keys`, each a kid or an alias.

        It expires after `expires_in` seconds, or with the first of its keys. With
        `certificate_header` "x5c" the header has this key's certificate chain instead of its kid,
        with "x5t#S256" the certificate's thumbprint, with a list both. The service does not verify
        `key_storage`, `user_authentication`, `certification`, and the further `claims`, such as
        `key_storage_status`. With `approval` the service states in `user_authentication` that each
        use of the keys needs an approval. Raises NotAttestable for a key that is exportable or not
        enabled, for an imported key without `allow_imported`, and for a key without the rule
        `approval` if `approval` is given.
        """
        body = named(kid, alias) | present(
            keys=list(keys),
            nonce=nonce,
            audience=audience,
            expires_in=expires_in,
            certificate_header=one_or_several(certificate_header),
            key_storage=None if key_storage is None else list(key_storage),
            user_authentication=None if user_authentication is None else list(user_authentication),
            certification=certification,
            allow_imported=allow_imported,
            approval=approval,
            claims=None if claims is None else dict(claims),
        )
        return await self._read(
            Call("POST", "/key-attestation", body), lambda data: text(data["jwt"])
        )

    async def encrypt_jwe(
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
        """Make a JWE: a string if compact, else an object.

        A recipient has `alg`, one of `jwk`, `kid` and `alias`, and optionally a `header`. For
        ECDH-1PU, `from_` is the kid or an alias of the sender's key.
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
        return await self._read(Call("POST", "/jwe/encrypt", body), _jwe)

    async def decrypt_jwe(
        self,
        jwe: str | Mapping[str, Any],
        *,
        kid: str | None = None,
        alias: str | None = None,
        from_: Jwk | None = None,
    ) -> DecryptedJwe:
        """Decrypt a JWE to this key; raises DecryptionFailed.

        `from_` is the sender's public JWK, for ECDH-1PU.
        """
        message = jwe if isinstance(jwe, str) else dict(jwe)
        sender = None if from_ is None else dict(from_)
        body = named(kid, alias) | present(jwe=message, from_=sender)
        return await self._read(Call("POST", "/jwe/decrypt", body), DecryptedJwe.from_json)

    async def jwks(
        self,
        *,
        kty: Iterable[str] = (),
        alg: Iterable[str] = (),
        use: Iterable[str] = (),
        if_none_match: str | None = None,
    ) -> JwkSet | None:
        """Return the profile's public keys, or None if `if_none_match` is still their `etag`.

        Each of `kty`, `alg` and `use` narrows the set to keys that have one of its values.
        """
        filters = {"kty": kty, "alg": alg, "use": use}
        query = [(name, value) for name, values in filters.items() for value in values]
        headers = {} if if_none_match is None else {"If-None-Match": if_none_match}
        answer = await self._send(Call("GET", "/jwks.json", query=query), headers)
        if answer.status == 304:
            return None
        keys = answer.read(lambda data: each(members, data["keys"]))
        return JwkSet(keys, answer.headers.get("ETag"))

    async def make_csr(
        self,
        subject: str,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alternative_names: Iterable[str] = (),
        alg: str | None = None,
    ) -> str:
        """Make a certificate request for a key, in PEM.

        `subject` is a string such as "CN=example,C=DE" (RFC 4514). Each alternative name begins
        with DNS:, URI:, email: or IP:.
        """
        body = named(kid, alias) | present(
            subject=subject, alternative_names=list(alternative_names) or None, alg=alg
        )
        return await self._read(Call("POST", "/csr", body), lambda data: text(data["csr"]))

    async def issue_certificate(
        self,
        profile: str,
        days: int,
        *,
        kid: str | None = None,
        alias: str | None = None,
        subject: str | None = None,
        alternative_names: Iterable[str] = (),
        csr: str | None = None,
        key: str | None = None,
        issuer_alternative_names: Iterable[str] = (),
        crl: str | None = None,
        policies: Iterable[str] = (),
        cps: str | None = None,
        issuer_url: str | None = None,
        document_signing: bool | None = None,
    ) -> str:
        """Issue a certificate, in PEM, signed with the key that `kid` or `alias` names.

        `profile` is "self-signed", "iaca", "document-signer", "reader", "client", "access",
        "pid-provider" or "document". The subject's key is the key in `csr`, or the service's key
        named by `key`, its kid or alias. `subject` and `alternative_names` replace those of `csr`.
        `policies` are object identifiers. `crl`, `cps` and `issuer_url` are URIs of the issuer's
        revocation list, practice statement and certificate. With `document_signing`, the profile
        "document" also has the purpose of RFC 9336.
        """
        body = named(kid, alias) | present(
            profile=profile,
            days=days,
            subject=subject,
            alternative_names=list(alternative_names) or None,
            csr=csr,
            key=key,
            issuer_alternative_names=list(issuer_alternative_names) or None,
            crl=crl,
            policies=list(policies) or None,
            cps=cps,
            issuer_url=issuer_url,
            document_signing=document_signing,
        )
        call = Call("POST", "/certificate", body)
        return await self._read(call, lambda data: text(data["certificate"]))

    async def make_crl(
        self,
        number: int,
        days: int,
        revoked: Mapping[int, datetime],
        *,
        kid: str | None = None,
        alias: str | None = None,
    ) -> str:
        """Make a certificate revocation list, in PEM, signed with the key of a CA.

        Each list needs a larger `number` than the list before. It is valid for `days`. `revoked`
        has the time of the revocation of each serial number.
        """
        entries = [
            {"serial": f"{serial:x}", "date": encode_time(date)} for serial, date in revoked.items()
        ]
        body = named(kid, alias) | present(number=number, days=days, revoked=entries)
        return await self._read(Call("POST", "/crl", body), lambda data: text(data["crl"]))


def _jwe(data: Mapping[str, Any]) -> str | dict[str, Any]:
    """Return the JWE in an answer."""
    jwe = data["jwe"]
    return text(jwe) if isinstance(jwe, str) else members(jwe)
