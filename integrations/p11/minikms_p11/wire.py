"""Values in messages of p11-kit's RPC protocol (p11-kit/rpc-message.h): reading and writing.

Numbers are big-endian. A letter of a signature names a type: `u` a CK_ULONG in 8 bytes, `y` a byte,
`v` a version, `s` a padded string, `z` a string, `M` a mechanism with its parameter, `A` an
attribute, `P` the changes to a mechanism's parameter; `a` before a letter is an array, and `f` the
room of the caller's buffer.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from minikms_p11 import constants as c
from minikms_p11.refusal import Refusal

MOST_ATTRIBUTES: Final = 128  # of a template
_NULL: Final = 0xFFFFFFFF  # the length of an absent byte array

Value: TypeAlias = bool | int | bytes
Template: TypeAlias = dict[int, Value]

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")

_BOOLEANS: Final = frozenset(
    {
        c.CKA_TOKEN, c.CKA_PRIVATE, c.CKA_TRUSTED, c.CKA_SENSITIVE, c.CKA_ENCRYPT, c.CKA_DECRYPT,
        c.CKA_WRAP, c.CKA_UNWRAP, c.CKA_SIGN, c.CKA_SIGN_RECOVER, c.CKA_VERIFY,
        c.CKA_VERIFY_RECOVER, c.CKA_DERIVE, c.CKA_EXTRACTABLE, c.CKA_LOCAL,
        c.CKA_NEVER_EXTRACTABLE, c.CKA_ALWAYS_SENSITIVE, c.CKA_MODIFIABLE, c.CKA_COPYABLE,
        c.CKA_ALWAYS_AUTHENTICATE, c.CKA_WRAP_WITH_TRUSTED,
        # CKA_SECONDARY_AUTH, CKA_RESET_ON_INIT, CKA_HAS_RESET, CKA_COLOR
        0x200, 0x301, 0x302, 0x405,
    }
)  # fmt: skip
_NUMBERS: Final = frozenset(
    {
        c.CKA_CLASS, c.CKA_CERTIFICATE_TYPE, c.CKA_CERTIFICATE_CATEGORY,
        c.CKA_JAVA_MIDP_SECURITY_DOMAIN, c.CKA_KEY_TYPE, c.CKA_MODULUS_BITS, c.CKA_VALUE_LEN,
        c.CKA_KEY_GEN_MECHANISM,
        # CKA_PRIME_BITS, CKA_SUB_PRIME_BITS, CKA_VALUE_BITS, CKA_AUTH_PIN_FLAGS
        0x133, 0x134, 0x160, 0x201,
        # CKA_HW_FEATURE_TYPE, CKA_PIXEL_X, _Y, CKA_RESOLUTION, CKA_CHAR_ROWS, _COLUMNS,
        # CKA_BITS_PER_PIXEL, CKA_MECHANISM_TYPE
        0x300, 0x400, 0x401, 0x402, 0x403, 0x404, 0x406, 0x500,
    }
)  # fmt: skip
_TEMPLATES: Final = frozenset({c.CKA_WRAP_TEMPLATE, c.CKA_UNWRAP_TEMPLATE, c.CKA_DERIVE_TEMPLATE})


@dataclass(frozen=True)
class Size:
    """The length of a byte array or a list, answered instead of its items."""

    length: int


@dataclass(frozen=True)
class Mechanism:
    """A mechanism and its parameter, None if it is absent."""

    number: int
    parameter: Any = None


@dataclass(frozen=True)
class PssParameter:
    """CK_RSA_PKCS_PSS_PARAMS."""

    hash: int
    mgf: int
    salt: int


@dataclass(frozen=True)
class OaepParameter:
    """CK_RSA_PKCS_OAEP_PARAMS."""

    hash: int
    mgf: int
    source: int
    label: bytes


@dataclass(frozen=True)
class Ecdh1Parameter:
    """CK_ECDH1_DERIVE_PARAMS."""

    kdf: int
    shared: bytes
    public: bytes


class Reader:
    """Reads the values of a message; any that is cut short or malformed is CKR_DEVICE_ERROR."""

    __slots__ = ("_at", "_message", "_version")

    def __init__(self, message: bytes, version: int) -> None:
        self._message, self._at, self._version = message, 0, version

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._message):
            raise Refusal(c.CKR_DEVICE_ERROR)
        taken = self._message[self._at : end]
        self._at = end
        return taken

    def u32(self) -> int:
        number: int = _U32.unpack(self.take(4))[0]
        return number

    def u64(self) -> int:
        number: int = _U64.unpack(self.take(8))[0]
        return number

    def byte(self) -> int:
        return self.take(1)[0]

    def sized(self) -> bytes:
        """A byte array after its length; an absent one is empty."""
        length = self.u32()
        return b"" if length == _NULL else self.take(length)

    def byte_array(self) -> bytes:
        if self.byte():
            return self.sized()
        if self.u32():  # a length without the bytes
            raise Refusal(c.CKR_ARGUMENTS_BAD)
        return b""

    def byte_room(self) -> int | None:
        """The room of a buffer for bytes; None if only the length is asked for."""
        room = self.u32()
        return None if room == 0 else 0 if room == _NULL else room

    def number_room(self) -> int | None:
        """The room of a buffer for numbers; None if only their count is asked for."""
        return self.u32() or None

    def attributes(self) -> Template:
        count = self._count()
        template: Template = {}
        for _ in range(count):
            kind = self.u32()
            if not self.byte():
                raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
            self.u32()  # the length in the caller's memory
            template[kind] = self._value(kind)
        return template

    def attribute_rooms(self) -> list[tuple[int, int]]:
        """The attributes that are asked for, each with the room of its buffer, 0 for its length."""
        rooms = []
        for _ in range(self._count()):
            kind, room = self.u32(), self.u32()
            if room and kind in _TEMPLATES:
                raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)
            rooms.append((kind, room))
        return rooms

    def mechanism(self) -> Mechanism | None:
        """The mechanism, or None, which cancels an operation.

        In version 2 of the protocol, nothing follows a mechanism without a parameter, and a byte
        precedes a parameter. Earlier versions have an empty byte array, and no such byte.
        """
        number = self.u32()
        if number == _NULL:
            return None
        read = _PARAMETERS.get(number)
        if self._version < 2:
            return Mechanism(number, read(self) if read else self.sized() or None)
        if read is None:
            # The next bytes depend on the mechanism, so an unknown one cannot be read.
            if number not in _WITHOUT_PARAMETER:
                raise Refusal(c.CKR_MECHANISM_INVALID)
            return Mechanism(number)
        return Mechanism(number, read(self) if self.byte() else None)

    def end(self) -> None:
        if self._at != len(self._message):
            raise Refusal(c.CKR_DEVICE_ERROR)

    def _count(self) -> int:
        count = self.u32()
        if count > MOST_ATTRIBUTES:
            raise Refusal(c.CKR_ARGUMENTS_BAD)
        return count

    def _value(self, kind: int) -> Value:
        if kind in _BOOLEANS:
            return bool(self.byte())
        if kind in _NUMBERS:
            return self.u64()
        if kind in _TEMPLATES:
            raise Refusal(c.CKR_ATTRIBUTE_TYPE_INVALID)
        if kind == c.CKA_ALLOWED_MECHANISMS:
            return b"".join(self.take(8) for _ in range(self._count()))
        return self.sized()


def _pss(reader: Reader) -> PssParameter:
    return PssParameter(reader.u64(), reader.u64(), reader.u64())


def _oaep(reader: Reader) -> OaepParameter:
    return OaepParameter(reader.u64(), reader.u64(), reader.u64(), reader.sized())


def _ecdh1(reader: Reader) -> Ecdh1Parameter:
    return Ecdh1Parameter(reader.u64(), reader.sized(), reader.sized())


_PARAMETERS: Final[Mapping[int, Callable[[Reader], object]]] = {
    c.CKM_RSA_PKCS_PSS: _pss,
    c.CKM_SHA256_RSA_PKCS_PSS: _pss,
    c.CKM_SHA384_RSA_PKCS_PSS: _pss,
    c.CKM_SHA512_RSA_PKCS_PSS: _pss,
    c.CKM_RSA_PKCS_OAEP: _oaep,
    c.CKM_ECDH1_DERIVE: _ecdh1,
}
_WITHOUT_PARAMETER: Final = frozenset(
    {
        c.CKM_RSA_PKCS_KEY_PAIR_GEN, c.CKM_RSA_PKCS, c.CKM_SHA256_RSA_PKCS, c.CKM_SHA384_RSA_PKCS,
        c.CKM_SHA512_RSA_PKCS, c.CKM_EC_KEY_PAIR_GEN, c.CKM_ECDSA, c.CKM_ECDSA_SHA1,
        c.CKM_ECDSA_SHA224, c.CKM_ECDSA_SHA256, c.CKM_ECDSA_SHA384, c.CKM_ECDSA_SHA512,
        c.CKM_EDDSA, c.CKM_SHA_1, c.CKM_SHA224, c.CKM_SHA256, c.CKM_SHA384, c.CKM_SHA512,
        c.CKM_SHA256_HMAC, c.CKM_SHA384_HMAC, c.CKM_SHA512_HMAC,
    }
)  # fmt: skip


def u32(number: int) -> bytes:
    """A length, or the number of a call, of an attribute or of a mechanism."""
    return _U32.pack(number)


def u64(number: int) -> bytes:
    """A CK_ULONG."""
    return _U64.pack(number)


def byte(number: int) -> bytes:
    """A CK_BYTE."""
    return bytes((number,))


def version(value: tuple[int, int]) -> bytes:
    """A CK_VERSION."""
    return bytes(value)


def sized(value: bytes) -> bytes:
    """Bytes after their length."""
    return u32(len(value)) + value


def byte_array(value: bytes | Size) -> bytes:
    """Bytes, or only their length."""
    if isinstance(value, Size):
        return b"\0" + u32(value.length)
    return b"\1" + sized(value)


def number_array(value: list[int] | Size) -> bytes:
    """Numbers, or only their count."""
    if isinstance(value, Size):
        return b"\0" + u32(value.length)
    return b"\1" + u32(len(value)) + b"".join(map(u64, value))


def attribute_array(values: list[bytes]) -> bytes:
    """Attributes that `attribute` or `no_attribute` wrote."""
    return u32(len(values)) + b"".join(values)


def attribute(kind: int, value: Value, room: int) -> bytes | None:
    """An attribute for a buffer of `room` bytes, or its length for 0; None if it does not fit."""
    if kind in _BOOLEANS:
        length, written = 1, byte(bool(value))
    elif kind in _NUMBERS:
        length, written = 8, u64(int(value))
    else:
        content = bytes((value,)) if isinstance(value, bool) else value
        if not isinstance(content, bytes):
            raise TypeError(f"attribute {kind:#x} is not bytes")
        length, written = len(content), sized(content) if room else u32(_NULL)
    if room and room < length:
        return None
    return u32(kind) + b"\1" + u32(length) + written


def no_attribute(kind: int) -> bytes:
    """An attribute that the object does not have, does not show, or that does not fit."""
    return u32(kind) + b"\0"
