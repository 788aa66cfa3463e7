"""Texts that a log must not have: secrets that a caller pasted in place of a name."""

import re
from typing import Final
from urllib.parse import unquote

from minikms.access.token_record import PREFIX

# A token, a JWS or a private key. A search takes time in proportion to the text.
_SECRET: Final = re.compile(
    rf"{PREFIX}[0-9a-f]{{16}}|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.|-----BEGIN"
    r"|\"(?:d|k|secret|seed)\"\s*:"
)

# No shorter path has a secret. Most paths are shorter, and need no search.
_SHORTEST: Final = 20


def is_secret(text: str) -> bool:
    """Tell whether a text has a token, a JWS or a private key."""
    return _SECRET.search(text) is not None


def without_secrets(path: str) -> str:
    """Return a path with `…` in place of each segment that has a secret."""
    if len(path) < _SHORTEST or not is_secret(unquote(path)):
        return path
    return "/".join("…" if is_secret(unquote(each)) else each for each in path.split("/"))
