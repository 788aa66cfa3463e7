"""Search of a large audit log by `GET /audit`, and the delay of other calls meanwhile.

Run it with the Python that Mini KMS is installed in: `python bench/audit_search.py` writes ten
million lines (5 GB) as rotated files into a temporary folder, starts a service there, and searches.
An argument is another number of lines, `--folder` another place. For each search: the time and the
events of its first page, and the pages, time and events until it ends or has 100 events. Meanwhile
another caller signs; its p50 and p99 are shown beside those without a search.
"""

import argparse
import asyncio
import base64
import hashlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from aiohttp import ClientSession
from service import running
from yarl import URL

LINES: Final = 10_000_000
FILES: Final = 50
PAGE: Final = 100
ROUNDS: Final = 3

_LINE: Final = (
    '{"chain":"2f51f4dd5131e91fe58aca166e617b5b","n":%d,"time":"%s","request_id":'
    '"7e2973aa8cc64875a5a7b6bdd50df3e9","who":"caller-%d","address":"192.0.2.7","subject":null,'
    '"profile":"default","kid":"%s","alg":"ed25519","token":null,"operation":"sign",'
    '"outcome":"%s","prev":"a6fc4d2e6f8b10a7a6fc4d2e6f8b10a7a6fc4d2e6f8b10a7a6fc4d2e6f8b10a7",'
    '"mac":"bf53b1d29c6a4e07bf53b1d29c6a4e07bf53b1d29c6a4e07bf53b1d29c6a4e07"}\n'
)


async def main(lines: int, folder: str | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        log = Path(place, "audit.log")
        begun = time.perf_counter()
        first = write(log, lines)
        size = sum(file.stat().st_size for file in log.parent.iterdir())
        print(f"{lines:,} lines, {size / 1e9:.1f} GB, {time.perf_counter() - begun:.0f} s")
        middle = first + timedelta(milliseconds=lines // 2)
        searches: dict[str, Sequence[tuple[str, str]]] = {
            "all": (),
            "a key, 1 line in 1,000": (("kid", kid(0, 1_000)),),
            "a key, 1 line in 10,000": (("kid", kid(0, 10_000)),),
            "a key, 1 line in 100,000": (("kid", kid(0, 100_000)),),
            "a key, only its oldest line": (("kid", kid(0, 0)),),
            "a key that was never used": (("kid", "A" * 43),),
            "failed, 1 line in 1,000": (("outcome", "failed"),),
            "a caller and its failures": (("outcome", "failed"), ("who", "caller-3")),
            "a second in the middle": (
                ("since", shown(middle)),
                ("until", shown(middle + timedelta(seconds=1))),
            ),
        }
        async with running("--audit-log", str(log)) as (client, _):
            await client.post("/key/generate", json={"alg": "ed25519", "alias": "k"})
            print(f"{'search':28} {'first page':>17} {'all pages':>30}  {'sign p50, p99':>17}")
            print(f"{'none':28} {'':>17} {'':>30}  {await signing(client, asyncio.sleep(3)):>17}")
            for name, query in searches.items():
                row = asyncio.ensure_future(search(client, query))
                signed = await signing(client, row)
                print(f"{name:28} {row.result()}  {signed:>17}", flush=True)


async def search(client: ClientSession, query: Sequence[tuple[str, str]]) -> str:
    """Search until a page is full or the search has ended; repeat several times."""
    pages, first = 0, list[float]()
    for _ in range(ROUNDS):
        target: str | None = "/audit?" + urlencode([*query, ("limit", str(PAGE))])
        begun, events, pages = time.perf_counter(), 0, 0
        while target and events < PAGE:
            async with client.get(target) as answer:
                assert answer.status == 200, await answer.text()
                events += len(await answer.json())
                link = answer.links.get("next")
                target = str(URL(link["url"]).relative()) if link else None
            pages += 1
            if pages == 1:
                first.append(time.perf_counter() - begun)
                found = events
        passed = time.perf_counter() - begun
    shown_first = f"{statistics.median(first):6.2f} s {found:4} ev."
    return f"{shown_first:>17} {f'{pages:3} pages {passed:6.2f} s {events:4} ev.':>30}"


async def signing(client: ClientSession, meanwhile: Awaitable[object]) -> str:
    """Measure delays of signatures, one every two milliseconds, until `meanwhile` is done."""
    task = asyncio.ensure_future(meanwhile)
    delays = []
    while not task.done():
        begun = time.perf_counter()
        async with client.post("/sign", json={"alias": "k", "data": "aGVsbG8="}) as answer:
            assert answer.status == 200, await answer.text()
        delays.append(time.perf_counter() - begun)
        await asyncio.sleep(0.002)
    cuts = statistics.quantiles(delays, n=100)
    return f"{cuts[49] * 1000:.2f}, {cuts[98] * 1000:.2f} ms"


def write(log: Path, lines: int) -> datetime:
    """Write rotated files, with a line per millisecond up to now; return the first line's time."""
    first = datetime.now(UTC) - timedelta(milliseconds=lines)
    each = lines // FILES
    for file in range(FILES):
        path = log.with_name(f"{log.name}.{FILES - file}")
        path.touch(0o600)
        with path.open("w") as opened:
            for number in range(file * each, (file + 1) * each):
                opened.write(line(number, first))
    return first


def line(number: int, first: datetime) -> str:
    """A line whose key depends on its number."""
    key = kid(number % 1000, 1)
    for one_in in (100_000, 10_000, 1_000):
        if number % one_in == one_in // 2:
            key = kid(0, one_in)
            break
    if not number:
        key = kid(0, 0)
    outcome = "key-not-usable" if number % 1000 == 7 else "success"
    moment = first + timedelta(milliseconds=number)
    return _LINE % (number + 1, shown(moment), number % 11, key, outcome)


@cache
def kid(number: int, one_in: int) -> str:
    """Return the kid of the key `number`, which one in `one_in` lines has."""
    digest = hashlib.sha256(b"%d %d" % (number, one_in)).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def shown(moment: datetime) -> str:
    """Format a time as in lines."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", nargs="?", type=int, default=LINES)
    parser.add_argument("--folder")
    args = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(main(args.lines, args.folder))
