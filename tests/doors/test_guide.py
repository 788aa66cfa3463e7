"""docs/writing-a-door.md says what the code does."""

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from minikms import doors

TESTS = Path(__file__).parents[1]
GUIDE = (TESTS.parent / "docs" / "writing-a-door.md").read_text()


@pytest.mark.parametrize(
    ("language", "file"),
    [("ini", "setup.cfg"), ("toml", "pyproject.toml"), ("python", "minikms_plain.py")],
)
def test_the_page_has_the_files_of_the_sample(language, file):
    (block,) = re.findall(rf"^ *```{language}\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert textwrap.dedent(block) == (TESTS / "sample_door" / file).read_text()


def test_the_table_has_the_members_of_a_door():
    rows = re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    own = {*vars(doors.Door), *doors.Door.__annotations__}
    assert shown == {name for name in own if not name.startswith("_")}


def test_a_call_has_what_the_page_says():
    said = "`DoorCall`: `request`, `body`, `profile` and `service`"
    assert said in GUIDE
    assert list(inspect.signature(doors.DoorCall).parameters) == re.findall(r"`(\w+)`", said)[1:]
