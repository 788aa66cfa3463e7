"""Keys in the formats of the Transit engine, and as JWKs."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, rsa
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey, import_key

from minikms.doors import b64url_decode, jose_b64url
from minikms.doors.public_keys import spki_of
from minikms_vault.body import base64
from minikms_vault.errors import VaultError, invalid

FORMATS: Final = ("", "raw", "der", "pem")

# Classes of private and public keys, by the algorithm of their JWKs.
_ML_DSA: Final[Mapping[str, tuple[Any, Any]]] = {
    "ML-DSA-44": (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    "ML-DSA-65": (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    "ML-DSA-87": (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
}


def public_key(jwk: Mapping[str, str], form: str = "") -> str:
    """Write a public key: PEM, or base64 of the bytes of an Ed25519 or ML-DSA key.

    Raises VaultError for another form.
    """
    if form in ("", "raw"):
        if jwk.get("crv") == "Ed25519":
            return base64(b64url_decode(jwk["x"]))
        if jwk["kty"] == "AKP":
            return base64(b64url_decode(jwk["pub"]))
    if form == "raw":
        raise _unknown_form(jwk)
    der = spki_of(jwk)
    return base64(der) if form == "der" else _pem("PUBLIC KEY", der)


def private_key(jwk: Mapping[str, str], form: str = "") -> str:
    """Write a private key of a private JWK in Vault's form for its type, or as PKCS #8.

    Raises VaultError for another form.
    """
    key = _private(jwk)
    if form in ("", "raw"):
        if jwk.get("crv") == "Ed25519":
            return base64(b64url_decode(jwk["d"]) + b64url_decode(jwk["x"]))
        if jwk["kty"] == "AKP":
            return base64(b64url_decode(jwk["priv"]))  # the seed (FIPS 204, algorithm 1)
    if form == "raw":
        raise _unknown_form(jwk)
    older = form == "" and jwk["kty"] in ("EC", "RSA")
    kind = ser.PrivateFormat.TraditionalOpenSSL if older else ser.PrivateFormat.PKCS8
    encoding = ser.Encoding.DER if form == "der" else ser.Encoding.PEM
    encoded: bytes = key.private_bytes(encoding, kind, ser.NoEncryption())
    return base64(encoded) if form == "der" else encoded.decode()


def secret_key(secret: bytes, form: str = "") -> str:
    """Write a symmetric key; raises VaultError for a form of key pairs."""
    if form in ("der", "pem"):
        raise invalid("unknown format for HMAC key; supported values are `` or `raw`")
    return base64(secret)


def secret_of(jwk: Mapping[str, str]) -> bytes:
    """Return the bytes of a symmetric key of a private JWK."""
    return b64url_decode(jwk["k"])


def chain(certificates: Iterable[str]) -> str:
    """Convert certificates from base64 of DER to PEM."""
    return "\n".join(_lines("CERTIFICATE", each) for each in certificates)


def jwk_of_private(pkcs8: bytes) -> dict[str, str]:
    """Return the private JWK of a key in PKCS #8; raises VaultError."""
    try:
        key = ser.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, rsa.RSAPrivateKey):
            of_jose: Any = RSAKey(key, key)
            return dict(of_jose.as_dict(private=True))  # the service validates it, in a thread
        for alg, (private, _) in _ML_DSA.items():
            if isinstance(key, private):
                seed = jose_b64url(key.private_bytes_raw())
                return {**_ml_dsa(alg, key.public_key()), "priv": seed}
        kty: Any = "OKP" if isinstance(key, ed25519.Ed25519PrivateKey) else "EC"
        return dict(import_key(pkcs8, kty).as_dict(private=True))
    # pyca/cryptography may not support the kind of key, nor joserfc the curve.
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, JoseError):
        raise invalid("error parsing asymmetric key: it is not a private key in PKCS #8") from None


def jwk_of_public(pem: str) -> dict[str, str]:
    """Return the public JWK of a key in PEM; raises VaultError."""
    try:
        key = ser.load_pem_public_key(pem.encode())
        for alg, (_, public) in _ML_DSA.items():
            if isinstance(key, public):
                return _ml_dsa(alg, key)
        kty: Any = "OKP" if isinstance(key, ed25519.Ed25519PublicKey) else "EC"
        if isinstance(key, rsa.RSAPublicKey):
            kty = "RSA"
        return dict(import_key(pem, kty).as_dict(private=False))
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, JoseError):
        raise invalid("error parsing public key: it is not in PEM") from None


def _ml_dsa(alg: str, key: Any) -> dict[str, str]:
    """Return the public JWK of an ML-DSA key of pyca/cryptography (RFC 9964)."""
    return {"kty": "AKP", "alg": alg, "pub": jose_b64url(key.public_bytes_raw())}


def _private(jwk: Mapping[str, str]) -> Any:
    """Load a private JWK of the service as a key of pyca/cryptography."""
    if jwk["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n"))
        p, q, d, dp, dq, qi = (_number(jwk, each) for each in ("p", "q", "d", "dp", "dq", "qi"))
        numbers = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public)
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)
    if jwk["kty"] == "AKP":
        private, _ = _ML_DSA[jwk["alg"]]
        return private.from_seed_bytes(b64url_decode(jwk["priv"]))
    of_jose: Any = import_key({**jwk})
    return of_jose.private_key


def _unknown_form(jwk: Mapping[str, str]) -> VaultError:
    kind = jwk["kty"].lower()
    return invalid(f"unknown key format for {kind} key; supported values are ``, `der`, or `pem`")


def _pem(label: str, der: bytes) -> str:
    return _lines(label, base64(der)) + "\n"


def _lines(label: str, text: str) -> str:
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"))


def _number(jwk: Mapping[str, str], member: str) -> int:
    return int.from_bytes(b64url_decode(jwk[member]))
