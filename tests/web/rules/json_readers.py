"""Parsers of JSON read signed payloads; run this in an environment that has the parsers.

The last three do as parsers of other languages: they keep the first of two members, take no notice
of case, or end a name at a NUL.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import json5
import msgspec
import rapidjson
import simplejson
import ujson

Pairs = list[tuple[str, Any]]


def first(pairs: Pairs) -> dict[str, Any]:
    return dict(reversed(pairs))


def without_case(pairs: Pairs) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}


def up_to_nul(pairs: Pairs) -> dict[str, Any]:
    return {name.partition("\0")[0]: value for name, value in pairs}


READERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "json5": json5.loads,
    "msgspec": msgspec.json.decode,
    "rapidjson": rapidjson.loads,
    "simplejson": simplejson.loads,
    "ujson": ujson.loads,
    "first": partial(json.loads, object_pairs_hook=first),
    "without case": partial(json.loads, object_pairs_hook=without_case),
    "up to NUL": partial(json.loads, object_pairs_hook=up_to_nul),
}


def read(parse: Callable[[str], Any], texts: list[str]) -> list[Any]:
    """Members of the header and the payload as a parser reads them; none if it refuses one."""
    try:
        header, payload = (parse(text) for text in texts)
        return [header.get("typ"), header.get("alg"), payload.get("iss"), payload.get("exp")]
    except (ValueError, ArithmeticError, RecursionError, AttributeError, msgspec.DecodeError):
        return []


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answers = {name: [read(parse, texts) for texts in asked] for name, parse in READERS.items()}
    json.dump(answers, sys.stdout)
