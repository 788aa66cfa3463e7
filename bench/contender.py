"""What a contender of `run.py` is: how it is started, how it is asked, and what its answers say."""

import json
import os
import socket
from abc import ABC, abstractmethod
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

BATCH: Final = "batch of 100"
BESIDE: Final = "sign beside batches of 1,000"
BATCH_OF_KEYS: Final = "batch of 100 keys"

# What has keys made, changed or listed, besides these operations that use them.
MAKING: Final = ("generate", BATCH_OF_KEYS, "import", "rotate", "associate", "delete", "list")
USING: Final = ("get", "sign", "verify", "encrypt", BATCH, BESIDE)
# What is compared with Mini KMS's own signatures alone.
OTHERS: Final = ("sign a JWS", "mac", "wrap", "derive")
# The same, of what was made for the key before.
OPEN_BOX: Final = "open a box"
UNPACK: Final = "unpack DIDComm v1"
OPEN_JWE: Final = "open a JWE"

# In a request, it stands for a number that no other has (post.lua).
NUMBER: Final = "N" * 16


class Request(NamedTuple):
    """A call as it is sent, without the headers that all of a contender's have."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What came of it; `body` is JSON that was read."""

    status: int
    body: Any


class Key(NamedTuple):
    """A key, as a contender names it."""

    alg: str
    name: str


def post(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    """A call with a body."""
    return Request("POST", path, json.dumps(body).encode(), headers or {})


Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]


class Contender(ABC):
    """A service and its API. What is not in `algorithms` and `operations` it cannot do."""

    algorithms: ClassVar[Mapping[str, Any]]  # ours, as it calls them
    operations: ClassVar[frozenset[str]] = frozenset((*MAKING, *USING))
    probe: ClassVar[Request]  # answered 200 as soon as it serves
    set_up: ClassVar[Sequence[Request]] = ()
    title: str
    like: str | None  # the contender that is asked for the same
    audit: bool  # writes `audit.log` in its folder, or `audit.N.log` for each worker

    def can(self, operation: str, alg: str) -> bool:
        """Whether it has what such a row needs."""
        return operation in self.operations and alg in self.algorithms

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every call."""
        return {"Content-Type": "application/json"}

    @property
    def intrusion(self) -> Request | None:
        """A call without a token, where it asks for one."""
        return None

    async def prepare(self, folder: Path) -> None:  # noqa: B027
        """Make what there has to be before the first start; LookupError where that cannot be."""

    async def open(self, ask: Ask, folder: Path) -> None:  # noqa: B027
        """Do what a service that has started needs before it takes calls."""

    @abstractmethod
    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        """What starts it."""

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables that it is started with."""
        return {**os.environ, "HOME": str(folder)}

    @abstractmethod
    def generate(self, alg: str, name: str) -> Request:
        """Make a key, under this name where callers choose it."""

    @abstractmethod
    def name(self, body: Any) -> str:
        """What the key is called that was made, or got."""

    def generate_many(self, alg: str, number: int) -> Request:
        """Make so many keys by one call."""
        raise NotImplementedError

    def names(self, body: Any) -> list[str]:
        """What the keys are called that one call made, or listed."""
        raise NotImplementedError

    def import_key(self, alg: str) -> Request:
        """Take in a key that no other call has taken in: with NUMBER in it."""
        raise NotImplementedError

    def rotate(self, key: Key) -> Request:
        """Have a key replaced by a new one."""
        raise NotImplementedError

    def associate(self, key: Key, alias: str) -> Request:
        """Give a key one more name."""
        raise NotImplementedError

    def unlock(self, key: Key) -> Request | None:
        """What it takes before a key can be deleted."""
        return None

    def delete(self, key: Key) -> Request:
        """Remove a key."""
        raise NotImplementedError

    def page(self, limit: int) -> Request:
        """The first so many keys."""
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

    @abstractmethod
    def batch(self, key: Key, messages: Sequence[bytes]) -> Request: ...

    @abstractmethod
    def signatures(self, body: Any) -> list[str]: ...

    @abstractmethod
    def encrypt(self, key: Key, plaintext: bytes) -> Request: ...

    @abstractmethod
    def decrypt(self, key: Key, encrypted: Any) -> Request:
        """Undo `encrypt`, whose answer had the body `encrypted`."""

    @abstractmethod
    def plaintext(self, body: Any) -> bytes: ...


def base64(data: bytes) -> str:
    """Base64 as OpenBao and KMS have it."""
    return b64encode(data).decode()


def base64url(data: bytes) -> str:
    """Base64url as Mini KMS has it."""
    return urlsafe_b64encode(data).decode()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
