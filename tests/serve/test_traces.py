"""Traces that a service sends to a collector by OTLP."""

import asyncio
import contextlib
import json
import sys
from collections import deque

import pytest
from aiohttp import web
from filled_stores import new_store
from ports import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
trace_service = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="OpenTelemetry is missing: pip install -e '.[otel]'",
)

SIGN = b'{"alias":"k","data":"aGVsbG8"}'


@pytest.fixture
async def collector():
    """A collector: its URL, and the spans that it has got."""
    spans = deque()

    async def take(request):
        sent = trace_service.ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                spans.extend((resource.resource, span) for span in scope.spans)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}", spans
    await runner.cleanup()


def attributes(holder):
    return {each.key: each.value.string_value or each.value.int_value for each in holder.attributes}


def send(service, method, path, body=None, **headers):
    with contextlib.closing(service.connect()) as connection:
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            response.read()
            return response.status, response.headers["X-Request-Id"]


@pytest.mark.process
@pytest.mark.parametrize("more", [(), ("--workers", "2")])
async def test_calls_are_sent_as_spans(serve, collector, tmp_path, monkeypatch, more):
    url, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "kms of a test")
    store = await asyncio.to_thread(new_store, tmp_path)
    options = [*store, "--auth", "none", "--log-format", "json", *more]
    service = await asyncio.to_thread(serve, "--port", "0", "--traces", *options)
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    generate = b'{"alg":"ed25519","alias":"k"}'

    def calls():
        send(service, "POST", "/key/generate", generate, **header)
        answer = send(service, "POST", "/sign", SIGN, **header)
        send(service, "GET", "/healthz", **header)
        send(service, "POST", "/sign", b'{"alias":"secret-alias","data":""}')
        return answer

    status, request_id = await asyncio.to_thread(calls)
    assert status == 200
    code, rest = await asyncio.to_thread(service.stop)
    assert code == 0
    by_name = {}
    for resource, span in spans:
        assert attributes(resource)["service.name"] == "kms of a test"
        by_name.setdefault(span.name, []).append(span)
    assert set(by_name) == {"generateKey", "sign", "store read", "store write"}
    assert "secret" not in repr(spans)
    [made] = by_name["generateKey"]
    assert (made.trace_id.hex(), made.parent_span_id.hex()) == (TRACE, PARENT)
    [signed] = [span for span in by_name["sign"] if span.trace_id.hex() == TRACE]
    assert attributes(signed)["minikms.request_id"] == request_id
    assert attributes(signed)["http.response.status_code"] == 200
    assert attributes(signed)["minikms.alg"] == "ed25519"
    [other] = [span for span in by_name["sign"] if span.trace_id.hex() != TRACE]
    assert attributes(other)["minikms.outcome"] == "alias-not-found"
    assert not other.parent_span_id
    [written] = by_name["store write"]
    assert written.parent_span_id == made.span_id
    begun, ended = made.start_time_unix_nano, made.end_time_unix_nano
    assert begun <= written.start_time_unix_nano <= written.end_time_unix_nano <= ended
    lines = [json.loads(line) for line in [*service.lines, *rest.splitlines()] if "/sign" in line]
    by_request = {line["request_id"]: line["trace_id"] for line in lines}
    assert by_request[request_id] == TRACE
    assert set(by_request.values()) == {TRACE, other.trace_id.hex()}


@pytest.mark.process
def test_a_collector_that_is_away_delays_no_call(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    service = serve("--port", "0", "--traces")
    assert send(service, "POST", "/random", b'{"length":1}')[0] == 200
    assert service.stop()[0] == 0


@pytest.mark.process
def test_traces_are_off_unless_asked_for(run):
    code = (
        "import sys; from minikms.config import Config;"
        "from minikms.serve.assembly import create_service;"
        "create_service(Config()); from minikms.cli import main;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert run(command=[sys.executable, "-c", code]).stdout == "[]\n"


@pytest.mark.process
def test_without_the_extra_the_service_says_so(run):
    code = "import sys; sys.modules['opentelemetry'] = None;"
    code += "from minikms.cli import main; main.main()"
    ended = run("serve", "--port", "0", "--traces", command=[sys.executable, "-c", code])
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, line.startswith("minikms: ")) == (2, True)
    assert "minikms-server[otel]" in line
