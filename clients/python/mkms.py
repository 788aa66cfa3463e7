"""The command `mkms`, which starts without importing httpx's own command."""

import sys

# If rich and pygments are installed, httpx imports its own command with them, but also works
# without. They would take a quarter of the start of `mkms`.
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
