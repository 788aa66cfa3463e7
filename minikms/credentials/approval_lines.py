"""Verifies the approved uses in an audit log, from its lines alone (docs/approvals.md)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from minikms.approval_rule import Approver, Passkey
from minikms.credentials.approval_proofs import check_assertion, check_jws
from minikms.encodings import b64url_decode
from minikms.errors import KmsError
from minikms.events import SUCCESS
from minikms.plugin.registry import AlgorithmRegistry

APPROVE: Final = "approve"

# Seconds that the clocks of the processes may differ that wrote the lines.
_SKEW: Final = 60

# A line is written before its change is committed.
_KILLED: Final = "Was that process killed, so that it did not sign?"

_MARK: Final = b'"approval":{'

# What a line raises that was written by hand.
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError)


class LogLine(NamedTuple):
    """A line about an approval, and where it is."""

    place: str
    members: Mapping[str, Any]

    @property
    def approval(self) -> Mapping[str, Any]:
        """Its member `approval`."""
        found: Mapping[str, Any] = self.members["approval"]
        return found

    @property
    def time(self) -> float:
        """Its time, in seconds since the epoch."""
        return datetime.fromisoformat(self.members["time"]).timestamp()


class Fault(NamedTuple):
    """What is wrong with a line."""

    place: str
    what: str


@dataclass(slots=True)
class _Signed:
    """A document, the names of those who have signed it, and the place of the line that uses it."""

    document: Mapping[str, Any]
    names: set[str] = field(default_factory=set)
    used_in: str = ""

    def fits(self, line: LogLine) -> bool:
        """Tell whether all names of a line have signed it, for its key, and it was not expired."""
        return (
            self.names >= set(line.approval["by"])
            and self.document["sub"] == line.members["kid"]
            and self.document["profile"] == line.members["profile"]
            and self.document["iat"] - _SKEW <= line.time < self.document["exp"] + _SKEW
        )


def lines_of(name: str, file: Iterable[bytes]) -> Iterator[LogLine]:
    """Yield the successful lines of a file that approve, or use an approval."""
    for number, line in enumerate(file, 1):
        if _MARK in line:
            try:
                members = orjson.loads(line)
            except ValueError:  # `minikms audit verify` reports it
                continue
            if members.get("outcome") == SUCCESS and "by" in members.get("approval", ()):
                yield LogLine(f"{name}, line {number}", members)


def faults_of(registry: AlgorithmRegistry, lines: Iterable[LogLine]) -> Iterator[LogLine | Fault]:
    """Yield each use that its approvers have signed as its line, and each other as a fault.

    A use is proven if, before it, as many names as its `threshold` have signed one document for its
    key that was not expired, and that no use before it has used.
    """
    signed: dict[tuple[str, str], dict[str, _Signed]] = {}
    for line in sorted(lines, key=lambda each: each.members["time"]):
        try:
            key = line.members["profile"], line.approval["id"]
            if line.members["operation"] == APPROVE:
                jti, document = _verified(registry, line)
                of_use = signed.setdefault(key, {}).setdefault(jti, _Signed(document))
                of_use.names.add(line.approval["by"])
                continue
            names, threshold = set(line.approval["by"]), line.approval["threshold"]
            fitting = [each for each in signed.get(key, {}).values() if each.fits(line)]
            found = min(fitting, key=lambda each: bool(each.used_in), default=None)
            if found is None:
                yield Fault(line.place, "The log has no proofs of all its approvers before it.")
            elif type(threshold) is not int or not 1 <= threshold <= len(names):
                yield Fault(line.place, "Fewer names than its threshold have approved it.")
            elif found.used_in:
                yield Fault(
                    line.place, f"Its approval was used before, in {found.used_in}. {_KILLED}"
                )
            else:
                found.used_in = line.place
                yield line
        except KmsError as exc:
            yield Fault(line.place, exc.detail)
        except _UNREADABLE:
            yield Fault(line.place, "It is not a line as the service writes it.")


def _verified(registry: AlgorithmRegistry, line: LogLine) -> tuple[str, Mapping[str, Any]]:
    """Verify the proof in a line; return the document that it signs, with its jti.

    Raises KmsError and what a malformed line raises.
    """
    approval = line.approval
    proof, members = approval["proof"], tuple(sorted(approval["jwk"].items()))
    if isinstance(proof, str):
        document = b64url_decode(proof.split(".")[1])
        check_jws(registry, [Approver(approval["by"], members)], proof, document)
    else:
        document = b64url_decode(approval["document"])
        passkey = Passkey("", approval["rp_id"], tuple(approval["origins"]))
        check_assertion(registry, Approver(approval["by"], members, passkey), proof, document)
    read = orjson.loads(document)
    return str(read["jti"]), read
