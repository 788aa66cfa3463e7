"""docs/writing-a-door.md says what the code does."""

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from minikms import doors
from minikms.doors import operations

TESTS = Path(__file__).parents[1]
GUIDE = (TESTS.parent / "docs" / "writing-a-door.md").read_text()


def section(heading):
    """The text below a heading."""
    return GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("language", "file"),
    [("ini", "setup.cfg"), ("toml", "pyproject.toml"), ("python", "minikms_plain.py")],
)
def test_the_page_has_the_files_of_the_sample(language, file):
    (block,) = re.findall(rf"^ *```{language}\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert textwrap.dedent(block) == (TESTS / "sample_door" / file).read_text()


def test_the_table_has_the_members_of_a_door():
    rows = re.findall(r"^\| (`.*?) \|", section("Members of a door"), re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    own = {*vars(doors.Door), *doors.Door.__annotations__}
    assert shown == {name for name in own if not name.startswith("_")}


def test_a_door_call_has_the_documented_fields():
    said = "`DoorCall`: `request`, `body`, `profile`, `service`, `request_id` and `parameters`"
    assert said in GUIDE
    assert list(inspect.signature(doors.DoorCall).parameters) == re.findall(r"`(\w+)`", said)[1:]


def calls(text):
    """The first column of a table: pairs of a name and the names of its arguments."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    found = (re.findall(r"`(\w+)\((.*?)\)`", row) for row in rows)
    return {name: arguments for row in found for name, arguments in row}


def required(called):
    """The arguments of a call that have no default."""
    parameters = inspect.signature(called).parameters.values()
    names = [each.name for each in parameters if each.default is each.empty]
    return ", ".join(name for name in names if name != "self")


def test_the_tables_have_the_calls_of_a_handler():
    service, performed = map(calls, section("Calls of a handler").split("The operations are in"))
    methods = {name: each for name, each in vars(doors.DoorService).items() if name[0] != "_"}
    assert service == {name: required(each) for name, each in methods.items()}
    kinds = {name: getattr(operations, name) for name in operations.__all__}
    of_keys = {
        name: required(kind)
        for name, kind in kinds.items()
        if issubclass(kind, operations.Operation) and kind is not operations.Operation
    }
    assert performed == of_keys
