"""Names of claims, compared as the laxest parsers of JSON and the laxest databases compare them."""

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Final

_MARKS_AND_SPACES: Final = ("M", "Z")
# Characters of other categories that Unicode's collation (UTS 10) ignores: fillers and fragments.
_WEIGHTLESS: Final = "\u0640\u07fa\u0824\u0828\u115f\u1160\u180a\u1cd3\u1cf2\u1cf3\ufe73"
# The name of a variant of a Latin letter, which has the letter as a word.
_LATIN: Final = re.compile(r"LATIN (?:\w+ )*?LETTER (?:\w+ )*?([A-Z])\b")


def fold(name: str) -> str:
    """The name as the laxest parser reads it: without case, in one normal form, and up to a NUL.

    C ends a text there. Java takes the dotless i for an i, and so the capital with a dot. Databases
    compare names by their letters: without marks, spaces, controls and all that is invisible.
    """
    name = name.partition("\0")[0]
    if name.isascii() and name.isprintable() and " " not in name:
        return name.lower()
    # One by one: to order the marks of a whole text takes a time that grows with its square.
    return "".join([_fold_one(each) for each in name])


def is_taken_for(name: str, others: Collection[str]) -> bool:
    """Tell whether some parser may take a name for one of `others`, which are folded.

    A character that this version of Unicode does not have may be a variant of any letter.
    """
    if name.isascii():
        return fold(name) in others
    return fold(name) in others or any(unicodedata.category(each) == "Cn" for each in name)


def _fold_one(character: str) -> str:
    if unicodedata.category(character) == "Lo" and not unicodedata.decomposition(character):
        return "" if character in _WEIGHTLESS else character
    return _fold_letter(character)


@lru_cache(16_384)
def _fold_letter(character: str) -> str:
    """The letters that a comparison without marks takes a character for; empty if it ignores it."""
    # The only mark that folds to a letter is U+0345.
    parts = unicodedata.normalize("NFKD", character).replace("\u0345", "").casefold()
    return "".join(map(_letter, unicodedata.normalize("NFKD", parts)))


def _letter(character: str) -> str:
    category = unicodedata.category(character)[0]
    if category == "C" or character in _WEIGHTLESS:
        return ""
    # Marks can be letters, such as U+0365.
    latin = None if character.isascii() else _LATIN.search(unicodedata.name(character, ""))
    if latin is not None:
        return latin[1].lower()
    return "" if category in _MARKS_AND_SPACES else character
