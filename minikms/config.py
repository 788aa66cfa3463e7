"""The configuration of a service."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from minikms.store.location import KEY_METHODS, StoreLocation

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
OTHER: Final = "Other"

HEADINGS: Final = (LISTENER, STORE, AUTHORIZATION, TLS, LIMITS, AUDIT, MONITORING, OTHER)
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


@dataclass(frozen=True)
class DoorConfig:
    """The address of a door, and its own options by name, which may be secrets."""

    name: str
    host: str
    port: int
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Config:
    """The options of `minikms serve`: each field but `doors` is a flag and a variable `MINIKMS_…`.

    Flags and docs are derived from these fields. With `flag=False` an option has only the variable,
    since it is a secret, which must not be on a command line.
    """

    host: str = _option("127.0.0.1", "Address to listen on.", heading=LISTENER, value="ADDRESS")
    port: int = _option(
        8080, "Port to listen on; 0 takes a free one.", limits=(0, 65535), heading=LISTENER
    )
    workers: int = _option(
        1, "Worker processes that share the port.", limits=(1, None), heading=LISTENER
    )
    max_body: int = _option(
        1024 * 1024, "Largest request body.", limits=(1, None), heading=LIMITS, value="BYTES"
    )
    log_format: str = _option(
        "text", "Format of log lines: text or JSON.", LOG_FORMATS, heading=MONITORING
    )
    log_level: str = _option("info", "Lowest level that is logged.", LOG_LEVELS, heading=MONITORING)
    metrics_port: int = _option(
        0, "Port to serve /metrics on; 0 disables metrics.", limits=(0, 65535), heading=MONITORING
    )
    metrics_host: str = _option(
        "127.0.0.1", "Address to serve /metrics on.", heading=MONITORING, value="ADDRESS"
    )
    max_header: int = _option(
        50 * 1024,  # an alias in a query, each of its bytes as three
        "Longest path with its query, and longest header.",
        limits=(256, None),
        heading=LIMITS,
        value="BYTES",
    )
    max_head: int = _option(
        64 * 1024,
        "Largest head of a request: its path and all headers together.",
        limits=(1024, None),
        heading=LIMITS,
        value="BYTES",
    )
    header_timeout: int = _option(
        10,
        "Time for the headers of a request to arrive.",
        limits=(1, None),
        heading=LIMITS,
        value="SECONDS",
    )
    body_timeout: int = _option(
        30,
        "Time for the body of a request to arrive.",
        limits=(1, None),
        heading=LIMITS,
        value="SECONDS",
    )
    idle_timeout: int = _option(
        75,
        "Time that a connection stays open between two requests.",
        limits=(1, None),
        heading=LIMITS,
        value="SECONDS",
    )
    max_connections: int = _option(
        10_000, "Connections at the same time, per process.", limits=(1, None), heading=LIMITS
    )
    max_connections_per_address: int = _option(
        256,
        "Connections per client address; trusted proxies are exempt.",
        limits=(1, None),
        heading=LIMITS,
    )
    max_in_flight: int = _option(
        1000,
        "Requests in progress at the same time, per process.",
        limits=(1, None),
        heading=LIMITS,
    )
    worker_timeout: int = _option(
        10,
        "Time without an answer after which a worker is replaced; 0 never replaces it.",
        heading=LISTENER,
        value="SECONDS",
    )
    shutdown_grace: int = _option(
        5,
        "Time after SIGTERM during which calls are still served and /readyz answers 503.",
        heading=LISTENER,
        value="SECONDS",
    )
    tls_cert: str = _option(
        "", "Certificate, followed by any intermediate certificates.", heading=TLS, value="FILE"
    )
    tls_key: str = _option(
        "",
        "Private key, if the file of the certificate does not contain it.",
        heading=TLS,
        value="FILE",
    )
    tls_client_ca: str = _option(
        "", "CA of client certificates; clients then need one.", heading=TLS, value="FILE"
    )
    store: str = _option(
        "memory",
        "Store of the keys: memory, sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME.",
        heading=STORE,
        value="URL",
        secret=True,
    )
    store_key_file: str = _option(
        "",
        "Key that opens the store; MINIKMS_STORE_KEY may hold the key itself.",
        heading=STORE,
        value="FILE",
    )
    store_key: str = _option(
        "", "Key that opens the store, instead of a file.", heading=STORE, secret=True, flag=False
    )
    store_key_method: str = _option(
        "raw",
        "Kind of the store key: a raw key, or a passphrase for Argon2i.",
        KEY_METHODS,
        heading=STORE,
    )
    cache_size: int = _option(
        10_000, "Keys and tokens cached per process; 0 disables the cache.", heading=STORE
    )
    cache_ttl: int = _option(
        5,
        "Time that a cached key or token is used without a check of PostgreSQL.",
        heading=STORE,
        value="SECONDS",
    )
    auth: str = _option(
        "auto",
        "Authentication of callers; auto requires a token if the store is persistent.",
        AUTH,
        heading=AUTHORIZATION,
    )
    admin_token_file: str = _option(
        "", "File with a token that has every scope.", heading=AUTHORIZATION, value="FILE"
    )
    max_wrong_tokens: int = _option(
        60,
        "Wrong tokens accepted from an address per minute.",
        limits=(1, None),
        heading=AUTHORIZATION,
    )
    trusted_proxy: str = _option(
        "",
        "Proxies whose X-Forwarded-For is trusted, separated by commas.",
        heading=AUTHORIZATION,
        value="ADDRESSES",
    )
    allowed_host: str = _option(
        "",
        "Host names accepted besides localhost if no token is required; * accepts all.",
        heading=AUTHORIZATION,
        value="HOSTS",
    )
    jwt_issuer: str = _option("", "Issuer (iss) of accepted JWTs.", heading=AUTHORIZATION)
    jwt_audience: str = _option("", "Audience (aud) of accepted JWTs.", heading=AUTHORIZATION)
    jwt_jwks: str = _option(
        "", "JWK Set with the issuer's keys.", heading=AUTHORIZATION, value="FILE or URL"
    )
    audit_log: str = _option("", "File that records every call.", heading=AUDIT, value="FILE")
    docs: bool = _option(True, "Serve /docs and /openapi.json.", heading=OTHER)
    seed_keys: str = _option(
        "", "Profiles and keys to load at startup, for tests.", heading=OTHER, value="FILE"
    )
    without_algorithm: tuple[str, ...] = _option(
        (),
        "Leave an algorithm out, by the name of its entry point; repeatable.",
        heading=OTHER,
        value="NAME or PACKAGE:NAME",
    )
    doors: tuple[DoorConfig, ...] = ()
    """The open doors, each with its options."""

    @property
    def needs_token(self) -> bool:
        """True if callers need a token."""
        if self.auth == "auto":
            return StoreLocation.parse(self.store).persistent
        return self.auth == "token"


OPTIONS: Final = tuple(option for option in fields(Config) if option.metadata)
"""The fields that are options."""
