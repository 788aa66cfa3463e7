"""COSE: messages with one signature or MAC."""

from collections.abc import Iterable

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import CoseVerification, Signature
from minikms_client.wire import (
    Call,
    Jwk,
    decode,
    encode,
    encode_optional,
    named,
    one_or_several,
    present,
)


class AsyncCose(AsyncTransport):
    """The operations of COSE (RFC 9052)."""

    async def sign_cose(
        self,
        payload: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        alg: str | None = None,
        detached: bool | None = None,
        external_aad: bytes | None = None,
        content_type: str | int | None = None,
        typ: str | int | None = None,
        protected: bytes | None = None,
        unprotected: bytes | None = None,
        kid_header: str | None = None,
        certificate_header: str | Iterable[str] | None = None,
        tagged: bool | None = None,
    ) -> bytes:
        """Make a COSE_Sign1 (with a MAC key: COSE_Mac0) of `payload`; `detached` omits it.

        `alg` is a JOSE name. `protected` and `unprotected` are CBOR maps of further header
        parameters. The unprotected header names the key by its kid; if `kid_header` is "alias", by
        the alias in the call; if "none", not at all. With `certificate_header` "x5chain" it
        contains the key's certificate chain, with "x5t" the certificate's thumbprint; with
        "x5chain-protected" or "x5t-protected" the protected header does. A list has several.
        """
        body = named(kid, alias) | present(
            payload=encode(payload),
            alg=alg,
            detached=detached,
            external_aad=encode_optional(external_aad),
            content_type=content_type,
            typ=typ,
            protected=encode_optional(protected),
            unprotected=encode_optional(unprotected),
            kid_header=kid_header,
            certificate_header=one_or_several(certificate_header),
            tagged=tagged,
        )
        return await self._read(Call("POST", "/cose/sign", body), lambda data: decode(data["cose"]))

    async def sign_sig_structure(
        self, sig_structure: bytes, *, kid: str | None = None, alias: str | None = None
    ) -> Signature:
        """Sign the Sig_structure of a COSE_Sign1 that a library has made (RFC 9052 section 4.4).

        The `alg` of its protected header must be one of the key's, and the rules of the key hold,
        as in `sign_cose`. Raises InvalidCose for other bytes.
        """
        body = named(kid, alias) | present(sig_structure=encode(sig_structure))
        return await self._read(Call("POST", "/cose/sign", body), Signature.from_json)

    async def verify_cose(
        self,
        cose: bytes,
        *,
        kid: str | None = None,
        alias: str | None = None,
        jwk: Jwk | None = None,
        payload: bytes | None = None,
        external_aad: bytes | None = None,
    ) -> CoseVerification:
        """Verify a COSE message and return its content; a detached one needs its `payload`.

        Raises InvalidCose for other bytes.
        """
        body = named(kid, alias, jwk) | present(
            cose=encode(cose),
            payload=encode_optional(payload),
            external_aad=encode_optional(external_aad),
        )
        return await self._read(Call("POST", "/cose/verify", body), CoseVerification.from_json)
