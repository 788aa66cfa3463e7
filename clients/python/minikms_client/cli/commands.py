"""Commands that take the options of `mkms` too, and arguments that begin with a hyphen.

One kid in 64 does that.
"""

import click

from minikms_client.cli.options import OPTIONS_AFTER


class _Described(click.Command):
    """A command whose first sentence a list of commands does not cut."""

    def get_short_help_str(self, limit: int = 1000) -> str:
        """The whole first sentence."""
        return super().get_short_help_str(1000)


class Command(_Described):
    """A command that has long options alone, so that `-AP8o…` is an argument."""

    ignore_unknown_options = True

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own options, and those of `mkms` that it does not redefine."""
        own = super().get_params(ctx)
        taken = {name for param in own for name in param.opts}
        return [*own, *(option for option in OPTIONS_AFTER if taken.isdisjoint(option.opts))]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name those of `mkms`, which are not listed again."""
        formatter.write_paragraph()
        formatter.write_text("The options of mkms are taken here too, such as --json.")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a long option that is not known, which would count as an argument too."""
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
            elif name not in known:
                raise click.NoSuchOption(name, possibilities=sorted(known), ctx=ctx)
            else:
                is_value = not (equals or known[name].is_flag)
        return super().parse_args(ctx, args)


class Group(_Described, click.Group):
    """A group of such commands."""

    command_class = Command
