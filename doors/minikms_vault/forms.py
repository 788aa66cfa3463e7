"""Translate Vault's options for signatures, ciphertexts and MACs to options of our algorithms."""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from minikms.doors import KeyRecord
from minikms.doors.operations import SignOptions, Verify
from minikms_vault.body import NUMBER, Body, base64, decoded
from minikms_vault.errors import invalid

SHA1: Final = "sha1"
SHA2_256: Final = "sha2-256"
"""Vault's default hash, whatever the key."""
NO_HASH: Final = "none"

# Hashes by Vault's names: the name in hashlib, and the size of a digest in bytes.
_HASHES: Final[Mapping[str, tuple[str, int]]] = {
    SHA1: ("sha1", 20),
    "sha2-224": ("sha224", 28),
    SHA2_256: ("sha256", 32),
    "sha2-384": ("sha384", 48),
    "sha2-512": ("sha512", 64),
    "sha3-224": ("sha3_224", 28),
    "sha3-256": ("sha3_256", 32),
    "sha3-384": ("sha3_384", 48),
    "sha3-512": ("sha3_512", 64),
    NO_HASH: (NO_HASH, 0),
}
FORM_MEMBERS: Final = (
    "algorithm hash_algorithm prehashed signature_algorithm marshaling_algorithm salt_length"
)
"""The members of a body that a SignatureForm is read from."""
_IN_PATH_OR_BODY: Final = frozenset({"urlalgorithm", *FORM_MEMBERS.split(" ")})
_MARSHALING: Final = "marshaling_algorithm"
_MARSHALING_ALONE: Final = frozenset({_MARSHALING})
_ASN1, _JWS = "asn1", "jws"
_PKCS1: Final = "pkcs1v15"

_PREFIX: Final = "vault:v"


def versioned(version: int, text: str) -> str:
    """Prefix a string with the version of its key, such as `vault:v1:AAAA`."""
    return f"{_PREFIX}{version}:{text}"


def parse_versioned(text: str, noun: str) -> tuple[int, str]:
    """Parse a string with a version prefix; raises VaultError with a message about a `noun`."""
    if not text.startswith(_PREFIX):
        raise invalid(f"invalid {noun}: no prefix")
    number, colon, rest = text[len(_PREFIX) :].partition(":")
    if not colon:
        raise invalid(f"invalid {noun}: wrong number of fields")
    if not NUMBER.fullmatch(number):
        raise invalid(f"invalid {noun}: version number could not be decoded")
    return int(number), rest


def hashed_by(name: str) -> str:
    """Return hashlib's name of a hash; raises VaultError."""
    if name == NO_HASH:
        raise invalid("algorithm cannot be none")
    if name not in _HASHES:
        raise invalid(f'unsupported algorithm "{name}"')
    return _HASHES[name][0]


class SignatureForm(NamedTuple):
    """The form of the signature in a call.

    With `jws`, it is URL-safe base64, and an ECDSA signature is r‖s. `scheme` and `salt_length` are
    for RSA.
    """

    hash: str
    prehashed: bool
    scheme: str
    salt_length: int | Literal["auto"] | None
    jws: bool

    @classmethod
    def read(cls, body: Body) -> "SignatureForm":
        """Read the form of a body; raises VaultError."""
        asked = _IN_PATH_OR_BODY.intersection(body.members)
        marshaling = body.text(_MARSHALING, _ASN1) if _MARSHALING in asked else _ASN1
        if marshaling not in (_ASN1, _JWS):
            raise invalid(f'invalid marshaling type "{marshaling}"')
        jws = marshaling == _JWS
        if asked <= _MARSHALING_ALONE:
            return _COMMON[jws]
        hash_name = asked_hash(body)
        if hash_name not in _HASHES:
            raise invalid(f'invalid hash algorithm "{hash_name}"')
        prehashed, scheme = body.boolean("prehashed"), body.text("signature_algorithm")
        salt_length = _salt_length(body.text("salt_length", "auto"))
        return cls(hash_name, prehashed, scheme, salt_length, jws)

    def options(self, record: KeyRecord) -> SignOptions:
        """Choose the options for a signature by a key; raises VaultError."""
        choose = _OPTIONS.get(record.alg)
        if choose is None:
            raise invalid(f"Vault has no signatures by a key of {record.alg}")
        return choose(self)

    def verification(self, record: KeyRecord, message: bytes, signature: bytes) -> Verify:
        """Make the verification of a signature by a key; raises VaultError for malformed DER."""
        options = self.options(record)
        if options.encoding == "der":
            try:
                decode_dss_signature(signature)
            except ValueError:
                raise invalid("supplied signature is invalid") from None
        return Verify(message, signature, options)

    def write(self, signature: bytes) -> str:
        """Write a signature in base64."""
        text = base64(signature)
        return text.rstrip("=").replace("+", "-").replace("/", "_") if self.jws else text

    def parse(self, text: str) -> bytes:
        """Parse a signature in base64; raises VaultError."""
        try:
            if not self.jws:
                return decoded(text)
            if not _URL_SAFE.fullmatch(text):
                raise ValueError(text)
            padded = text.translate(_FROM_URL) + "=" * (-len(text) % 4)
            return binascii.a2b_base64(padded, strict_mode=True)
        except ValueError:
            raise invalid("invalid base64 signature value") from None


