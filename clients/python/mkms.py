"""The command `mkms`, which starts without httpx's own command."""

import sys

# httpx imports its own command, with rich and pygments, if they are installed, and works without.
# They would take a fourth of the start of `mkms`.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

from minikms_client.cli.main import mkms  # noqa: E402

__all__ = ["mkms"]
