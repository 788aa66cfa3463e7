"""Base classes of commands: the output of `--help`, and the exit of a failed command."""

import asyncio
import inspect
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final

import click

from minikms.errors import KmsError
from minikms.serve.exits import fail
from minikms.startup_errors import SetupError

_HEADING: Final = "Options"
_ANY_LENGTH: Final = 1000
_NO_BREAK: Final = "\N{NON-BREAKING HYPHEN}"

ON_A_STORE: Final = "--store sqlite://keys.db --store-key-file store.key"
"""The options of a store in examples."""


class _Formatter(click.HelpFormatter):
    """A formatter that never breaks a line inside the name of an option."""

    def write_text(self, text: str) -> None:
        super().write_text(_joined(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        super().write_dl([(first, _joined(second)) for first, second in rows], *args, **kwargs)

    def getvalue(self) -> str:
        """Return the output with ordinary hyphens."""
        return super().getvalue().replace(_NO_BREAK, "-")


def _joined(text: str) -> str:
    return re.sub(r"--[a-z-]+", lambda name: name[0].replace("-", _NO_BREAK), text)


class _Context(click.Context):
    formatter_class = _Formatter


class HelpOption(click.Option):
    """An option under a heading, with notes after its description."""

    def __init__(self, *args: Any, heading: str, notes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading
        self.notes = notes

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return its names, and its description with the notes."""
        record = super().get_help_record(ctx)
        return record and (record[0], f"{self.help}  [{'; '.join(self.notes)}]")


class HelpCommand(click.Command):
    """A command whose help shows options under headings, then examples.

    It may be a coroutine function. If it fails, it exits with one sentence.
    """

    context_class = _Context

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        except SetupError as exc:
            fail(str(exc), exc.code)
        except KmsError as exc:
            fail(exc.detail, 1)

    def get_short_help_str(self, limit: int = _ANY_LENGTH) -> str:
        """Return its first sentence, uncut."""
        return super().get_short_help_str(_ANY_LENGTH)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                heading = getattr(param, "heading", _HEADING)
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class HelpGroup(click.Group, HelpCommand):
    """A group of HelpCommands, listed in order of declaration."""

    command_class = HelpCommand
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: set[str] = set()

    def add_late_command(self, name: str) -> None:
        """Add the command in the module of its name, imported when it is used or described."""
        self.commands[name] = HelpCommand(name)  # replaced; it keeps the place in the list
        self._late.add(name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._late:
            self._late.remove(cmd_name)
            module = import_module(f"minikms.cli.{cmd_name}")
            self.commands[cmd_name] = getattr(module, cmd_name)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
