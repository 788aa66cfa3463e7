"""Calls while a SoftHSM token is removed for 1, 10 and 60 seconds, and after its return.

Run it with the Python that Mini KMS and minikms-pkcs11 are installed in. Needs softhsm2, and takes
two minutes. Callers sign with a key of the token and, in another process, with a key of the service
itself. It fails unless each answer is a valid signature or, for the token's key, 503
`provider-unavailable`, and unless the token's key signs again within ten seconds. It prints the
delays of the service's own key while the token's key does not sign, beside delays at other times.
"""

import asyncio
import statistics
import tempfile
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from aiohttp import ClientSession
from contender import base64url, post
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from hsm import SoftHsm
from server import started

MESSAGE: Final = b"hello"
PAUSE: Final = 0.01  # seconds between two calls of a caller
STARTING: Final = 3.0  # seconds in which the callers' processes start
MOST: Final = 10.0  # seconds until the token's key signs again


class Call(NamedTuple):
    """An answered call: its start by the monotonic clock, its duration in seconds, its outcome."""

    begun: float
    seconds: float
    is_signed: bool


class Outage(NamedTuple):
    """The times at which a token was removed, returned, and answered its first call again."""

    begun: float
    back: float
    ended: float


@click.command(help=__doc__)
@click.option("--away", default="1,10,60", show_default=True, help="Seconds, each once.")
@click.option("--there", default=10.0, show_default=True, help="Seconds before and after each.")
@click.option("--callers", default=8, show_default=True, help="Of each key.")
def main(away: str, there: float, callers: int) -> None:
    """Measure, and print a line for each removal."""
    asyncio.run(measure([float(each) for each in away.split(",")], there, callers))


async def measure(times: Sequence[float], there: float, callers: int) -> None:
    """Remove the token under load, and bring it back."""
    contender, run = SoftHsm("token"), asyncio.get_running_loop().run_in_executor
    with (
        tempfile.TemporaryDirectory() as path,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        folder = Path(path)
        await contender.prepare(folder)
        async with started(contender, folder) as server:
            of_token = (await server.call(contender.generate("p256", ""))).body
            of_service = (await server.call(post("/key/generate", {"alg": "p256"}))).body
            until = time.monotonic() + STARTING + sum(times) + there * (len(times) + 1)
            running = asyncio.gather(
                run(pool, sign, server.url, of_token, callers, until),
                run(pool, sign, server.url, of_service, callers, until),
            )
            await asyncio.sleep(STARTING)
            periods = []
            for seconds in times:
                await asyncio.sleep(there)
                begun = time.monotonic()
                with away(folder):
                    await asyncio.sleep(seconds)
                periods.append((begun, time.monotonic()))
            token_calls, own_calls = await running
    report(periods, token_calls, own_calls)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Remove the token of a folder during a block."""
    tokens = folder / "tokens"
    tokens.rename(folder / "away")
    tokens.mkdir()
    yield
    tokens.rmdir()
    (folder / "away").rename(tokens)


def sign(url: str, key: Mapping[str, Any], callers: int, until: float) -> list[Call]:
    """Sign with a key until a time of the monotonic clock, and check each answer."""
    return asyncio.run(_sign(url, key, callers, until))


async def _sign(url: str, key: Mapping[str, Any], callers: int, until: float) -> list[Call]:
    x, y = (int.from_bytes(decoded(key["jwk"][name])) for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    body, calls = {"kid": key["kid"], "data": base64url(MESSAGE)}, list[Call]()

    async def caller(client: ClientSession) -> None:
        while (begun := time.monotonic()) < until:
            async with client.post("/sign", json=body) as answer:
                content, is_signed = await answer.json(), answer.status == 200
            calls.append(Call(begun, time.monotonic() - begun, is_signed))
            if is_signed:
                raw = decoded(content["sig"])
                r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
                public.verify(utils.encode_dss_signature(r, s), MESSAGE, ec.ECDSA(SHA256()))
            else:
                assert "provider" in key, content
                assert answer.status == 503, content
                assert content["type"].endswith(":provider-unavailable"), content
            await asyncio.sleep(PAUSE)

    async with ClientSession(url) as client:
        await asyncio.gather(*(caller(client) for _ in range(callers)))
    return calls


def decoded(text: str) -> bytes:
    """The bytes of base64url."""
    return urlsafe_b64decode(text + "==")


def report(
    periods: Sequence[tuple[float, float]], token_calls: Sequence[Call], own_calls: Sequence[Call]
) -> None:
    """Print a line for each removal, and one for the rest of the time."""
    signed = [each for each in token_calls if each.is_signed]
    outages = [
        Outage(begun, back, min(each.begun + each.seconds for each in signed if each.begun > back))
        for begun, back in periods
    ]
    for begun, back, ended in outages:
        assert ended - back < MOST, f"it signed again after {ended - back:.1f} s"
        during = [each for each in own_calls if begun <= each.begun < ended]
        refused = sum(begun <= each.begun < ended and not each.is_signed for each in token_calls)
        print(
            f"{back - begun:3.0f} s away, signs again after {ended - back:.1f} s; own key "
            f"{delays(during)}; {refused:,} calls of the token's key refused"
        )
    there = [
        each
        for each in own_calls
        if not any(begun <= each.begun < ended for begun, _, ended in outages)
    ]
    print(f"there; own key {delays(there)}; every answer was right")


def delays(calls: Sequence[Call]) -> str:
    """The delays of calls, in milliseconds."""
    found = statistics.quantiles([each.seconds * 1000 for each in calls], n=100, method="inclusive")
    return f"p50 {found[49]:.1f} ms, p99 {found[98]:.1f} ms, of {len(calls):,} calls"


if __name__ == "__main__":
    main()
