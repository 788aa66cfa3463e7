"""The parts of a running service: application, store, audit log and tokens."""

import multiprocessing
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from aiohttp import web

from minikms.access.policy import TokenAccess, read_admin_token
from minikms.access.profile_rates import ProfileRates
from minikms.access.tokens import Tokens
from minikms.audit.heads import AuditStore
from minikms.audit.log import AuditLog, file_of_worker
from minikms.audit.search import AuditSearch
from minikms.basics.rates import RateTable
from minikms.config import Config
from minikms.credentials.service import Credentials
from minikms.doors.app import DOORS, DoorApp
from minikms.doors.registry import installed_doors, make_door
from minikms.errors import KmsError
from minikms.http.gate import GATE
from minikms.http.state import CONFIG
from minikms.keys.providers.providers import Providers
from minikms.keys.service import KeyService
from minikms.keys.warming import warming
from minikms.plugin.registry import AlgorithmRegistry
from minikms.seals.key_file import read_key
from minikms.serve.garbage import spare
from minikms.serve.upkeep import storing_last_uses, sweeping, tending_tokens
from minikms.startup_errors import AccessError, AuditError, TracesError
from minikms.store import Bounds, KeyStore, StoreLocation
from minikms.web import seeds
from minikms.web.app import create_app
from minikms.web.state import AUDIT, AUDIT_SEARCH, CREDENTIALS, REGISTRY, SERVICE, STORE, TOKENS


def create_service(config: Config, registry: AlgorithmRegistry | None = None) -> web.Application:
    """Make the application of a service with its doors; the store is opened at startup.

    `registry` replaces the algorithms of the installed packages. Raises PluginError, ProviderError,
    AccessError and TracesError.
    """
    if not config.needs_token and (config.admin_token_file or config.roles or _jwt_options(config)):
        raise AccessError(
            "--admin-token-file, --jwt-… and --roles have no effect if callers need no token: "
            "--auth token."
        )
    installed = installed_doors()
    app = create_app(config, registry)
    app[DOORS] = [
        DoorApp(make_door(installed[where.name], where.options, app[REGISTRY]), where, app)
        for where in config.doors
    ]
    reserved = tuple(prefix for door in installed.values() for prefix in door.alias_prefixes)
    app.cleanup_ctx.append(partial(_service, reserved_aliases=reserved))
    app.on_shutdown.append(_stop_batches)
    if config.metrics_port:
        # Imported here: prometheus-client is optional and slow to load.
        from minikms.serve import metrics_listener

        metrics_listener.add_to(app)
    if config.traces:
        try:
            from minikms.serve import tracing
        except ImportError:
            raise TracesError(
                "--traces needs OpenTelemetry: install minikms-server[otel]."
            ) from None

        tracing.add_to(app)
    return app


async def _service(app: web.Application, reserved_aliases: tuple[str, ...]) -> AsyncIterator[None]:
    async with _open_store(app[CONFIG]) as store, _audited(app, store):
        app[STORE] = store
        table = RateTable(app[CONFIG].rate_table)
        bounds = _bounds(app[CONFIG])
        providers = Providers(
            app[REGISTRY], limit=app[CONFIG].provider_timeout, file=app[CONFIG].provider_faults
        )
        app[SERVICE] = KeyService(
            app[REGISTRY], store, reserved_aliases, cache=bounds, rates=table, providers=providers
        )
        app[CREDENTIALS] = Credentials(app[SERVICE])
        app[GATE].rates = ProfileRates(table, store.database.directory)
        app[GATE].profile_id = store.database.directory.ids.get
        app[TOKENS] = Tokens(store.database)
        if app[CONFIG].seed_keys:
            await seeds.load(app[CONFIG].seed_keys, app[SERVICE])
        async with AsyncExitStack() as stack:
            stack.callback(table.close)
            await stack.enter_async_context(providers.running())
            await stack.enter_async_context(store.database.listening(app[CONFIG].cache_ttl))
            keys, sink = app[SERVICE], app[GATE].sink
            await stack.enter_async_context(sweeping(keys, sink))
            await stack.enter_async_context(storing_last_uses(keys, app[TOKENS]))
            if app[CONFIG].warm:
                await stack.enter_async_context(warming(keys.operations, spare))
            if app[CONFIG].needs_token:
                access = _token_access(app[CONFIG], app[TOKENS])
                app[GATE].access = known = await stack.enter_async_context(access)
                await stack.enter_async_context(tending_tokens(app[TOKENS], known))
            for door in app[DOORS]:
                door.open(keys, app[CREDENTIALS], app[GATE])
            yield


async def _stop_batches(app: web.Application) -> None:
    """Stop batches first: a batch may take longer than the grace period of running calls."""
    app[SERVICE].batches.stop()


@asynccontextmanager
async def _token_access(config: Config, tokens: Tokens) -> AsyncIterator[TokenAccess]:
    admin = read_admin_token(config.admin_token_file) if config.admin_token_file else None
    async with AsyncExitStack() as stack:
        identities = None
        if config.roles or _jwt_options(config):
            from minikms.access.identities import make_identities  # joserfc takes 0.1 s to import

            made = make_identities(
                config.roles, config.jwt_issuer, config.jwt_audience, config.jwt_jwks
            )
            identities = await stack.enter_async_context(made.running())
        yield TokenAccess(
            tokens,
            admin=admin,
            identities=identities,
            wrong_per_minute=config.max_wrong_tokens,
            cache=_bounds(config),
        )


def _bounds(config: Config) -> Bounds:
    return Bounds(config.cache_size, config.cache_memory, config.cache_ttl)


def _jwt_options(config: Config) -> bool:
    return any((config.jwt_issuer, config.jwt_audience, config.jwt_jwks))


@asynccontextmanager
async def _audited(app: web.Application, store: KeyStore) -> AsyncIterator[None]:
    """Record every call in the configured audit log, if there is one; raises AuditError."""
    file = app[CONFIG].audit_log
    if not file:
        app[AUDIT] = app[AUDIT_SEARCH] = None
        yield
        return
    entries, searched = AuditStore(store.database), file
    if multiprocessing.parent_process():  # each worker has its own
        file = file_of_worker(file, multiprocessing.current_process().name)
    async with AsyncExitStack() as stack:
        try:
            app[AUDIT_SEARCH] = AuditSearch(searched, await entries.cursor_key())
            audit = await stack.enter_async_context(AuditLog.open(file, entries))
        except KmsError as exc:  # the store was opened, but no longer answers or decrypts
            raise AuditError(f"The audit log {file} cannot be opened: {exc}") from None
        app[AUDIT], app[GATE].sink = audit, audit.write
        yield


def _open_store(config: Config) -> AbstractAsyncContextManager[KeyStore]:
    location = StoreLocation.parse(config.store)
    if location.backend == "memory":
        return KeyStore.open_memory()
    key = read_key(config.store_key_file, config.store_key, config.store_key_method)
    return KeyStore.open(location, key, serving=True)
