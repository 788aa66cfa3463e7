"""Objects of PKCS#11 and their attributes (PKCS #11 v3.0 section 4)."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minikms_p11 import constants as c
from minikms_p11 import der
from minikms_p11.algorithms import ED25519_OID, OIDS_BY_CURVE
from minikms_p11.keys import Key, PublicKey, point_of
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Template, Value

_SECRETS: Final = frozenset(
    {
        c.CKA_VALUE, c.CKA_PRIVATE_EXPONENT, c.CKA_PRIME_1, c.CKA_PRIME_2, c.CKA_EXPONENT_1,
        c.CKA_EXPONENT_2, c.CKA_COEFFICIENT,
    }
)  # fmt: skip


class Object(Protocol):
    """An object: its class, and its attributes."""

    @property
    def object_class(self) -> int: ...

    def attribute(self, kind: int) -> Value:
        """The value of an attribute; raises Refusal if the object lacks or hides it."""
        ...


@dataclass(frozen=True)
class KeyObject:
    """The private key, the public key or the secret of a key of the service."""

    key: Key
    object_class: int

    def attribute(self, kind: int) -> Value:
        value = _KEY_ATTRIBUTES[self.object_class].get(kind)
        if value is not None:
            return value(self.key)
        if self.object_class != c.CKO_SECRET_KEY and self.key.public_key is not None:
            return _public_attribute(self.key.public_key, kind, self.object_class)
        if kind in _SECRETS:
            raise Refusal(c.CKR_ATTRIBUTE_SENSITIVE)
        raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)


@dataclass(frozen=True)
class CertificateObject:
    """A certificate in the chain of a key; the first one is its own."""

    key: Key
    index: int
    object_class: int = c.CKO_CERTIFICATE

    @property
    def content(self) -> bytes:
        return self.key.certificates[self.index]

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.content).digest()

    @property
    def parsed(self) -> x509.Certificate:
        return self.key.parsed[self.index]

    def attribute(self, kind: int) -> Value:
        value = _CERTIFICATE_ATTRIBUTES.get(kind)
        if value is None:
            raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)
        return value(self)


@dataclass(frozen=True)
class SessionPublicKey:
    """A public key that a program brought, to verify or to encrypt with it."""

    public_key: PublicKey
    given: Mapping[int, Value]
    object_class: int = c.CKO_PUBLIC_KEY

    @cached_property
    def size(self) -> int:
        return _size(self.given)

    def attribute(self, kind: int) -> Value:
        if kind in self.given:
            return self.given[kind]
        if kind in (c.CKA_TOKEN, c.CKA_PRIVATE):
            return False
        return _public_attribute(self.public_key, kind, self.object_class)


@dataclass(frozen=True)
class SessionSecret:
    """A shared secret that a program derived; its `repr` does not show it."""

    value: bytes
    given: Mapping[int, Value]
    object_class: int = c.CKO_SECRET_KEY

    def __repr__(self) -> str:
        return "SessionSecret()"

    @cached_property
    def size(self) -> int:
        return len(self.value) + _size(self.given)

    def attribute(self, kind: int) -> Value:
        if kind == c.CKA_VALUE:
            if self.given.get(c.CKA_SENSITIVE) or self.given.get(c.CKA_EXTRACTABLE) is False:
                raise Refusal(c.CKR_ATTRIBUTE_SENSITIVE)
            return self.value
        if kind == c.CKA_VALUE_LEN:
            return len(self.value)
        if kind in self.given:
            return self.given[kind]
        if kind in _SECRET_DEFAULTS:
            return _SECRET_DEFAULTS[kind]
        raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)


_SECRET_DEFAULTS: Final[Template] = {
    c.CKA_CLASS: c.CKO_SECRET_KEY,
    c.CKA_TOKEN: False,
    c.CKA_PRIVATE: True,
    c.CKA_KEY_TYPE: c.CKK_GENERIC_SECRET,
    c.CKA_SENSITIVE: False,
    c.CKA_EXTRACTABLE: True,
    c.CKA_LOCAL: False,
    c.CKA_LABEL: b"",
    c.CKA_ID: b"",
}


def _size(given: Mapping[int, Value]) -> int:
    """The bytes of a template."""
    return sum(len(value) for value in given.values() if isinstance(value, bytes))


def objects_of(key: Key) -> Iterator[KeyObject | CertificateObject]:
    """The objects of a key of the service."""
    if key.algorithm.is_secret:
        yield KeyObject(key, c.CKO_SECRET_KEY)
        return
    if key.has_private_object:
        yield KeyObject(key, c.CKO_PRIVATE_KEY)
    yield KeyObject(key, c.CKO_PUBLIC_KEY)
    for index in range(len(key.certificates)):
        yield CertificateObject(key, index)


def matches(found: Object, template: Template) -> bool:
    """If an object has each attribute of a template; any name of a key fits its label."""
    for kind, value in template.items():
        if kind == c.CKA_LABEL and isinstance(found, KeyObject | CertificateObject):
            if value not in [name.encode() for name in _names(found)]:
                return False
            continue
        if kind == c.CKA_ID and isinstance(found, KeyObject) and value == found.key.kid.encode():
            continue
        try:
            if found.attribute(kind) != value:
                return False
        except Refusal:
            return False
    return True


def _names(found: KeyObject | CertificateObject) -> tuple[str, ...]:
    if isinstance(found, CertificateObject) and found.index:
        return (_common_name(found.parsed),)
    return found.key.names


def _public_attribute(key: PublicKey, kind: int, object_class: int) -> Value:
    """An attribute that follows from the public key."""
    value: Value | None = None
    if kind == c.CKA_PUBLIC_KEY_INFO:
        value = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    elif isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if kind == c.CKA_KEY_TYPE:
            value = c.CKK_RSA
        elif kind == c.CKA_MODULUS:
            value = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
        elif kind == c.CKA_MODULUS_BITS and object_class == c.CKO_PUBLIC_KEY:
            value = numbers.n.bit_length()
        elif kind == c.CKA_PUBLIC_EXPONENT:
            value = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
    elif kind == c.CKA_EC_POINT:
        value = der.octets(point_of(key))
    elif kind == c.CKA_EC_PARAMS:
        value = ED25519_OID
        if isinstance(key, ec.EllipticCurvePublicKey):
            value = OIDS_BY_CURVE[key.curve.name]
    elif kind == c.CKA_KEY_TYPE:
        value = c.CKK_EC_EDWARDS if isinstance(key, ed25519.Ed25519PublicKey) else c.CKK_EC
    if value is not None:
        return value
    if kind in _SECRETS and object_class == c.CKO_PRIVATE_KEY:
        raise Refusal(c.CKR_ATTRIBUTE_SENSITIVE)
    raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)


def _generator(key: Key) -> int:
    if key.imported:
        return c.UNAVAILABLE
    if key.algorithm.key_type == c.CKK_RSA:
        return c.CKM_RSA_PKCS_KEY_PAIR_GEN
    return c.CKM_EC_KEY_PAIR_GEN if key.algorithm.key_type == c.CKK_EC else c.UNAVAILABLE


def _subject(key: Key) -> bytes:
    return key.parsed[0].subject.public_bytes() if key.certificates else b""


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


_KeyAttributes = Mapping[int, Callable[[Key], Value]]

_EVERY_KEY: Final[_KeyAttributes] = {
    c.CKA_TOKEN: lambda key: not key.is_session_key,
    c.CKA_LABEL: lambda key: key.names[0].encode(),
    c.CKA_ID: lambda key: key.id,
    c.CKA_KEY_TYPE: lambda key: key.algorithm.key_type,
    c.CKA_START_DATE: lambda _: b"",
    c.CKA_END_DATE: lambda _: b"",
    c.CKA_LOCAL: lambda key: not key.imported,
    c.CKA_KEY_GEN_MECHANISM: _generator,
    c.CKA_MODIFIABLE: lambda _: True,
    c.CKA_COPYABLE: lambda _: False,
    c.CKA_WRAP: lambda _: False,
    c.CKA_UNWRAP: lambda _: False,
}
_HIDDEN: Final[_KeyAttributes] = {
    c.CKA_PRIVATE: lambda _: True,
    c.CKA_SENSITIVE: lambda _: True,
    c.CKA_EXTRACTABLE: lambda _: False,
    c.CKA_ALWAYS_SENSITIVE: lambda key: not key.imported,
    c.CKA_NEVER_EXTRACTABLE: lambda key: not key.imported,
    c.CKA_WRAP_WITH_TRUSTED: lambda _: False,
    c.CKA_SIGN: lambda key: key.may_sign,
}
_KEY_ATTRIBUTES: Final[Mapping[int, _KeyAttributes]] = {
    c.CKO_PRIVATE_KEY: {
        **_EVERY_KEY,
        **_HIDDEN,
        c.CKA_CLASS: lambda _: c.CKO_PRIVATE_KEY,
        c.CKA_UNIQUE_ID: lambda key: f"{key.kid}/private".encode(),
        c.CKA_SUBJECT: _subject,
        c.CKA_SIGN_RECOVER: lambda _: False,
        c.CKA_DECRYPT: lambda key: key.may_decrypt,
        c.CKA_DERIVE: lambda key: key.may_derive,
        c.CKA_ALWAYS_AUTHENTICATE: lambda _: False,
    },
    c.CKO_PUBLIC_KEY: {
        **_EVERY_KEY,
        c.CKA_CLASS: lambda _: c.CKO_PUBLIC_KEY,
        c.CKA_UNIQUE_ID: lambda key: f"{key.kid}/public".encode(),
        c.CKA_PRIVATE: lambda _: False,
        c.CKA_SUBJECT: _subject,
        c.CKA_TRUSTED: lambda _: False,
        c.CKA_VERIFY: lambda key: "sign" in key.operations or "verify" in key.operations,
        c.CKA_VERIFY_RECOVER: lambda _: False,
        c.CKA_ENCRYPT: lambda key: key.algorithm.key_type == c.CKK_RSA,
        c.CKA_DERIVE: lambda _: False,
    },
    c.CKO_SECRET_KEY: {
        **_EVERY_KEY,
        **_HIDDEN,
        c.CKA_CLASS: lambda _: c.CKO_SECRET_KEY,
        c.CKA_UNIQUE_ID: lambda key: f"{key.kid}/secret".encode(),
        c.CKA_TRUSTED: lambda _: False,
        c.CKA_VERIFY: lambda key: "mac-verify" in key.operations,
        c.CKA_ENCRYPT: lambda _: False,
        c.CKA_DECRYPT: lambda _: False,
        c.CKA_DERIVE: lambda _: False,
    },
}
_CERTIFICATE_ATTRIBUTES: Final[Mapping[int, Callable[[CertificateObject], Value]]] = {
    c.CKA_CLASS: lambda _: c.CKO_CERTIFICATE,
    c.CKA_UNIQUE_ID: lambda it: f"{it.key.kid}/{it.fingerprint.hex()}".encode(),
    c.CKA_TOKEN: lambda _: True,
    c.CKA_PRIVATE: lambda _: False,
    c.CKA_MODIFIABLE: lambda _: True,
    c.CKA_COPYABLE: lambda _: False,
    c.CKA_LABEL: lambda it: _names(it)[0].encode(),
    c.CKA_ID: lambda it: b"" if it.index else it.key.id,
    c.CKA_CERTIFICATE_TYPE: lambda _: c.CKC_X_509,
    c.CKA_CERTIFICATE_CATEGORY: lambda it: (
        c.CK_CERTIFICATE_CATEGORY_AUTHORITY if it.index else c.CK_CERTIFICATE_CATEGORY_UNSPECIFIED
    ),
    c.CKA_TRUSTED: lambda _: False,
    c.CKA_CHECK_VALUE: lambda it: hashlib.sha1(it.content, usedforsecurity=False).digest()[:3],
    c.CKA_START_DATE: lambda it: it.parsed.not_valid_before_utc.strftime("%Y%m%d").encode(),
    c.CKA_END_DATE: lambda it: it.parsed.not_valid_after_utc.strftime("%Y%m%d").encode(),
    c.CKA_SUBJECT: lambda it: it.parsed.subject.public_bytes(),
    c.CKA_ISSUER: lambda it: it.parsed.issuer.public_bytes(),
    c.CKA_SERIAL_NUMBER: lambda it: der.integer(it.parsed.serial_number),
    c.CKA_VALUE: lambda it: it.content,
    c.CKA_PUBLIC_KEY_INFO: lambda it: it.parsed.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ),
}
