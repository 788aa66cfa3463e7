"""The form of a sealed store key: an envelope with one or more seals, each of which opens it."""

import binascii
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import orjson

_MARK: Final = "sealed store key"
_VERSION: Final = 1
MOST_SEALS: Final = 8


class SealedKey(NamedTuple):
    """A store key, encrypted by the seal with this URI."""

    uri: str
    ciphertext: bytes

    @property
    def shown(self) -> str:
        """The seal for an operator: its URI without options."""
        return self.uri.partition("?")[0]

    @property
    def kind(self) -> str:
        """The scheme of its URI, which names the kind of seal."""
        return self.uri.partition(":")[0]


class Envelope(NamedTuple):
    """One store key, encrypted by each of several seals. Its random id is new at each sealing."""

    id: str
    keys: Sequence[SealedKey]

    @property
    def associated_data(self) -> bytes:
        """The text that each ciphertext is bound to, so that none fits another envelope."""
        return f"minikms store key, envelope {_VERSION}, {self.id}".encode()

    def dump(self) -> str:
        """Return its text: JSON on several lines, where a plain key has one."""
        seals = [
            {"uri": uri, "ciphertext": b64encode(sealed).decode()} for uri, sealed in self.keys
        ]
        document = {"minikms": _MARK, "version": _VERSION, "id": self.id, "seals": seals}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read an envelope; None for a plain key. Raises ValueError with a part of a sentence."""
        if not text.startswith("{") or len(text.splitlines()) < 2:
            return None
        try:
            match orjson.loads(text):
                case {"minikms": mark, "version": int(version)} if (
                    mark == _MARK and version > _VERSION
                ):
                    raise ValueError("a newer Mini KMS has sealed it")
                case {
                    "minikms": mark,
                    "version": version,
                    "id": str(id_),
                    "seals": [*seals],
                    **more,
                } if (mark, version, more) == (_MARK, _VERSION, {}) and 0 < len(
                    seals
                ) <= MOST_SEALS:
                    return cls(id_, tuple(map(_sealed_key, seals)))
        except (binascii.Error, orjson.JSONDecodeError):
            pass
        raise ValueError("it is damaged")


def new_id() -> str:
    """Return a random id of an envelope."""
    return secrets.token_urlsafe(16)


def _sealed_key(member: Any) -> SealedKey:
    match member:
        case {"uri": str(uri), "ciphertext": str(ciphertext), **more} if not more:
            return SealedKey(uri, b64decode(ciphertext, validate=True))
    raise ValueError("it is damaged")
