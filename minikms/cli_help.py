"""What `--help` shows: options under headings, defaults as they are typed, sentences in full."""

from collections.abc import Sequence
from typing import Any, Final

import click

_HEADING: Final = "Options"
_ANY_LENGTH: Final = 1000

ON_A_STORE: Final = "--store sqlite://keys.db --store-key-file store.key"
"""What an example says that is for a store."""


class HelpOption(click.Option):
    """An option that stands under a heading, and has notes behind what it is for."""

    def __init__(self, *args: Any, heading: str, notes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading
        self.notes = notes

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Its names, and what it is for, with the notes."""
        record = super().get_help_record(ctx)
        return record and (record[0], f"{self.help}  [{'; '.join(self.notes)}]")


class HelpCommand(click.Command):
    """A command whose help has its options under headings, and examples below them."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def get_short_help_str(self, limit: int = _ANY_LENGTH) -> str:
        """Its first sentence, which is never cut."""
        return super().get_short_help_str(_ANY_LENGTH)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                heading = getattr(param, "heading", _HEADING)
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class HelpGroup(click.Group, HelpCommand):
    """A group of such commands, listed in the order in which they were declared."""

    command_class = HelpCommand
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of its commands."""
        return list(self.commands)
