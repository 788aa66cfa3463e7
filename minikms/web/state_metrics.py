"""Sampled metrics of one process: its store, caches, connections and audit log."""

import asyncio
import contextlib
import logging
import math
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, get_args

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from minikms.basics.background import in_background
from minikms.errors import KmsError
from minikms.events import SUCCESS
from minikms.http.gate import GATE
from minikms.http.places import REASONS, Places
from minikms.http.state import CONFIG, IN_FLIGHT
from minikms.records import StepCall
from minikms.store import CAUSES, KINDS, ApprovalEvent, StoreLocation, last_backup
from minikms.web.handlers.system import require_ready
from minikms.web.provider_metrics import ProviderMetrics
from minikms.web.state import AUDIT, CREDENTIALS, SERVICE, STORE

LOGGER = logging.getLogger(__name__)

# In seconds.
_SAMPLE_EVERY: Final = 1.0
_CHECK_EVERY: Final = 5.0
_ASK_EVERY: Final = 30.0  # the store, if it answers
_COUNT_EVERY: Final = 600.0  # at most
_LEAST_PAUSE: Final = 5.0

# In seconds.
_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

# The pause after a count, as a multiple of the time that it took.
_PAUSES: Final = 1000


class StateMetrics:
    """The sampled metric families; one of several processes `counts_keys`."""

    def __init__(self, registry: CollectorRegistry, *, counts_keys: bool) -> None:
        own: dict[str, Any] = {"registry": registry}
        family: dict[str, Any] = {**own, "namespace": "minikms"}
        number: dict[str, Any] = {**family, "multiprocess_mode": "livesum"}
        most: dict[str, Any] = {**family, "multiprocess_mode": "livemax"}
        least: dict[str, Any] = {**family, "multiprocess_mode": "livemin"}

        self._keys_opened = Counter("keys_opened", "Keys read from the store for use.", **family)
        self._hits = Counter("key_cache_hits", "Keys found in the cache.", **family)
        self._misses = Counter("key_cache_misses", "Keys not found in the cache.", **family)
        self._evictions = Counter(
            "key_cache_evictions", "Keys evicted from the cache to make room.", **family
        )
        self._cached = Gauge("key_cache_keys", "Keys in the cache.", **number)
        self._cached_bytes = Gauge("key_cache_bytes", "Memory of the keys in the cache.", **number)

        self._in_flight = Gauge("requests_in_flight", "Requests under way.", **number)
        self._connections = Gauge("connections", "Connections of callers.", **number)
        self._refused = _by_value(
            Counter(
                "connections_refused", "Refused connections, by reason.", ("reason",), **family
            ),
            REASONS,
        )
        self._expires = Gauge(
            "tls_certificate_expiry_timestamp_seconds", "End of the TLS certificate.", **least
        )

        self._certificates_end = Gauge(
            "key_certificate_expiry_timestamp_seconds",
            "End of the first certificate to end, of keys in use.",
            **least,
        )
        self._certificates_end.set(math.inf)

        self._reopened = Counter(
            "store_reopened", "Times the store was reopened after a fault.", **family
        )
        self._store_connections = Gauge(
            "store_connections", "Largest number of connections to the store.", **number
        )
        self._store_in_use = Gauge(
            "store_connections_in_use", "Connections to the store in use.", **number
        )
        self._store_waiting = Gauge(
            "store_calls_waiting", "Calls waiting for a connection to the store.", **number
        )
        self._hanging = Gauge(
            "store_pools_hanging", "Earlier pools that wait for hanging calls.", **number
        )
        self._errors = _by_value(
            Counter("store_errors", "Failed calls of the store, by cause.", ("cause",), **family),
            CAUSES,
        )
        times = Histogram(
            "store_call_seconds",
            "Time of a call of the store.",
            ("kind",),
            buckets=_BUCKETS,
            **family,
        )
        self._call_times = {kind: times.labels(kind) for kind in KINDS}
        self._writable = Gauge("store_writable", "0 after a failed write to the store.", **least)
        self._committed_at = Gauge(
            "store_last_commit_timestamp_seconds", "Time of the last commit.", **most
        )
        self._notices = Gauge(
            "store_notices_connected", "0 while notices from other processes are missed.", **least
        )
        self._losses = Counter(
            "store_notices_lost", "Times the connection for notices was lost.", **family
        )
        self._late_leases = Counter(
            "leases_late", "Times a profile in use was not checked in time.", **family
        )
        self._backed_up = Gauge(
            "last_backup_timestamp_seconds", "Time of the last backup of the store.", **most
        )
        self._swept_at = Gauge(
            "sweep_last_timestamp_seconds", "End of the last sweep of the store.", **most
        )
        self._sweep_took = Gauge("sweep_seconds", "Time of the last sweep of the store.", **most)
        self._sweep_left = Gauge(
            "sweep_profiles_waiting", "Profiles with keys that are due for an hour.", **most
        )
        steps = get_args(StepCall)
        self._steps = _by_value(
            Counter("rotation_steps", "Steps of rotations by sweeps.", ("step",), **family), steps
        )
        self._failed_steps = _by_value(
            Counter(
                "rotation_steps_failed",
                "Steps of rotations that sweeps could not take.",
                ("step",),
                **family,
            ),
            steps,
        )
        self._approvals = _by_value(
            Counter("approvals", "Approvals of uses of keys.", ("event",), **family),
            get_args(ApprovalEvent),
        )
        self._keys = Gauge("keys", "Keys in the store at the last count.", **most)
        self._largest = Gauge("profile_keys_max", "Keys of the largest profile.", **most)
        self._profiles = Gauge("profiles", "Profiles in the store at the last count.", **most)

        self._ready = Gauge("ready", "1 if all processes are ready.", **least)
        self._audit_writable = Gauge(
            "audit_writable", "0 after a line could not be written.", **least
        )
        self._audit_failing = Gauge(
            "audit_heads_failing", "1 while heads of the audit log cannot be saved.", **most
        )
        self._open_files = Gauge(
            "process_open_fds", "Open descriptors.", multiprocess_mode="livesum", **own
        )
        self._most_files = Gauge(
            "process_max_fds",
            "Descriptors allowed per process.",
            multiprocess_mode="livemin",
            **own,
        )
        self._fullest = Gauge(
            "open_fds_ratio", "Largest share of open descriptors of a process.", **most
        )
        for gauge in (self._writable, self._notices, self._audit_writable):
            gauge.set(1)

        self._logins = Counter(
            "logins",
            "Verified JWTs and client certificates, by role and outcome.",
            ("role", "outcome"),
            **family,
        )
        self._logins.labels("none", SUCCESS)  # the family has a series also without roles

        self._providers = ProviderMetrics(registry)

        self._counts_keys = counts_keys
        self._counted: dict[Counter, int] = {}
        self._next_ask = -math.inf
        self._commits = 0
        self._servers: list[web.Server] = []
        self._places: Places | None = None
        self._expiry: Callable[[], float] = float

    def add(self, server: web.Server) -> None:
        """Count the connections of a server."""
        self._servers.append(server)

    def watch(self, places: Places, expiry: Callable[[], float]) -> None:
        """Watch the limit of connections, and the expiry of a certificate."""
        self._places, self._expiry = places, expiry

    @contextlib.asynccontextmanager
    async def sampled(self, app: web.Application) -> AsyncIterator[None]:
        """Sample once a second and at the end; check and count less often."""

        async def sample() -> None:
            self._sample(app)

        def observe(kind: str, seconds: float) -> None:
            self._call_times[kind].observe(seconds)

        app[STORE].database.time_calls(observe)
        try:
            async with (
                in_background(_repeat(sample, _SAMPLE_EVERY)),
                in_background(_repeat(lambda: self._check(app), _CHECK_EVERY)),
                in_background(_repeat(lambda: self._count(app), _COUNT_EVERY)),
            ):
                yield
        finally:
            self._sample(app)

    def _sample(self, app: web.Application) -> None:
        store, audit = app[STORE], app[AUDIT]
        pool, counters, keys = store.database.pool, store.database.counters, app[SERVICE]
        cache = keys.operations.cache
        refused = self._places.refused if self._places else {}
        access = app[GATE].access
        logins = access.logins if access else {}
        self._in_flight.set(app[IN_FLIGHT].number)
        self._connections.set(sum(len(server.connections) for server in self._servers))
        self._expires.set(self._expiry())
        self._store_connections.set(pool.connections)
        self._store_in_use.set(pool.in_use)
        self._store_waiting.set(pool.waiting)
        self._hanging.set(pool.hanging)
        self._writable.set(pool.is_writable)
        if pool.commits != self._commits:
            self._commits = pool.commits
            self._committed_at.set(time.time())
        self._notices.set(counters.is_connected)
        swept = store.sweeps.last
        self._swept_at.set(swept.ended / 10**9)
        self._sweep_took.set(swept.took / 10**9)
        self._sweep_left.set(swept.left)
        if audit is not None:
            self._audit_writable.set(audit.is_writable)
            self._audit_failing.set(audit.is_failing)
        self._providers.sample(
            keys.operations.providers, keys.deletions.waiting(), keys.maker.objects.left()
        )
        self._cached.set(len(cache))
        self._cached_bytes.set(cache.weight)
        for counter, number in (
            *((counter, pool.errors.get(cause, 0)) for cause, counter in self._errors.items()),
            *((counter, refused.get(reason, 0)) for reason, counter in self._refused.items()),
            *((counter, keys.rotation.taken[step]) for step, counter in self._steps.items()),
            *(
                (counter, keys.rotation.failed[step])
                for step, counter in self._failed_steps.items()
            ),
            *(
                (counter, store.approvals.counts[event])
                for event, counter in self._approvals.items()
            ),
            *((self._logins.labels(*labels), number) for labels, number in logins.items()),
            (self._losses, counters.losses),
            (self._late_leases, counters.late_leases),
            (self._reopened, pool.reopened),
            (self._keys_opened, store.keys_opened),
            (self._hits, cache.hits),
            (self._misses, cache.misses),
            (self._evictions, cache.evictions),
        ):
            counter.inc(number - self._counted.get(counter, 0))
            self._counted[counter] = number

    async def _check(self, app: web.Application) -> None:
        """Check that the service is ready; after a failed write, try one.

        A store that answers is asked less often, which leaves an idle database idle.
        """
        ready, asks = False, time.monotonic() >= self._next_ask
        try:
            with contextlib.suppress(KmsError):
                await require_ready(app, asks_store=asks)
                ready = True
        finally:
            self._ready.set(ready)
        if not ready:
            self._next_ask = -math.inf
        elif asks:
            self._next_ask = time.monotonic() + _ASK_EVERY
        if not app[STORE].database.pool.is_writable:
            with contextlib.suppress(KmsError):  # the store remains unwritable
                await app[STORE].database.ping(write=True)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            files = len(os.listdir("/dev/fd"))
        except OSError:  # no descriptor is left to list them
            files = most
        self._open_files.set(files)
        self._most_files.set(most)
        self._fullest.set(files / most)
        self._backed_up.set(last_backup(StoreLocation.parse(app[CONFIG].store).path))

    async def _count(self, app: web.Application) -> None:
        """Count keys and profiles, in one of several processes; look for ends of certificates."""
        self._certificates_end.set(await app[CREDENTIALS].certificates.first_end())
        if self._counts_keys:
            with contextlib.suppress(KmsError):  # already counted among the store's errors
                totals = await app[STORE].totals()
                self._keys.set(totals.keys)
                self._profiles.set(totals.profiles)
                self._largest.set(totals.largest)


async def _repeat(work: Callable[[], Awaitable[None]], period: float) -> None:
    """Do the work at least every `period` seconds, and more often if it takes little time.

    Logs the first of consecutive errors, and continues.
    """
    failed = False
    while True:
        begun = time.monotonic()
        try:
            await work()
            failed = False
        except Exception:  # a bug that may not occur the next time
            if not failed:
                LOGGER.exception("metrics of the state are not up to date")
            failed = True
        pause = max(_PAUSES * (time.monotonic() - begun), _LEAST_PAUSE)
        await asyncio.sleep(min(pause, period))


def _by_value(family: Counter, values: Iterable[str]) -> dict[str, Counter]:
    """Make the metrics of a family by the values of its label, each with a series from the start.

    `increase()` misses the increase with which a series appears.
    """
    return {value: family.labels(value) for value in values}
