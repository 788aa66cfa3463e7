"""Finds secrets in strings for the log, such as a token that a caller pasted in place of a name."""

import re
from typing import Final
from urllib.parse import unquote

from minikms.access.token_record import PREFIX

# A token, a JWS or a private key. A search takes time in proportion to the length of the string.
_SECRET: Final = re.compile(
    rf"{PREFIX}[0-9a-f]{{16}}|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.|-----BEGIN"
    r"|\"(?:d|k|secret|seed)\"\s*:"
)

# Shorter paths contain no secret. Most paths are shorter, and are not searched.
_SHORTEST: Final = 20


def is_secret(text: str) -> bool:
    """Tell whether a string contains a token, a JWS or a private key."""
    return _SECRET.search(text) is not None


def without_secrets(path: str) -> str:
    """Replace each segment of a path that contains a secret by `…`."""
    if len(path) < _SHORTEST or not is_secret(unquote(path)):
        return path
    return "/".join("…" if is_secret(unquote(each)) else each for each in path.split("/"))
