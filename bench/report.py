"""What `run.py` writes of a run: medians and ratios in tables, and a chart."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from contenders import Contender
from pieces import Pieces, rows_of
from rows import Row
from server import Measurement, Memory

CONNECTIONS: Final = 8  # of the chart and the goals
NO: Final = "no"

PREFACE: Final = """\
All services run on this one machine, and so does wrk, which takes its part of the cores. One is
loaded at a time, in alternating rounds. Before, each got the same requests and its answers were
checked; a load with an answer that was no success does not count. A message has 48 bytes. Mini KMS
logs no line for each request, and neither does OpenBao. Token: that of an administrator, which
OpenBao always has; audit: a file with each call. `no`: it cannot do that.
"""

RATES: Final = (
    "Operations a second, and in brackets the ratio to OpenBao, with its audit log where Mini KMS "
    "has one:"
)

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


@dataclass
class Run:
    """What was measured, each by contender."""

    contenders: Mapping[str, Contender]
    facts: Sequence[str]
    keys: int
    rows: dict[Row, dict[str, list[Measurement] | str]] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)  # seconds to a signature
    idle: dict[str, Memory] = field(default_factory=dict)
    in_use: dict[str, Memory] = field(default_factory=dict)  # with so many keys
    flat: dict[int, dict[str, float]] = field(default_factory=dict)  # by keys stored and call
    pieces: Pieces = field(default_factory=dict)

    def measured(self, row: Row, name: str) -> list[Measurement]:
        """The rounds of a contender; raises LookupError where there are none."""
        found = self.rows[row][name]
        if isinstance(found, str):
            raise LookupError(found)
        return found

    def start(self, name: str) -> float:
        """The median of the starts of a contender; raises LookupError where there is none."""
        return statistics.median(self.starts[name])

    def line(self, row: Row) -> str:
        """What a row came to, in short."""
        found = cells_of(self, row, rate)
        cells = (f"{name} {cell}" for name, cell in zip(self.rows[row], found, strict=True))
        return f"{row}: " + ", ".join(cells)


def median(rounds: Sequence[Measurement], of: str) -> float:
    """The median of one figure of all rounds."""
    return float(statistics.median(getattr(each, of) for each in rounds))


def ratio(ours: Sequence[Measurement], theirs: Sequence[Measurement], of: str = "rate") -> float:
    """The median of the ratios of rounds that followed each other: what drifts drops out."""
    pairs = zip(ours, theirs, strict=True)
    return float(statistics.median(getattr(our, of) / getattr(their, of) for our, their in pairs))


def document(run: Run, goals: Iterable[Sequence[str]]) -> str:
    """The text of docs/performance.md."""
    return "\n".join(line for part in _parts(run, goals) for line in (*part, ""))


def _parts(run: Run, goals: Iterable[Sequence[str]]) -> Iterator[Iterable[str]]:
    yield ["# Performance"]
    yield [
        "Measured and written by `python bench/run.py`. The ratios hold better than the figures."
    ]
    yield [f"- {fact}" for fact in run.facts]
    yield [PREFACE.rstrip()]
    yield ["![Signatures a second, by contender](performance.svg)"]
    yield ["## Goals"]
    yield table(("", "goal", "measured", "met"), goals)
    heads = [contender.title for contender in run.contenders.values()]
    for connections in sorted({row.connections for row in run.rows}):
        rows = [row for row in run.rows if row.connections == connections]
        yield [f"## {connections} connection{'s' if connections > 1 else ''}"]
        yield [RATES]
        yield table(("", *heads), ((row.title, *cells_of(run, row, rate)) for row in rows))
        yield ["Milliseconds, p50 and p99:"]
        yield table(("", *heads), ((row.title, *cells_of(run, row, times)) for row in rows))
        yield ["Microseconds of CPU time for a request, of the service and of wrk:"]
        yield table(("", *heads), ((row.title, *cells_of(run, row, work)) for row in rows))
    yield ["## Startup and memory"]
    yield ["The first signature is timed from the start of the process; memory is resident."]
    used = f"{run.keys:,} keys in use"
    titles = ("", "first signature, s", "idle, MiB", f"{used}, MiB", "of the largest process")
    yield table(titles, (_footprint(run, name) for name in run.contenders))
    if run.pieces:
        yield ["## CPU time of a request"]
        yield [PIECES.rstrip()]
        yield table(("", *run.pieces), rows_of(run.pieces))
    if run.flat:
        yield ["## Many keys"]
        yield ["One caller, SQLite, by the number of keys stored; medians in milliseconds."]
        steps, calls = list(run.flat), next(iter(run.flat.values()))
        yield table(
            ("", *(f"{step:,}" for step in steps)),
            ((call, *(f"{run.flat[step][call]:.2f}" for step in steps)) for call in calls),
        )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def rate(run: Run, row: Row, name: str) -> str:
    """How much is done in a second, and the ratio to the like."""
    ours = run.measured(row, name)
    done = f"{median(ours, 'rate') * row.acts:,.0f}"
    like = run.rows[row].get(run.contenders[name].like or "")
    return done if not isinstance(like, list) else f"{done} ({ratio(ours, like):.2f})"


def times(run: Run, row: Row, name: str) -> str:
    """How long callers wait."""
    found = run.measured(row, name)
    return f"{median(found, 'p50'):.2f} · {median(found, 'p99'):.2f}"


def work(run: Run, row: Row, name: str) -> str:
    """What a request costs."""
    found = run.measured(row, name)
    return f"{median(found, 'cpu'):.0f} · {median(found, 'wrk'):.0f}"


def cells_of(run: Run, row: Row, cell: Callable[[Run, Row, str], str]) -> Iterator[str]:
    """A row of a table: this of each contender, or why there is nothing."""
    for name, found in run.rows[row].items():
        yield found if isinstance(found, str) else cell(run, row, name)


def _footprint(run: Run, name: str) -> tuple[str, ...]:
    start = f"{run.start(name):.2f}" if name in run.starts else NO
    idle = f"{run.idle[name].total:.0f}" if name in run.idle else NO
    in_use = run.in_use.get(name)
    used = (f"{in_use.total:.0f}", f"{in_use.largest:.0f}") if in_use else (NO, NO)
    return run.contenders[name].title, start, idle, *used
