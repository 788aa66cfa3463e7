"""Names of claims, compared as the laxest parsers of JSON and the laxest databases compare them."""

import re
import unicodedata
from collections.abc import Iterable, Set
from typing import Final

_MARKS_AND_SPACES: Final = ("M", "Z")
# Characters of other categories that Unicode's collation (UTS 10) ignores: fillers and fragments.
_WEIGHTLESS: Final = "\u0640\u07fa\u0824\u0828\u115f\u1160\u180a\u1cd3\u1cf2\u1cf3\ufe73"
# Unicode's name of a variant of a Latin letter has the letter itself as a word.
_LATIN: Final = re.compile(r"LATIN (?:\w+ )*?LETTER (?:\w+ )*?([A-Z])\b")

# The characters of a name that are folded at once: other threads wait meanwhile.
_PART: Final = 1024
# The folded characters that are compared; the name of a rule has fewer. Two names are the same if
# they agree up to there.
_COMPARED: Final = 4096
# Stands for a character that this version of Unicode does not have.
_UNKNOWN: Final = "\0"


def readings(names: Iterable[str]) -> set[str]:
    """Fold names as ICU's collation, which ignores a NUL, and as C, which ends a text there."""
    texts = {text for name in names for text in (name, name.partition("\0")[0])}
    return {_fold(text).replace(_UNKNOWN, "") for text in texts}


def is_taken_for(name: str, others: Set[str]) -> bool:
    """Tell whether some parser may take a name for one of others, given as their `readings`.

    A character that this version of Unicode does not have may be a variant of any letter.
    """
    if _is_plain(name):
        return name[:_COMPARED].lower() in others
    folded = _fold(name)
    if folded in others or _UNKNOWN in folded:
        return True
    return "\0" in name and _fold(name.partition("\0")[0]) in others


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _fold(text: str) -> str:
    """The begin of a text as the laxest parser reads it: without case, and in one normal form.

    Java takes the dotless i for an i, and so the capital with a dot. Databases compare names by
    their letters: without marks, spaces, controls and all that is invisible.
    """
    # One by one: to order the marks of a whole text takes a time that grows with its square.
    folded, begin = text[:_PART].translate(_FOLDED), _PART
    while len(folded) < _COMPARED and begin < len(text):
        folded += text[begin : begin + _PART].translate(_FOLDED)
        begin += _PART
    return folded[:_COMPARED]


class _Folded(dict[int, str]):
    """The letters that a comparison without marks takes a character for, by its code.

    They are empty for a character that it ignores. 20,000 characters of Unicode 15 are kept: not
    the ones that stand for themselves, private ones, and unknown ones.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cn", "Co"):
            return _UNKNOWN if category == "Cn" else ""
        if category == "Lo" and not unicodedata.decomposition(character):
            return "" if character in _WEIGHTLESS else character
        # The only mark that folds to a letter is U+0345.
        parts = unicodedata.normalize("NFKD", character).replace("\u0345", "").casefold()
        self[code] = "".join(map(_letter, unicodedata.normalize("NFKD", parts)))
        return self[code]


_FOLDED: Final = _Folded()


def _letter(character: str) -> str:
    category = unicodedata.category(character)[0]
    if category == "C" or character in _WEIGHTLESS:
        return ""
    # Marks can be letters, such as U+0365.
    latin = None if character.isascii() else _LATIN.search(unicodedata.name(character, ""))
    if latin is not None:
        return latin[1].lower()
    return "" if category in _MARKS_AND_SPACES else character
