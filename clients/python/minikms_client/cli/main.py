"""The command `mkms`."""

from importlib.metadata import version
from typing import Any

import click
from click.shell_completion import add_completion_class, get_completion_class

from minikms_client.cli import (
    administration,
    agreement,
    approvals,
    audit,
    batches,
    certificates,
    contexts,
    cose,
    didcomm,
    doctor,
    due,
    identity,
    jose,
    keys,
    messages,
    operations,
)
from minikms_client.cli.commands import Group
from minikms_client.cli.completion import Bash
from minikms_client.cli.display import tell
from minikms_client.cli.exits import sentences
from minikms_client.cli.options import OPTIONS
from minikms_client.cli.session import Session
from minikms_client.errors import MinikmsError

add_completion_class(Bash)  # click looks up the class of a shell in its own table


class _Commands(Group):
    """Commands that turn errors into a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with sentences():
            return super().invoke(ctx)


# Not click's own option, which is handled before --url and --context are known.
_VERSION = click.Option(
    ["--version"], is_flag=True, help="Show the versions of mkms and of the service."
)


@click.group(
    cls=_Commands,
    params=[*OPTIONS, _VERSION],
    no_args_is_help=True,
    invoke_without_command=True,
)
@click.pass_context
def mkms(context: click.Context, /, **options: Any) -> None:
    """Use the keys of a Mini KMS.

    Begin with `mkms key generate p256 issuer` and `mkms sign issuer hello`. If something does not
    work, `mkms doctor` says what to do.

    A key is named by its kid or by an alias. Each command also takes the options below. Exit
    codes: 0 done, 1 not valid, 2 wrong usage, 3 not found, 4 not permitted, 5 refused,
    6 no answer, 7 a fault of mkms, 130 stopped.
    """
    context.obj = session = Session(context)
    if options["version"]:
        _show_versions(session)
        context.exit()
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.")


def _show_versions(session: Session) -> None:
    """Print the version of mkms, and of the service if it answers within three seconds."""
    own, of_service, url = version("minikms-client"), None, None
    if not session.is_json:
        session.show(None, f"mkms, version {own}")
    try:
        with session.connect(timeout=3, retries=0) as client:
            url = client.url
            of_service = doctor.service_version(client)
    except MinikmsError as error:
        tell(f"mkms: {error}")
    if session.is_json:
        session.show_json({"mkms": own, "service": of_service, "url": url})
    elif of_service is not None:
        session.show(None, f"{url}, version {of_service}")


@mkms.command(examples="mkms completion bash >>~/.bashrc\nmkms completion zsh >>~/.zshrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for SHELL, for its startup file.

    It completes commands and options, and asks the service for keys, algorithms and scopes.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"Completion for {shell} does not exist.")
    click.echo(found(mkms, {}, "mkms", "_MKMS_COMPLETE").source())


for command in (
    contexts.context,
    identity.login,
    identity.logout,
    identity.whoami,
    doctor.doctor,
    keys.key,
    due.due,
    operations.sign,
    operations.verify,
    batches.sign_batch,
    batches.verify_batch,
    operations.encrypt,
    operations.decrypt,
    operations.wrap,
    operations.unwrap,
    operations.mac,
    operations.random,
    agreement.derive,
    agreement.encapsulate,
    agreement.decapsulate,
    agreement.hpke,
    jose.jws,
    jose.jwks,
    cose.cose,
    cose.attest,
    certificates.csr,
    certificates.certificate,
    certificates.crl,
    messages.jwe,
    messages.box,
    didcomm.didcomm,
    administration.profile,
    administration.token,
    approvals.approve,
    approvals.approver,
    audit.audit,
    administration.algorithms,
    administration.status,
):
    mkms.add_command(command)
keys.key.add_command(certificates.certificates)
