"""The documents that `run.py` writes: goals and a table, and all other tables."""

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from contender import Contender
from contenders import CONTENDERS
from many_keys import Costs
from pieces import Pieces, rows_of
from rows import Row
from server import Measurement, Memory

CONNECTIONS: Final = 8  # of the chart and the goals
NO: Final = "no"

PREFACE: Final = """\
Measured and written by `python bench/run.py`; [measurements](internals/measurements.md) has how,
and all other figures. The ratios hold better than the figures. Each is compared with its like: keys
in memory with OpenBao in memory, keys on a disk with OpenBao on raft, which syncs them, too.
"""

METHOD: Final = """\
What is behind [performance](../performance.md), by the same run.

All services run on this one machine, and so does wrk, which takes its part of the cores. One is
loaded at a time, in alternating rounds. Before, each got the same requests and its answers were
checked; a load with an answer that was no success does not count. A message has 48 bytes. Mini KMS
logs no line for each request, and neither does OpenBao. Token: that of an administrator, which
OpenBao always has; audit: a file with each call; before: Mini KMS at the commit 3ce4a8d. SQLite,
PostgreSQL and raft wait for the disk. Of many keys, each was used once before, so that a figure has
no first reads in it. `no`: it cannot do that; nothing: not measured.

What OpenBao lists are names alone. It makes one key by a call, and takes in keys that are wrapped.
"""

RATES: Final = """\
Operations a second; those of Mini KMS with the ratio to OpenBao in brackets, to that in memory, on
raft or with its audit log, whichever is its like:
"""

# The table that a reader takes in at a glance.
GLANCE: Final = (
    *("generate ed25519", "generate p256", "batch of 100 keys ed25519", "import ed25519"),
    *("rotate ed25519", "associate ed25519", "delete ed25519", "list ed25519, 1,000 keys"),
    *("get p256", "sign ed25519", "sign p256", "verify ed25519", "batch of 100 ed25519"),
)
# What the README shows of the same table: its lines, and of whom.
README_LINES: Final = {
    "Ed25519 signatures a second": "sign ed25519",
    "P-256 signatures a second": "sign p256",
    "P-256 keys made a second": "generate p256",
}
README_CONTENDERS: Final = ("memory-2", "openbao", "moto")

# Each beside its like.
SHOWN: Final = ("memory", "memory-2", "openbao", "sqlite", "postgres", "openbao-raft", "moto")

PIECES: Final = """\
`POST /sign` in memory, in microseconds of CPU time, without what the kernel takes for sockets
(`python bench/pieces.py`). Each step was measured by itself, over and over, but for lines of the
audit log, which are written four at a time. The rest is what is between them, and what each takes
longer for coming after the others: a signature and system calls evict the caches of the processor.

What P-256 lacks to Ed25519 is the signature: OpenSSL, by whatever package, takes longer for it than
libsodium for Ed25519, and we know of no other package, well kept, that signs on P-256 with the
nonce of RFC 6979 and is faster. Were OpenSSL to sign for Ed25519 too (the last line), P-256 would
be the faster of the two; Ed25519 would be slower by as much.
"""


MANY: Final = """\
One caller, by the number of keys stored; medians in milliseconds, where a line says nothing else
(`python bench/many_keys.py`). Keys are made by `POST /key/generate/batch`, 1,000 by a call. The
lines from `in the middle` on are of pages of 100 among all keys: those of an algorithm or a label
that so many of the keys have, from the first on, and from the middle of the listing on.
"""


@dataclass
class Run:
    """The figures of a run, by contender."""

    contenders: dict[str, Contender]
    facts: Sequence[str]
    keys: int
    rows: dict[Row, dict[str, list[Measurement] | str]] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)  # seconds to a signature
    idle: dict[str, Memory] = field(default_factory=dict)
    in_use: dict[str, Memory] = field(default_factory=dict)  # with so many keys
    listed: dict[str, Costs] = field(default_factory=dict)  # by store
    pieces: Pieces = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # rows without figures, and why

    def measured(self, row: Row, name: str) -> list[Measurement]:
        """The rounds of a contender; raises LookupError if there are none."""
        found = self.rows[row][name]
        if isinstance(found, str):
            raise LookupError(found)
        return found

    def start(self, name: str) -> float:
        """The median start of a contender; raises LookupError if there is none."""
        return statistics.median(self.starts[name])

    def line(self, row: Row) -> str:
        """The figures of a row in one line."""
        found = cells_of(self, row, rate, self.rows[row])
        cells = (f"{name} {cell}" for name, cell in zip(self.rows[row], found, strict=True))
        return f"{row}: " + ", ".join(cells)


def median(rounds: Sequence[Measurement], of: str) -> float:
    """The median of one figure of all rounds."""
    return float(statistics.median(getattr(each, of) for each in rounds))


def ratio(ours: Sequence[Measurement], theirs: Sequence[Measurement], of: str = "rate") -> float:
    """The median of the ratios of rounds that followed each other: what drifts drops out."""
    pairs = zip(ours, theirs, strict=True)
    return float(statistics.median(getattr(our, of) / getattr(their, of) for our, their in pairs))


def overview(run: Run, goals: Iterable[Sequence[str]]) -> str:
    """The text of docs/performance.md."""
    return _text(_overview(run, goals))


def document(run: Run) -> str:
    """The text of docs/internals/measurements.md."""
    return _text(_parts(run))


