"""The commands of tokens: `minikms token …`."""

import time
from datetime import UTC, datetime
from typing import Any

import click

from minikms.access.callers import SCOPES
from minikms.access.token_record import Token, TokenRecord
from minikms.access.tokens import Tokens
from minikms.basics.durations import nanoseconds
from minikms.basics.secret_files import require_new, write_secret
from minikms.cli.help import ON_A_STORE, HelpGroup
from minikms.cli.output import echo_table
from minikms.cli.store_options import on_a_store, open_database
from minikms.startup_errors import AccessError


@click.group(cls=HelpGroup)
def token() -> None:
    """Create, list and revoke the tokens of callers."""


class _Duration(click.ParamType):  # type: ignore[type-arg]
    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return nanoseconds(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90d, 12h, 30m or 45s.", param, ctx)


@token.command(
    examples=(
        f"minikms token create bob --scope sign --profile bob --expires 9d {ON_A_STORE}",
        f"minikms token create admin --all-scopes --all-profiles --file admin.token {ON_A_STORE}",
    )
)
@click.argument("name", metavar="NAME", required=False)
@click.option("--name", "named", hidden=True, help="NAME, as version 0.4.0 took it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    metavar="SCOPE",
    help=f"A permission of the token; repeatable. One of: {', '.join(SCOPES)}.",
)
@click.option(
    "--all-scopes", is_flag=True, help="Permit everything, as the first token of a store does."
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    help="A profile in which the token is valid; repeatable.",
)
@click.option("--all-profiles", is_flag=True, help="Make the token valid in all profiles.")
@click.option(
    "--expires",
    type=_Duration(),
    help="Lifetime of the token: 90d, 12h, 30m, 45s; without it, it does not expire.",
)
@click.option(
    "--file", metavar="FILE", help="New file for the token; without it, the token is shown."
)
@on_a_store
async def create(
    name: str | None,
    named: str | None,
    scopes: tuple[str, ...],
    all_scopes: bool,
    profiles: tuple[str, ...],
    all_profiles: bool,
    expires: int | None,
    file: str | None,
    **options: Any,
) -> None:
    """Create a token for the caller NAME, under which the audit log has its calls.

    Show the token, only once, or write it to a new file.
    """
    if (name is None) == (named is None):
        raise click.UsageError("Name the caller, once: minikms token create NAME.")
    if bool(scopes) == all_scopes:
        raise click.UsageError("Name the scopes of the token: --scope SCOPE, or --all-scopes.")
    if bool(profiles) == all_profiles:
        raise click.UsageError("Name the profiles of the token: --profile NAME, or --all-profiles.")
    expiry = None if expires is None else time.time_ns() + expires
    if file:
        require_new(file, "token", AccessError)

    async with open_database(options) as database:
        tokens = Tokens(database)
        existing = await database.directory.names() if profiles else []
        made, record = await tokens.create(
            name or named or "", SCOPES if all_scopes else scopes, profiles or None, expiry
        )
        if file:
            try:
                write_secret(file, made.reveal(), "token", AccessError)
            except AccessError:
                await tokens.revoke(record.id)  # nobody received the token
                raise
        for profile in dict.fromkeys(profiles):
            if profile not in existing:
                warning = f"The profile {profile!r} does not exist yet, so the token opens nothing"
                click.echo(f"minikms: Warning: {warning}, unless it makes the profile.", err=True)
        click.echo(f"The token {record.id} is in {file}." if file else made.reveal())


@token.command("list", examples=(f"minikms token list {ON_A_STORE}",))
@on_a_store
async def list_tokens(**options: Any) -> None:
    """List the tokens of a store and their permissions, without their secrets."""
    async with open_database(options) as database:
        heads = "ID", "NAME", "SCOPES", "PROFILES", "CREATED", "EXPIRES", "LAST USED"
        rows: list[tuple[str, ...]] = [heads]
        records = [record async for record in Tokens(database).all_records()]
        rows += [_row(record) for record in sorted(records, key=lambda record: record.created)]
        echo_table(rows)


@token.command(examples=(f"minikms token revoke 8c1f0a5d92b3e467 {ON_A_STORE}",))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@on_a_store
async def revoke(ids: tuple[str, ...], **options: Any) -> None:
    """Revoke tokens."""
    async with open_database(options) as database:
        tokens = Tokens(database)
        for token_id in ids:
            await tokens.revoke(token_id)
            click.echo(f"Revoked {token_id}.")


@token.command(examples=("minikms token generate",))
def generate() -> None:
    """Show a new token that is in no store, for `minikms serve --admin-token-file`."""
    click.echo(Token.new().reveal())


def _row(record: TokenRecord) -> tuple[str, ...]:
    profiles = "all" if record.profiles is None else " ".join(record.profiles)
    expires = "never" if record.expires is None else _shown(record.expires)
    scopes = " ".join(record.scopes)
    used = "" if record.last_used is None else _shown(record.last_used)
    return record.id, record.name, scopes, profiles, _shown(record.created), expires, used


def _shown(moment: int) -> str:
    return datetime.fromtimestamp(moment // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
