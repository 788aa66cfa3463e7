"""The location of a store, and the key that opens it, as an operator gives them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from minikms.startup_errors import StoreError

Backend = Literal["memory", "sqlite", "postgres"]

KEY_METHODS: Final = ("raw", "argon2i")

# Defaults of Askar's own options. `busy_timeout` is in milliseconds, `connect_timeout` in seconds.
_DEFAULTS: Final[dict[Backend, dict[str, int]]] = {
    "memory": {"max_connections": 1},
    "sqlite": {"max_connections": 4, "busy_timeout": 200},
    "postgres": {"max_connections": 10, "connect_timeout": 2},
}

# Settings of our sessions in PostgreSQL. The server must end the transaction of a stopped process,
# which locks a profile; TCP alone would notice a lost client after two hours. All settings exist in
# PostgreSQL 12 or earlier, and every role may set them.
SESSION_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": "15s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    # Otherwise a statement that was prepared may be planned without its values after five uses, and
    # then reads all places of all profiles for a page.
    "plan_cache_mode": "force_custom_plan",
}

# Parts of the time in which a call needs an answer, so that the server answers before the caller
# gives up. A wait for a lock ends first: it is no slow statement.
_LOCK_TIMEOUT: Final = 0.75
_STATEMENT_TIMEOUT: Final = 0.9

# Options of a PostgreSQL URL that Askar reads itself. With `schema` it fails to make a store.
_ASKAR_OPTIONS: Final = {
    "connect_timeout",
    "idle_timeout",
    "max_connections",
    "min_connections",
    "admin_account",
    "admin_password",
}

# The other options; Askar's driver reads them from these variables (`driver_environment`).
_VARIABLES: Final = {
    "PGOPTIONS": "options",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
}

# Not `verify-ca`, with which Askar's driver trusts every public CA for any host, nor `allow`, with
# which it does no TLS.
_SSL_MODES: Final = ("disable", "prefer", "require", "verify-full")


@dataclass(frozen=True)
class StoreLocation:
    """A parsed store URL. Its `repr` and `str` have no password.

    `uri` is for Askar, `dsn` for other clients of a PostgreSQL. `driver_environment` has the
    variables that Askar's PostgreSQL driver needs, and None for variables that must not be set.
    Askar 0.5.0 passes the options of a URL to the driver in random order and without `&`: the
    driver understands one at most. So `uri` has only the option `sslmode`.

    The database itself stops waiting, such as for a lock, after at most `timeout` seconds.
    `server_options` are settings of a session, in the form of PostgreSQL's startup parameter
    `options`.
    """

    backend: Backend
    shown: str
    uri: str = field(repr=False)
    path: Path | None = None
    max_connections: int = 1
    timeout: float = 2.0
    server_options: str = ""
    dsn: str = field(default="", repr=False)
    driver_environment: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """`memory`, `sqlite:///path/keys.db` or `postgres://user:password@host:port/name`.

        Options of the database follow a `?`. Raises StoreError.
        """
        if url == "memory":
            # One connection keeps the store there, the other is used: see Database.create.
            return cls("memory", url, "sqlite://:memory:?max_connections=2")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise StoreError("The store URL is not valid: it has a bracket in its host.") from None
        query = parse_qs(parts.query, keep_blank_values=True)
        given = {name: values[-1] for name, values in query.items()}
        if parts.scheme == "sqlite":
            path = unquote(parts.netloc + parts.path)
            if not path or path == ":memory:":
                raise StoreError("The store URL names no file; for one in memory say: memory.")
            # Some programs write an absolute path with a fourth slash.
            place = re.sub("^/+", "/", parts.netloc + parts.path)
            path = re.sub("^/+", "/", path)
            return cls._with_options("sqlite", f"sqlite://{path}", place, given, Path(path))
        if parts.scheme not in ("postgres", "postgresql"):
            raise StoreError("The store is one of: memory, sqlite:///PATH, postgres://HOST/NAME.")
        try:
            address = f"{parts.hostname or ''}:{parts.port or 5432}"
        except ValueError:
            raise StoreError("The port in the store URL is not a number.") from None
        if len(parts.path) < 2:
            raise StoreError("The store URL names no database: postgres://HOST/NAME.")
        user, at, host = parts.netloc.rpartition("@")
        # Askar decodes host and name for its driver, which would read a query in them.
        if parts.fragment or "@" in user or set("@?#") & set(unquote(host + parts.path)):
            raise StoreError(
                "In the store URL, write @, ? and # in a password as %40, %3F and %23; "
                "the host and the name of the database must not have them."
            )
        shown = f"postgres://{address}{parts.path}"
        place = f"{user}{at}{host.replace('%', '%25')}{parts.path}"  # the driver decodes it again
        location = cls._with_options("postgres", shown, place, {**given, **_tls(given)})
        dsn = parts._replace(query=urlencode(_tls(given))).geturl()
        return replace(location, dsn=dsn)

    @classmethod
    def _with_options(
        cls,
        backend: Backend,
        shown: str,
        place: str,
        given: dict[str, str],
        path: Path | None = None,
    ) -> Self:
        options = {**{name: str(value) for name, value in _DEFAULTS[backend].items()}, **given}
        try:
            most = int(options.pop("max_connections"))
            wait = int(options.get("busy_timeout", 0)) / 1000 + int(
                options.get("connect_timeout", 0)
            )
        except ValueError:
            raise StoreError("An option in the store URL is not a number.") from None
        if most < 1:
            raise StoreError("The option max_connections in the store URL must be at least 1.")
        timeout, settings = max(2.0, wait), ""
        environment: dict[str, str | None] = {}
        if backend == "postgres":
            settings = options["options"] = _session_settings(options, timeout)
            environment = {name: options.pop(own, None) for name, own in _VARIABLES.items()}
        uri = f"{backend}://{place}?{urlencode({**options, 'max_connections': most})}"
        return cls(
            backend, shown, uri, path, most, timeout, settings, driver_environment=environment
        )

    @property
    def statement_timeout(self) -> float:
        """Seconds after which PostgreSQL cancels a statement of a service."""
        return self.timeout * _STATEMENT_TIMEOUT

    def limited(self) -> Self:
        """The location for a service, in whose sessions PostgreSQL cancels slow statements.

        Not for commands, which read a whole store by one statement, nor for connections of our own:
        `server_options` stay.
        """
        if self.backend != "postgres" or "statement_timeout" in self.server_options:
            return self
        limit = f"-c statement_timeout={round(self.statement_timeout * 1000)}ms"
        environment = {"PGOPTIONS": f"{limit} {self.server_options}"}
        return replace(self, driver_environment={**self.driver_environment, **environment})

    @property
    def persistent(self) -> bool:
        """Tell whether the store outlives the service."""
        return self.backend != "memory"

    def require_two_connections(self) -> None:
        """Raise StoreError if a cursor would hold the only connection."""
        if self.max_connections < 2:
            raise StoreError("The option max_connections in the store URL must be at least 2.")

    def __str__(self) -> str:
        return self.shown


def _tls(given: Mapping[str, str]) -> dict[str, str]:
    """The TLS options of a PostgreSQL URL, with `sslmode` in any case; raises StoreError."""
    if given.keys() - _ASKAR_OPTIONS - set(_VARIABLES.values()) - {"sslmode"}:
        known = ", ".join(sorted({*_ASKAR_OPTIONS, *_VARIABLES.values(), "sslmode"}))
        raise StoreError(f"The options in a PostgreSQL store's URL are: {known}.")
    mode = given.get("sslmode", os.environ.get("PGSSLMODE", "prefer"))
    if mode not in _SSL_MODES:
        raise StoreError(
            f"sslmode, in the store URL or PGSSLMODE, is one of {', '.join(_SSL_MODES)}; "
            "for another, let stunnel connect to PostgreSQL."
        )
    if (mode == "verify-full") != bool(given.get("sslrootcert")):
        raise StoreError(
            "In the store URL, sslmode=verify-full needs sslrootcert, the file of the CA, "
            "and no other mode uses it."
        )
    files = {name: given[name] for name in ("sslrootcert", "sslcert", "sslkey") if name in given}
    return {"sslmode": mode, **files}


def _session_settings(given: Mapping[str, str], timeout: float) -> str:
    """Make the startup parameter `options` of our sessions, which keeps the operator's settings."""
    settings = {**SESSION_SETTINGS, "lock_timeout": f"{round(timeout * _LOCK_TIMEOUT * 1000)}ms"}
    own = [f"-c {name}={value}" for name, value in settings.items() if name not in str(given)]
    return " ".join([*own, *filter(None, [given.get("options")])])


def require_one_driver_environment(one: StoreLocation, other: StoreLocation) -> None:
    """Raise StoreError if the two stores need different variables of the environment."""
    environments = one.driver_environment, other.driver_environment
    if all(environments) and environments[0] != environments[1]:
        raise StoreError(
            "The URLs of both stores need the same connect_timeout, options, sslrootcert, sslcert "
            "and sslkey: otherwise copy to an SQLite file, and from there."
        )


@dataclass(frozen=True)
class StoreKey:
    """The key of a store: a raw key in Askar's base58, or a passphrase for Argon2i."""

    secret: str = field(repr=False)
    method: str = "raw"

    @property
    def askar_method(self) -> str:
        """Askar's name of the method."""
        return "raw" if self.method == "raw" else f"kdf:{self.method}"
