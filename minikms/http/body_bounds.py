"""Bounds a body in bytes and in JSON values."""

from typing import Final

from minikms.errors import BodyTooLarge

SMALL_BODY: Final = 64 * 1024
"""The JSON values of a body are counted only if it has more decoded bytes than this."""

MAX_VALUES: Final = 20_000
"""The most JSON values in a larger body, about as many as fit into a small one.

`{}` takes 64 bytes of memory. A call that takes a long list has a larger number of its own.
"""


def refuse_too_large(size: int, most: int) -> None:
    """Raise BodyTooLarge for a body of more than `most` bytes."""
    if size > most:
        raise BodyTooLarge(f"The body is over the limit of {most:,} bytes.")


class BodyBound:
    """Bounds a body that arrives in parts: its bytes, and if it is large, its JSON values."""

    def __init__(self, most: int, values: int = MAX_VALUES) -> None:
        self._most, self._most_values = most, values
        self._size = self._values = 0

    def add(self, part: bytes) -> None:
        """Count a part; raises BodyTooLarge."""
        self._size += len(part)
        refuse_too_large(self._size, self._most)
        if self._most <= SMALL_BODY:
            return
        # This may count too many, since commas and brackets in strings count as well.
        self._values += part.count(b",") + part.count(b"[") + part.count(b"{") + 1
        if self._size > SMALL_BODY and self._values > self._most_values:
            raise BodyTooLarge(
                f"A body over {SMALL_BODY:,} bytes has at most {self._most_values:,} JSON values."
            )
