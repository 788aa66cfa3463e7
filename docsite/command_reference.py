"""The commands `minikms` and `mkms` in Markdown, from their help."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from minikms.cli.main import main


def command_page() -> str:
    """Describe each command in a section of its own."""
    sections = [*_sections("mkms", _mkms()), *_sections("minikms", main)]
    return "\n\n".join(["# Commands", *sections]) + "\n"


def _mkms() -> click.Command:
    """Import the command of the client in this checkout, which need not be installed."""
    sys.path.append(str(Path(__file__).parents[1] / "clients/python"))
    command: click.Command = import_module("minikms_client.cli.main").mkms
    return command


def _sections(
    name: str, command: click.Command, parent: click.Context | None = None
) -> Iterator[str]:
    context = click.Context(command, parent, info_name=name, terminal_width=100)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            if found := command.get_command(context, below):
                yield from _sections(below, found, context)
