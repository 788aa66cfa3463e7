"""RSA signatures (RFC 8017, RFC 7518 sections 3.3 and 3.5)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from minikms.plugin import (
    InvalidKey,
    JwkImporter,
    Pkcs8KeyAlgorithm,
    Signer,
    ValidationFailed,
    jose_b64url,
    jwk_bytes,
    public_of,
)

_EXPONENT: Final = 65537
_MAX_BYTES: Final = 512
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


class RsaAlgorithm(Signer, JwkImporter, Pkcs8KeyAlgorithm):
    """RSA with a modulus of one size and the exponent 65537.

    A PSS salt is as long as the hash (RFC 7518 section 3.5).
    """

    kty, multicodec = "RSA", 0x1205
    did_key = True
    signing_algs = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    slow = frozenset({"generate", "import", "sign"})
    bits: ClassVar[int]

    def generate(self) -> Any:
        return rsa.generate_private_key(_EXPONENT, self.bits)

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return jwk.get("kty") == self.kty and _number(jwk, "n").bit_length() == self.bits

    def public_bytes(self, key: Any) -> bytes:
        data: bytes = public_of(key).public_bytes(ser.Encoding.DER, ser.PublicFormat.PKCS1)
        return data

    def public_jwk(self, key: Any) -> dict[str, str]:
        numbers = public_of(key).public_numbers()
        return {"kty": self.kty, "n": _text(numbers.n), "e": _text(numbers.e)}

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        return self._public_numbers(jwk).public_key()

    def import_jwk(self, jwk: Mapping[str, Any]) -> Any:
        public = self._public_numbers(jwk)
        if "oth" in jwk:
            raise InvalidKey("RSA keys of more than two primes are not taken.")
        d = _number(jwk, "d")
        try:
            if "p" in jwk:
                p, q = _number(jwk, "p"), _number(jwk, "q")
            else:  # RFC 7518 section 6.3.2: d alone will do
                p, q = rsa.rsa_recover_prime_factors(public.n, public.e, d)
            derived = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
            # Whatever a JWK says of these three must be what follows from the rest.
            for member, value in zip(("dp", "dq", "qi"), derived, strict=True):
                if member in jwk and _number(jwk, member) != value:
                    raise InvalidKey(f"The JWK member {member!r} does not fit the others.")
            return rsa.RSAPrivateNumbers(p, q, d, *derived, public).private_key()
        except (ValueError, ZeroDivisionError):
            raise InvalidKey("The JWK's private part does not fit its public part.") from None

    def export_jwk(self, key: Any) -> dict[str, str]:
        numbers = key.private_numbers()
        private = {
            "d": numbers.d,
            "p": numbers.p,
            "q": numbers.q,
            "dp": numbers.dmp1,
            "dq": numbers.dmq1,
            "qi": numbers.iqmp,
        }
        return {**self.public_jwk(key), **{name: _text(value) for name, value in private.items()}}

    def sign(self, key: Any, message: bytes, alg: str, prehashed: bool) -> bytes:
        return key.sign(message, *_scheme(message, alg, prehashed))  # type: ignore[no-any-return]

    def verify(
        self, public: Any, message: bytes, signature: bytes, alg: str, prehashed: bool
    ) -> bool:
        scheme = _scheme(message, alg, prehashed)
        # RFC 8017 section 8.1.2: OpenSSL takes one that lost the zeros in front.
        if len(signature) != self.bits // 8:
            return False
        try:
            public.verify(signature, message, *scheme)
        except InvalidSignature:
            return False
        return True

    def _public_numbers(self, jwk: Mapping[str, Any]) -> rsa.RSAPublicNumbers:
        n, e = _number(jwk, "n"), _number(jwk, "e")
        if jwk.get("kty") != self.kty or n.bit_length() != self.bits or e != _EXPONENT:
            raise InvalidKey(f"The JWK must be RSA, n of {self.bits} bits, e of {_EXPONENT}.")
        return rsa.RSAPublicNumbers(e, n)


class Rsa2048(RsaAlgorithm):
    """RSA with a modulus of 2048 bits: 256-byte signatures."""

    name, bits = "rsa2048", 2048


class Rsa3072(RsaAlgorithm):
    """RSA with a modulus of 3072 bits: 384-byte signatures."""

    name, bits = "rsa3072", 3072


class Rsa4096(RsaAlgorithm):
    """RSA with a modulus of 4096 bits: 512-byte signatures."""

    name, bits = "rsa4096", 4096


def _scheme(message: bytes, alg: str, prehashed: bool) -> tuple[Any, Any]:
    """The padding and the hash of a JOSE name."""
    digest = _HASHES[alg[2:]]
    if prehashed and len(message) != digest.digest_size:
        size = digest.digest_size
        raise ValidationFailed(errors=[("#/data", f"The digest must have {size} bytes.")])
    scheme = (
        padding.PSS(padding.MGF1(digest), digest.digest_size)
        if alg.startswith("PS")
        else padding.PKCS1v15()
    )
    return scheme, utils.Prehashed(digest) if prehashed else digest


def _number(jwk: Mapping[str, Any], member: str) -> int:
    data = jwk_bytes(jwk, member)
    if data.startswith(b"\0"):  # RFC 7518 section 2: as few octets as there can be
        raise InvalidKey(f"The JWK member {member!r} begins with a zero.")
    if len(data) > _MAX_BYTES:  # arithmetic on whatever a caller sends would take the processor
        raise InvalidKey(f"The JWK member {member!r} is too long.")
    return int.from_bytes(data, "big")


def _text(number: int) -> str:
    return jose_b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
