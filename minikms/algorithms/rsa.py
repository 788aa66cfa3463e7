"""RSA signatures and encryption (RFC 8017, RFC 7518 sections 3.3, 3.5 and 4.3)."""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from math import isqrt
from typing import Any, ClassVar, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from minikms.plugin import (
    HASHES,
    NO_HASH,
    SIGNING_HASHES,
    DecryptionFailed,
    InvalidKey,
    JwkImporter,
    Pkcs8KeyAlgorithm,
    ProviderSigner,
    PublicKeyEncryption,
    Scheme,
    SignatureOptions,
    UnsupportedOption,
    ValidationFailed,
    jose_b64url,
    jwk_bytes,
    public_of,
    read_spki,
)

_EXPONENT: Final = 65537
_MAX_BYTES: Final = 512
_CRT_MEMBERS: Final = frozenset({"p", "q", "dp", "dq", "qi"})
_MISFIT: Final = "The JWK's private part does not fit its public part."
# RFC 7518 section 4.3: the hash of MGF1 is the same, and there is no label.
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PKCS1_OVERHEAD: Final = 11  # RFC 8017 section 9.2
_OAEP_OVERHEAD: Final = 2 * hashes.SHA256.digest_size + 2  # RFC 8017 section 7.1.1

_Scheme: TypeAlias = tuple[
    padding.AsymmetricPadding, utils.Prehashed | utils.NoDigestInfo | hashes.HashAlgorithm
]


