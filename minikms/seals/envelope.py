"""The format of a sealed store key: an envelope with one or more seals; any of them opens it."""

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode, urlsafe_b64encode
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
        """The seal as an operator sees it: its URI without options."""
        return self.uri.partition("?")[0]

    @property
    def kind(self) -> str:
        """The scheme of its URI, which names the kind of seal."""
        return self.uri.partition(":")[0]


class Envelope(NamedTuple):
    """One store key, encrypted by each of several seals.

    Its id is new at each sealing: random, with a check value of the key behind a dot. Version 0.3
    wrote no check value.
    """

    id: str
    keys: Sequence[SealedKey]

    @property
    def associated_data(self) -> bytes:
        """The associated data that binds each ciphertext to this envelope."""
        return f"minikms store key, envelope {_VERSION}, {self.id}".encode()

    def fits(self, secret: str) -> bool:
        """Tell whether a plaintext can be the sealed store key; without a check value, any can."""
        salt, dot, check = self.id.partition(".")
        if not dot:
            return bool(secret)
        return hmac.compare_digest(check.encode(), _check_value(salt, secret).encode())

    def dump(self) -> str:
        """Serialize it as JSON on several lines; a plain key has one line."""
        seals = [
            {"uri": uri, "ciphertext": b64encode(sealed).decode()} for uri, sealed in self.keys
        ]
        document = {"minikms": _MARK, "version": _VERSION, "id": self.id, "seals": seals}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse an envelope; None for a plain key. Raises ValueError with a part of a sentence."""
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


def new_id(secret: str) -> str:
    """Return a new id of an envelope with this store key."""
    salt = secrets.token_urlsafe(16)
    return f"{salt}.{_check_value(salt, secret)}"


def _check_value(salt: str, secret: str) -> str:
    """Derive a check value that is as slow to guess a passphrase with as the store itself."""
    value = hashlib.scrypt(
        secret.encode(), salt=salt.encode(), n=2**15, r=8, p=3, maxmem=2**26, dklen=16
    )
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _sealed_key(member: Any) -> SealedKey:
    match member:
        case {"uri": str(uri), "ciphertext": str(ciphertext), **more} if not more:
            return SealedKey(uri, b64decode(ciphertext, validate=True))
    raise ValueError("it is damaged")
