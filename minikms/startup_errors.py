"""The errors that stop a command, a class for each part that is misconfigured."""

from typing import ClassVar


class SetupError(Exception):
    """Invalid configuration: one sentence for the operator, and the command exits with `code`."""

    code: ClassVar[int] = 2


class PluginError(SetupError):
    """A plugin that cannot be used."""


class ProviderError(SetupError):
    """A provider that cannot be used as it is configured."""


class StoreError(SetupError):
    """A store that cannot be opened, made or used."""


class SealError(StoreError):
    """A store key that no seal opens, one of which must not be tried again, as after a wrong PIN.

    Its exit code is one at which a supervisor does not start the service again.
    """

    code = 3


class AccessError(SetupError):
    """Tokens or rules of access that cannot be used."""


class JwtError(SetupError):
    """An identity provider that cannot be used as it is configured."""


class SeedError(SetupError):
    """A file of keys that cannot be loaded."""


class TlsError(SetupError):
    """A certificate, its key, or a CA that cannot be used."""


class AuditError(SetupError):
    """An audit log that cannot be written or checked."""


class ListenError(SetupError):
    """An address that cannot be listened on."""

    code = 1


class MetricsError(SetupError):
    """A requirement of the metrics that is missing."""


class TracesError(SetupError):
    """A requirement of traces that is missing."""


def one_line(exc: Exception) -> str:
    """Format a plugin's exception as a part of a sentence."""
    return " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(".: ")
