"""The command `mkms`, which starts without what httpx has for its own command."""

import sys

# httpx imports its own command, and rich and pygments for it, where they are installed, and goes
# without where they are not. They would be a fourth of the time that `mkms` takes to start.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

from minikms_client.cli.main import mkms  # noqa: E402

__all__ = ["mkms"]
