"""Profiles, tokens, algorithms, and the state of the service."""

import dataclasses
import json
import re
from datetime import datetime
from typing import Final

import click
from click.core import ParameterSource

from minikms_client.cli import completion
from minikms_client.cli.commands import Command, Group
from minikms_client.cli.display import last_use, tell
from minikms_client.cli.exits import NOT_FOUND, fail
from minikms_client.cli.session import Session, pass_session, plain
from minikms_client.cli.times import bound_option, expires_option
from minikms_client.errors import Forbidden, TokenNotFound
from minikms_client.models import Profile, ProfileSettings, Token
from minikms_client.wire import UNSET, UnsetType

# The form of a token's id.
_ID: Final = re.compile(r"[0-9a-f]{16}")


def _bound(_: click.Context, __: click.Parameter, given: str | None) -> int | UnsetType | None:
    if given is None:
        return UNSET
    if given == "none":
        return None
    if not given.isdecimal():
        raise click.BadParameter("Give a number, or none.")
    return int(given)


@click.group(cls=Group)
def profile() -> None:
    """Make, list, change and delete profiles: tenants of the service."""


@profile.command(
    "create",
    examples="mkms profile create alice",
)
@click.argument("name")
@pass_session
def create_profile(session: Session, name: str) -> None:
    """Make the profile NAME."""
    made = session.client.create_profile(name)
    session.show({"name": made}, made)


@profile.command(
    "list",
    examples="mkms profile list",
)
@pass_session
def list_profiles(session: Session) -> None:
    """List all profiles."""
    for name in session.client.list_profiles():
        session.show({"name": name}, name)


@profile.command(
    "jwks",
    examples="mkms profile jwks alice public",
)
@click.argument("name", shell_complete=completion.profiles)
@click.argument("access", type=click.Choice(["public", "private"]))
@pass_session
def change_profile(session: Session, name: str, access: str) -> None:
    """Let everyone read the JWK Set of the profile NAME, or only its callers."""
    changed = session.client.change_profile(name, jwks=access)
    session.show(changed, changed.name, changed.jwks)


@profile.command(
    "set",
    examples="mkms profile set alice --max-keys 1000 --min-deletion-delay 7d --delete-scope",
)
@click.argument("name", shell_complete=completion.profiles)
@click.option(
    "--max-keys", metavar="NUMBER", callback=_bound, help="Largest number of keys; none removes it."
)
@bound_option("--min-deletion-delay", "Shortest delay of a deletion, such as 7d", in_seconds=True)
@bound_option(
    "--jwks-max-age", "How long readers may keep the JWK Set, such as 1h", in_seconds=True
)
@click.option(
    "--calls-per-second",
    metavar="NUMBER",
    callback=_bound,
    help="Largest rate of calls; none removes it.",
)
@click.option(
    "--delete-scope/--no-delete-scope",
    default=None,
    help="Whether to delete keys needs the scope keys:delete.",
)
@click.option("--frozen/--no-frozen", default=None, help="Whether nothing in the profile changes.")
@pass_session
def set_profile(
    session: Session,
    name: str,
    max_keys: int | UnsetType | None,
    min_deletion_delay: int | UnsetType | None,
    calls_per_second: int | UnsetType | None,
    delete_scope: bool | None,
    frozen: bool | None,
    jwks_max_age: int | UnsetType | None,
) -> None:
    """Change settings of the profile NAME, and show all of them."""
    bounds = {max_keys, min_deletion_delay, calls_per_second, jwks_max_age}
    if delete_scope is None and frozen is None and bounds == {UNSET}:
        raise click.UsageError("Name a setting to change.")
    changed = session.client.change_profile(
        name,
        max_keys=max_keys,
        min_deletion_delay=min_deletion_delay,
        calls_per_second=calls_per_second,
        delete_scope=delete_scope,
        frozen=frozen,
        jwks_max_age=jwks_max_age,
    )
    session.show(changed, changed.name, *_cells(changed))


@profile.command("settings", examples="mkms profile settings")
@pass_session
def list_settings(session: Session) -> None:
    """List the settings of profiles that have some or a public JWK Set."""
    for name, settings in session.client.profile_settings().items():
        session.show({"name": name, **plain(settings)}, name, *_cells(settings))


def _cells(settings: Profile | ProfileSettings) -> list[str]:
    """Return the settings that are not their default, as NAME=VALUE."""
    cells = []
    for field in dataclasses.fields(ProfileSettings):
        value = getattr(settings, field.name)
        if value != field.default:
            cells.append(f"{field.name}={json.dumps(value)}")
    return cells


