"""How fast Mini KMS is meant to be: figures of a run, and their bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contenders import BATCH, BESIDE
from many_keys import STEPS
from report import CONNECTIONS, Run, median, ratio
from rows import Row


@dataclass(frozen=True)
class Goal:
    """A figure, which raises LookupError where it was not measured, and its bounds."""

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
        return self.text, bound, f"{found:.3g}", "yes" if met else "**no**"


ED25519: Final = Row("sign", "ed25519", CONNECTIONS)
P256: Final = Row("sign", "p256", CONNECTIONS)
BATCHES: Final = Row(BATCH, "ed25519", CONNECTIONS)
BESIDE_BATCHES: Final = Row(BESIDE, "ed25519", CONNECTIONS)


def against(
    row: Row, ours: str, other: Row, theirs: str, of: str = "rate"
) -> Callable[[Run], float]:
    """A contender's figure in one row as a part of another's in the same or another."""
    return lambda run: ratio(run.measured(row, ours), run.measured(other, theirs), of)


def flat(call: str) -> Callable[[Run], float]:
    """What a call costs with the most keys as a part of what it costs with the fewest."""
    return lambda run: run.flat[STEPS[-1]][call] / run.flat[STEPS[0]][call]


GOALS: Final = (
    Goal("Ed25519, one process / echo", against(ED25519, "memory", ED25519, "echo"), least=0.5),
    Goal("P-256 / Ed25519, one process", against(P256, "memory", ED25519, "memory"), least=0.9),
    Goal("Ed25519 / OpenBao", against(ED25519, "memory-2", ED25519, "openbao"), least=1.5),
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
    Goal(
        "p99 of others in ms while batches of 1,000 are signed",
        lambda run: median(run.measured(BESIDE_BATCHES, "memory"), "p99"),
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
