"""Private names of other libraries: each in a table, whose module docs/internals names."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import minikms
from minikms.basics.private_names import PrivateNames
from minikms.http import private_names

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/internals/libraries.md").read_text("utf-8")
PACKAGES = [
    minikms,
    *(importlib.import_module(folder.name) for folder in (ROOT / "doors").glob("minikms_*")),
]
MODULES = [
    importlib.import_module(found.name)
    for package in PACKAGES
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if found.name != "minikms.__main__"
]

# By the module that has it.
TABLES = {
    (module.__name__, name): table
    for module in MODULES
    for name, table in vars(module).items()
    if isinstance(table, PrivateNames)
    # Skip modules that only import the table.
    and f"{name}: " in inspect.getsource(module)
}
LISTED = {name for table in TABLES.values() for _, name, _ in table.names}

# Names that no table can have: attributes of objects alone, or imported names.
ROWS = re.findall(r"^\| `\w+\.(_\w+)` \| `(\S+)` \|", DOCUMENT, re.MULTILINE)
IN_NO_CLASS = {name for name, _ in ROWS}

# Documented, though they begin with an underscore.
DOCUMENTED = {
    "_exit": "os: ends the process without cleaning up",
    "_fields": "collections.namedtuple, ast",
    "_asdict": "collections.namedtuple",
    "_replace": "collections.namedtuple",
    "_serialize": "marshmallow: what a field overrides",
    "_deserialize": "marshmallow: what a field overrides",
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def defined(tree):
    """The private names that a module defines, as far as it says so itself."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                yield node.attr


def used(tree):
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() if is_private(node.attr):
                yield node.attr
            case ast.ImportFrom():
                yield from (alias.name for alias in node.names if is_private(alias.name))


SOURCES = [*(ROOT / "minikms").rglob("*.py"), *(ROOT / "doors").glob("minikms_*/*.py")]
FILES = [str(path.relative_to(ROOT)) for path in sorted(SOURCES)]


@functools.cache
def tree_of(file):
    return ast.parse((ROOT / file).read_text("utf-8"))


@functools.cache
def own():
    return {name for file in FILES for name in defined(tree_of(file))}


def test_tables_of_private_names_are_found():
    assert {table.library for table in TABLES.values()} >= {"aiohttp", "prometheus-client"}
    assert {"minikms", *(path.name for path in (ROOT / "doors").glob("minikms_*"))} == {
        module.__name__.partition(".")[0] for module in MODULES
    }


@pytest.mark.parametrize("file", FILES)
def test_a_private_name_is_in_a_table(file):
    found = set(used(tree_of(file)))
    assert found - own() - LISTED - IN_NO_CLASS - DOCUMENTED.keys() == set()


def test_a_method_that_replaces_a_private_one_is_in_a_table():
    replaced = {
        (cls.__qualname__, name)
        for module in MODULES
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and is_private(name)
        for base in cls.__mro__
        if not base.__module__.startswith("minikms") and name in vars(base)
    }
    allowed = LISTED | IN_NO_CLASS | DOCUMENTED.keys()
    assert {(cls, name) for cls, name in replaced if name not in allowed} == set()


@pytest.mark.parametrize(("name", "file"), ROWS)
def test_a_name_in_no_table_is_used_there(name, file):
    assert name in (ROOT / "minikms" / file).read_text("utf-8")


@pytest.mark.parametrize("table", TABLES.values(), ids=map(".".join, TABLES))
def test_the_installed_version_has_them(table):
    assert table.missing() == ""


def test_the_document_names_the_module_of_each_table():
    rows = re.findall(r"^\| ([\w-]+) \| `(\S+)\.py` \|", DOCUMENT, re.MULTILINE)
    modules = {(library, file.removeprefix("doors/").replace("/", ".")) for library, file in rows}
    assert modules == {
        (table.library, module.removeprefix("minikms.")) for (module, _), table in TABLES.items()
    }


def test_the_document_says_why_each_name_of_aiohttp_stays():
    names = {
        name
        for table in TABLES.values()
        if table.library == "aiohttp"
        for _, name, _ in table.names
    }
    stays = DOCUMENT.partition("| Why it stays |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \|", stays, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == names


def test_the_versions_of_aiohttp_are_those_of_setup_cfg():
    assert f"    aiohttp{private_names.ADMITTED}\n" in (ROOT / "setup.cfg").read_text("utf-8")


# The service with another aiohttp, in a process of its own.
ANOTHER_AIOHTTP = """
import sys
from aiohttp import http_parser, web_protocol
from minikms.http import private_names
{change}
sys.argv = ["minikms", "serve", "--port", "0"]
from minikms.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("del web_protocol._ErrInfo", "{installed} has no aiohttp.web_protocol._ErrInfo"),
        (
            "del http_parser.HttpRequestParserPy",
            "{installed} has no aiohttp.http_parser.HttpRequestParserPy",
        ),
        ("private_names.version = lambda name: '3.15.0'", "aiohttp 3.15.0 is not supported"),
    ],
)
def test_another_aiohttp_is_refused_at_the_start(change, fault):
    code = ANOTHER_AIOHTTP.format(change=change)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    fault = fault.format(installed=f"aiohttp {version('aiohttp')}")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"minikms: {fault}: the service does not start; install aiohttp{private_names.ADMITTED}."
    )
