"""Our own connections to a store's PostgreSQL, beside Askar's, and checks of the server by them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from minikms.startup_errors import StoreError
from minikms.store.location import StoreLocation

if TYPE_CHECKING:
    import asyncpg

LOGGER = logging.getLogger(__name__)

# Without these, the locks of a stopped process stay.
_REQUIRED: Final = ("idle_in_transaction_session_timeout", "lock_timeout")

# The name in the server of the connection that each service has.
NOTICES: Final = "minikms notices"

# The server process that answers a statement.
_BACKEND: Final = "SELECT pg_backend_pid()"

# The number of connections to this database that have a name.
_SERVICES: Final = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = $1"
)


def installed() -> bool:
    """Tell whether the extra `postgres`, which such connections need, is installed."""
    return find_spec("asyncpg") is not None


async def connect(
    location: StoreLocation, application: str, timeout: float, *, prepared: int = 100
) -> "asyncpg.Connection":
    """A connection with the settings of Askar's; `application` is its name in the server.

    It keeps up to `prepared` statements.
    """
    import asyncpg  # slow to import, and only PostgreSQL needs it

    return await asyncpg.connect(
        location.dsn,
        timeout=timeout,
        statement_cache_size=prepared,
        server_settings={"application_name": application, "options": location.server_options},
    )


class ServerError(Exception):
    """A statement or a connection of ours failed; the text is the name of the error."""


@asynccontextmanager
async def connected(
    location: StoreLocation, application: str = "minikms check"
) -> AsyncIterator["asyncpg.Connection"]:
    """A connection for the block, with the time limit of the store; raises ServerError."""
    import asyncpg

    try:
        session = await connect(location, application, location.timeout, prepared=0)
        try:
            yield session
        finally:
            await session.close(timeout=location.timeout)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as exc:
        raise ServerError(type(exc).__name__) from exc


async def check_sessions(location: StoreLocation) -> None:
    """Warn if the settings of sessions are not in force.

    Raises StoreError if a pooler gives each transaction another session. Does not check anything
    without the extra `postgres`, or if the server does not accept more connections.
    """
    if location.backend != "postgres" or not installed():
        return
    try:
        async with (
            asyncio.timeout(location.timeout),
            connected(location) as one,
            connected(location) as other,
        ):
            off = [name for name in _REQUIRED if await one.fetchval(f"SHOW {name}") == "0"]
            pids = [{await each.fetchval(_BACKEND) for _ in range(3)} for each in (one, other)]
            shared = len(pids[0]) + len(pids[1]) > 2 or pids[0] == pids[1]
    except (ServerError, TimeoutError) as exc:
        # The name of a statement that another session has.
        shared = str(exc) == "InvalidSQLStatementNameError"
        if not shared:
            why = str(exc) or "TimeoutError"
            LOGGER.info("the sessions at %s are not checked: %s", location, why)
            return
    if shared:
        raise StoreError(
            f"A pooler at {location} gives each transaction another session: "
            "use its session mode (PgBouncer: pool_mode = session)."
        )
    if off:
        LOGGER.warning(
            "%s %s not set in sessions at %s, so that a stopped process may block all writes of a "
            "profile: a pooler drops settings; set them for the role",
            " and ".join(off),
            "is" if len(off) == 1 else "are",
            location,
        )


async def require_no_service(location: StoreLocation) -> None:
    """Raise StoreError if a service of any version is connected to the store's database.

    It finds only services with the extra `postgres`, and only if this process has that extra.
    """
    if not installed():
        return
    try:
        async with connected(location) as session:
            services = await session.fetchval(_SERVICES, NOTICES)
    except ServerError as exc:
        raise StoreError(
            f"The services that use the store at {location} cannot be listed: {exc}."
        ) from None
    if services:
        raise StoreError(f"A service uses the database of the store at {location}: stop it first.")
