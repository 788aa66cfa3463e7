"""The plugin interface of seals: devices or services that encrypt the store key."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from urllib.parse import unquote


class SealUnavailable(Exception):
    """A seal that does not work now, but may later.

    The message is one sentence without a secret.
    """


class SealFault(SealUnavailable):
    """A seal that must not be retried in this process: it would fail again, or lock a token."""


class Seal(ABC):
    """Encrypts the key of a store with a key that never leaves a device or a service.

    The class is an entry point of the group `minikms.seals`, named by the scheme of its URIs. Each
    method opens a new connection, is called in its own thread, and raises SealUnavailable or
    SealFault. After 15 seconds the other seals are tried; a call that hangs is not repeated, and
    may still return.
    """

    @abstractmethod
    def __init__(self, uri: str) -> None:
        """Parse a URI, without connecting.

        The URI names the files of secrets, and contains no secret itself. Raises ValueError with
        one sentence that does not quote the URI.
        """

    @abstractmethod
    def seal(self, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt a secret of up to 2,048 bytes, and bind the ciphertext to the associated data."""

    @abstractmethod
    def unseal(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Decrypt a ciphertext of `seal`; raises SealFault if it or the associated data changed."""


def seal_options(query: str, names: Collection[str]) -> dict[str, str]:
    """Return the options behind the `?` of a URI; raises ValueError for an unknown one."""
    options = {}
    for each in query.split("&") if query else ():
        name, _, value = each.partition("=")
        if name not in names or name in options or not value:
            raise ValueError(f"Its options, each with a value, are: {', '.join(names)}.")
        options[name] = unquote(value)
    return options
