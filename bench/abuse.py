"""Measures delays of other callers, and the service's memory, while it is abused.

Run it with the Python that Mini KMS is installed in: `python bench/abuse.py`; options of `minikms
serve` may follow. It takes about five minutes, and fails unless the service answers as before at
the end, and in time to other tenants during the abuse in `BOUNDED`. The service requires a token,
and has a new SQLite store. The abuser is a process of its own. The probe opens a new connection for
each call, and signs by Ed25519 on the event loop and by RSA in a thread.
"""

import asyncio
import contextlib
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from functools import partial
from pathlib import Path

import abuse_connections
import abuse_gate
import abuse_handshakes
import abuse_json
import abuse_names
import abuse_rsa
import abuse_sizes
import abuse_store
import abuse_tokens
import abuse_turns
from abusers import ELSEWHERE, all_at_once, answer
from aiohttp import ClientError, ClientSession, TCPConnector
from certificate import write_certificate
from service import bearer, running

from minikms.access.token_record import Token
from minikms.basics.secret_files import read_secret, write_secret
from minikms.startup_errors import AccessError

SLOW = 500
WRONG = 10_000
LARGE = 1_000
MAKERS = 200
LIMIT = 40.0  # the longest duration of one kind of abuse, in seconds
PAUSE = 5.0
JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024

# The longest p99 in milliseconds of other tenants' calls during the abuse in `BOUNDED`.
LONGEST = 250.0

# The allowed growth of memory in megabytes: caches, such as a JWK Set of 5,000 keys, new threads
# and connections to the store, and fragmentation. Memory of the C library is counted, since
# Python's own allocator keeps each arena of 1 MiB that has one object in use, which hides a leak.
GROWTH = 100


async def main() -> None:
    """Start a service, abuse it in each way, print, and stop it; then repeat with TLS."""
    os.environ.setdefault("PYTHONMALLOC", "malloc")
    with tempfile.TemporaryDirectory() as folder:
        file, token = f"{folder}/token", Token.new().reveal()
        write_secret(file, token, "token", AccessError)
        options = ("--auth", "token", "--admin-token-file", file, *sys.argv[1:])
        await abused(ABUSE, file, token, *options, *await abuse_store.prepare(folder))
        tls = ("--tls-cert", str(write_certificate(Path(folder))))
        await abused(OF_TLS, file, token, *options, *tls)
    print("\nas before")


async def abused(names: Iterable[str], file: str, token: str, *options: str) -> None:
    """Start a service with these options, abuse it in the named ways, and stop it."""
    connector = TCPConnector(force_close=True, ssl=False)
    async with running(*options, headers=bearer(token), connector=connector) as (client, pid):
        async with client.get("/healthz") as answer:
            url = str(answer.url.origin())
        for alg in ("ed25519", "rsa2048"):
            async with client.post("/key/generate", json={"alg": alg, "alias": alg}) as made:
                made.raise_for_status()
        before, _ = await watch(client, pid, "before", nothing())
        for name in names:
            await watch(client, pid, name, abuse(name, url, file))
        after, failed = await watch(client, pid, "after", nothing())
    assert not failed, "the service does not answer as before"
    assert after <= before + GROWTH, f"the service has {after - before} MB more than before"


async def nothing() -> str:
    """Do nothing for a while, as a baseline."""
    await asyncio.sleep(PAUSE)
    return "no abuse"


async def abuse(name: str, url: str, file: str) -> str:
    """Abuse the service from another process, and return the counted answers."""
    command = (sys.executable, __file__, "--abuse", name, url, file)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(LIMIT):
            return (await process.communicate())[0].decode().strip()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"not at its end after {LIMIT:.0f} s"


async def watch(
    client: ClientSession, pid: int, name: str, work: Coroutine[None, None, str]
) -> tuple[int, int]:
    """Call the service until `work` is done, and print delays, failures and memory.

    Returns the service's memory afterwards, and the number of failed calls.
    """
    until = asyncio.create_task(work)
    calls = {
        "GET /healthz": ("GET", "/healthz", None),
        "POST /sign": ("POST", "/sign", {"alias": "ed25519", "data": "aGVsbG8"}),
        "POST /sign, RSA": ("POST", "/sign", {"alias": "rsa2048", "data": "aGVsbG8"}),
    }
    times: dict[str, list[float]] = {call: [] for call in calls}
    refused: Counter[str] = Counter()
    before, begin = memory(pid), time.perf_counter()
    most = before
    while not until.done():
        for call, (method, path, body) in calls.items():
            sent = time.perf_counter()
            try:
                async with client.request(method, path, json=body) as answer:
                    await answer.read()
            except ClientError as exc:
                refused[f"{call}: {type(exc).__name__}"] += 1
                continue
            times[call].append((time.perf_counter() - sent) * 1000)
            if answer.status != 200:
                refused[f"{call}: {answer.status}"] += 1
        most = max(most, memory(pid))
        await asyncio.sleep(0.02)
    print(f"\n{name}: {time.perf_counter() - begin:.1f} s; {await until}")
    for call, found in times.items():
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        if len(found) < 100:
            p99 = max(found)
        print(f"  {call:16} {len(found):4} calls, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms")
        assert name not in BOUNDED or p99 <= LONGEST, f"{call} of another tenant waits for long"
    print(f"  of these failed: {dict(refused) or 'none'}")
    left = memory(pid)
    print(f"  memory in MB: {before} before, {most} at most, {left} after")
    return left, refused.total()


