"""A token of a caller: its format, and its record.

The format is `mkms_ID_SECRET`: the id has 16 hexadecimal digits, and the secret is 32 random bytes
in base58check, whose checksum lets secret scanners recognise tokens. The store keeps the SHA-256 of
the secret, which is random and long enough to need no slow hash.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self

import base58
import orjson

PREFIX: Final = "mkms_"
ID_PATTERN: Final = r"^[0-9a-f]{16}\Z"

_FORM: Final = re.compile(r"mkms_([0-9a-f]{16})_([1-9A-HJ-NP-Za-km-z]{36,50})\Z")


class Token(NamedTuple):
    """A token, as its holder knows it."""

    id: str
    secret: bytes

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_hex(8), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse a token; None if `text` is not one."""
        found = _FORM.match(text)
        if found is None:
            return None
        try:
            secret = base58.b58decode_check(found[2])
        except ValueError:
            return None
        return cls(found[1], secret) if len(secret) == 32 else None

    def reveal(self) -> str:
        """Return the token as a string; show it once, to its holder alone."""
        return f"{PREFIX}{self.id}_{base58.b58encode_check(self.secret).decode()}"

    def __repr__(self) -> str:
        return f"Token({self.id!r})"

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the secret, as stored."""
        return hashlib.sha256(self.secret).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The stored facts of a token: the name of its holder, and its permissions.

    `profiles` None means all profiles, `expires` None means never; times are in nanoseconds since
    the epoch. `ids` has the ids of its profiles (store/profiles/tenancy.py) by name, empty if the
    profile did not exist; tokens of versions up to 0.3.0 have no ids. `seq` is its place in the
    order of creation. `last_used` is the time of its last use, None if no use is known. Both are
    stored outside the record, and only listings read them.
    """

    id: str
    name: str
    hash: str = field(repr=False)
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None
    created: int
    expires: int | None = None
    last_used: int | None = None
    ids: Mapping[str, str | None] = field(default_factory=dict)
    seq: str = ""

    def fits(self, token: Token) -> bool:
        """Compare the hash of `token` with this record's, in constant time."""
        return hmac.compare_digest(self.hash, token.hash)

    def to_bytes(self) -> bytes:
        members = asdict(self)
        del members["last_used"], members["ids"], members["seq"]
        if self.profiles is not None:  # earlier versions read only the names of this object
            members["profiles"] = {name: self.ids.get(name) for name in self.profiles}
        return orjson.dumps(members)

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        data: dict[str, Any] = orjson.loads(value)
        data["scopes"] = tuple(data["scopes"])
        if data["profiles"] is not None:
            data["ids"] = data["profiles"] if isinstance(data["profiles"], dict) else {}
            data["profiles"] = tuple(data["profiles"])
        return cls(**data)
