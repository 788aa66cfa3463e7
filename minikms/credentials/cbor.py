"""Reads CBOR with definite lengths, within bounds (RFC 8949).

cbor2 is used only to encode: its decoder builds objects for tags that a caller chooses, keeps the
last of duplicate map keys, and accepts indefinite lengths.
"""

from collections.abc import Hashable
from typing import Final

import cbor2

UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
"""Major types (RFC 8949 section 3.1)."""

MAX_DEPTH: Final = 16
MAX_ITEMS: Final = 4096

NULL: Final = b"\xf6"

_DEFINITE: Final = 24  # smaller values are the argument itself, larger ones give its length
_LONGEST: Final = 27


class CborError(ValueError):
    """The bytes are not CBOR that this module reads; the message says why, without quoting them."""


class Reader:
    """Reads the items of a message one after the other; raises CborError.

    Arrays, maps and tags may nest up to MAX_DEPTH; a message has at most MAX_ITEMS items.
    """

    __slots__ = ("_left", "at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._left = MAX_ITEMS

    def head(self) -> tuple[int, int]:
        """Read the head of an item: its major type and its argument."""
        data, at = self.data, self.at
        if at >= len(data):
            raise CborError("It is cut short, or too long.")
        self._left -= 1
        if self._left < 0:
            raise CborError(f"It has more than {MAX_ITEMS:,} items.")
        major, argument = data[at] >> 5, data[at] & 31
        at += 1
        if argument >= _DEFINITE:
            if argument > _LONGEST:
                raise CborError("An item has no definite length.")
            end = at + (1 << argument - _DEFINITE)
            if end > len(data):
                raise CborError("It is cut short, or too long.")
            argument = int.from_bytes(data[at:end], "big")
            if major == SIMPLE and end == at + 1 and argument < 32:
                raise CborError("A simple value is not well-formed.")  # RFC 8949 section 3.3
            at = end
        self.at = at
        return major, argument

    def take(self, size: int) -> bytes:
        """Read the content of a string."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise CborError("It is cut short, or too long.")
        return self.data[start : self.at]

    def byte_string(self) -> bytes:
        """Read a byte string."""
        major, size = self.head()
        if major != BYTES:
            raise CborError("An item that must be a byte string is not.")
        return self.take(size)

    def byte_string_or_null(self) -> bytes | None:
        """Read a byte string or null."""
        if self.data[self.at : self.at + 1] == NULL:
            self.at += 1
            return None
        return self.byte_string()

    def item(self, depth: int) -> bytes:
        """Read any item at this depth of nesting, and return its encoding."""
        start = self.at
        self._skip(depth)
        return self.data[start : self.at]

    def map(self, depth: int) -> "Map":
        """Read a map."""
        major, count = self.head()
        if major != MAP:
            raise CborError("An item that must be a map is not.")
        entries = Map()
        for _ in range(count):
            label = self.label()
            if label in entries:
                raise CborError("A map has a key twice.")
            entries[label] = self.item(depth + 1)
        return entries

    def end(self) -> None:
        """Raise CborError unless everything has been read."""
        if self.at != len(self.data):
            raise CborError("Bytes follow its end.")

    def label(self) -> int | str:
        """Read a label: an integer or a text string (RFC 9052 section 1.5)."""
        major, argument = self.head()
        if major == UINT:
            return argument
        if major == NEGATIVE:
            return -1 - argument
        if major != TEXT:
            raise CborError("A label must be an integer or a text string.")
        return self._text(argument)

    def labels(self) -> list[int | str]:
        """Read an array of labels."""
        major, count = self.head()
        if major != ARRAY:
            raise CborError("An item that must be an array is not.")
        return [self.label() for _ in range(count)]

    def _text(self, size: int) -> str:
        """Read the content of a text string."""
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise CborError("A text string is not UTF-8.") from None

    def _key(self, depth: int) -> Hashable:
        """Read a map key; an array, a map or a tag is returned as its encoding."""
        start = self.at
        major, argument = self.head()
        if major in (UINT, NEGATIVE):
            return major, argument
        if major in (BYTES, TEXT):
            return major, self.take(argument) if major == BYTES else self._text(argument)
        self._skip_content(major, argument, depth)
        return self.data[start : self.at]

    def _skip(self, depth: int) -> None:
        self._skip_content(*self.head(), depth)

    def _skip_content(self, major: int, argument: int, depth: int) -> None:
        """Read the rest of an item after its head."""
        if major == BYTES:
            self.take(argument)
        elif major == TEXT:
            self._text(argument)
        if major not in (ARRAY, MAP, TAG):
            return
        if depth > MAX_DEPTH:
            raise CborError(f"It nests deeper than {MAX_DEPTH}.")
        if major == MAP:
            keys: set[Hashable] = set()
            for count in range(1, argument + 1):
                keys.add(self._key(depth + 1))
                if len(keys) != count:
                    raise CborError("A map has a key twice.")
                self._skip(depth + 1)
        elif major == ARRAY:
            for _ in range(argument):
                self._skip(depth + 1)
        else:
            self._skip(depth + 1)


class Map(dict[int | str, bytes]):
    """A map of labels to values that stay encoded."""

    @classmethod
    def parse(cls, data: bytes, depth: int = 1) -> "Map":
        """Read the encoding of a map at this depth of nesting; raises CborError."""
        reader = Reader(data)
        read = reader.map(depth)
        reader.end()
        return read

    def encode(self) -> bytes:
        """Encode the map with its labels in order (RFC 8949 section 4.2.1)."""
        items = sorted((cbor2.dumps(label), value) for label, value in self.items())
        return head(MAP, len(items)) + b"".join(part for item in items for part in item)


def head(major: int, argument: int) -> bytes:
    """Encode the head of an item (RFC 8949 section 3)."""
    if argument < _DEFINITE:
        return bytes([major << 5 | argument])
    power = max(0, (argument.bit_length() - 1) // 8).bit_length()  # of the length in bytes
    return bytes([major << 5 | _DEFINITE + power]) + argument.to_bytes(1 << power, "big")


def byte_string(data: bytes) -> bytes:
    """Encode a byte string, ten times as fast as cbor2."""
    return head(BYTES, len(data)) + data
