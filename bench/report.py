"""The figures of a run, and the blocks of the documents that show them."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import click
from aiohttp import ClientError
from contender import Contender
from rows import IN_PRODUCTION, KEPT, NEW, Row
from server import Measurement, Memory, Refused

CONNECTIONS: Final = 8  # of the charts and the goals
FAILURES: Final = (Refused, ClientError, TimeoutError, LookupError, ValueError)  # of a contender

# The rows of the short table.
GLANCE: Final = (
    *("generate ed25519", "generate p256", "batch of 100 keys ed25519", "import ed25519"),
    *("rotate ed25519", "associate ed25519", "delete ed25519", "list ed25519, 1,000 keys"),
    *("get p256", "sign ed25519", "sign p256", "verify ed25519", "batch of 100 ed25519"),
)
# Each contender, with the one to compare it with.
SHOWN: Final = ("memory", "memory-2", "openbao", "sqlite", "postgres", "openbao-raft", "moto")

# The README's lines.
README_LINES: Final = {
    "Ed25519 signatures a second": Row("sign", "ed25519", CONNECTIONS, 1, KEPT),
    "Ed25519 signatures a second, each over a new connection": Row(
        "sign", "ed25519", CONNECTIONS, 1, NEW
    ),
    "Ed25519 signatures a second, 40,000 keys": Row("sign", "ed25519", CONNECTIONS, 40_000, KEPT),
    "P-256 signatures a second": Row("sign", "p256", CONNECTIONS, 1, KEPT),
    "P-256 keys made a second": Row("generate", "p256", CONNECTIONS, 1, KEPT),
}

Found = dict[
    str, list[Measurement] | str
]  # the rounds of a row by contender, or why there are none


@dataclass
class Run:
    """The figures of a run, by contender."""

    contenders: dict[str, Contender]
    rows: dict[Row, Found] = field(default_factory=dict)
    memory: dict[Row, dict[str, Memory]] = field(default_factory=dict)  # after a row with many keys
    missing: list[str] = field(default_factory=list)  # parts without figures, and why

    def miss(self, text: str) -> None:
        """Note that a figure is not measured."""
        self.missing.append(text)
        click.echo(text, err=True)

    @asynccontextmanager
    async def before(self, end: float, part: str) -> AsyncIterator[None]:
        """Stop at `end` or a failure, and note the part that is missing."""
        try:
            async with asyncio.timeout(end - time.monotonic()):
                with self.noting(part):
                    yield
        except TimeoutError:
            self.miss(f"{part}: there was no time left")

    @contextmanager
    def noting(self, part: str) -> Iterator[None]:
        """Note a failed part, and continue."""
        try:
            yield
        except (*FAILURES, AssertionError) as exc:
            self.miss(f"{part}: {exc!r}")

    async def add(self, found: Found, row: Row, name: str, load: Awaitable[Measurement]) -> None:
        """Add a round of a contender, or its failure, which is final."""
        rounds = found.setdefault(name, [])
        try:
            measured = await load
            if isinstance(rounds, list):
                rounds.append(measured)
        except FAILURES as exc:
            self.miss(f"{row}, {name}: {exc!r}")
            found[name] = "failed"

    def measured(self, row: Row, name: str) -> list[Measurement]:
        """The rounds of a contender; raises LookupError if there are none."""
        found = self.rows[row][name]
        if isinstance(found, str):
            raise LookupError(found)
        return found

    def line(self, row: Row) -> str:
        """The figures of a row in one line."""
        found = cells_of(self, row, rate, self.rows[row])
        cells = (f"{name} {cell}" for name, cell in zip(self.rows[row], found, strict=True))
        return f"{row}: " + ", ".join(cells)


def median(rounds: Sequence[Measurement], of: str) -> float:
    """The median of one figure of all rounds."""
    return float(statistics.median(getattr(each, of) for each in rounds))


def ratio(ours: Sequence[Measurement], theirs: Sequence[Measurement], of: str = "rate") -> float:
    """Return the median ratio of successive rounds, so that drift cancels out."""
    pairs = zip(ours, theirs, strict=True)
    return float(statistics.median(getattr(our, of) / getattr(their, of) for our, their in pairs))


def fill(text: str, blocks: dict[str, list[str]]) -> str:
    """A document with new blocks: a block is the lines between `<!-- NAME -->` and an empty one.

    Other blocks keep their earlier measurements.
    """
    for name, lines in blocks.items():
        mark = f"<!-- {name} -->"
        before, found, after = text.partition(mark)
        if found:
            _, gap, rest = after.partition("\n\n")
            text = "\n".join((before + mark, *lines, "")) + gap[1:] + rest
    return text


def blocks(run: Run) -> Iterator[tuple[str, list[str]]]:
    """Return all measurements as blocks of the documents."""
    if rows := [row for row in run.rows if row.state in (KEPT, NEW)]:
        head, *lines = production(run, rows)
        yield "production", table(head, lines)
    many = [row for row in run.rows if row.state not in ("", KEPT, NEW)]
    one = [row for row in run.rows if not row.state]
    if glance := {row.title: row for row in one if row.connections == CONNECTIONS}:
        names = [name for name in SHOWN if name in run.contenders]
        rows = [glance[title] for title in GLANCE if title in glance]
        yield "glance", _rows(run, rows, rate, names)
        if more := [row for row in glance.values() if not _at_a_glance(run, row)]:
            alone = [row for row in more if run.rows[row].keys() == {"memory"}]
            beside = [row for row in more if row not in alone]
            for name, rows in (("more rates", beside), ("more rates in memory", alone)):
                if rows:
                    yield name, _rows(run, rows, rate)
    if many:
        for title, cell in (*CELLS.items(), ("memory", memory)):
            rows = [row for row in many if title != "memory" or row in run.memory]
            yield f"{title} with many keys", _rows(run, rows, cell)


def _at_a_glance(run: Run, row: Row) -> bool:
    """Whether the short table has all figures of a row."""
    return row.title in GLANCE and run.rows[row].keys() <= set(SHOWN)


def readme(run: Run, text: str) -> str:
    """Update the README with the figures of a run, if the run has all of them."""
    for title, row in README_LINES.items():
        if row in run.rows:
            cells = (cell.partition(" ")[0] for cell in cells_of(run, row, rate, IN_PRODUCTION))
            line = f"| {title} | {' | '.join(cells)} |"
            old = rf"^\| {re.escape(title)} \|([^|]+\|){{{len(IN_PRODUCTION)}}}"
            text = re.sub(old, line, text, flags=re.M)
    return text


def production(run: Run, rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    """The cells of rows in production: the figures of both contenders side by side."""
    titles = [run.contenders[name].title for name in IN_PRODUCTION]
    yield "", *titles, *(f"{title}, {unit}" for unit in ("ms", "µs") for title in titles)
    for row in rows:
        cells = (cell for one in CELLS.values() for cell in cells_of(run, row, one, IN_PRODUCTION))
        yield title_in_production(row), *cells


def title_in_production(row: Row) -> str:
    """The title of a row in production."""
    keys = f", {row.keys:,} keys" if row.keys > 1 else ""
    new = ", new connections" if row.state == NEW else ""
    return f"{row.operation} {row.alg}{keys}, {row.connections} callers{new}"


def _rows(
    run: Run,
    rows: Sequence[Row],
    cell: Callable[[Run, Row, str], str],
    names: Sequence[str] | None = None,
) -> list[str]:
    """A table of rows, with a column for each contender, by default for each that was measured."""
    if names is None:
        names = [
            name
            for name in run.contenders
            if any(isinstance(run.rows[row].get(name), list) for row in rows)
        ]
    head = ("", *(run.contenders[name].title for name in names))
    return table(head, ((row.title, *cells_of(run, row, cell, names)) for row in rows))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    first, *others = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return [first, "|" + "---|" * len(head), *others]


def rate(run: Run, row: Row, name: str) -> str:
    """Operations a second, and the ratio to the comparable contender."""
    ours = run.measured(row, name)
    done = f"{median(ours, 'rate') * row.acts:,.0f}"
    like = run.rows[row].get(run.contenders[name].like or "")
    return done if not isinstance(like, list) else f"{done} ({ratio(ours, like):.2f})"


def times(run: Run, row: Row, name: str) -> str:
    """The p50 and p99 of a row."""
    found = run.measured(row, name)
    return f"{median(found, 'p50'):.2f} · {median(found, 'p99'):.2f}"


def work(run: Run, row: Row, name: str) -> str:
    """The processor time of a request."""
    return f"{median(run.measured(row, name), 'cpu'):.0f}"


def cells_of(
    run: Run, row: Row, cell: Callable[[Run, Row, str], str], names: Iterable[str]
) -> Iterator[str]:
    """The cells of a row: a figure of each contender, or the reason for its absence."""
    for name in names:
        found = run.rows[row].get(name, "")
        yield found if isinstance(found, str) else cell(run, row, name)


def memory(run: Run, row: Row, name: str) -> str:
    """Resident MiB after a row."""
    return f"{run.memory[row][name].total:,.0f}"


# Tables of a row, by title.
CELLS: Final = {"rates": rate, "times": times, "work": work}
