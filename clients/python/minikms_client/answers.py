"""Answers of the service: inflated, parsed and read, or refused as UnexpectedAnswer."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from minikms_client.errors import ProblemError, UnexpectedAnswer, problem

ResultT = TypeVar("ResultT")

LARGEST: Final = 64 * 1024 * 1024
"""The limit of an answer's body in bytes, both compressed and decompressed."""
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
# Errors that the parser raises, and that `form` raises for JSON of another shape.
_UNEXPECTED: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its body as received, and httpx's `extensions`, which have the connection."""

    status: int
    headers: httpx.Headers
    body: bytes
    extensions: Mapping[str, Any]

    def read(self, form: Callable[[Any], ResultT]) -> ResultT:
        """Parse the body and apply `form` to the JSON; raises UnexpectedAnswer if either fails."""
        try:
            return form(json.loads(self._inflated(), parse_constant=_refuse))
        except _UNEXPECTED as error:
            raise UnexpectedAnswer(self.status, self._retry_after) from error

    def pem(self) -> str:
        """Return the body, which is in PEM; raises UnexpectedAnswer if it is not."""
        try:
            text = self._inflated().decode("ascii")
        except (ValueError, zlib.error) as error:
            raise UnexpectedAnswer(self.status) from error
        if not text.startswith("-----BEGIN "):
            raise UnexpectedAnswer(self.status)
        return text

    def failure(self) -> ProblemError | UnexpectedAnswer:
        """Return the problem of the answer, or UnexpectedAnswer if it has none."""
        request_id = self.headers.get("X-Request-Id")
        try:
            return self.read(lambda data: problem(data, request_id, self._retry_after))
        except UnexpectedAnswer as error:
            return error

    @property
    def _retry_after(self) -> float | None:
        """The seconds in `Retry-After`; None for a date."""
        after = self.headers.get("Retry-After", "")
        return float(after) if after.isdecimal() else None

    def _inflated(self) -> bytes:
        """Return the body without its Content-Encoding; raises ValueError or zlib.error."""
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            return self.body
        if encoding not in ("gzip", "deflate"):
            raise ValueError("The answer's Content-Encoding is not supported.")
        # httpx would inflate any answer to any size.
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        inflated = inflater.decompress(self.body, LARGEST)
        if not inflater.eof or inflater.unused_data:
            raise ValueError("The answer is too large, cut short, or followed by more data.")
        return inflated


def _refuse(constant: str) -> None:
    """Refuse NaN and infinities, which JSON does not have (RFC 8259 section 6)."""
    raise ValueError(f"{constant} is not JSON.")
