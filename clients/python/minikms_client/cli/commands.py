"""Commands that also accept the options of `mkms`, and arguments that begin with a hyphen.

One kid in 64 begins with a hyphen, and one in 4,096 with two.
"""

from typing import Any, Final

import click

from minikms_client.cli.exits import sentences
from minikms_client.cli.options import OPTIONS_AFTER

_KID_LENGTH: Final = 43  # No option is this long, so `--NXHycu…` is an argument.


class _Described(click.Command):
    """A command whose first sentence is shown whole in lists of commands."""

    def get_short_help_str(self, limit: int = 1000) -> str:
        """Return the whole first sentence."""
        return super().get_short_help_str(1000)


class Command(_Described):
    """A command with examples, and only long options, so that `-AP8o…` is an argument."""

    ignore_unknown_options = True

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own options, and the options of `mkms` that it does not redefine."""
        own = super().get_params(ctx)
        taken = {name for param in own for name in param.opts}
        return [*own, *(option for option in OPTIONS_AFTER if taken.isdisjoint(option.opts))]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the examples, and refer to the options of `mkms` instead of listing them again."""
        with formatter.section("Examples"):
            for line in self.examples.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        formatter.write_paragraph()
        formatter.write_text("The options of mkms, such as --json, also apply here.")

    def invoke(self, ctx: click.Context) -> Any:
        """Turn an error into a sentence that names the options of this command."""
        with sentences(self.spelling):
            return super().invoke(ctx)

    def spelling(self, pointer: str) -> str:
        """Return the option or argument for a JSON pointer, or the pointer itself."""
        member, _, place = pointer.removeprefix("#/").partition("/")
        option = f"--{member.replace('_', '-')}"
        known = {name for param in self.params for name in param.opts}
        for name in (option, option.removesuffix("s"), member):
            if name in known:
                spelled = name.upper() if name == member else name
                return f"{spelled} (number {int(place) + 1})" if place.isdecimal() else spelled
        return pointer

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an unknown option with two hyphens, which would otherwise be an argument."""
        known = {
            name: param
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        is_value = False
        for arg in args:
            name, equals, _ = arg.partition("=")
            if is_value or not arg.startswith("--"):
                is_value = False
            elif arg == "--":
                break
            elif name in known:
                is_value = not (equals or known[name].is_flag)
            elif len(name) < _KID_LENGTH:
                raise click.NoSuchOption(name, possibilities=sorted(known), ctx=ctx)
        return super().parse_args(ctx, args)


class Group(_Described, click.Group):
    """A group of Commands."""

    command_class = Command
