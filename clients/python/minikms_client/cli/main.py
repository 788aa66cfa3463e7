"""The command `mkms`."""

from typing import Any

import click
from click.shell_completion import get_completion_class

from minikms_client.cli import administration, certificates, cose, jose, keys, messages, operations
from minikms_client.cli.commands import Group
from minikms_client.cli.exits import sentences
from minikms_client.cli.options import OPTIONS
from minikms_client.cli.session import Session


class _Commands(Group):
    """Commands that turn errors into a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with sentences():
            return super().invoke(ctx)


@click.group(cls=_Commands, params=list(OPTIONS))
@click.version_option(package_name="minikms-client")
@click.pass_context
def mkms(context: click.Context, /, **options: Any) -> None:
    """Use the keys of a Mini KMS.

    A key is named by its kid or by an alias. Each command also takes the options below. Exit
    codes: 0 done, 1 not valid, 2 wrong usage, 3 not found, 4 not permitted, 5 refused,
    6 no answer, 7 a fault of mkms, 130 stopped.
    """
    context.obj = Session(context, options)


@mkms.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL, for its startup file."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"Completion for {shell} does not exist.")
    click.echo(found(mkms, {}, "mkms", "_MKMS_COMPLETE").source())


for command in (
    keys.key,
    operations.sign,
    operations.verify,
    operations.encrypt,
    operations.decrypt,
    operations.wrap,
    operations.unwrap,
    operations.mac,
    operations.random,
    jose.jws,
    jose.jwks,
    cose.cose,
    cose.attest,
    certificates.csr,
    certificates.certificate,
    messages.jwe,
    messages.box,
    administration.profile,
    administration.token,
    administration.algorithms,
    administration.status,
):
    mkms.add_command(command)
keys.key.add_command(certificates.certificates)
