"""Encodes public keys as COSE_Key (RFC 9052 section 7)."""

from collections.abc import Mapping

import cbor2

from minikms.encodings import b64url_decode
from minikms.plugin.cose import cose_algs_of
from minikms.plugin.curves import CURVES


def cose_key(jwk: Mapping[str, str] | None) -> bytes | None:
    """Encode a public JWK as a COSE_Key, deterministically; None if COSE has no such key type.

    The COSE_Key has only the members that identify the key (RFC 9679 section 3).
    """
    if jwk is None:
        return None
    kty, curve = jwk["kty"], CURVES.get(jwk.get("crv", ""))
    # In the order of their encodings (RFC 8949 section 4.2.1): the negative labels come last.
    if kty == "OKP" and curve is not None:
        members = {1: 1, -1: curve.cose, -2: _bytes(jwk, "x")}  # RFC 9053 section 7.2
    elif kty == "EC" and curve is not None:
        members = {1: 2, -1: curve.cose, -2: _bytes(jwk, "x"), -3: _bytes(jwk, "y")}
    elif kty == "RSA":
        members = {1: 3, -1: _bytes(jwk, "n"), -2: _bytes(jwk, "e")}  # RFC 8230 section 4
    elif kty == "AKP" and (algs := cose_algs_of([jwk["alg"]])):
        members = {1: 7, 3: next(iter(algs)), -1: _bytes(jwk, "pub")}  # RFC 9964
    else:
        return None
    return cbor2.dumps(members)


def _bytes(jwk: Mapping[str, str], member: str) -> bytes:
    return b64url_decode(jwk[member])
