"""The command `mkms`."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from minikms_client import Client
from minikms_client.cli import administration, jose, keys, messages, operations
from minikms_client.cli.commands import Group
from minikms_client.cli.exits import sentences
from minikms_client.cli.session import Session

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Commands(Group):
    """Commands whose errors are a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with sentences():
            return super().invoke(ctx)


@click.group(cls=_Commands)
@click.option("--url", envvar="MINIKMS_URL", show_envvar=True, help="Where the service is.")
@click.option(
    "--token-file",
    type=_FILE,
    help="A file that has the caller's token; without it MINIKMS_TOKEN has the token itself, or"
    " MINIKMS_TOKEN_FILE names the file.",
)
@click.option("--profile", envvar="MINIKMS_PROFILE", show_envvar=True, help="The tenant.")
@click.option("--ca", type=_FILE, help="Authorities to trust, in PEM.")
@click.option("--cert", type=_FILE, help="The caller's certificate, in PEM.")
@click.option("--cert-key", type=_FILE, help="The private key of the certificate.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    help="In seconds.",
)
@click.option("--json", "is_json", is_flag=True, help="Print all of each answer, as JSON.")
@click.version_option(package_name="minikms-client")
@click.pass_context
def mkms(
    context: click.Context,
    url: str | None,
    token_file: Path | None,
    profile: str | None,
    ca: Path | None,
    cert: Path | None,
    cert_key: Path | None,
    timeout: float,
    is_json: bool,
) -> None:
    """Use the keys of a Mini KMS.

    A key is named by its kid or by an alias. Exit codes: 0 done, 1 not valid, 2 wrong usage,
    3 not found, 4 not permitted, 5 refused, 6 no answer.
    """
    if (cert is None) != (cert_key is None):
        raise click.UsageError("A certificate needs its private key: give --cert and --cert-key.")
    try:
        client = Client(
            url,
            token_file=token_file,
            profile=profile,
            timeout=timeout,
            ca=ca,
            cert=(cert, cert_key) if cert and cert_key else None,
        )
    except OSError as error:
        raise click.UsageError(f"A file of TLS cannot be read: {error}.") from error
    context.obj = Session(context.with_resource(client), is_json)


@mkms.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands in SHELL; its start-up file is the place for it."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"There is no completion for {shell}.")
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
    messages.jwe,
    messages.box,
    administration.profile,
    administration.token,
    administration.algorithms,
    administration.status,
):
    mkms.add_command(command)
