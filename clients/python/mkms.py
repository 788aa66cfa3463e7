"""The command `mkms`, which starts without httpx's own command."""

import sys

# httpx imports its own command, with rich and pygments, if they are installed, and works without.
# They would take a fourth of the start of `mkms`.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

try:
    from minikms_client.cli.main import mkms
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    print(
        "mkms: The command needs the extra cli: pip install 'minikms-client[cli]', or in the "
        "checkout pip install './clients/python[cli]'.",
        file=sys.stderr,
    )
    sys.exit(2)  # wrong usage, as in minikms_client.cli.exits, which needs click

__all__ = ["mkms"]