def memory(pid: int) -> int:
    """Return the resident memory of a process in megabytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1)) // 1024


async def slow_connections(url: str, token: str) -> Counter[str]:
    """Send headers or a body at a byte per second, on many connections, until each is closed."""
    host, port = url.removeprefix("http://").split(":")
    head = "".join(f"{name}: {value}\r\n" for name, value in (bearer(token) | JSON).items())
    begin = f"POST /sign HTTP/1.1\r\nHost: kms\r\n{head}".encode()

    async def send(number: int) -> str:
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=ELSEWHERE)
        with contextlib.closing(writer):
            in_head = number % 2 == 0
            writer.write(begin if in_head else begin + b"Content-Length: 1000\r\n\r\n")
            answer = asyncio.create_task(reader.readline())
            while not (await asyncio.wait([answer], timeout=1))[0]:
                writer.write(b"a")
            status = "closed"  # over the limit of an address
            with contextlib.suppress(ConnectionError):
                if words := answer.result().decode().split():
                    status = words[1]
            return f"slow {'headers' if in_head else 'body'}: {status}"

    return Counter(await asyncio.gather(*map(send, range(SLOW))))


async def wrong_tokens(url: str, token: str) -> Counter[str]:
    """Send well-formed unknown tokens; each is looked up in the store."""
    async with ClientSession(url, connector=TCPConnector(limit=50)) as client:

        async def guess() -> str:
            return await answer(client, "GET", "/keys", headers=bearer(Token.new().reveal()))

        return await all_at_once(WRONG, guess)


async def large_bodies(url: str, token: str) -> Counter[str]:
    """Send bodies of twice the limit, every other one without Content-Length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield bytes(MIB // 16)

    connector = TCPConnector(limit=50)
    async with ClientSession(url, connector=connector, headers=bearer(token)) as client:

        async def send(number: int) -> str:
            body = chunks() if number % 2 else bytes(2 * MIB)
            return await answer(client, "POST", "/sign", data=body, headers=JSON)

        return Counter(await asyncio.gather(*map(send, range(LARGE))))


async def rsa_keys(url: str, token: str) -> Counter[str]:
    """Make RSA keys from many callers at once."""
    connector = TCPConnector(limit=MAKERS)
    async with ClientSession(url, connector=connector, headers=bearer(token)) as client:
        new = {"alg": "rsa2048"}
        return await all_at_once(MAKERS, partial(answer, client, "POST", "/key/generate", json=new))


async def rsa_imports(url: str, token: str) -> Counter[str]:
    """Import an RSA key from many callers at once."""
    connector = TCPConnector(limit=MAKERS)
    async with ClientSession(url, connector=connector, headers=bearer(token)) as client:
        new = {"alg": "rsa2048", "alias": "exported", "exportable": True}
        async with client.post("/key/generate", json=new) as made:
            kid = (await made.json())["kid"]
        async with client.get(f"/key/{kid}/export") as exported:
            body = {"jwk": (await exported.json())["jwk"], "alg": "rsa2048"}
        return await all_at_once(MAKERS, partial(answer, client, "POST", "/key/import", json=body))


ABUSE = (
    {
        f"{SLOW} slow connections": slow_connections,
        f"{WRONG} wrong tokens": wrong_tokens,
        f"{LARGE} bodies over the limit": large_bodies,
        f"{MAKERS} callers make RSA keys": rsa_keys,
        f"{MAKERS} callers import an RSA key": rsa_imports,
    }
    | abuse_connections.ABUSE
    | abuse_rsa.ABUSE
    | abuse_gate.ABUSE
    | abuse_sizes.ABUSE
    | abuse_json.ABUSE
    | abuse_names.ABUSE
    | abuse_store.ABUSE
    | abuse_tokens.ABUSE
    | abuse_turns.ABUSE
)
OF_TLS = abuse_handshakes.ABUSE
BOUNDED = abuse_turns.ABUSE


if __name__ == "__main__":
    if sys.argv[1:2] == ["--abuse"]:
        name, url, file = sys.argv[2:]
        token = read_secret(file, "token", AccessError)
        print(dict(asyncio.run((ABUSE | OF_TLS)[name](url, token))))
    else:
        asyncio.run(main())
