"""base64url as the tests write and read it, by Python's own library."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any


def b64(data: bytes) -> str:
    """Encode with padding, as the service answers."""
    return urlsafe_b64encode(data).decode()


def jose(data: bytes) -> str:
    """Encode without padding, as JOSE does."""
    return b64(data).rstrip("=")


def raw(text: str) -> bytes:
    """Decode, with padding or without."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(value: Any) -> str:
    """A part of a JWS or JWE: bytes, or a value as JSON."""
    return jose(value if isinstance(value, bytes) else json.dumps(value).encode())


def changed(text: str) -> str:
    """Replace the first character by another."""
    return ("B" if text.startswith("A") else "A") + text[1:]
