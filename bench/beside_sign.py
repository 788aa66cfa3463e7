"""How fast other operations on a key are beside `POST /sign`, in one process, with keys in memory.

`python bench/beside_sign.py` needs wrk. Each is loaded in turn with `/sign` by Ed25519. A ratio is
of calls a second, and of processor time: what `/sign` takes, of what the other takes.
"""

import asyncio
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
from contender import Request, base64url, post
from contenders import CONTENDERS
from rows import MESSAGE
from server import Server, started
from turns import least

GOAL: Final = 0.75
SIGN: Final = "/sign"


async def calls(server: Server) -> dict[str, Request]:
    """A call of each route, by keys that are made for it."""

    async def key(alg: str) -> Any:
        return (await server.call(post("/key/generate", {"alg": alg}))).body

    ed25519, peer = await key("ed25519"), await key("x25519")
    message, secret = base64url(MESSAGE), base64url(MESSAGE[:32])
    bodies = {
        SIGN: {"kid": ed25519["kid"], "data": message},
        "/jws/sign": {"kid": ed25519["kid"], "payload": message},
        "/mac": {"kid": (await key("hs256"))["kid"], "data": message},
        "/wrap": {"kid": (await key("a256kw"))["kid"], "key": secret},
        "/encrypt": {"kid": (await key("a256gcm"))["kid"], "plaintext": message},
        "/derive": {"kid": (await key("x25519"))["kid"], "peer": peer["jwk"]},
    }
    return {path: post(path, body) for path, body in bodies.items()}


@click.command(help=__doc__)
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Of a round.")
@click.option("--connections", default=8, show_default=True)
def main(rounds: int, seconds: int, connections: int) -> None:
    """Measure, and print a line for each route."""
    asyncio.run(measure(rounds, seconds, connections))


async def measure(rounds: int, seconds: int, connections: int) -> None:
    """Load each route in each round."""
    with tempfile.TemporaryDirectory() as folder:
        async with started(CONTENDERS["memory"], Path(folder)) as server:
            sent = await calls(server)
            loads: dict[str, Any] = {path: [] for path in sent}
            for number in range(rounds + 1):
                for path, request in sent.items():
                    load = await server.load([request], connections, seconds)
                    if number:  # the first warms up
                        loads[path].append(load)
    for path, found in loads.items():
        rates = [load.rate / sign.rate for load, sign in zip(found, loads[SIGN], strict=True)]
        cpu = least(found)
        print(
            f"{path:10} {cpu:5.1f} µs; of {SIGN}: by processor {least(loads[SIGN]) / cpu:.2f}, "
            f"by calls a second {median(rates):.2f} (goal {GOAL})"
        )


if __name__ == "__main__":
    main()
