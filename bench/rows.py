"""What `run.py` measures: the calls of each row, and that they are answered rightly."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from contenders import BATCH, BESIDE, Answer, Key, Request
from server import Refused, Server

MESSAGE: Final = bytes(range(48))
OTHER: Final = bytes(range(48, 96))
MESSAGES: Final = [bytes((place,)) * 48 for place in range(100)]


@dataclass(frozen=True)
class Row:
    """One operation under one load."""

    operation: str
    alg: str
    connections: int
    keys: int = 1

    @property
    def title(self) -> str:
        """What is done, however many do it at once."""
        keys = f", {self.keys:,} keys" if self.keys > 1 else ""
        return f"{self.operation} {self.alg}{keys}"

    def __str__(self) -> str:
        return f"{self.title}, {self.connections} connections"

    @property
    def acts(self) -> int:
        """How much is done in a request."""
        return len(MESSAGES) if self.operation == BATCH else 1


def all_rows(connections: Sequence[int], keys: int) -> list[Row]:
    """Every row; those last that leave keys behind."""
    algorithms = ("ed25519", "p256", "k256", "rsa2048", "mldsa44")
    kinds = [
        ("get", "p256", 1),
        *(("sign", alg, 1) for alg in algorithms),
        ("verify", "ed25519", 1),
        ("verify", "p256", 1),
        ("encrypt", "a256gcm", 1),
        (BATCH, "ed25519", 1),
        (BESIDE, "ed25519", 1),
        ("get", "p256", keys),
        ("sign", "p256", keys),
        ("generate", "p256", 1),
    ]
    return [Row(name, alg, many, of) for name, alg, of in kinds for many in connections]


async def requests_of(server: Server, row: Row) -> list[Request]:
    """What is sent for a row; raises Refused where an answer to it is wrong."""
    return await _REQUESTS[row.operation](server, await server.keys(row.alg, row.keys))


async def _generate(server: Server, keys: list[Key]) -> list[Request]:
    contender = server.contender
    name = contender.name((await server.call(contender.generate(keys[0].alg, "made"))).body)
    await _sign(server, [Key(keys[0].alg, name)])
    return [contender.generate(keys[0].alg, "made-NNNNNNNNNNNNNNNN")]


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


_REQUESTS: Final[dict[str, Callable[[Server, list[Key]], Awaitable[list[Request]]]]] = {
    "generate": _generate,
    "get": _get,
    "sign": _sign,
    BESIDE: _sign,
    "verify": _verify,
    "encrypt": _encrypt,
    BATCH: _batch,
}


async def _expect_signature(server: Server, key: Key, message: bytes, signature: str) -> None:
    """Check that it is one of this message, and of no other."""
    for asked, expected in ((message, True), (OTHER, False)):
        request = server.contender.verify(key, asked, signature)
        answer: Answer = await server.ask(request)
        _expect(server.contender.valid(answer) is expected, request)


def _expect(right: bool, request: Request) -> None:
    if not right:
        raise Refused(f"{request.method} {request.path} is answered wrongly")
