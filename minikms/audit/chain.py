"""The lines of an audit log, and the heads that vouch for them.

A chain is the sequence of lines that one process writes into one file, from its opening line on.
Each line has the SHA-256 of the line before, and an HMAC (RFC 2104) under its own key. A one-way
function derives that key from the key of the line before, which is then erased: with the file
alone, no line can be forged.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final, NamedTuple, Self

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from minikms.encodings import b64url_decode, jose_b64url

KEY_LENGTH: Final = 32
START: Final = b'{"chain":"'
LONGEST: Final = 64 * 1024
"""The limit of a line, in bytes."""

_NOTHING: Final = "0" * 64
_FORM: Final = re.compile(
    rb'(\{"chain":"([0-9a-f]{32})","n":([1-9][0-9]{0,15}),.*,"prev":"([0-9a-f]{64})")'
    rb',"mac":"([0-9a-f]{64})"\}\n'
)


class Link(NamedTuple):
    """The number and the hash of a line of a chain."""

    chain: str
    n: int
    hash: str


class Line(NamedTuple):
    """A line as read from a file; its MAC covers `body`."""

    chain: str
    n: int
    prev: str
    mac: str
    body: bytes
    hash: str

    @classmethod
    def parse(cls, line: bytes) -> Self | None:
        """Parse a line with its newline; None if it is not a line of an audit log."""
        found = _FORM.fullmatch(line)
        if found is None:
            return None
        body, chain, n, prev, mac = found.groups()
        return cls(chain.decode(), int(n), prev.decode(), mac.decode(), body, hash_of(line))

    def is_genuine(self, key: bytes) -> bool:
        """Verify its MAC under the key of this line."""
        return hmac.compare_digest(self.mac, _mac(key, self.body))


@dataclass(frozen=True, slots=True)
class Opening:
    """The facts in the first line of a chain.

    `follows` and `after` name the previous chain and its last line; this line has that line's hash.
    If `continues` is true, the previous chain is in the same file, and `torn` bytes of incomplete
    lines lie between the two. `key` is the public key of the heads.
    """

    file: str
    follows: str | None
    after: int
    continues: bool
    torn: int
    key: str

    @classmethod
    def of(cls, line: Line) -> Self | None:
        """Parse the facts of a line that opens a chain; None for another line."""
        try:
            facts = orjson.loads(line.body + b"}")
            return cls(**{name: facts[name] for name in cls.__slots__})
        except (ValueError, KeyError):
            return None


class Chain:
    """The chain that a process is writing."""

    def __init__(self, chain_id: str, key: bytes, opening: Opening, before: Link | None) -> None:
        self.id = chain_id
        self.opening = opening
        self.count = 0
        self._key = key
        self._last = (before.hash if before else _NOTHING).encode()
        self._second = (0, "")

    def open(self, write: Callable[[bytes], None]) -> None:
        """Write its first line; raises as `write` does."""
        facts = {"operation": "openAuditLog", "outcome": "success"}
        self.append([orjson.dumps(facts | asdict(self.opening))], write)

    def append(self, facts: Iterable[bytes], write: Callable[[bytes], None]) -> None:
        """Write the next lines, one for each JSON object.

        If `write` raises, the chain is unchanged.
        """
        count, last, key = self.count, self._last, self._key
        start = b'{"chain":"%s","n":' % self.id.encode()
        time = self._time().encode()
        lines = []
        for encoded in facts:
            count += 1
            body = b'%s%d,"time":"%s",%s,"prev":"%s"' % (start, count, time, encoded[1:-1], last)
            line = b'%s,"mac":"%s"}\n' % (body, _mac(key, body).encode())
            lines.append(line)
            last, key = hash_of(line).encode(), next_key(key)
        write(b"".join(lines))
        self.count, self._last, self._key = count, last, key

    @property
    def last(self) -> Link:
        return Link(self.id, self.count, self._last.decode())

    def head(self, *, closed: bool) -> "Head":
        """A head for its last line, not yet signed."""
        opening = self.opening
        return Head(
            self.id,
            opening.file,
            opening.follows,
            opening.continues,
            self.count,
            self._last.decode(),
            self._time(),
            closed,
        )

    def _time(self) -> str:
        """The time in UTC as RFC 3339; the part down to seconds is formatted once a second."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second[0]:
            self._second = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second[1]}.{rest // 1000:06d}Z"


@dataclass(frozen=True, slots=True)
class Head:
    """Signed length of a chain and hash of its last line; `closed` if the chain has ended."""

    chain: str
    file: str
    follows: str | None
    continues: bool
    count: int
    hash: str
    time: str
    closed: bool
    sig: str = ""

    def signed(self, key: Ed25519PrivateKey) -> Self:
        return replace(self, sig=jose_b64url(key.sign(self._payload)))

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Verify its signature under this key."""
        try:
            key.verify(b64url_decode(self.sig), self._payload)
        except (ValueError, InvalidSignature):
            return False
        return True

    @property
    def _payload(self) -> bytes:
        return b"minikms audit head\n" + orjson.dumps(asdict(replace(self, sig="")))

    def to_bytes(self) -> bytes:
        """Encode the head for the store and exports: a JSON object on one line."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Decode a head that `to_bytes` encoded; raises ValueError and TypeError."""
        return cls(**orjson.loads(value))


def chain_ends(heads: list[Head]) -> list[Head]:
    """Select the heads of chains that no other chain follows."""
    followed = {head.follows for head in heads}
    return [head for head in heads if head.chain not in followed]


def next_key(key: bytes) -> bytes:
    """Derive the key of the next line from the key of a line."""
    return hashlib.sha256(b"minikms audit key\n" + key).digest()


def hash_of(line: bytes) -> str:
    """Hash a line without its newline, as the next line contains it."""
    return hashlib.sha256(line[:-1]).hexdigest()


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()