def readme(run: Run, text: str) -> str:
    """The README with the figures of a run, if the run has them all."""
    for title, operation in README_LINES.items():
        for row in run.rows:
            if row.title == operation and row.connections == CONNECTIONS:
                cells = cells_of(run, row, rate, README_CONTENDERS)
                line = " | ".join((title, *(cell.partition(" ")[0] for cell in cells)))
                text = re.sub(
                    rf"^\| {title} \| .* (?=\| not measured)", f"| {line} ", text, flags=re.M
                )
    return text


def _text(parts: Iterable[Iterable[str]]) -> str:
    lines = [line for part in parts for line in (*part, "")]
    return "\n".join(lines[:-1]) + "\n"


def _overview(run: Run, goals: Iterable[Sequence[str]]) -> Iterator[Iterable[str]]:
    yield ["# Performance"]
    yield [PREFACE.rstrip()]
    yield [f"- {fact}" for fact in run.facts]
    yield ["![Keys made a second, by contender](performance-keys.svg)"]
    yield ["![Signatures a second, by contender](performance.svg)"]
    yield [f"## {CONNECTIONS} connections"]
    yield [RATES.rstrip()]
    names = [name for name in SHOWN if name in run.contenders]
    found = {row.title: row for row in run.rows if row.connections == CONNECTIONS}
    rows = [found[title] for title in GLANCE if title in found]
    yield _rates(run, rows, names)
    yield ["## Goals"]
    yield table(("", "goal", "measured", "met"), goals)


def _parts(run: Run) -> Iterator[Iterable[str]]:
    yield ["# Measurements"]
    yield [METHOD.rstrip()]
    yield [f"- {fact}" for fact in run.facts]
    for connections in sorted({row.connections for row in run.rows}):
        rows = [row for row in run.rows if row.connections == connections]
        names = [
            name for name in run.contenders if any(_is_measured(run, row, name) for row in rows)
        ]
        heads = [run.contenders[name].title for name in names]
        yield [f"## {connections} connection{'s' if connections > 1 else ''}"]
        yield [RATES.rstrip()]
        yield _rates(run, rows, names)
        yield ["Milliseconds, p50 and p99:"]
        yield table(("", *heads), ((row.title, *cells_of(run, row, times, names)) for row in rows))
        yield ["Microseconds of CPU time for a request, of the service and of wrk:"]
        yield table(("", *heads), ((row.title, *cells_of(run, row, work, names)) for row in rows))
    yield ["## Startup and memory"]
    yield ["The first signature is timed from the start of the process; memory is resident."]
    used = f"{run.keys:,} keys in use"
    titles = ("", "first signature, s", "idle, MiB", f"{used}, MiB", "of the largest process")
    yield table(titles, (_footprint(run, name) for name in run.contenders))
    if run.pieces:
        yield ["## CPU time of a request"]
        yield [PIECES.rstrip()]
        yield table(("", *run.pieces), rows_of(run.pieces))
    if run.listed:
        yield ["## Many keys"]
        yield [MANY.rstrip()]
        for store, costs in run.listed.items():
            yield [f"In {CONTENDERS[store].title}:"]
            calls = next(reversed(costs.values()))
            yield table(
                ("", *(f"{step:,}" for step in costs)),
                (
                    (call, *(_cost(measured.get(call)) for measured in costs.values()))
                    for call in calls
                ),
            )


def _rates(run: Run, rows: Iterable[Row], names: Sequence[str]) -> list[str]:
    heads = [run.contenders[name].title for name in names]
    return table(("", *heads), ((row.title, *cells_of(run, row, rate, names)) for row in rows))


def _cost(found: float | None) -> str:
    return "" if found is None else f"{found:,.2f}"


def _is_measured(run: Run, row: Row, name: str) -> bool:
    return isinstance(run.rows[row].get(name), list)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def rate(run: Run, row: Row, name: str) -> str:
    """Operations a second, and the ratio to the like."""
    ours = run.measured(row, name)
    done = f"{median(ours, 'rate') * row.acts:,.0f}"
    like = run.rows[row].get(run.contenders[name].like or "")
    return done if not isinstance(like, list) else f"{done} ({ratio(ours, like):.2f})"


def times(run: Run, row: Row, name: str) -> str:
    """The p50 and p99 of a row."""
    found = run.measured(row, name)
    return f"{median(found, 'p50'):.2f} · {median(found, 'p99'):.2f}"


def work(run: Run, row: Row, name: str) -> str:
    """The processor time of a request, and wrk's."""
    found = run.measured(row, name)
    return f"{median(found, 'cpu'):.0f} · {median(found, 'wrk'):.0f}"


def cells_of(
    run: Run, row: Row, cell: Callable[[Run, Row, str], str], names: Iterable[str]
) -> Iterator[str]:
    """The cells of a row: a figure of each contender, or the reason for its absence."""
    for name in names:
        found = run.rows[row].get(name, "")
        yield found if isinstance(found, str) else cell(run, row, name)


def _footprint(run: Run, name: str) -> tuple[str, ...]:
    start = f"{run.start(name):.2f}" if name in run.starts else NO
    idle = f"{run.idle[name].total:.0f}" if name in run.idle else NO
    in_use = run.in_use.get(name)
    used = (f"{in_use.total:.0f}", f"{in_use.largest:.0f}") if in_use else (NO, NO)
    return run.contenders[name].title, start, idle, *used
