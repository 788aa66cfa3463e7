"""The configuration of a service."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Final

from minikms.store import DEFAULT_MEMORY, KEY_METHODS, StoreLocation

ENV_PREFIX: Final = "MINIKMS_"

LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
AUTH: Final = ("auto", "none", "token")

LISTENER: Final = "Listener"
TLS: Final = "TLS"
LIMITS: Final = "Limits"
STORE: Final = "Store"
AUTHORIZATION: Final = "Authorization"
AUDIT: Final = "Audit log"
MONITORING: Final = "Logs and metrics"
PROVIDERS: Final = "Providers"
OTHER: Final = "Other"

HEADINGS: Final = (LISTENER, STORE, PROVIDERS, AUTHORIZATION, TLS, LIMITS, AUDIT, MONITORING, OTHER)
"""The headings of `minikms serve --help`, in order; each option is under one."""


def _option(
    default: Any,
    help_text: str,
    choices: tuple[str, ...] = (),
    limits: tuple[int, int | None] = (0, None),
    *,
    heading: str = OTHER,
    value: str = "",
    secret: bool = False,
    flag: bool = True,
) -> Any:
    """Make a field of Config; `value` is the metavar in the help, such as BYTES or FILE."""
    facts = {
        "help": help_text,
        "choices": choices,
        "limits": limits,
        "heading": heading,
        "value": value,
        "flag": flag,
    }
    return field(default=default, metadata=facts, repr=not secret)


_listener = partial(_option, heading=LISTENER)
_limit = partial(_option, heading=LIMITS, limits=(1, None))
_store = partial(_option, heading=STORE)
_access = partial(_option, heading=AUTHORIZATION)
_tls = partial(_option, heading=TLS)
_monitoring = partial(_option, heading=MONITORING)
_provider = partial(_option, heading=PROVIDERS)


@dataclass(frozen=True)
class DoorConfig:
    """The address of a door, and its own options by name, which may be secrets."""

    name: str
    host: str
    port: int
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Config:
    """The options of `minikms serve`: each field with a help is a flag, and a variable `MINIKMS_…`.

    Flags and docs are derived from these fields. With `flag=False` an option has only the variable:
    a secret must not be on a command line.
    """

    host: str = _listener("127.0.0.1", "Address to listen on.", value="ADDRESS")
    port: int = _listener(8080, "Port to listen on; 0 takes a free one.", limits=(0, 65535))
    workers: int = _listener(1, "Worker processes that share the port.", limits=(1, None))
    max_body: int = _limit(1024 * 1024, "Largest request body.", value="BYTES")
    log_format: str = _monitoring("text", "Format of log lines: text or JSON.", LOG_FORMATS)
    log_level: str = _monitoring("info", "Lowest level that is logged.", LOG_LEVELS)
    metrics_port: int = _monitoring(
        0, "Port to serve /metrics on; 0 disables metrics.", limits=(0, 65535)
    )
    metrics_host: str = _monitoring("127.0.0.1", "Address to serve /metrics on.", value="ADDRESS")
    traces: bool = _monitoring(
        False, "Send traces of calls by OTLP; OpenTelemetry's own variables configure it."
    )
    max_header: int = _limit(
        50 * 1024,  # the longest alias in a query, percent-encoded
        "Longest path with its query, and longest header.",
        limits=(256, None),
        value="BYTES",
    )
    max_head: int = _limit(
        64 * 1024,
        "Largest head of a request: its path and all headers together.",
        limits=(1024, None),
        value="BYTES",
    )
    header_timeout: int = _limit(
        10, "Time for the headers of a request to arrive.", value="SECONDS"
    )
    body_timeout: int = _limit(30, "Time for the body of a request to arrive.", value="SECONDS")
    idle_timeout: int = _limit(
        75, "Time that a connection stays open between two requests.", value="SECONDS"
    )
    max_connections: int = _limit(10_000, "Connections at the same time, per process.")
    max_connections_per_address: int = _limit(
        256, "Connections per client address; trusted proxies are exempt."
    )
    max_in_flight: int = _limit(1000, "Requests in progress at the same time, per process.")
    worker_timeout: int = _listener(
        10,
        "Time without an answer after which a worker is replaced; 0 never replaces it.",
        value="SECONDS",
    )
    shutdown_grace: int = _listener(
        5,
        "Time after SIGTERM during which calls are still served and /readyz answers 503.",
        value="SECONDS",
    )
    tls_cert: str = _tls(
        "", "Certificate, followed by any intermediate certificates.", value="FILE"
    )
    tls_key: str = _tls(
        "", "Private key, if the file of the certificate does not contain it.", value="FILE"
    )
    tls_client_ca: str = _tls("", "CA of client certificates; clients then need one.", value="FILE")
    store: str = _store(
        "memory",
        "Store of the keys: memory, sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME.",
        value="URL",
        secret=True,
    )
    store_key_file: str = _store(
        "", "Key that opens the store; MINIKMS_STORE_KEY may hold the key itself.", value="FILE"
    )
    store_key: str = _store(
        "", "Key that opens the store, instead of a file.", secret=True, flag=False
    )
    store_key_method: str = _store(
        "raw", "Kind of the store key: a raw key, or a passphrase for Argon2i.", KEY_METHODS
    )
    seal_wait: int = _store(
        60, "Time to wait at the start for a seal that opens the store key.", value="SECONDS"
    )
    cache_memory: int = _store(
        DEFAULT_MEMORY, "Memory of the cached keys, per process.", limits=(1, None), value="BYTES"
    )
    cache_size: int = _store(
        1_000_000,
        "Keys, and tokens, cached per process if the memory allows it; 0 disables the cache.",
    )
    cache_ttl: int = _store(
        5, "Time that a cached key or token is used without a check in PostgreSQL.", value="SECONDS"
    )
    warm: bool = _store(False, "Load keys into the cache after the start, until it is full.")
    provider: tuple[str, ...] = _provider(
        (),
        "A provider of keys, such as an HSM, by name and URI; repeatable.",
        value="NAME=URI",
        secret=True,
    )
    provider_timeout: int = _provider(
        10, "Time that a call of a provider may take.", limits=(1, None), value="SECONDS"
    )
    ready_needs_providers: bool = _provider(
        False, "Answer /readyz with 503 while a provider does not answer."
    )
    auth: str = _access(
        "auto", "Authentication of callers; auto requires a token if the store is persistent.", AUTH
    )
    admin_token_file: str = _access("", "File with a token that has every scope.", value="FILE")
    max_wrong_tokens: int = _access(
        60, "Wrong tokens accepted from an address per minute.", limits=(1, None)
    )
    max_tokens: int = _access(1000, "Unexpired tokens per profile.", limits=(1, None))
    trusted_proxy: str = _access(
        "", "Proxies whose X-Forwarded-For is trusted, separated by commas.", value="ADDRESSES"
    )
    allowed_host: str = _access(
        "",
        "Host names accepted besides localhost if no token is required; * accepts all.",
        value="HOSTS",
    )
    jwt_issuer: str = _access("", "Issuer (iss) of accepted JWTs.")
    jwt_audience: str = _access("", "Audience (aud) of accepted JWTs.")
    jwt_jwks: str = _access("", "JWK Set with the issuer's keys.", value="FILE or URL")
    roles: str = _access("", "Roles of JWTs and client certificates, in TOML.", value="FILE")
    audit_log: str = _option("", "File that records every call.", heading=AUDIT, value="FILE")
    docs: bool = _option(True, "Serve /docs and /openapi.json.")
    console: bool = _option(True, "Serve /console/.")
    seed_keys: str = _option("", "Profiles and keys to load at startup, for tests.", value="FILE")
    without_algorithm: tuple[str, ...] = _option(
        (),
        "Leave an algorithm out, by the name of its entry point; repeatable.",
        value="NAME or PACKAGE:NAME",
    )
    doors: tuple[DoorConfig, ...] = ()
    """The open doors, each with its options."""
    key_kept: str = ""
    """How the store key is kept: `sealed`, `file` or `variable`; empty for a store in memory."""
    seals: tuple[tuple[str, str], ...] = ()
    """The kinds of its seals, and their states since the start (seals/opening.py)."""
    unknown_variables: tuple[tuple[str, str], ...] = ()
    """Variables `MINIKMS_…` that nothing reads, each with a similar known one, or ""."""
    rate_table: int = -1
    """The descriptor of the file in which workers count rates together; -1 for none."""
    provider_faults: int = -1
    """The descriptor of the file in which workers mark faulty providers
    (keys/providers/providers.py); -1 for none."""

    @property
    def needs_token(self) -> bool:
        """True if callers need a token."""
        if self.auth == "auto":
            return StoreLocation.parse(self.store).persistent
        return self.auth == "token"


OPTIONS: Final = tuple(option for option in fields(Config) if option.metadata)
"""The fields that are options."""
