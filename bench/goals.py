"""Goals for speed and memory: figures of a run, and their bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contender import BATCH, BATCH_OF_KEYS, BESIDE, CREDENTIAL, OPEN_BOX, OPEN_JWE, UNPACK
from contenders import RAFT
from keys_in_use import BY_DEFAULT, COLD, IN_USE, KEYS, WARMED
from keys_in_use import row as many
from mini_kms import RULED, WALLET
from report import CONNECTIONS, Run, median, ratio, title_in_production
from rows import IN_PRODUCTION, KEPT, NEW, Row
from server import MIB

UNMET: Final = "no"


@dataclass(frozen=True)
class Goal:
    """A figure and its bounds; the figure raises LookupError if it was not measured."""

    text: str
    figure: Callable[[Run], float]
    least: float = 0.0
    most: float = float("inf")

    def of(self, run: Run) -> tuple[str, ...]:
        """Compare the figure of a run with its bound."""
        bound = f"at least {self.least:g}" if self.least else f"at most {self.most:g}"
        try:
            found = self.figure(run)
        except LookupError:
            return self.text, bound, "not measured", ""
        met = self.least <= found <= self.most
        shown = f"{found:,.0f}" if found >= 1000 else f"{found:.3g}"
        return self.text, bound, shown, "yes" if met else UNMET


def row(operation: str, alg: str = "ed25519", connections: int = CONNECTIONS) -> Row:
    """A row with one key."""
    return Row(operation, alg, connections)


ED25519: Final = row("sign")
P256: Final = row("sign", "p256")
PRODUCED: Final = Row("sign", "ed25519", CONNECTIONS, state=KEPT)
BATCHES: Final = row(BATCH)
BATCHES_OF_KEYS: Final = row(BATCH_OF_KEYS, connections=1)
JUST_STARTED: Final = many(BY_DEFAULT, COLD)
USED: Final = many(BY_DEFAULT, IN_USE)


# Operations that only Mini KMS has, with their least rates beside signatures.
BESIDE_SIGN: Final = {
    ("sign a JWS", "ed25519"): 0.75,
    ("sign a COSE message", "ed25519"): 0.75,
    ("mac", "hs256"): 0.75,
    ("wrap", "a256kw"): 0.75,
    ("derive", "x25519"): 0.75,
    (OPEN_BOX, "x25519"): 0.5,
    (UNPACK, WALLET): 0.5,
    (OPEN_JWE, "x25519"): 0.5,
    (OPEN_JWE, "p256"): 0.5,
}


def against(
    one: Row, ours: str, other: Row, theirs: str, of: str = "rate"
) -> Callable[[Run], float]:
    """Divide a contender's figure in one row by another's in the same or another row."""
    return lambda run: ratio(run.measured(one, ours), run.measured(other, theirs), of)


def on(one: Row, ours: str, theirs: str) -> Callable[[Run], float]:
    """Divide the rates of two contenders in a row."""
    return against(one, ours, one, theirs)


def on_disk(name: str, connections: int = CONNECTIONS) -> Callable[[Run], float]:
    """Divide the rates with keys on disk, in an SQLite file and on raft."""
    return on(row(name, connections=connections), "sqlite", RAFT)


def of_a_key(run: Run) -> float:
    """Return the KB per key in the largest process, with the most keys."""
    used, idle = (run.memory[many(keys)]["sqlite-2"].largest for keys in (KEYS[-1], KEYS[0]))
    return (used - idle) * MIB / 1000 / KEYS[-1]


PRODUCTION: Final = (
    *(
        Goal(f"{title_in_production(one)} / OpenBao", on(one, *IN_PRODUCTION), least=least)
        for one, least in (
            (PRODUCED, 1.5),
            (Row("sign", "ed25519", 64, 1, KEPT), 1.5),
            (Row("sign", "p256", 8, 1, KEPT), 1.6),
            (Row(BATCH, "ed25519", 8, 1, KEPT), 0.95),
            (Row("sign", "ed25519", 8, 40_000, KEPT), 1.5),
            (Row("sign", "ed25519", 8, 1, NEW), 1),
        )
    ),
    Goal(
        "p99 of sign ed25519, 8 callers / OpenBao",
        against(PRODUCED, IN_PRODUCTION[0], PRODUCED, IN_PRODUCTION[1], "p99"),
        most=0.25,
    ),
)

ONE_KEY: Final = (
    Goal(
        "generate, memory, 2 workers / OpenBao, 64 callers",
        on(row("generate", connections=64), "memory-2", "openbao"),
        least=0.4,
    ),
    Goal("generate, SQLite / OpenBao on raft, 1 callers", on_disk("generate", 1), least=0.9),
    Goal("generate, SQLite / OpenBao on raft, 64 callers", on_disk("generate", 64), least=0.6),
    Goal("rotate, SQLite / OpenBao on raft", on_disk("rotate"), least=0.5),
    Goal("delete, SQLite / OpenBao on raft", on_disk("delete"), least=0.9),
    Goal(
        "keys a second in batches of 100, SQLite",
        lambda run: median(run.measured(BATCHES_OF_KEYS, "sqlite"), "rate") * BATCHES_OF_KEYS.acts,
        least=2000,
    ),
    Goal("Ed25519, one process / echo", on(ED25519, "memory", "echo"), least=0.5),
    Goal("P-256 / Ed25519, one process", against(P256, "memory", ED25519, "memory"), least=0.9),
    Goal("Ed25519 / OpenBao", on(ED25519, "memory-2", "openbao"), least=1.5),
    Goal("AWS door, P-256 / moto", on(P256, "aws", "moto"), least=10),
    Goal("AWS door, P-256 / POST /sign", on(P256, "aws", "memory"), least=0.6),
    Goal("Vault door, Ed25519 / OpenBao", on(ED25519, "vault-2", "openbao"), least=1.5),
    Goal("Vault door, Ed25519 / POST /sign", on(ED25519, "vault", "memory"), least=0.8),
    Goal("P-256 / OpenBao", on(P256, "memory-2", "openbao"), least=1.6),
    Goal("batches of 100 / OpenBao", on(BATCHES, "memory-2", "openbao"), least=0.95),
    *(
        Goal(
            f"{name}, one process / OpenBao, {connections} callers",
            on(row(name, connections=connections), "memory", "openbao"),
            least=1,
        )
        for name in ("verify", BATCH)
        for connections in (8, 64)
    ),
    *(
        Goal(f"{name}, {alg} / sign", against(row(name, alg), "memory", ED25519, "memory"), least)
        for (name, alg), least in BESIDE_SIGN.items()
    ),
    Goal(
        "a credential by a key with rules / without",
        against(row(CREDENTIAL, RULED), "memory", row(CREDENTIAL), "memory"),
        least=0.8,
    ),
    Goal(
        "p99 of others in ms while batches of 1,000 are signed",
        lambda run: median(run.measured(row(BESIDE), "memory"), "p99"),
        most=20,
    ),
)

MANY_KEYS: Final = (
    Goal("just started, SQLite / OpenBao on raft", on(JUST_STARTED, "sqlite-2", RAFT), least=0.5),
    Goal(
        "just started, µs of CPU time of a call, SQLite",
        lambda run: median(run.measured(JUST_STARTED, "sqlite-2"), "cpu"),
        most=450,
    ),
    Goal(
        "10 s after a start with --warm, SQLite / OpenBao on raft in use",
        against(many(BY_DEFAULT, WARMED), "sqlite-2", USED, RAFT),
        least=1.5,
    ),
    Goal("in use, SQLite / OpenBao on raft", on(USED, "sqlite-2", RAFT), least=1.5),
    Goal("KB of memory for each key and process, 100,000 keys", of_a_key, most=2.5),
)
