"""The caller: `mkms login`, `mkms logout` and `mkms whoami`."""

import sys
from dataclasses import asdict, replace
from typing import Final

import click

from minikms_client.cli.commands import Command
from minikms_client.cli.context_file import Contexts, Settings
from minikms_client.cli.session import Session, pass_session
from minikms_client.settings import DEFAULT_URL

_ANYBODY: Final = "anybody"  # if the service needs no token


@click.command(
    cls=Command,
    examples="mkms login --context prod --url https://kms.example --profile alice <token\n"
    "mkms login --token-file token",
)
@pass_session
def login(session: Session) -> None:
    """Keep a token in a context, and make the context the current one.

    The token is prompted for on a terminal, otherwise read from a line of standard input. With
    --token-file, the context keeps the name of the file. A token that the service refuses is not
    kept. Without --context, the current context is used, or "default".
    """
    contexts, options = Contexts.read(), session.options()
    name = session.context or contexts.current or "default"
    known = contexts.by_name.get(name, Settings())
    url = options.url or session.environment().url
    if session.context is None and known.url and url not in (None, known.url):
        raise click.UsageError(f"The context {name!r} is for {known.url}. Name one by --context.")
    settings = (
        options.over(known.without_token())
        .over(session.environment().without_token())
        .over(Settings(url=DEFAULT_URL))
        .absolute()
    )
    if settings.token_file is None:
        settings = replace(settings, token=_read_token())
    with session.connect(settings) as client:
        caller = client.get_own_token()
    with Contexts.changed() as contexts:
        contexts.by_name[name], contexts.current = settings, name
    session.show(caller, f"{name}: {settings.url} as {caller.name or _ANYBODY}")


def _read_token() -> str:
    """Prompt for a token without echo on a terminal, or read a line of standard input."""
    if sys.stdin.isatty():
        token: str = click.prompt("Token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise click.UsageError("Give a token on standard input, or by --token-file.")
    return token.strip()


@click.command(cls=Command, examples="mkms logout\nmkms logout --context production")
@pass_session
def logout(session: Session) -> None:
    """Forget the token of a context; the token stays valid until it is revoked."""
    with Contexts.changed() as contexts:
        name = session.context or contexts.current
        if name is None:
            raise click.UsageError("Name the context: --context.")
        contexts.by_name[name] = contexts.named(name).without_token()
    session.show({"name": name}, name)


@click.command(cls=Command, examples="mkms whoami\nmkms whoami --context production --json")
@pass_session
def whoami(session: Session) -> None:
    """Show the caller of a context or token, with its scopes, profiles and expiry."""
    client, caller = session.client, session.client.get_own_token()
    answer = {"url": client.url, "profile": client.profile, **asdict(caller)}
    name = caller.name or _ANYBODY
    profiles = ("all",) if caller.profiles is None else caller.profiles
    if not session.is_json:
        answer |= {"name": name, "profiles": profiles}
    session.show_whole(answer, name, " ".join(caller.scopes), " ".join(profiles))
