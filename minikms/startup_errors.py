"""The errors that stop a command, a class for each part that is misconfigured."""

from typing import ClassVar


class SetupError(Exception):
    """Invalid configuration: one sentence for the operator, and the command exits with `code`."""

    code: ClassVar[int] = 2


class PluginError(SetupError):
    """A plugin that cannot be used."""


class LibraryError(SetupError):
    """An installed library whose version the service does not support."""


class ProviderError(SetupError):
    """A provider that cannot be used as it is configured."""


class StoreError(SetupError):
    """A store that cannot be opened, made or used."""


class AbsentStoreError(StoreError):
    """There is no store, or one that was never finished."""


class SealError(StoreError):
    """No seal opens the store key, and one seal must not be retried, as after a wrong PIN.

    Supervisors do not restart the service after its exit code.
    """

    code = 3


class AccessError(SetupError):
    """Tokens or access rules that cannot be used."""


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
    """A missing requirement of the metrics."""


class TracesError(SetupError):
    """A missing requirement of the traces."""


def one_line(exc: Exception) -> str:
    """Format a plugin's exception as part of a sentence."""
    return " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(".: ")
