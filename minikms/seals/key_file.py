"""The file of a store key, plain or sealed."""

from minikms.basics.secret_files import read_private, secret_of
from minikms.seals.envelope import Envelope
from minikms.seals.opening import SealStates, unseal
from minikms.startup_errors import StoreError
from minikms.store import StoreKey


def read_key(file: str, text: str, method: str) -> StoreKey:
    """Read the key in `file`; return `text` itself if `file` is empty. Raises StoreError."""
    if not file:
        if not text:
            raise StoreError(
                "A store that is kept needs its key: --store-key-file or MINIKMS_STORE_KEY."
            )
        return StoreKey(text, method)
    key, _ = open_key(file, method)
    return key


def open_key(file: str, method: str, *, wait: float = 0.0) -> tuple[StoreKey, SealStates]:
    """Read the key in a file and the states of its seals; a plain key has none.

    Raises StoreError. Unavailable seals are retried for `wait` seconds.
    """
    content = read_private(file, "key", StoreError)
    if envelope := _parse(file, content):
        unsealed = unseal(envelope, file, wait)
        return StoreKey(unsealed.secret, method), unsealed.seals
    return StoreKey(secret_of(content, file, "key", StoreError), method), ()


def seals_of(file: str) -> list[str]:
    """Read the URIs of the seals of a key file, none for a plain key; raises StoreError."""
    envelope = read_envelope(file) if file else None
    return [key.uri for key in envelope.keys] if envelope else []


def read_envelope(file: str) -> Envelope | None:
    """Read the envelope in a key file; None for a plain key. Raises StoreError."""
    return _parse(file, read_private(file, "key", StoreError))


def _parse(file: str, content: str) -> Envelope | None:
    try:
        return Envelope.parse(content)
    except ValueError as exc:
        raise StoreError(f"The sealed key file {file} cannot be read: {exc}.") from None
