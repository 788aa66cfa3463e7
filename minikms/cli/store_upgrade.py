"""`minikms store upgrade`."""

import sys
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.output import progress, tell_fault
from minikms.cli.store_options import on_a_store, store_of
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.upgrade import numbers_of_keys
from minikms.maintenance.upgrade import upgrade as upgrade_store
from minikms.store import Database
from minikms.store.internals import LAYOUT, LONG_TIMEOUT


@click.command(cls=HelpCommand, examples=(f"minikms store upgrade {ON_A_STORE}",))
@on_a_store
async def upgrade(**options: Any) -> None:
    """Upgrade a store of an older version.

    Each profile is upgraded as a whole or not at all. If the command is interrupted, run it again.
    Make a backup first: the older version refuses an upgraded store.
    """
    location, key = store_of(options)
    left = renewed = total = 0

    def leave(profile: str, kid: str, fault: str) -> None:
        nonlocal left
        left += 1
        tell_fault(profile, kid, fault)

    async with (
        progress("Upgrading keys", show_pos=True) as bar,
        Database.open(location, key, timeout=LONG_TIMEOUT, upgrading=True) as database,
    ):
        is_older = database.layout < LAYOUT
        if is_older:
            numbers = await numbers_of_keys(StoreInspector(database), leave)
            bar.length = total = sum(numbers.values())
            renewed = await upgrade_store(database, numbers, leave, bar.update)
        await database.renew_statistics()
    if not is_older:
        click.echo(f"The store at {location} already has the layout {LAYOUT}.")
        return
    rest = "" if left or renewed == total else " The other keys needed no change."
    click.echo(
        f"The store at {location} now has the layout {LAYOUT}. "
        f"Keys rewritten: {renewed} of {total}.{rest}"
    )
    if left:
        click.echo(f"Faults that remain: {left}; `minikms store verify` also finds them.")
        sys.exit(1)
