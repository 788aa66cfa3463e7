"""Goals for speed and memory: figures of a run, and their bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contender import BATCH, BATCH_OF_KEYS, BESIDE, OPEN_BOX, OPEN_JWE, OTHERS, UNPACK
from many_keys import NDJSON, PAGE, STEPS
from mini_kms import WALLET
from report import CONNECTIONS, Run, median, ratio
from rows import Row


@dataclass(frozen=True)
class Goal:
    """A figure and its bounds; the figure raises LookupError if it was not measured."""

    text: str
    figure: Callable[[Run], float]
    least: float = 0.0
    most: float = float("inf")

    def of(self, run: Run) -> tuple[str, ...]:
        """The figure of a run beside its bound."""
        bound = f"at least {self.least:g}" if self.least else f"at most {self.most:g}"
        try:
            found = self.figure(run)
        except LookupError:
            return self.text, bound, "not measured", ""
        met = self.least <= found <= self.most
        return (
            self.text,
            bound,
            f"{found:,.0f}" if found >= 1000 else f"{found:.3g}",
            "yes" if met else "**no**",
        )


def row(operation: str, alg: str = "ed25519", connections: int = CONNECTIONS) -> Row:
    """A row with one key."""
    return Row(operation, alg, connections)


ED25519: Final = row("sign")
P256: Final = row("sign", "p256")
BATCHES: Final = row(BATCH)
KEYS: Final = row(BATCH_OF_KEYS, connections=1)


def against(
    one: Row, ours: str, other: Row, theirs: str, of: str = "rate"
) -> Callable[[Run], float]:
    """A contender's figure in one row as a part of another's in the same or another."""
    return lambda run: ratio(run.measured(one, ours), run.measured(other, theirs), of)


def made(ours: str, theirs: str, connections: int) -> Callable[[Run], float]:
    """Keys that are made, for so many callers."""
    generate = row("generate", connections=connections)
    return against(generate, ours, generate, theirs)


def flat(call: str) -> Callable[[Run], float]:
    """The cost of a call with the most keys, relative to the fewest."""
    return lambda run: run.listed["sqlite"][STEPS[-1]][call] / run.listed["sqlite"][STEPS[0]][call]


def listed(store: str, call: str) -> Callable[[Run], float]:
    """The cost of a call with the most keys."""
    return lambda run: run.listed[store][STEPS[-1]][call]


def slowest(store: str, word: str) -> Callable[[Run], float]:
    """The slowest page with a filter of this kind, with the most keys."""
    return lambda run: max(
        (cost for call, cost in run.listed[store][STEPS[-1]].items() if call.startswith(word)),
    )


MAKING: Final = (
    Goal("generate, memory / before, 1 caller", made("memory", "memory-before", 1), least=1.4),
    Goal("generate, memory / before, 64 callers", made("memory", "memory-before", 64), least=3),
    Goal("generate, SQLite / before, 1 caller", made("sqlite", "sqlite-before", 1), least=1.4),
    Goal("generate, SQLite / before, 64 callers", made("sqlite", "sqlite-before", 64), least=3),
    Goal(
        "generate, PostgreSQL / before, 64 callers",
        made("postgres", "postgres-before", 64),
        least=3,
    ),
    Goal(
        "generate, memory, 2 workers / OpenBao, 64 callers",
        made("memory-2", "openbao", 64),
        least=0.4,
    ),
    Goal(
        "generate, SQLite / OpenBao on raft, 1 caller", made("sqlite", "openbao-raft", 1), least=0.9
    ),
    Goal(
        "generate, SQLite / OpenBao on raft, 64 callers",
        made("sqlite", "openbao-raft", 64),
        least=0.6,
    ),
    Goal(
        "keys a second in batches of 100, SQLite",
        lambda run: median(run.measured(KEYS, "sqlite"), "rate") * KEYS.acts,
        least=2000,
    ),
)

LISTING: Final = tuple(
    goal
    for store, title in (("sqlite", "SQLite"), ("postgres", "PostgreSQL"), ("memory", "memory"))
    for goal in (
        Goal(f"ms of 100 among 100,000 keys, {title}", listed(store, PAGE), most=10),
        Goal(f"ms of 100 by alg, {title}", slowest(store, "alg"), most=50),
        Goal(f"ms of 100 by label, {title}", slowest(store, "label"), most=50),
        Goal(f"s of 100,000 as NDJSON, {title}", listed(store, NDJSON), most=16),
    )
)

GOALS: Final = (
    *MAKING,
    *LISTING,
    Goal("Ed25519, one process / echo", against(ED25519, "memory", ED25519, "echo"), least=0.5),
    Goal("P-256 / Ed25519, one process", against(P256, "memory", ED25519, "memory"), least=0.9),
    Goal("Ed25519 / OpenBao", against(ED25519, "memory-2", ED25519, "openbao"), least=1.5),
    Goal("AWS door, P-256 / moto", against(P256, "aws", P256, "moto"), least=10),
    Goal("AWS door, P-256 / POST /sign", against(P256, "aws", P256, "memory"), least=0.6),
    Goal("P-256 / OpenBao", against(P256, "memory-2", P256, "openbao"), least=1.6),
    Goal(
        "Ed25519, token and audit / OpenBao",
        against(ED25519, "memory-2-audit", ED25519, "openbao-audit"),
        least=2.5,
    ),
    Goal(
        "its p99 / OpenBao",
        against(ED25519, "memory-2-audit", ED25519, "openbao-audit", "p99"),
        most=0.25,
    ),
    Goal("batches of 100 / OpenBao", against(BATCHES, "memory-2", BATCHES, "openbao"), least=0.95),
    *(
        Goal(
            f"{name}, one process / OpenBao, {many} callers",
            against(row(name, "ed25519", many), "memory", row(name, "ed25519", many), "openbao"),
            least=1,
        )
        for name in ("verify", BATCH)
        for many in (8, 64)
    ),
    *(
        Goal(f"{name}, {alg} / sign", against(row(name, alg), "memory", ED25519, "memory"), 0.75)
        for name, alg in zip(OTHERS, ("ed25519", "hs256", "a256kw", "x25519"), strict=True)
    ),
    *(
        Goal(f"{name}, {alg} / sign", against(row(name, alg), "memory", ED25519, "memory"), 0.5)
        for name, alg in (
            (OPEN_BOX, "x25519"),
            (UNPACK, WALLET),
            (OPEN_JWE, "x25519"),
            (OPEN_JWE, "p256"),
        )
    ),
    Goal(
        "p99 of others in ms while batches of 1,000 are signed",
        lambda run: median(run.measured(row(BESIDE), "memory"), "p99"),
        most=20,
    ),
    Goal("s from the start to the first signature", lambda run: run.start("memory"), most=1),
    Goal(
        "MiB of the largest process, 10,000 keys in use",
        lambda run: run.in_use["memory"].largest,
        most=150,
    ),
    *(
        Goal(f"{call}, 100,000 keys / 1 key", flat(call), most=1.2)
        for call in ("POST /sign", "GET /key/{kid}", "GET /key?alias=")
    ),
)
