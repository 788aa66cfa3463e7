"""Each call has its audit line, even if calls without a line arrive at the same time.

A call that needs no token has no line. It may be the first call of a turn of the event loop, of a
shared session or of a transaction, the last one, or stand between others.
"""

import asyncio
import contextlib
import itertools
import json
import re
from collections import Counter
from urllib.parse import urlsplit

import pytest
from filled_stores import new_store
from ports import free_ports

from minikms.events import AuditEvent, record_together
from minikms.web.state import SERVICE

DATA = "aGVsbG8="
NUMBERS = itertools.count()
DOORS = "aws", "vault", "eudiplo"


def post(path, body, *headers):
    """The head and the body of a call, without a request id."""
    content = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(content)}"]
    return head, content


def get(path):
    return [f"GET {path} HTTP/1.1", "Host: localhost"], b""


def aws(operation, **members):
    target = f"X-Amz-Target: TrentService.{operation}"
    return post("/", members, "Content-Type: application/x-amz-json-1.1", target)


class Main:
    open = get("/console/metrics")

    def make(self, name):
        return post("/key/generate", {"alg": "ed25519"}, "Content-Type: application/json")

    def sign(self, name, made):
        body = {"kid": made["kid"], "data": DATA}
        return post("/sign", body, "Content-Type: application/json")


class Aws:
    """The AWS door; all its calls have a line."""

    open = None

    def make(self, name):
        return aws("CreateKey", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")

    def sign(self, name, made):
        key_id = made["KeyMetadata"]["KeyId"]
        return aws("Sign", KeyId=key_id, Message=DATA, SigningAlgorithm="ECDSA_SHA_256")


class Vault:
    open = get("/v1/sys/init")

    def make(self, name):
        return post(f"/v1/transit/keys/{name}", {"type": "ed25519"})

    def sign(self, name, made):
        return post(f"/v1/transit/sign/{name}", {"input": DATA})


class Eudiplo:
    open = get("/health")

    def make(self, name):
        return post("/keys", {"kid": name, "alg": "ES256"})

    def sign(self, name, made):
        return post(f"/keys/{name}/sign", {"alg": "ES256", "data": DATA})


PORTS = {"main": Main(), "aws": Aws(), "vault": Vault(), "eudiplo": Eudiplo()}


async def at_once(calls):
    """Send each call on a connection of its own, all at once in this order; give the answers.

    A call is an address, and a head with a body.
    """
    connections = [await asyncio.open_connection(*address) for address, _ in calls]
    try:
        for (_, writer), (_, (head, content)) in zip(connections, calls, strict=True):
            writer.write("\r\n".join([*head, "", ""]).encode() + content)
        return [await answer(reader) for reader, _ in connections]
    finally:
        for _, writer in connections:
            writer.close()


async def answer(reader):
    """The status and the JSON of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    content = await reader.readexactly(int(length[1]) if length else 0)
    is_json = b"json" in head.lower()
    return int(head.split()[1]), json.loads(content) if is_json and content else None


def named(call, request_id):
    head, content = call
    return [*head, f"X-Request-Id: {request_id}"], content


async def storm(addresses, make_cold):
    """Make calls with and without a line, in each order; give the ids of requests with a line."""
    recorded = []

    async def all_at_once(calls):
        """Make calls of ports; give the answer of each that has a line, by its id."""
        calls = [(name, call, f"r{next(NUMBERS)}") for name, call in calls]
        answers = await at_once(
            [(addresses[name], named(call, request_id)) for name, call, request_id in calls]
        )
        assert [each for each in answers if each[0] not in (200, 201)] == []
        with_line = [
            (name, request_id, body)
            for (name, call, request_id), (_, body) in zip(calls, answers, strict=True)
            if call is not PORTS[name].open
        ]
        recorded.extend(request_id for _, request_id, _ in with_line)
        return [(name, body) for name, _, body in with_line]

    opened = [(name, port.open) for name, port in PORTS.items() if port.open] * 4
    ways = [
        lambda calls: [*opened, *calls],
        lambda calls: [*calls, *opened],
        lambda calls: [each for pair in zip(opened, calls, strict=False) for each in pair],
    ]
    for way in ways:
        number = next(NUMBERS)
        makes = [(name, port.make(f"{name}-{number}")) for name, port in PORTS.items()]
        made = dict(await all_at_once(way(makes)))
        for prepare in (make_cold, lambda: None):
            prepare()
            signs = [
                (name, port.sign(f"{name}-{number}", made[name])) for name, port in PORTS.items()
            ]
            await all_at_once(way(signs))
    return recorded


def check(recorded, lines):
    """Each call that needs an audit line has exactly one, and other calls have no line."""
    found = Counter(
        line.get("request_id") for line in lines if line.get("request_id", "")[:1] == "r"
    )
    assert found == Counter(recorded)


def read(*logs):
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


@pytest.mark.each_store
async def test_each_call_has_its_line_beside_calls_without_one(
    start_with_doors, any_store, tmp_path, free_port
):
    log = tmp_path / "audit.log"
    client, urls = await start_with_doors(
        *DOORS, audit_log=str(log), metrics_port=int(free_port), **any_store
    )
    addresses = {name: (urlsplit(url).hostname, urlsplit(url).port) for name, url in urls.items()}
    addresses["main"] = client.host, client.port
    recorded = await storm(addresses, client.app[SERVICE].operations.cache._entries.clear)
    check(recorded, read(log))


@pytest.mark.process
def test_each_call_has_its_line_in_each_worker(serve, tmp_path):
    metrics, *others = free_ports(1 + len(DOORS))
    doors = dict(zip(DOORS, others, strict=True))
    options = {f"{name}_port": str(port) for name, port in doors.items()}
    more = ["--port", "0", "--workers", "2", "--auth", "none", "--metrics-port", str(metrics)]
    log = ["--audit-log", str(tmp_path / "audit.log")]
    service = serve(*more, *log, *new_store(tmp_path), **options)
    addresses = {name: ("127.0.0.1", port) for name, port in doors.items()}
    addresses["main"] = service.host, service.port
    recorded = []
    for _ in range(5):
        recorded += asyncio.run(storm(addresses, lambda: None))
    check(recorded, read(*tmp_path.glob("audit*.log")))


def event(sink):
    return AuditEvent("sign", sink)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("aab-"))), ids="".join)
def test_each_event_is_written_to_its_own_sink(order):
    written = []
    sinks = {
        name: lambda events, outcome, name=name: written.extend((name, id(each)) for each in events)
        for name in "ab"
    }
    events = [(name, event(sinks.get(name))) for name in order]
    record_together([each for _, each in events])
    record_together([each for _, each in events])  # each has its line already
    assert sorted(written) == sorted((name, id(each)) for name, each in events if name in sinks)


def test_a_sink_that_fails_leaves_its_events_to_be_written_alone():
    written = []

    def fails(events, outcome):
        raise OSError

    one, other = event(lambda events, outcome: written.extend(events)), event(fails)
    with contextlib.suppress(OSError):
        record_together([one, other])
    assert (written, one.recorded, other.recorded) == ([one], "success", None)
