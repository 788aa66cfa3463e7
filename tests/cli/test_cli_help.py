"""The output of `--help` of every command."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from minikms.cli.main import main
from minikms.config import ENV_PREFIX, HEADINGS, OPTIONS

ROOT = Path(__file__).parents[2]
FLAGS = [field for field in OPTIONS if field.metadata["flag"]]


def commands(group=main, *before):
    """Every command with its words, the groups too."""
    yield before, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


FOUND = list(commands())
COMMANDS = pytest.mark.parametrize(
    ("words", "command"), FOUND, ids=[" ".join(words) or "minikms" for words, _ in FOUND]
)


def shown(*words):
    """The help of a command, by its headings: for each the lines below it."""
    done = CliRunner().invoke(main, [*words, "--help"], prog_name="minikms")
    assert (done.exit_code, done.stderr) == (0, "")
    sections, lines = {}, []
    for line in done.stdout.splitlines():
        if heading := re.fullmatch(r"(\w[\w ]*):", line):
            lines = sections.setdefault(heading[1], [])
        else:
            lines.append(line)
    return done.stdout, sections


def joined(lines):
    return " ".join(" ".join(lines).split())


def test_every_option_of_the_service_is_under_its_heading():
    _, sections = shown("serve")
    assert [heading for heading in sections if heading in HEADINGS] == list(HEADINGS)
    for heading in HEADINGS:
        found = re.findall(r"^  (--[a-z-]+)", "\n".join(sections[heading]), re.MULTILINE)
        names = [field.name for field in FLAGS if field.metadata["heading"] == heading]
        assert found == ["--" + name.replace("_", "-") for name in names]


@pytest.mark.parametrize("field", FLAGS, ids=lambda field: field.name)
def test_an_option_has_its_help_its_variable_and_its_default(field):
    _, sections = shown("serve")
    text = joined(sections[field.metadata["heading"]])
    default = "" if field.default == () else str(field.default)
    if field.type is bool:
        default = "--" + ("" if field.default else "no-") + field.name.replace("_", "-")
    assert f"{field.metadata['help']} [env var: {ENV_PREFIX}{field.name.upper()}" in text
    notes = re.search(rf"\[(env var: {ENV_PREFIX}{field.name.upper()}\b[^]]*)\]", text)[1]
    assert (
        re.search(r"; default: (\S+)", notes)[1] == default if default else "default" not in notes
    )


def test_bytes_are_also_in_units():
    text = joined(shown("serve")[1]["Limits"])
    assert "default: 1048576 (1 MiB)" in text
    assert "at least 256; default: 51200 (50 KiB)" in text


@COMMANDS
def test_no_sentence_is_cut(words, command):
    text, sections = shown(*words)
    assert "..." not in re.sub(r"^Usage: .*", "", text)
    assert not re.search(r"\w-$", text, re.MULTILINE)  # nor the name of an option
    assert text.isascii()
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            sentence = re.match(r".*?\.(?=\s|$)", " ".join(inner.help.split()))[0]
            assert f"{name} {sentence}" in joined(sections["Commands"])


@COMMANDS
def test_an_example_can_be_typed(words, command):
    examples = [line.strip() for line in shown(*words)[1].get("Examples", ())]
    assert examples or isinstance(command, click.Group)
    for example in filter(None, examples):
        name, *args = shlex.split(example)
        assert name == "minikms"
        found = main
        while isinstance(found, click.Group):
            found, args = found.get_command(click.Context(found), args[0]), args[1:]
        assert found is command or command is main
        found.make_context("example", args)  # raises if an option is unknown


def test_commands_stand_in_the_order_of_use():
    lines = shown()[1]["Commands"]
    names = re.findall(r"^  (\w+)", "\n".join(lines), re.MULTILINE)
    assert names == ["serve", "store", "token", "roles", "audit", "algorithms", "completion"]


@COMMANDS
def test_a_document_names_the_command(words, command):
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    name = " ".join(("minikms", *words))
    named = re.compile(rf"{name}(?![\w-])")
    assert isinstance(command, click.Group) or any(
        named.search(" ".join(page.read_text("utf-8").split())) for page in pages
    )
