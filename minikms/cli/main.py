"""The command `minikms`: `serve`, `algorithms` and `completion`, and the groups of commands."""

from typing import Any

import click

from minikms.cli.door_options import ServeCommand, doors_of
from minikms.cli.help import ON_A_STORE, HelpGroup
from minikms.cli.options import config_of, options_of_config
from minikms.cli.output import echo_table
from minikms.cli.store_options import registry_of
from minikms.cli.variables import unknown_variables
from minikms.serve import core_dumps, garbage
from minikms.store.internals import LAYOUT


@click.group(
    cls=HelpGroup,
    context_settings={"max_content_width": 100},
    examples=(
        "minikms serve",
        f"minikms store init --generate-key {ON_A_STORE}",
        f"minikms serve {ON_A_STORE}",
    ),
)
@click.version_option(
    package_name="minikms-server", message=f"%(prog)s, version %(version)s, store layout {LAYOUT}"
)
def main() -> None:
    """Mini KMS: makes, keeps and uses keys, so that you never hold them."""
    core_dumps.turn_off()


@main.command(
    cls=ServeCommand,
    examples=(
        "minikms serve",
        "minikms serve --port 9000 --log-format json",
        f"minikms serve {ON_A_STORE}",
    ),
)
@options_of_config()
def serve(**options: Any) -> None:
    """Run the service."""
    context = click.get_current_context()
    variables = (str(param.envvar) for param in context.command.get_params(context) if param.envvar)
    config = config_of(
        {
            "doors": doors_of(options),
            "unknown_variables": unknown_variables(variables),
            **options,
        }
    )
    # Imported here: importing the web takes longer than most commands.
    if config.workers > 1:
        from minikms.serve import workers

        workers.run(config)
    else:
        with garbage.growing():
            from minikms.serve import process

        process.run(config)


# Imported when they are named: they take 5 % of a start of `serve`.
for name in ("store", "token", "roles", "audit"):
    main.add_late_command(name)


@main.command(examples=("minikms algorithms",))
@options_of_config("without_algorithm")
def algorithms(**options: Any) -> None:
    """List the algorithms and their operations.

    An operation with a star must be requested when a key is made.
    """
    registry = registry_of(options)
    rows = [("NAME", "KTY", "JOSE", "OPERATIONS", "SOURCE")]
    for entry in registry:
        alg = entry.algorithm
        jose = " ".join(entry.jose_algs)
        operations = " ".join(f"{op}*" if op in alg.opt_in else op for op in alg.operations)
        rows.append((alg.name, alg.kty, jose, operations, entry.source))
    echo_table(rows)


@main.command(examples=("minikms completion bash",))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL, for its startup file."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(kind(main, {}, "minikms", "_MINIKMS_COMPLETE").source())
