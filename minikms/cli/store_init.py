"""`minikms store init`."""

import os
from contextlib import nullcontext
from typing import Any

import click

from minikms.access.callers import SCOPES
from minikms.access.token_record import Token
from minikms.access.tokens import Tokens
from minikms.basics.secret_files import require_new, write_secret
from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.options import config_of
from minikms.cli.store_options import (
    durable,
    generating_key,
    key_of,
    new_key,
    on_a_store,
    require_place,
)
from minikms.config import ENV_PREFIX
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.exits import fail
from minikms.startup_errors import AccessError, StoreError
from minikms.store import Database, KeyStore, StoreKey, StoreLocation


@click.command(
    cls=HelpCommand,
    examples=(
        f"minikms store init --generate-key {ON_A_STORE}",
        f"minikms store init --generate-key --admin-token-file admin.token {ON_A_STORE}",
    ),
)
@generating_key("store")
@click.option(
    "--if-missing",
    is_flag=True,
    help="Succeed if the store exists and this key opens it; use a key file that exists.",
)
@click.option(
    "--admin-token-file",
    envvar=f"{ENV_PREFIX}ADMIN_TOKEN_FILE",
    show_envvar=True,
    metavar="FILE",
    help="New file for the first token; without it, the token is shown.",
)
@on_a_store
async def init(
    generate_key: bool, if_missing: bool, admin_token_file: str | None, **options: Any
) -> None:
    """Create a store and a token with every scope. An existing store stays unchanged."""
    config = config_of(options)
    location, key_file = durable(config.store), config.store_key_file
    key = None
    if generate_key:
        require_place("store", key_file, config.store_key_method)
    if not generate_key or (if_missing and os.path.lexists(key_file)):
        key = key_of(config)
    try:
        token = await _init(location, key, key_file, admin_token_file, if_missing=if_missing)
    except AccessError as exc:
        why = f"{exc} Nothing was created."
        fail(f"{why} If the store exists already: `minikms token create`.", 1)
    if token is None:
        click.echo(f"The store at {location} exists.")
        return
    click.echo(f"Made a store at {location}.")
    if admin_token_file:
        try:
            write_secret(admin_token_file, token.reveal(), "token", AccessError)
        except AccessError as exc:
            fail(f"{exc} Make another: `minikms token create`.", 1)
        click.echo(f"A token with every scope is in {admin_token_file}.")
    else:
        click.echo(f"A token with every scope, shown only once: {token.reveal()}")


async def _init(
    location: StoreLocation,
    key: StoreKey | None,
    key_file: str,
    token_file: str | None,
    *,
    if_missing: bool,
) -> Token | None:
    """Create a store and return its first token; None if an existing store is allowed.

    Without a key, one is made in the key file. Raises StoreError, and AccessError for the token's
    file.
    """
    closed = ""
    if key and if_missing:
        try:
            async with KeyStore.open(location, key):
                return None
        except StoreError as exc:
            closed = f"{exc} "
    if token_file:
        try:
            require_new(token_file, "token", AccessError)
        except AccessError as exc:
            raise AccessError(f"{closed}{exc}") from None
    async with new_key(key_file, location) if key is None else nullcontext(key) as opening:
        try:
            async with Database.create(location, opening) as made:
                await made.directory.create(DEFAULT_PROFILE)
                token, _ = await Tokens(made).create("admin", SCOPES)
                await made.finish()
                return token
        except StoreError as exc:
            try:
                async with KeyStore.open(location, opening):
                    pass
            except StoreError as why:
                reasons = dict.fromkeys(map(str, (exc, why)))
                raise (StoreError(" ".join(reasons)) if if_missing else exc) from None
            if if_missing:
                return None  # another process created it first
            raise StoreError(f"{exc} `minikms token create` makes tokens for it.") from None
