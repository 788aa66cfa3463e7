"""Environment variables that look like options, but have no effect."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from minikms.config import ENV_PREFIX, OPTIONS

# Variables of other commands and of clients, which may run in the same environment.
_OTHERS: Final = (
    "CA",
    "CERT",
    "CERT_KEY",
    "COMMAND",
    "CONFIG",
    "CONTEXT",
    "NEW_STORE_KEY",
    "PROFILE",
    "TO_STORE",
    "TO_STORE_KEY",
    "TOKEN",
    "TOKEN_FILE",
    "URL",
)
_TESTS: Final = f"{ENV_PREFIX}TEST_"

# Kubernetes sets NAME_SERVICE_HOST, NAME_SERVICE_PORT…, NAME_PORT… for each service, unless a pod
# has `enableServiceLinks: false`.
_LINK: Final = "SERVICE_HOST"


def unknown_variables(options: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return variables `MINIKMS_…` that nothing reads, each with a similar known one or "".

    `options` are the variables of a command's options.
    """
    own = {*options, *(ENV_PREFIX + field.name.upper() for field in OPTIONS)}
    known = {*own, *(ENV_PREFIX + name for name in _OTHERS)}
    links = [name.removesuffix(_LINK) for name in os.environ if name.endswith(f"_{_LINK}")]
    ignored = (_TESTS, *(link + part for link in links for part in ("SERVICE_", "PORT")))
    return tuple(
        (name, _similar(name, own))
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX) and name not in known and not name.startswith(ignored)
    )


def _similar(name: str, options: Iterable[str]) -> str:
    """Return the option variable most similar to a name; "" if none is similar."""
    rests = [option.removeprefix(ENV_PREFIX) for option in options]
    close = get_close_matches(name.removeprefix(ENV_PREFIX), sorted(rests), n=1)
    return ENV_PREFIX + close[0] if close else ""
