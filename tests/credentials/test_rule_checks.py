"""The reading of payloads under rules: a text is read unless an object in it has a name twice."""

import json
import random

import pytest

from minikms.credentials.rule_checks import check_jws
from minikms.errors import RuleViolated
from minikms.rules import Rules

RULES = Rules.parse({"jws": {}})

SPACES = ["", "", "", " ", "\n\t"]
# Spellings that a writer of JSON changes, in length as well.
NUMBERS = ["0", "-0", "1e15", "1000000000000000.0", "1E2", "100.0", "1.5e300", "5e-324", "0.10"]
TEXTS = ["a b", "ab", r"\u0061b", "é", r"\u00e9", r"\/", "/", r"a\u0020b", r"\ud83d\ude00", "😀"]


class Writer:
    """Writes random objects of JSON, and notes whether one has a name twice."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.doubled = False

    def object(self, depth=0):
        names = self.chance.choices(TEXTS, k=self.chance.choice((0, 1, 2, 3)))
        self.doubled |= len({json.loads(f'"{name}"') for name in names}) < len(names)
        return self._join("{}", [f'"{name}"{self._space()}:{self._value(depth)}' for name in names])

    def _value(self, depth):
        kind = self.chance.choice(("number", "text", "list", "object") if depth < 4 else ("text",))
        if kind == "number":
            value = self.chance.choice(NUMBERS)
        elif kind == "text":
            value = f'"{self.chance.choice(TEXTS)}"'
        elif kind == "list":
            some = [self._value(depth + 1) for _ in range(self.chance.choice((0, 1, 2)))]
            value = self._join("[]", some)
        else:
            value = self.object(depth + 1)
        return self._space() + value + self._space()

    def _join(self, ends, parts):
        return ends[0] + self._space() + ",".join(parts) + self._space() + ends[1]

    def _space(self):
        return self.chance.choice(SPACES)


def is_read(text):
    try:
        check_jws(RULES, "ES256", {}, text.encode())
    except RuleViolated:
        return False
    return True


@pytest.mark.parametrize("part", range(4))
def test_random_objects_are_read_unless_a_name_is_doubled(part):
    found = set()
    for seed in range(part * 2500, (part + 1) * 2500):
        writer = Writer(seed)
        text = writer.object()
        assert is_read(text) is not writer.doubled, text
        found.add(writer.doubled)
    assert found == {True, False}