# The forms of most calls: without and with `jws`.
_COMMON: Final = tuple(SignatureForm(SHA2_256, False, "", "auto", jws) for jws in (False, True))
_FROM_URL: Final = str.maketrans("-_", "+/")
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")


def asked_hash(body: Body) -> str:
    """Return the hash requested for a signature or its verification, in the path or the body."""
    named = body.text("urlalgorithm") or body.text("hash_algorithm")
    return named or body.text("algorithm") or SHA2_256


def _salt_length(text: str) -> int | Literal["auto"] | None:
    """Read a salt length; None means the length of the hash. Go's numbers 0 and -1 are accepted."""
    lower = text.lower()
    if lower in ("auto", "0"):
        return "auto"
    if lower in ("hash", "-1"):
        return None
    if not NUMBER.fullmatch(lower):
        raise invalid(f"salt length neither 'auto', 'hash', nor an int: {text}")
    if int(lower) < 0:
        raise invalid(f"salt length is invalid: {lower}")
    return int(lower) or "auto"


def _require_hash(form: SignatureForm) -> None:
    """Raise VaultError for the hash `none`, except for PKCS #1 v1.5 over a digest."""
    if form.hash == NO_HASH and not (form.prehashed and form.scheme == _PKCS1):
        raise invalid(
            "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15"
        )


def _ecdsa(own: str) -> "_Options":
    """Return the function that chooses options for a curve; its own hash, `own`, is the fastest."""
    of_own = SignOptions(encoding="der"), SignOptions(encoding="raw")

    def options(form: SignatureForm) -> SignOptions:
        if form.hash == own and not form.prehashed:
            return of_own[form.jws]
        _require_hash(form)
        # A digest may have any length: Vault ignores the name of its hash.
        hash_name = NO_HASH if form.prehashed else _HASHES[form.hash][0]
        return of_own[form.jws]._replace(hash=hash_name)

    return options


_PURE: Final = SignOptions()


def _pure(form: SignatureForm) -> SignOptions:
    # Vault ignores the hash here, and signs a digest like a message.
    return _PURE


def _rsa(bits: int) -> "_Options":
    def options(form: SignatureForm) -> SignOptions:
        _require_hash(form)
        name, size = _HASHES[form.hash]
        if form.scheme == _PKCS1:
            prehashed = form.prehashed and name != NO_HASH
            return SignOptions("RS256", prehashed=prehashed, hash=name)
        if form.scheme not in ("", "pss"):
            raise invalid(f"unsupported rsa signature algorithm {form.scheme}")
        salt = form.salt_length
        if isinstance(salt, int) and salt > bits // 8 - 2 - size:
            raise invalid(f"requested salt length {salt} is invalid")
        return SignOptions("PS256", "raw", form.prehashed, name, salt)

    return options


_Options: TypeAlias = Callable[[SignatureForm], SignOptions]

_OPTIONS: Final[Mapping[str, _Options]] = {
    **dict.fromkeys(("ed25519", "mldsa44", "mldsa65", "mldsa87"), _pure),
    **dict.fromkeys(("p256", "k256"), _ecdsa(SHA2_256)),
    "p384": _ecdsa("sha2-384"),
    "p521": _ecdsa("sha2-512"),
    **{f"rsa{bits}": _rsa(bits) for bits in (2048, 3072, 4096)},
}

# The size of the nonce in bytes, by algorithm; 0 for algorithms without nonce and associated data.
_NONCES: Final[Mapping[str, int]] = {
    **{"a128gcm": 12, "a256gcm": 12, "c20p": 12, "xc20p": 24},
    **dict.fromkeys(("rsa2048", "rsa3072", "rsa4096"), 0),
}
TAG: Final = 16
"""The size of each cipher's tag in bytes."""


def nonce_of(record: KeyRecord) -> int:
    """Return the size of the nonce in a key's ciphertexts; 0 if they have no nonce.

    Raises VaultError for a key whose ciphertexts Vault cannot represent.
    """
    size = _NONCES.get(record.alg)
    if size is None:
        raise invalid(f"Vault has no ciphertexts by a key of {record.alg}")
    return size
