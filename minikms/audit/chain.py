"""The lines of an audit log, and the heads that vouch for them.

A chain is what one process writes into one file, from its opening line on. Each line has the
SHA-256 of the line before and an HMAC (RFC 2104) under a key of its own, made one way from the key
before it, which is forgotten: nobody makes a line anew who has only the file.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Final, NamedTuple, Self

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from minikms.encodings import b64url_decode, jose_b64url

KEY_LENGTH: Final = 32
START: Final = b'{"chain":"'
LONGEST: Final = 64 * 1024
"""No line is longer, in bytes."""

_NOTHING: Final = "0" * 64
_FORM: Final = re.compile(
    rb'(\{"chain":"([0-9a-f]{32})","n":([1-9][0-9]{0,15}),.*,"prev":"([0-9a-f]{64})")'
    rb',"mac":"([0-9a-f]{64})"\}\n'
)


class Link(NamedTuple):
    """A line of a chain: which one it is, and its hash."""

    chain: str
    n: int
    hash: str


class Line(NamedTuple):
    """A line as it is found; `body` is what its MAC is over."""

    chain: str
    n: int
    prev: str
    mac: str
    body: bytes
    hash: str

    @classmethod
    def parse(cls, line: bytes) -> Self | None:
        """The line that these bytes are, with the newline; None where they are none."""
        found = _FORM.fullmatch(line)
        if found is None:
            return None
        body, chain, n, prev, mac = found.groups()
        return cls(chain.decode(), int(n), prev.decode(), mac.decode(), body, hash_of(line))

    def is_genuine(self, key: bytes) -> bool:
        """Whether it is as it was written, by who had the key of this line."""
        return hmac.compare_digest(self.mac, _mac(key, self.body))


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first line of a chain says of it.

    `follows` and `after` name the chain before, and which of its lines this one has the hash of;
    `continues` says that it stands before this one in the same file, with `torn` bytes of lines
    that were cut short between them. `key` is the public key of the heads.
    """

    file: str
    follows: str | None
    after: int
    continues: bool
    torn: int
    key: str

    @classmethod
    def of(cls, line: Line) -> Self | None:
        """What a line that is a chain's first says; None where it says something else."""
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

    def opening_line(self) -> "Piece":
        """Its first line."""
        facts = {"operation": "openAuditLog", "outcome": "success"}
        return self.piece([orjson.dumps(facts | asdict(self.opening))])

    def piece(self, facts: Iterable[bytes]) -> "Piece":
        """What would be its next lines, from what each is to say, which is an object in JSON."""
        count, last, key = self.count, self._last, self._key
        start = b'{"chain":"%s","n":' % self.id.encode()
        time = self._time().encode()
        lines = []
        for said in facts:
            count += 1
            body = b'%s%d,"time":"%s",%s,"prev":"%s"' % (start, count, time, said[1:-1], last)
            line = b'%s,"mac":"%s"}\n' % (body, _mac(key, body).encode())
            lines.append(line)
            last, key = hash_of(line).encode(), next_key(key)
        return Piece(b"".join(lines), count, last, key)

    def advance(self, piece: "Piece") -> None:
        """Go on behind lines, which have been written."""
        self.count, self._last, self._key = piece.count, piece.last, piece.key

    @property
    def last(self) -> Link:
        """Its last line."""
        return Link(self.id, self.count, self._last.decode())

    def head(self, *, closed: bool) -> "Head":
        """What it has come to, not yet signed."""
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
        """The time as RFC 3339 has it, in UTC; what a second has in common is formatted once."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second[0]:
            self._second = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second[1]}.{rest // 1000:06d}Z"


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that follow a chain's last, and what it has come to once they are written."""

    lines: bytes
    count: int
    last: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain had come, signed; `closed` where it ended there."""

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
        """The same with a signature."""
        return replace(self, sig=jose_b64url(key.sign(self._payload)))

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether it has the signature of this key."""
        try:
            key.verify(b64url_decode(self.sig), self._payload)
        except (ValueError, InvalidSignature):
            return False
        return True

    @property
    def _payload(self) -> bytes:
        return b"minikms audit head\n" + orjson.dumps(asdict(replace(self, sig="")))

    def to_bytes(self) -> bytes:
        """The head as the store keeps it, and as it is kept apart: an object on one line."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """The head that `to_bytes` made `value` from; raises ValueError and TypeError."""
        return cls(**orjson.loads(value))


def tips(heads: list[Head]) -> list[Head]:
    """Those of these heads whose chain no other one follows."""
    followed = {head.follows for head in heads}
    return [head for head in heads if head.chain not in followed]


def next_key(key: bytes) -> bytes:
    """The key of the line behind that which has this one."""
    return hashlib.sha256(b"minikms audit key\n" + key).digest()


def hash_of(line: bytes) -> str:
    """The hash by which the next line names this one: without its newline."""
    return hashlib.sha256(line[:-1]).hexdigest()


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()
