"""Steps that a single process and the parent of workers share.

This module does not import the web: a parent answers no calls.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikms.basics.addresses import is_loopback, local_address, url_host
from minikms.config import Config
from minikms.doors.registry import installed_doors
from minikms.seals.key_file import open_key
from minikms.serve.exits import fail
from minikms.startup_errors import SetupError, StoreError
from minikms.store import StoreLocation

LOGGER = logging.getLogger("minikms")

# In seconds, after the grace period: the wait for the first call of connections that were just
# accepted, when nothing listens any more; then the time for running calls.
LAST_CALLS: Final = 1.0
SHUTDOWN_TIMEOUT: Final = 30.0


def takes_sighup(config: Config) -> bool:
    """Tell whether SIGHUP reads certificates or roles again, or reopens an audit log."""
    return bool(config.tls_cert or config.audit_log or config.roles)


def warn_of_variables(config: Config) -> None:
    """Log variables that have no effect, such as misspelt ones."""
    for name, similar in config.unknown_variables:
        if similar:
            LOGGER.warning("the variable %s has no effect: did you mean %s?", name, similar)
        else:
            LOGGER.warning("the variable %s has no effect", name)


def with_store_key(config: Config) -> Config:
    """Return the configuration with the store key itself and how it was kept; raises StoreError.

    A sealed key is thus unsealed once, and replaced workers need no seal.
    """
    if config.key_kept:
        return config
    if not StoreLocation.parse(config.store).persistent:
        if config.store_key or config.store_key_file:
            raise StoreError(
                "A store key is given, but the store is in memory: name its store by --store or "
                "MINIKMS_STORE, or omit the key."
            )
        return config
    if not config.store_key_file:
        return dataclasses.replace(config, key_kept="variable")
    key, seals = open_key(config.store_key_file, config.store_key_method, wait=config.seal_wait)
    return dataclasses.replace(
        config,
        store_key=key.secret,
        store_key_file="",
        key_kept="sealed" if seals else "file",
        seals=seals,
    )


def announce(config: Config, addresses: Sequence[Any]) -> None:
    """Log the addresses of the service, its store, and warnings about authentication.

    The first address is the service's; the addresses of its doors follow in their order.
    """
    host, port = addresses[0][:2]
    scheme = "https" if config.tls_cert else "http"
    url, local = (
        f"{scheme}://{shown}:{port}" for shown in (url_host(host), url_host(local_address(host)))
    )
    LOGGER.info("listening on %s, documentation on %s/docs", url, local)
    if local != url:
        LOGGER.info(
            "that is every address of this machine; for a container, use the address where its "
            "port is published"
        )
    _warn_if_open(config, host, url)
    for door, (door_host, door_port, *_) in zip(config.doors, addresses[1:], strict=True):
        url = f"{scheme}://{url_host(door_host)}:{door_port}"
        LOGGER.info("%s on %s", installed_doors()[door.name].title, url)
        _warn_if_open(config, door_host, url)
    location = StoreLocation.parse(config.store)
    if location.persistent:
        LOGGER.info("keys are kept in %s", location)
    else:
        LOGGER.info("keys are kept in memory only, and are lost when this process ends")
    if config.needs_token and not (
        location.persistent or config.admin_token_file or config.jwt_issuer or config.roles
    ):
        LOGGER.warning(
            "callers need a token, but a store in memory has none: make one by `minikms token "
            "generate` and name its file by --admin-token-file"
        )


def _warn_if_open(config: Config, host: str, url: str) -> None:
    if not config.needs_token and not is_loopback(host):
        LOGGER.warning(
            "everyone who reaches %s may use every key: --auth token requires tokens", url
        )


@contextlib.contextmanager
def exit_on_startup_error() -> Iterator[None]:
    """Exit with one sentence, and the code of the error, if the service cannot start."""
    try:
        yield
    except SetupError as exc:
        fail(str(exc), exc.code)
