"""The interface of a contender of `run.py`: its command, its requests and its answers."""

import json
import os
import socket
from abc import ABC, abstractmethod
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from certificate import write_certificate

BATCH: Final = "batch of 100"
BESIDE: Final = "sign beside batches of 1,000"
BATCH_OF_KEYS: Final = "batch of 100 keys"

# Operations that make, change or list keys, and operations that use them.
MAKING: Final = ("generate", BATCH_OF_KEYS, "import", "rotate", "associate", "delete", "list")
USING: Final = ("get", "sign", "verify", "encrypt", BATCH, BESIDE)
# Only Mini KMS has these; the latter are on a message made for the key beforehand.
CREDENTIAL: Final = "sign a credential"
OTHERS: Final = ("sign a JWS", CREDENTIAL, "sign a COSE message", "mac", "wrap", "derive")
OPENED = (OPEN_BOX, UNPACK, OPEN_JWE) = ("open a box", "unpack DIDComm v1", "open a JWE")

# In a request, it is replaced by a unique number (post.lua).
NUMBER: Final = "N" * 16


class Request(NamedTuple):
    """A request, without the headers that all requests of a contender share."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """An answer; `body` is parsed JSON."""

    status: int
    body: Any


class Key(NamedTuple):
    """A key, by a contender's name for it."""

    alg: str
    name: str


def post(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    """A call with a body."""
    return Request("POST", path, json.dumps(body).encode(), headers or {})


Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]


class Contender(ABC):
    """A service and its API, with its `algorithms` and `operations`."""

    algorithms: ClassVar[Mapping[str, Any]]  # our algorithms, by its names
    operations: ClassVar[frozenset[str]] = frozenset((*MAKING, *USING))
    probe: ClassVar[Request]  # the path that answers 200 once it serves
    set_up: ClassVar[Sequence[Request]] = ()
    title: str
    like: str | None  # the contender that gets the same requests
    tls: bool = False
    audit: bool  # writes `audit.log` in its folder, or `audit.N.log` for each worker

    def can(self, operation: str, alg: str) -> bool:
        """Tell whether it supports the operation and the algorithm of a row."""
        return operation in self.operations and alg in self.algorithms

    @property
    def scheme(self) -> str:
        """The scheme of its URL."""
        return "https" if self.tls else "http"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every call."""
        return {"Content-Type": "application/json"}

    @property
    def intrusion(self) -> Request | None:
        """A call without a token, if it requires one."""
        return None

    async def prepare(self, folder: Path) -> None:
        """Prepare the first start; raises LookupError if it cannot run here."""
        if self.tls:
            write_certificate(folder)

    async def open(self, ask: Ask, folder: Path) -> None:  # noqa: B027
        """Finish a start, before the service takes calls."""

    @abstractmethod
    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        """The command that starts it."""

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the environment variables to start it with."""
        return {**os.environ, "HOME": str(folder)}

    @abstractmethod
    def generate(self, alg: str, name: str) -> Request:
        """Return the request that makes a key, with this name if callers choose names."""

    @abstractmethod
    def name(self, body: Any) -> str:
        """The name of a key that was made or read."""

    def generate_many(self, alg: str, number: int) -> Request:
        """Make `number` keys by one call."""
        raise NotImplementedError

    def names(self, body: Any) -> list[str]:
        """Return the names of keys that one call made or listed."""
        raise NotImplementedError

    def import_key(self, alg: str) -> Request:
        """Import a new key, whose secret has NUMBER in it."""
        raise NotImplementedError

    def rotate(self, key: Key) -> Request:
        """Replace a key by a new one."""
        raise NotImplementedError

    def associate(self, key: Key, alias: str) -> Request:
        """Give a key one more name."""
        raise NotImplementedError

    def unlock(self, key: Key) -> Request | None:
        """Return the request that must precede a deletion."""
        return None

    def delete(self, key: Key) -> Request:
        """Remove a key."""
        raise NotImplementedError

    def page(self, limit: int) -> Request:
        """Return the request for the first `limit` keys."""
        raise NotImplementedError

    @abstractmethod
    def get(self, key: Key) -> Request: ...

    @abstractmethod
    def sign(self, key: Key, message: bytes) -> Request: ...

    @abstractmethod
    def signature(self, body: Any) -> str: ...

    @abstractmethod
    def verify(self, key: Key, message: bytes, signature: str) -> Request: ...

    @abstractmethod
    def valid(self, answer: Answer) -> bool: ...

    def batch(self, key: Key, messages: Sequence[bytes]) -> Request:
        """Sign several messages by one call."""
        raise NotImplementedError

    def signatures(self, body: Any) -> list[str]:
        """Return the signatures of a batch."""
        raise NotImplementedError

    @abstractmethod
    def encrypt(self, key: Key, plaintext: bytes) -> Request: ...

    @abstractmethod
    def decrypt(self, key: Key, encrypted: Any) -> Request:
        """Return the request that decrypts the answer `encrypted` of `encrypt`."""

    @abstractmethod
    def plaintext(self, body: Any) -> bytes: ...


def base64(data: bytes) -> str:
    """Encode base64 as OpenBao and KMS do."""
    return b64encode(data).decode()


def base64url(data: bytes) -> str:
    """Encode base64url as Mini KMS does."""
    return urlsafe_b64encode(data).decode()


def free_port() -> int:
    """Find a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
