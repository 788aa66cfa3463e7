"""A running contender, called one call at a time, and under load by wrk."""

import asyncio
import json
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import psutil
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, TCPConnector
from contender import BATCH_OF_KEYS, Answer, Contender, Key, Request, free_port
from service import process

MIB = 1024 * 1024
AT_ONCE = 8  # calls while keys are made
MOST = 1000  # keys of one call, or of calls that begin together
PATIENCE = 60.0  # seconds for a service to start
# No limit on the whole, in which calls that wait for a connection would be counted.
PER_READ = ClientTimeout(total=None, sock_read=PATIENCE)

Order: TypeAlias = Literal["turn", "draw", "once"]


class Refused(Exception):
    """A contender refused a call."""


class Measurement(NamedTuple):
    """One round of load: requests a second, and the milliseconds of a request.

    `cpu` is the contender's processor time of a request in microseconds.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


class Memory(NamedTuple):
    """Resident MiB of all processes of a contender, and of the largest."""

    total: float
    largest: float


class Server:
    """A running contender."""

    def __init__(
        self, contender: Contender, client: ClientSession, url: str, pid: int, folder: Path
    ) -> None:
        self.contender = contender
        self.url = url
        self.folder = folder
        self._client, self._pid = client, pid
        self._keys: dict[str, list[Key]] = {}
        self._made = 0

    async def ask(self, request: Request) -> Answer:
        """Make a call."""
        method, path, body, headers = request
        async with self._client.request(method, path, data=body or None, headers=headers) as answer:
            text = await answer.read()
            is_json = text.startswith((b"{", b"["))
            return Answer(answer.status, json.loads(text) if is_json else None)

    async def call(self, request: Request) -> Answer:
        """Make a call that has to succeed."""
        answer = await self.ask(request)
        if answer.status not in (200, 204):
            raise Refused(f"{request.method} {request.path}: {answer}")
        return answer

    async def keys(self, alg: str, number: int) -> list[Key]:
        """The first `number` keys of an algorithm; missing ones are made."""
        found = self._keys.setdefault(alg, [])
        if len(found) < number:
            found += await self.new_keys(alg, number - len(found))
        return found[:number]

    async def new_keys(self, alg: str, number: int) -> list[Key]:
        """Make `number` new keys."""
        contender, made = self.contender, list[Key]()
        if number > 1 and contender.can(BATCH_OF_KEYS, alg):
            for start in range(0, number, MOST):
                request = contender.generate_many(alg, min(MOST, number - start))
                names = contender.names((await self.call(request)).body)
                made += [Key(alg, name) for name in names]
            return made
        first = self._made
        self._made += number

        async def make(place: int) -> Key:
            answer = await self.call(contender.generate(alg, f"{alg}-{place}"))
            return Key(alg, contender.name(answer.body))

        for start in range(first, first + number, MOST):
            places = range(start, min(start + MOST, first + number))
            made += await asyncio.gather(*map(make, places))
        return made

    def processes(self) -> list[psutil.Process]:
        """Its processes."""
        parent = psutil.Process(self._pid)
        return [parent, *parent.children(recursive=True)]

    def memory(self) -> Memory:
        """The memory of its processes."""
        sizes = [each.memory_info().rss / MIB for each in self.processes()]
        return Memory(sum(sizes), max(sizes))

    async def load(
        self, requests: Sequence[Request], connections: int, seconds: int, order: Order = "turn"
    ) -> Measurement:
        """Send requests by wrk (post.lua has the orders); each connection waits for its answer."""
        file = self.folder / "requests"
        file.write_text(
            "".join(f"{each.method}\t{each.path}\t{each.body.decode()}\n" for each in requests)
        )
        headers = {**self.contender.headers, **requests[0].headers}
        audited, used = self._audited(), self.used()
        async with process(
            "wrk",
            "--threads=1",
            f"--connections={connections}",
            f"--duration={seconds}s",
            "--timeout=20s",
            f"--script={Path(__file__).with_name('post.lua')}",
            *(f"--header={name}: {value}" for name, value in headers.items()),
            self.url,
            "--",
            str(file),
            # The first number of a load, spaced so that numbers are never reused.
            str(time.time_ns() // 1000),
            order,
            stdout=PIPE,
        ) as wrk:
            output, _ = await wrk.communicate()
        found = json.loads(output.splitlines()[-1])
        if found["refused"] or found["broken"] or not found["requests"]:
            raise Refused(f"{requests[0].method} {requests[0].path}: {found}")
        if self.contender.audit and self._audited() <= audited:
            raise Refused("nothing was written to the audit log")
        number, seconds_used = found["requests"], self.used() - used
        return Measurement(
            rate=number / found["duration"] * 1e6,
            p50=found["p50"] / 1000,
            p99=found["p99"] / 1000,
            cpu=seconds_used / number * 1e6,
        )

    def used(self) -> float:
        """Return the processor time in seconds that its processes have used by now."""
        # clock_getcpuclockid(3): psutil has hundredths of a second.
        clocks = ((~each.pid << 3) | 2 for each in self.processes())
        return sum(map(time.clock_gettime, clocks))

    def _audited(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("audit*.log"))


@asynccontextmanager
async def started(contender: Contender, folder: Path) -> AsyncIterator[Server]:
    """Start a contender; yield it once it serves, and stop it at the end."""
    port = free_port()
    url = f"{contender.scheme}://127.0.0.1:{port}"
    command, log = contender.command(folder, port), folder / "log"
    with log.open("wb") as output:
        options = {"env": contender.environment(folder), "stdout": output, "stderr": output}
        async with (
            process(*command, **options) as service,
            ClientSession(
                url,
                headers=contender.headers,
                connector=TCPConnector(limit=AT_ONCE, ssl=False),
                timeout=PER_READ,
            ) as client,
        ):
            server = Server(contender, client, url, service.pid, folder)
            try:
                await asyncio.wait_for(_ready(server, service), PATIENCE)
            except (TimeoutError, Refused) as exc:
                raise Refused(f"{contender.title} did not start: {log.read_text()}") from exc
            await contender.open(server.ask, folder)
            for request in contender.set_up:
                await server.call(request)
            if contender.intrusion and (await server.ask(contender.intrusion)).status == 200:
                raise Refused(f"{contender.title} lets everybody in")
            yield server


async def _ready(server: Server, service: Process) -> None:
    """Wait for the first answer."""
    while True:
        if service.returncode is not None:
            raise Refused("ended")
        try:
            if (await server.ask(server.contender.probe)).status == 200:
                return
        except ClientConnectionError:
            pass
        await asyncio.sleep(0.005)