@profile.command(
    "delete",
    examples="mkms profile delete alice --yes",
)
@click.argument("name", shell_complete=completion.profiles)
@click.confirmation_option(prompt="Delete the profile with all of its keys and tokens?")
@pass_session
def delete_profile(session: Session, name: str) -> None:
    """Delete the profile NAME with all of its keys, and the tokens for it alone."""
    was_there = session.client.delete_profile(name)
    session.show(
        {"success": was_there}, name if was_there else f"The profile {name} did not exist."
    )


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke tokens."""


@token.command(
    "create",
    examples="mkms token create issuer --scope sign --profile alice --expires 90d\n"
    "mkms token create operator --scope admin --all-profiles",
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    shell_complete=completion.scopes,
    required=True,
    help="A permission of the token, such as sign; repeatable.",
)
@click.option(
    "--profile",
    "profiles",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.profiles,
    help="A profile in which the token is valid; repeatable.",
)
@click.option(
    "--all-profiles", is_flag=True, help="Make it valid in all profiles of the caller's token."
)
@expires_option("End of the token's validity")
@pass_session
@click.pass_context
def create_token(
    context: click.Context,
    session: Session,
    name: str,
    scopes: tuple[str, ...],
    profiles: tuple[str, ...],
    all_profiles: bool,
    expires: datetime | None,
) -> None:
    """Make a token for NAME and print it; it is never shown again."""
    root = context.find_root()
    if not profiles and root.get_parameter_source("profile") is ParameterSource.COMMANDLINE:
        profiles = (root.params["profile"],)
    if bool(profiles) == all_profiles:
        raise click.UsageError("Name the profiles of the token: --profile NAME, or --all-profiles.")
    _warn_of_missing(session, profiles)
    made = session.client.create_token(name, scopes, profiles=profiles or None, expires=expires)
    session.show(made, made.token)


def _warn_of_missing(session: Session, profiles: tuple[str, ...]) -> None:
    """Warn of profiles that do not exist, if the caller may know."""
    if not profiles:
        return
    try:
        existing = session.client.list_profiles()
    except Forbidden:
        _warn("The token may not list profiles, so the existence of these was not checked.")
        return
    for profile in dict.fromkeys(profiles):
        if profile not in existing:
            opens = "the token opens nothing, unless it makes the profile"
            _warn(f"The profile {profile!r} does not exist yet, so {opens}.")


def _warn(warning: str) -> None:
    tell(f"mkms: Warning: {warning}")


@token.command(
    "list",
    examples="mkms token list\nmkms token list --json",
)
@pass_session
def list_tokens(session: Session) -> None:
    """List all tokens, the oldest first, without their secrets."""

    def profiles(token: Token) -> str:
        return "all" if token.profiles is None else " ".join(token.profiles)

    session.show_rows(
        session.client.list_tokens(),
        {
            "id": lambda token: token.id,
            "name": lambda token: token.name,
            "scopes": lambda token: " ".join(token.scopes),
            "profiles": profiles,
            "used": last_use,
        },
    )


@token.command(
    "revoke",
    examples="mkms token create issuer --scope sign --all-profiles\nmkms token revoke issuer",
)
@click.argument("name", shell_complete=completion.tokens)
@pass_session
def revoke_token(session: Session, name: str) -> None:
    """Revoke the token NAME: its id, or its name if no other token has it."""
    try:
        revoked = session.client.revoke_token(name) if _ID.fullmatch(name) else None
    except TokenNotFound:
        revoked = None
    if revoked is None:
        revoked = session.client.revoke_token(_id_of(session, name))
    session.show({"id": revoked}, revoked)


def _id_of(session: Session, name: str) -> str:
    """Return the id of the only token with this name."""
    ids = [token.id for token in session.client.list_tokens() if token.name == name]
    if not ids:
        fail(f"There is no token with the id or the name {name!r}.", NOT_FOUND)
    if len(ids) > 1:
        raise click.UsageError(f"{len(ids)} tokens have this name; give an id: {', '.join(ids)}.")
    return ids[0]


@click.command(
    cls=Command,
    examples="mkms algorithms\nmkms algorithms --json",
)
@pass_session
def algorithms(session: Session) -> None:
    """List the algorithms of the service and their operations."""
    session.show_rows(
        session.client.list_algorithms(),
        {
            "alg": lambda algorithm: algorithm.name,
            "kty": lambda algorithm: algorithm.kty,
            "operations": lambda algorithm: " ".join(algorithm.operations),
        },
    )


@click.command(
    cls=Command,
    examples="mkms status\nmkms status --url https://kms.example --timeout 5",
)
@pass_session
def status(session: Session) -> None:
    """Show whether the service is ready: exit code 0, or 6."""
    state = session.client.readyz()
    session.show({"url": session.client.url, "status": state}, f"{session.client.url} is {state}")
