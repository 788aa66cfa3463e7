"""Commands whose arguments may begin with a hyphen, as one kid in 64 does."""

import click


class Command(click.Command):
    """A command that has long options alone, so that `-AP8o…` is an argument."""

    ignore_unknown_options = True

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


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
