"""The rows of `run.py`: their calls, and checks of their answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from contender import (
    BATCH,
    BATCH_OF_KEYS,
    BESIDE,
    CREDENTIAL,
    NUMBER,
    OPEN_BOX,
    OPEN_JWE,
    OPENED,
    OTHERS,
    UNPACK,
    Answer,
    Key,
    Request,
    base64url,
    post,
)
from mini_kms import RULED, WALLET, MiniKms
from server import Refused, Server

MESSAGE: Final = bytes(range(48))
OTHER: Final = bytes(range(48, 96))
ONCE: Final = 1000  # keys of a round in which each key is used once
HOLDERS: Final = 500  # keys that get aliases in turn, so that none has many
MESSAGES: Final = [bytes((place,)) * 48 for place in range(100)]


def count_of(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Row:
    """One operation under one load."""

    operation: str
    alg: str
    connections: int
    keys: int = 1
    state: str = ""  # of the service, if it was prepared, or of the connections in production

    @property
    def title(self) -> str:
        """The operation, algorithm, keys and state, without the connections."""
        parts = [f"{self.operation} {self.alg}"]
        if self.keys > 1 or self.state:
            parts.append(count_of(self.keys, "key"))
        return ", ".join([*parts, *([self.state] if self.state else [])])

    def __str__(self) -> str:
        return f"{self.title}, {count_of(self.connections, 'connection')}"

    @property
    def acts(self) -> int:
        """Operations in a request."""
        return 100 if self.operation in (BATCH, BATCH_OF_KEYS) else 1

    @property
    def once(self) -> bool:
        """Tell whether a request works only once, so that each round needs its own."""
        return self.operation in ("rotate", "delete")


# States of rows in production: connections that are kept, and a new one for each call.
KEPT: Final = "kept"
NEW: Final = "new"

# Sets of contenders that are compared.
MINE: Final = ("memory", "sqlite", "postgres")
ALL: Final = (*MINE, "memory-2", "openbao", "openbao-raft")
SHOWN: Final = ("memory-2", "openbao", "moto")  # in the README
USED: Final = (*SHOWN, "memory")
IN_PRODUCTION: Final = ("production", "openbao-production")

# Operation, algorithm, connections, keys and contenders. A listing comes before there are more
# keys. The least important rows come last.
_ROWS: Final = (
    ("list", "ed25519", (8,), 1000, ALL),
    ("generate", "ed25519", (1, 8, 64), 1, ALL),
    (BATCH_OF_KEYS, "ed25519", (1, 8), 1, MINE),
    ("import", "ed25519", (8,), 1, ALL),
    ("rotate", "ed25519", (8,), 1, ALL),
    ("associate", "ed25519", (8,), 1, ALL),
    ("delete", "ed25519", (8,), 1, ALL),
    ("generate", "p256", (8,), 1, SHOWN),
    ("sign", "ed25519", (8,), 1, (*USED, "vault", "vault-2", "sqlite", "openbao-raft", "echo")),
    ("verify", "ed25519", (8,), 1, USED),
    (BATCH, "ed25519", (8,), 1, USED),
    ("sign", "p256", (8,), 1, (*SHOWN, "memory", "aws", "vault")),
    ("get", "p256", (8,), 1, (*SHOWN, "memory")),
    (BESIDE, "ed25519", (8,), 1, ("memory",)),
    ("sign", "ed25519", (1, 64), 1, ("memory", "memory-2", "openbao")),
    ("verify", "ed25519", (64,), 1, ("memory", "openbao")),
    (BATCH, "ed25519", (64,), 1, ("memory", "openbao")),
    ("sign a JWS", "ed25519", (8,), 1, ("memory",)),
    (CREDENTIAL, "ed25519", (8,), 1, ("memory",)),
    (CREDENTIAL, RULED, (8,), 1, ("memory",)),
    ("sign a COSE message", "ed25519", (8,), 1, ("memory",)),
    ("mac", "hs256", (8,), 1, ("memory",)),
    ("wrap", "a256kw", (8,), 1, ("memory",)),
    ("derive", "x25519", (8,), 1, ("memory",)),
    (OPEN_BOX, "x25519", (8,), 1, ("memory",)),
    (UNPACK, WALLET, (8,), 1, ("memory",)),
    (OPEN_JWE, "x25519", (8,), 1, ("memory",)),
    (OPEN_JWE, "p256", (8,), 1, ("memory",)),
    ("encrypt", "a256gcm", (8,), 1, SHOWN),
    ("verify", "p256", (8,), 1, SHOWN),
    ("sign", "rsa2048", (8,), 1, SHOWN),
    ("sign", "mldsa44", (8,), 1, ("memory-2",)),
    ("sign", "k256", (8,), 1, ("memory-2", "moto")),
)


def contenders_of_rows() -> dict[Row, Sequence[str]]:
    """Every row with its contenders."""
    return {
        Row(name, alg, connections, keys): contenders
        for name, alg, some, keys, contenders in _ROWS
        for connections in some
    }


def in_production() -> dict[Row, Sequence[str]]:
    """Rows with their contenders, as in production."""
    used = (("sign", "ed25519"), ("sign", "p256"), ("verify", "ed25519"), (BATCH, "ed25519"))
    made = (("generate", "ed25519"), ("generate", "p256"))
    rows = (
        *(Row(*each, connections, 1, KEPT) for connections in (8, 64) for each in (*used, *made)),
        *(Row(*each, 8, 1, NEW) for each in used[:3]),
        Row("sign", "ed25519", 8, 40_000, KEPT),
    )
    return dict.fromkeys(rows, IN_PRODUCTION)


async def requests_of(server: Server, row: Row) -> list[Request]:
    """Make the requests of a row; raises Refused if an answer to one is wrong."""
    return await _REQUESTS[row.operation](server, await server.keys(row.alg, row.keys))


async def _generate(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    [key] = await server.new_keys(keys[0].alg, 1)
    await _sign(server, [key])
    return [contender.generate(key.alg, f"made-{NUMBER}")]


async def _generate_many(server: Server, keys: list[Key]) -> list[Request]:
    request = server.contender.generate_many(keys[0].alg, 100)
    names = server.contender.names((await server.call(request)).body)
    _expect(len(set(names)) == 100, request)
    await _sign(server, [Key(keys[0].alg, names[-1])])
    return [request]


async def _import(server: Server, keys: list[Key]) -> list[Request]:
    request = server.contender.import_key(keys[0].alg)
    body = request.body.replace(NUMBER.encode(), b"%016d" % (time.time_ns() // 1000))
    name = server.contender.name((await server.call(request._replace(body=body))).body)
    await _sign(server, [Key(keys[0].alg, name)])
    return [request]


async def _rotate(server: Server, keys: list[Key]) -> list[Request]:
    requests = [server.contender.rotate(key) for key in await server.new_keys(keys[0].alg, ONCE)]
    await server.call(requests.pop())
    return requests


async def _associate(server: Server, keys: list[Key]) -> list[Request]:
    holders = await server.new_keys(keys[0].alg, HOLDERS)
    return [server.contender.associate(key, f"alias-{NUMBER}") for key in holders]


async def _delete(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    new = await server.new_keys(keys[0].alg, ONCE)
    unlock = [request for key in new if (request := contender.unlock(key))]
    await asyncio.gather(*map(server.call, unlock))
    requests = [contender.delete(key) for key in new]
    await server.call(requests.pop())
    gone = contender.get(new[-1])
    _expect((await server.ask(gone)).status == 404, gone)
    return requests


async def _list(server: Server, keys: list[Key]) -> list[Request]:
    request = server.contender.page(100)
    names = server.contender.names((await server.call(request)).body)
    _expect(len(set(names)) == 100, request)
    return [request]


async def _get(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    requests = [contender.get(key) for key in keys]
    name = contender.name((await server.call(requests[-1])).body)
    _expect(name == keys[-1].name, requests[-1])
    return requests


async def _sign(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    requests = [contender.sign(key, MESSAGE) for key in keys]
    signature = contender.signature((await server.call(requests[-1])).body)
    await _expect_signature(server, keys[-1], MESSAGE, signature)
    return requests


async def _verify(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    requests = []
    for key in keys:
        answer = await server.call(contender.sign(key, MESSAGE))
        signature = contender.signature(answer.body)
        requests.append(contender.verify(key, MESSAGE, signature))
    await _expect_signature(server, keys[-1], MESSAGE, signature)
    return requests


async def _encrypt(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    requests = [contender.encrypt(key, MESSAGE) for key in keys]
    encrypted = (await server.call(requests[-1])).body
    decrypted = await server.call(contender.decrypt(keys[-1], encrypted))
    _expect(contender.plaintext(decrypted.body) == MESSAGE, requests[-1])
    return requests


async def _batch(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    requests = [contender.batch(key, MESSAGES) for key in keys]
    signatures = contender.signatures((await server.call(requests[-1])).body)
    _expect(len(signatures) == len(MESSAGES), requests[-1])
    for message, signature in zip(MESSAGES, signatures, strict=True):
        await _expect_signature(server, keys[-1], message, signature)
    return requests


def _own(operation: str) -> "Callable[[Server, list[Key]], Awaitable[list[Request]]]":
    async def requests(server: Server, keys: list[Key]) -> list[Request]:
        contender, [key, *_] = server.contender, keys
        assert isinstance(contender, MiniKms)
        peer = (await server.call(contender.get(key))).body
        if operation in OPENED:
            make, path, members = contender.opened(operation, key, MESSAGE, peer)
            request = post(path, {**members, **(await server.call(make)).body})
        else:
            request = contender.other(operation, key, MESSAGE, peer)
        answer = (await server.call(request)).body.values()
        is_text = all(isinstance(value, str) for value in answer)
        _expect(base64url(MESSAGE) in answer if operation in OPENED else is_text, request)
        return [request]

    return requests


_REQUESTS: Final[dict[str, Callable[[Server, list[Key]], Awaitable[list[Request]]]]] = {
    "list": _list,
    "generate": _generate,
    BATCH_OF_KEYS: _generate_many,
    "import": _import,
    "rotate": _rotate,
    "associate": _associate,
    "delete": _delete,
    "get": _get,
    "sign": _sign,
    BESIDE: _sign,
    "verify": _verify,
    "encrypt": _encrypt,
    BATCH: _batch,
    **{operation: _own(operation) for operation in (*OTHERS, *OPENED)},
}


async def _expect_signature(server: Server, key: Key, message: bytes, signature: str) -> None:
    """Check that a signature is valid only for this message."""
    for asked, expected in ((message, True), (OTHER, False)):
        request = server.contender.verify(key, asked, signature)
        answer: Answer = await server.ask(request)
        _expect(server.contender.valid(answer) is expected, request)


def _expect(right: bool, request: Request) -> None:
    if not right:
        raise Refused(f"{request.method} {request.path} is answered wrongly")
