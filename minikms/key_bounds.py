"""Bounds of a key's names, labels and certificates."""

from collections.abc import Collection, Mapping
from typing import Final

from minikms.errors import TooLargeRecord, TooManyAliases

# A record is read and written as a whole, so the aliases and the labels of a key are bounded: their
# number, and their bytes in UTF-8 together.
MAX_ALIASES: Final = 1000
MAX_ALIAS_BYTES: Final = 256 * 1024
MAX_LABELS: Final = 64  # AWS KMS allows 50 tags, and the description is one more
MAX_LABEL_VALUE: Final = 8192  # characters; the description of an AWS KMS key is a label
MAX_LABEL_BYTES: Final = 32 * 1024

# The number of certificates of a key, and their bytes in DER together.
MAX_CERTIFICATES: Final = 8
MAX_CERTIFICATE_BYTES: Final = 32 * 1024

# The bytes of the labels and rules of all keys that one call makes.
MAX_BATCH_BYTES: Final = 1024 * 1024

# The kids in requests. The service makes kids that are thumbprints or random.
KID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,128}\Z"
# The length is checked separately: regex engines refuse so many repetitions, or need megabytes for
# them.
ALIAS_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f]+\Z"
MAX_ALIAS: Final = 4096  # characters; did:peer:4 and did:jwk contain a document

# The length of a provider's name, in characters.
MAX_PROVIDER: Final = 64

# Seconds between two scheduled rotations of a key: from an hour, as in Vault, to ten years.
MIN_ROTATE_EVERY: Final = 3600
MAX_ROTATE_EVERY: Final = 3650 * 86_400

# Seconds for which a next key is published before a scheduled rotation: from a minute to 90 days.
MIN_PUBLISH_AHEAD: Final = 60
MAX_PUBLISH_AHEAD: Final = 90 * 86_400

# Seconds from a rotation until the old key retires: from a minute to ten years.
MIN_RETIRE_AFTER: Final = 60
MAX_RETIRE_AFTER: Final = 3650 * 86_400

# Seconds until the deletion that a key is made with: from a minute to a day.
MIN_DELETE_AFTER: Final = 60
MAX_DELETE_AFTER: Final = 86_400
SECOND: Final = 1_000_000_000


def require_room(aliases: Collection[str]) -> None:
    """Raise TooManyAliases or TooLargeRecord if a key may not have these aliases."""
    if len(aliases) > MAX_ALIASES:
        raise TooManyAliases(f"A key has at most {MAX_ALIASES:,} aliases.")
    if sum(len(alias.encode()) for alias in aliases) > MAX_ALIAS_BYTES:
        raise TooLargeRecord(f"All aliases of a key have at most {MAX_ALIAS_BYTES:,} bytes.")


def bytes_of_labels(labels: Mapping[str, str]) -> int:
    """Count the bytes of the names and values of labels in UTF-8."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())


def require_small_labels(labels: int) -> None:
    """Raise TooLargeRecord if a key may not have labels of this size."""
    if labels > MAX_LABEL_BYTES:
        raise TooLargeRecord(f"All labels of a key have at most {MAX_LABEL_BYTES:,} bytes.")
