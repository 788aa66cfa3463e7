"""`mkms context`: name services and callers."""

from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Group
from minikms_client.cli.context_file import Contexts, Settings
from minikms_client.cli.session import Session, pass_session
from minikms_client.settings import DEFAULT_URL

_name = click.argument("name", shell_complete=completion.contexts)


@click.group(cls=Group)
def context() -> None:
    """Name services and callers, and choose the current one."""


@context.command("list", examples="mkms context list\nmkms context list --json")
@pass_session
def list_contexts(session: Session) -> None:
    """List the contexts without their tokens; * marks the current one."""
    contexts = Contexts.read()
    rows: list[dict[str, Any]] = [
        {"name": name, "current": name == contexts.current, **found.shown()}
        for name, found in sorted(contexts.by_name.items())
    ]
    session.show_rows(
        rows,
        {
            "name": lambda row: row["name"],
            "url": lambda row: row["url"],
            "profile": lambda row: row.get("profile", ""),
            "current": lambda row: "*" if row["current"] else "",
        },
    )


@context.command("use", examples="mkms context use production")
@_name
@pass_session
def use_context(session: Session, name: str) -> None:
    """Make the context NAME the current one."""
    with Contexts.changed() as contexts:
        found = contexts.named(name)
        contexts.current = name
    session.show({"name": name, **found.shown()}, name)


@context.command(
    "set",
    examples="mkms context set staging --url https://kms.example --profile alice\n"
    "mkms context set staging --token-file token",
)
@_name
@pass_session
def set_context(session: Session, name: str) -> None:
    """Create or change the context NAME by the options of mkms, such as --url and --ca.

    The first context becomes the current one. With another URL, the context loses its token.
    """
    options = session.options().absolute()
    with Contexts.changed() as contexts:
        found = contexts.by_name.get(name, Settings(url=DEFAULT_URL))
        if options.url not in (None, found.url):
            found = found.without_token()
        found = contexts.by_name[name] = options.over(found)
        contexts.current = contexts.current or name
    session.show({"name": name, **found.shown()}, name)


@context.command("delete", examples="mkms context delete production")
@_name
@pass_session
def delete_context(session: Session, name: str) -> None:
    """Delete the context NAME; its token stays valid until it is revoked."""
    with Contexts.changed() as contexts:
        contexts.named(name)
        del contexts.by_name[name]
        if contexts.current == name:
            contexts.current = None
    session.show({"name": name}, name)
