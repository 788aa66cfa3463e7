"""Reads the members of rules strictly."""

from collections.abc import Collection, Mapping
from typing import Any, Final

MAX_RULE_VALUES: Final = 64  # per list
MAX_RULE_TEXT: Final = 2048  # characters


class RulesError(ValueError):
    """Rules are not valid; `place` is the path of member names to the fault."""

    def __init__(self, fault: str, *place: str) -> None:
        super().__init__(fault)
        self.fault = fault
        self.place = place


def read_members(document: object, names: Collection[str], *place: str) -> dict[str, Any]:
    """Return a JSON object that has no other members; raises RulesError."""
    if not isinstance(document, dict):
        raise RulesError("Must be an object.", *place)
    for name in document:
        if name not in names:
            raise RulesError(f"Unknown: the rules are {', '.join(names)}.", *place, str(name)[:64])
    return document


def read_text(value: object, most: int, *place: str) -> str:
    """Return a string of 1 to `most` characters; raises RulesError."""
    if type(value) is not str or not 0 < len(value) <= most:
        raise RulesError(f"Must be a string of 1 to {most:,} characters.", *place)
    return value


def read_texts(value: object, *place: str) -> tuple[str, ...]:
    """Return a list of strings, sorted and each once; raises RulesError."""
    if type(value) is not list or not 0 < len(value) <= MAX_RULE_VALUES:
        raise RulesError(f"Must be a list of 1 to {MAX_RULE_VALUES} strings.", *place)
    texts = {read_text(each, MAX_RULE_TEXT, *place, str(at)) for at, each in enumerate(value)}
    return tuple(sorted(texts))


def read_number(members: Mapping[str, Any], least: int, most: int, *place: str) -> int | None:
    """Return the number in the last member of `place`, None without it; raises RulesError."""
    name = place[-1]
    if name not in members:
        return None
    value = members[name]
    if type(value) is not int or not least <= value <= most:
        raise RulesError(f"Must be a number from {least:,} to {most:,}.", *place)
    return value


def read_boolean(members: Mapping[str, Any], *place: str, default: bool) -> bool:
    """Return the boolean in the last member of `place`; raises RulesError."""
    value = members.get(place[-1], default)
    if type(value) is not bool:
        raise RulesError("Must be true or false.", *place)
    return value
