"""The few values of ASN.1 in DER that attributes hold (ITU-T X.690)."""

from typing import Final

_OCTET_STRING: Final = 0x04
_INTEGER: Final = 0x02


def octets(content: bytes) -> bytes:
    """An OCTET STRING."""
    return _value(_OCTET_STRING, content)


def integer(number: int) -> bytes:
    """An INTEGER, not negative."""
    return _value(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def content(value: bytes, length: int) -> bytes | None:
    """The `length` bytes in an OCTET STRING, or the value itself if it has just these; else None.

    Some programs give a point without its OCTET STRING.
    """
    if len(value) == length:
        return value
    inner = value[len(value) - length :]
    return inner if value == octets(inner) else None


def _value(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content
