"""Traces of calls by OpenTelemetry, sent by OTLP over HTTP; imported only if enabled.

A call itself is not instrumented: its span is made from its times after the answer. Spans of the
store are made with it, from times that wrapped methods of the database note in the call's event.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from importlib.metadata import version
from typing import Any, Final

from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from minikms.events import CURRENT
from minikms.http.logs import EVENT, TRACE_ID, TracedAccessLogger, request_id
from minikms.http.state import OBSERVERS, Observer
from minikms.web.state import STORE

# The database methods that calls read and write by, and their names in spans.
_OPERATIONS: Final = {"read": "read", "run": "read", "run_own": "read", "write": "write"}

_CONTEXT: Final = TraceContextTextMapPropagator()


class Tracing(Observer):
    """An observer that sends a span for each call, with the spans of the store below it."""

    access_logger = TracedAccessLogger

    def __init__(self) -> None:
        names = {SERVICE_VERSION: version("minikms-server")}
        if "OTEL_SERVICE_NAME" not in os.environ:
            names[SERVICE_NAME] = "minikms"
        self._provider = TracerProvider(resource=Resource.create(names))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("minikms")

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """Note the times of the store's calls; send the last spans at the end."""
        database = app[STORE].database
        for name in _OPERATIONS:
            setattr(database, name, _timed(name, getattr(database, name)))
        yield
        await asyncio.to_thread(self._provider.shutdown)  # the shutdown waits for the collector

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Make the spans of a call; other requests, such as health checks, get none."""
        event = request.get(EVENT)
        if event is None:
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            event.operation,
            _CONTEXT.extract(request.headers),
            SpanKind.SERVER,
            {
                "http.request.method": request.method,
                "http.response.status_code": status,
                "minikms.alg": event.alg or "none",
                "minikms.outcome": event.outcome,
                "minikms.request_id": request_id(request),
            },
            start_time=ended - round(seconds * 1e9),
        )
        request[TRACE_ID] = f"{span.get_span_context().trace_id:032x}"
        inside = set_span_in_context(span)
        for name, since, until in getattr(event, "store_times", ()):
            below = self._tracer.start_span(
                f"store {name}", inside, SpanKind.CLIENT, start_time=since
            )
            below.end(until)
        if isinstance(status, int) and status >= 500:
            span.set_status(Status(StatusCode.ERROR, event.outcome))
        span.end(ended)


def add_to(app: web.Application) -> None:
    """Send traces of the calls of an application."""
    traced = Tracing()
    app.cleanup_ctx.append(traced.running)
    app[OBSERVERS].append(traced)


def _timed(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap a database method so that it notes its times in the call's event."""

    @wraps(call)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        event, since = CURRENT.get(), time.time_ns()
        try:
            return await call(*args, **kwargs)
        finally:
            if event is not None:
                if not hasattr(event, "store_times"):
                    event.store_times = []
                event.store_times.append((_OPERATIONS[name], since, time.time_ns()))

    return timed