class RsaAlgorithm(
    ProviderSigner[rsa.RSAPrivateKey, rsa.RSAPublicKey],
    PublicKeyEncryption[rsa.RSAPrivateKey, rsa.RSAPublicKey],
    JwkImporter[rsa.RSAPrivateKey],
    Pkcs8KeyAlgorithm[rsa.RSAPrivateKey],
):
    """RSA with a modulus of one size and the exponent 65537.

    A PSS salt is as long as the hash (RFC 7518 section 3.5). Encryption is OAEP with SHA-256.
    """

    kty, multicodec = "RSA", 0x1205
    did_key = True
    signing_algs = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    signing_hashes = SIGNING_HASHES
    jose_algs = ("RSA-OAEP-256",)
    slow = frozenset({"generate", "import", "sign", "decrypt"})
    bits: ClassVar[int]

    def memory_of(self, key: Any) -> int:
        return 5_000 + 2 * self.bits if isinstance(key, rsa.RSAPrivateKey) else 1_500

    def generate(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(_EXPONENT, self.bits)

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return jwk.get("kty") == self.kty and _number(jwk, "n").bit_length() == self.bits

    def public_bytes(self, key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> bytes:
        return public_of(key).public_bytes(ser.Encoding.DER, ser.PublicFormat.PKCS1)

    def public_jwk(self, key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> dict[str, str]:
        numbers = public_of(key).public_numbers()
        return {"kty": self.kty, "n": _text(numbers.n), "e": _text(numbers.e)}

    def load_public(self, jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
        return self._public_numbers(jwk).public_key()

    def import_jwk(self, jwk: Mapping[str, Any]) -> rsa.RSAPrivateKey:
        """Import a private JWK; raises InvalidKey.

        Cheap arithmetic comes first: OpenSSL's test of the primes holds the interpreter lock for up
        to some tenths of a second.
        """
        public = self._public_numbers(jwk)
        if "oth" in jwk:
            raise InvalidKey("RSA keys with more than two primes are not supported.")
        n, d = public.n, _number(jwk, "d")
        if d >= n:
            raise InvalidKey(_MISFIT)
        if "p" in jwk and "q" in jwk:
            p, q = _number(jwk, "p"), _number(jwk, "q")
        elif _CRT_MEMBERS.isdisjoint(jwk):  # RFC 7518 section 6.3.2: d alone is enough
            p, q = _recover_primes(n, d)
        else:
            raise InvalidKey("The JWK has some of p, q, dp, dq and qi, but not both p and q.")
        self._require_primes_apart(p, q)
        if p * q != n or any((_EXPONENT * d - 1) % (prime - 1) for prime in (p, q)):
            raise InvalidKey(_MISFIT)
        try:
            numbers = rsa.RSAPrivateNumbers(
                p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public
            )
            # These three follow from the other members, so the JWK's values must be equal.
            for member, value in (("dp", numbers.dmp1), ("dq", numbers.dmq1), ("qi", numbers.iqmp)):
                if member in jwk and _number(jwk, member) != value:
                    raise InvalidKey(f"The JWK member {member!r} does not fit the others.")
            unproved = numbers.private_key(unsafe_skip_rsa_key_validation=True)
            # If p or q is composite, a signature is wrong, unless the numbers were chosen for it.
            # Signing takes a fraction of the time of the primality test, and does not hold the
            # lock.
            options = SignatureOptions(self.signing_algs[0])
            signature = self.sign(unproved, b"", options)
            if not self.verify(unproved.public_key(), b"", signature, options):
                raise InvalidKey(_MISFIT)
            return load_tested(numbers)
        except ValueError:
            raise InvalidKey(_MISFIT) from None

    def export_jwk(self, key: rsa.RSAPrivateKey) -> dict[str, str]:
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

    def sign(self, key: rsa.RSAPrivateKey, message: bytes, options: SignatureOptions) -> bytes:
        return key.sign(message, *self._scheme(message, options, padding.PSS.MAX_LENGTH))

    def prepare(self, message: bytes, options: SignatureOptions) -> tuple[bytes, Scheme]:
        padded, _ = self._scheme(message, options, padding.PSS.MAX_LENGTH)
        if options.hash == NO_HASH:
            return message, Scheme("rsa-pkcs1v15")
        name = options.hash or f"sha{options.alg[2:]}"
        digest = message if options.prehashed else hashlib.new(name, message).digest()
        if isinstance(padded, padding.PKCS1v15):
            return digest, Scheme("rsa-pkcs1v15", name)
        salt = len(digest) if options.salt_length is None else options.salt_length
        longest = self._longest_salt(len(digest))
        return digest, Scheme("rsa-pss", name, longest if salt == "auto" else salt)

    def load_spki(self, spki: bytes) -> rsa.RSAPublicKey:
        return self.load_public(self.public_jwk(read_spki(spki, rsa.RSAPublicKey)))

    def verify(
        self, public: rsa.RSAPublicKey, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        scheme: Any = self._scheme(message, options, padding.PSS.AUTO)
        # RFC 8017 section 8.1.2; OpenSSL also accepts a signature without its leading zeros.
        if len(signature) != self.bits // 8:
            return False
        try:
            public.verify(signature, message, *scheme)
        except InvalidSignature:
            return False
        return True

    def encrypt(self, public: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
        most = self.bits // 8 - _OAEP_OVERHEAD
        if len(plaintext) > most:
            raise ValidationFailed(errors=[("#/plaintext", f"At most {most} bytes.")])
        return public.encrypt(plaintext, _OAEP)

    def decrypt(self, key: rsa.RSAPrivateKey, ciphertext: bytes) -> bytes:
        if len(ciphertext) != self.bits // 8:
            raise DecryptionFailed()
        try:
            return key.decrypt(ciphertext, _OAEP)
        except ValueError:
            raise DecryptionFailed() from None

    def _scheme(self, message: bytes, options: SignatureOptions, auto: Any) -> _Scheme:
        """Choose the padding and the hash of a signature; `auto` is the salt length for "auto".

        Raises ValidationFailed for a digest of the wrong length or a salt that is too long, and
        UnsupportedOption for PSS without a hash.
        """
        is_pss, size = options.alg.startswith("PS"), self.bits // 8
        if options.hash == NO_HASH:
            if is_pss:
                raise UnsupportedOption("PSS needs a hash.")
            _require(len(message) <= size - _PKCS1_OVERHEAD, "#/data", "Too long for the key.")
            return padding.PKCS1v15(), utils.NoDigestInfo()
        digest = HASHES[options.hash or f"sha{options.alg[2:]}"]
        length = digest.digest_size
        if options.prehashed:
            _require(len(message) == length, "#/data", f"The digest must have {length} bytes.")
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if is_pss:
            salt, most = options.salt_length, self._longest_salt(length)
            if isinstance(salt, int):
                _require(0 <= salt <= most, "#/salt_length", f"At most {most} bytes.")
            salt = length if salt is None else auto if salt == "auto" else salt
            scheme = padding.PSS(padding.MGF1(digest), salt)
        return scheme, utils.Prehashed(digest) if options.prehashed else digest

    def _longest_salt(self, digest: int) -> int:
        """Return the longest possible PSS salt, in bytes, for a digest of this length."""
        return self.bits // 8 - digest - 2  # RFC 8017 section 9.1.1

    def _public_numbers(self, jwk: Mapping[str, Any]) -> rsa.RSAPublicNumbers:
        n, e = _number(jwk, "n"), _number(jwk, "e")
        if jwk.get("kty") != self.kty or n.bit_length() != self.bits or e != _EXPONENT:
            raise InvalidKey(f"The JWK must be RSA, n of {self.bits} bits, e of {_EXPONENT}.")
        return rsa.RSAPublicNumbers(e, n)

    def _require_primes_apart(self, p: int, q: int) -> None:
        """Raise InvalidKey unless p and q are odd, of the right length, and far enough apart.

        FIPS 186-5 section A.1.3 requires half as many bits as n, and no small difference.
        """
        half = self.bits // 2
        if p.bit_length() != half or q.bit_length() != half or not p & q & 1:
            raise InvalidKey(f"p and q must be odd, of {half} bits each.")
        if abs(p - q) <= 1 << half - 100:
            raise InvalidKey("p and q are too close to each other.")


class Rsa2048(RsaAlgorithm):
    """RSA with a modulus of 2048 bits: 256-byte signatures."""

    name, bits = "rsa2048", 2048


class Rsa3072(RsaAlgorithm):
    """RSA with a modulus of 3072 bits: 384-byte signatures."""

    name, bits = "rsa3072", 3072


class Rsa4096(RsaAlgorithm):
    """RSA with a modulus of 4096 bits: 512-byte signatures."""

    name, bits = "rsa4096", 4096


def _require(holds: bool, place: str, why: str) -> None:
    if not holds:
        raise ValidationFailed(errors=[(place, why)])


def load_tested(numbers: rsa.RSAPrivateNumbers) -> rsa.RSAPrivateKey:
    """Load a key from these numbers; OpenSSL tests them, primes included. Raises ValueError."""
    return numbers.private_key()


def _recover_primes(n: int, d: int) -> tuple[int, int]:
    """Recover the primes of n, larger one first, in a bounded number of steps; raises InvalidKey.

    e·d − 1 is k·φ(n)/g. Here g divides gcd(p − 1, q − 1): it is 1 if d was made modulo φ(n), and
    small if d was made modulo λ(n) (RFC 8017 section 3.2). As p and q are half as long as n, φ(n)
    is so near n that k/g is the best approximation of (e·d − 1)/n among all fractions with as small
    a denominator. Then φ(n) is known, with it p + q, and p and q are the roots of x² − (p + q)·x +
    n. No modular power is computed, so numbers that fit nothing do not cost more.
    """
    multiple = _EXPONENT * d - 1
    near = Fraction(multiple, n).limit_denominator(1 << n.bit_length() // 8)
    if near.numerator > 0:
        phi, rest = divmod(multiple * near.denominator, near.numerator)
        total = n + 1 - phi
        square = total * total - 4 * n
        if rest == 0 and total > 0 and square > 0:
            difference = isqrt(square)
            if difference * difference == square:
                return (total + difference) // 2, (total - difference) // 2
    raise InvalidKey(_MISFIT)


def _number(jwk: Mapping[str, Any], member: str) -> int:
    # The size is bounded, since arithmetic on large numbers is slow.
    data = jwk_bytes(jwk, member, most=_MAX_BYTES)
    if data.startswith(b"\0"):  # RFC 7518 section 2: as few octets as possible
        raise InvalidKey(f"The JWK member {member!r} begins with a zero.")
    return int.from_bytes(data, "big")


def _text(number: int) -> str:
    return jose_b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
