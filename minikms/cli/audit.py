"""The commands of audit logs: `minikms audit …`."""

import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minikms.audit.chain import Head
from minikms.audit.heads import AuditStore, public_text
from minikms.audit.query import Query
from minikms.audit.search import search
from minikms.audit.searched_files import read_files
from minikms.audit.verify import verify as verify_files
from minikms.audit.verify_file import LogFile
from minikms.basics import durations
from minikms.basics.small_files import read_small_file
from minikms.cli.help import ON_A_STORE, HelpGroup
from minikms.cli.store_options import on_a_store, open_database
from minikms.encodings import b64url_decode
from minikms.events import SUCCESS
from minikms.startup_errors import AuditError

_MOST_HEADS: Final = 64 * 1024 * 1024  # bytes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Moment(click.ParamType):  # type: ignore[type-arg]
    """An RFC 3339 time or a duration before now, converted to nanoseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            moment = _moment(value)
        except ValueError:
            self.fail(f"{value!r} is neither 24h, say, nor 2026-01-31T12:00:00Z.", param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is not in the years 1 to 9999.", param, ctx)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


class _Text(click.ParamType):  # type: ignore[type-arg]
    """A string to compare with lines, which are UTF-8."""

    name = "text"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is not UTF-8.", param, ctx)
        return text


@click.group(cls=HelpGroup)
def audit() -> None:
    """Search and check audit logs, and export the evidence to check them without the store."""


@audit.command(
    examples=(
        f"minikms audit verify audit.log audit.log.1 {ON_A_STORE}",
        "minikms audit verify --public-key KEY --heads heads audit.log",
    )
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--public-key", metavar="KEY", help="Output of `minikms audit key`, with --heads.")
@click.option(
    "--heads",
    "heads_file",
    metavar="FILE",
    help="Output of `minikms audit heads`; the store is then not needed.",
)
@click.option(
    "--partial", is_flag=True, help="Accept that older and newer files of these logs are elsewhere."
)
@on_a_store
async def verify(
    files: tuple[str, ...],
    public_key: str | None,
    heads_file: str | None,
    partial: bool,
    **options: Any,
) -> None:
    """Check every line of these files, given in any order; they may be in use.

    Name all files of a log, or use --partial.
    """
    keys = None
    if public_key and heads_file:
        key, heads = _public_key(public_key), _read_heads(heads_file)
        logs = LogFile.all_of(files)
    elif public_key or heads_file:
        raise AuditError("--public-key and --heads need each other.")
    else:
        async with open_database(options) as database:
            store = AuditStore(database)
            # This order allows services to write meanwhile: heads are read before lines, and keys
            # after them, so each head's line is there, and each chain's key.
            key, heads = await store.public_key(), await store.heads()
            logs = LogFile.all_of(files)
            keys = await store.chains()

    def fault(where: str, text: str) -> None:
        click.echo(f"{where}: {text}")

    def note(where: str, text: str) -> None:
        click.echo(f"Note: {where}: {text}")

    with ExitStack() as stack:
        for log in logs:
            stack.callback(log.close)
        for head in heads:
            if not head.is_signed_by(key):
                raise AuditError(f"The head of the chain {head.chain} is not signed by the key.")
        tally = verify_files(logs, heads, keys, fault, note, partial=partial)
    click.echo(
        f"Checked {tally.files} files, {tally.chains} chains and {tally.lines} lines: "
        f"{tally.faults or 'nothing'} wrong."
    )
    if tally.faults:
        sys.exit(1)


@audit.command(
    examples=(
        "minikms audit show --kid KID audit.log audit.log.1",
        "minikms audit show --outcome failed --since 24h audit.log",
    )
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--kid", type=_Text(), help="Only lines of this key.")
@click.option("--who", type=_Text(), metavar="NAME", help="Only lines of callers with this name.")
@click.option(
    "--operation", type=_Text(), metavar="NAME", help="Only lines of this operation, such as sign."
)
@click.option(
    "--outcome", type=_Text(), metavar="SLUG", help="Only lines with this outcome; also ok, failed."
)
@click.option("--profile", type=_Text(), metavar="NAME", help="Only lines of this profile.")
@click.option("--since", type=_Moment(), help="Only lines from then on: 24h ago, or RFC 3339.")
@click.option("--until", type=_Moment(), help="Only lines before then.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Most lines to show."
)
def show(
    files: tuple[str, ...],
    kid: str | None,
    outcome: str | None,
    profile: str | None,
    limit: int,
    **filters: Any,
) -> None:
    """Show lines of these files, the newest first; they may be in use."""
    query = Query(
        kids=None if kid is None else (kid,),
        outcome=SUCCESS if outcome == "ok" else outcome,
        profiles=None if profile is None else {profile: None},
        **filters,
    )
    for found in search(read_files(files), query, limit).found:
        click.echo(found.line, nl=False)


@audit.command(examples=("minikms audit approvals audit.log audit.log.1",))
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def approvals(files: tuple[str, ...]) -> None:
    """Verify that approvers have signed each approved use in these files.

    The store is not needed. Name all files of a log, and check their lines by `minikms audit
    verify`.
    """
    # Imported here: the algorithms are slow to load.
    from minikms.credentials.approval_lines import Fault, LogLine, faults_of, lines_of
    from minikms.plugin.registry import AlgorithmRegistry

    uses = faults = 0
    lines: list[LogLine] = []
    for name in files:
        try:
            with open(name, "rb") as file:
                lines += lines_of(name, file)
        except OSError as exc:
            raise AuditError(f"The file {name} cannot be read: {exc.strerror}.") from None
    for found in faults_of(AlgorithmRegistry.from_installed(), lines):
        if isinstance(found, Fault):
            faults += 1
            click.echo(f"{found.place}: {found.what}")
        else:
            uses += 1
    click.echo(f"{uses} uses are proven: {faults or 'nothing'} wrong.")
    if faults:
        sys.exit(1)


@audit.command(examples=(f"minikms audit heads {ON_A_STORE}",))
@on_a_store
async def heads(**options: Any) -> None:
    """Show the last head of every chain as a line of JSON; keep the output elsewhere."""
    async with open_database(options) as database:
        for head in await AuditStore(database).heads():
            click.echo(head.to_bytes())


@audit.command(examples=(f"minikms audit key {ON_A_STORE}",))
@on_a_store
async def key(**options: Any) -> None:
    """Show the public key that verifies heads."""
    async with open_database(options) as database:
        click.echo(public_text(await AuditStore(database).public_key()))


def _moment(text: str) -> datetime:
    """Parse a time; raises ValueError, and OverflowError for a year out of range."""
    try:
        before = durations.nanoseconds(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise
        return moment.astimezone(UTC)
    return datetime.now(UTC) - timedelta(microseconds=before // 1000)


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(b64url_decode(text))
    except ValueError:
        raise AuditError("--public-key is not a key as `minikms audit key` shows it.") from None


def _read_heads(file: str) -> list[Head]:
    try:
        lines = read_small_file(file, _MOST_HEADS).content.splitlines()
        return [Head.from_bytes(line) for line in lines]
    except OSError as exc:
        raise AuditError(f"The file {file} cannot be read: {exc.strerror}.") from None
    except (ValueError, TypeError):
        raise AuditError(f"The file {file} has lines that are not heads.") from None
