"""The audit event of a call, which the audit log and the metrics record.

A context variable holds the event of the current call. Code at any depth below the route adds facts
to it, such as the key and the token of the call.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from minikms.errors import AuditUnavailable, KmsError

SUCCESS: Final = "success"


@dataclass(slots=True)
class AuditEvent:
    """The facts of one call that are known so far.

    `operation` is the operationId of the route; `who` names the caller, who has `roles` and, unless
    it is empty, the token with the id `caller_token`; `subject` is the subject of the caller's
    certificate; the call acts on `profile`, `kid`, `alg` and `token`, and requested its key by
    `alias`; `new_kid` is the key that replaces its key. `outcome` is "success" or the slug of a
    problem, `recorded` the outcome that is already in the audit log, and `answered` the outcome of
    an answer that is not a problem. `asked` is a requested kid or alias that was not found;
    `admitted` says that the caller of a failed call may use the profile.
    `others` are further keys that the call uses, as kid and algorithm; each gets its own line.
    `certificate` is the issued certificate: its serial number in hexadecimal digits, its subject
    and its profile. `crl` is the revocation list that the call makes: its number, and its number of
    entries. `batch` is a batch with failed items: the numbers of its items, and of those that
    failed. `rule` is the rule of the key or the profile that refused the call or an item of its
    batch. `provider` is the provider that the call uses, and `object_id` the identifier of an
    object that is destroyed there, in hexadecimal. `approvals` are the approvals that the call asks
    for, signs or uses, by the kid of their keys. `profile_id` is the id of the profile
    (store/profiles/tenancy.py), which an earlier one of its name does not have; `id_of` gives it if
    a process knows it, and is None if no line will have it. `count_call` counts the call for its
    profile and raises OverRate; it is None if no profile has a rate. `store_times` are calls of the
    store with their begin and end, set only for traces.
    """

    operation: str
    sink: "AuditSink | None" = field(repr=False)
    request_id: str = ""
    who: str = ""
    caller_token: str = ""
    address: str = ""
    subject: str | None = None
    profile: str | None = None
    profile_id: str | None = None
    roles: tuple[str, ...] = ()
    kid: str | None = None
    alg: str | None = None
    alias: str | None = None
    new_kid: str | None = None
    token: str | None = None
    recorded: str | None = None
    outcome: str = SUCCESS
    answered: str = SUCCESS
    others: tuple[tuple[str, str | None], ...] = ()
    certificate: Mapping[str, str] | None = None
    crl: Mapping[str, int] | None = None
    batch: Mapping[str, int] | None = None
    rule: str | None = None
    provider: str | None = None
    object_id: str | None = None
    approvals: Mapping[str | None, Mapping[str, Any]] | None = None
    asked: tuple[str | None, str | None] = (None, None)
    admitted: bool = False
    id_of: Callable[[str], str | None] | None = field(default=None, repr=False)
    count_call: Callable[[str], None] | None = field(default=None, repr=False)
    store_times: list[tuple[str, int, int]] = field(init=False, repr=False, compare=False)

    def record(self, outcome: str = "") -> None:
        """Write the event to the audit log, once for each outcome; raises AuditUnavailable.

        Without an `outcome`, it is `answered`.
        """
        outcome = outcome or self.answered
        if self.recorded != outcome:
            if self.sink is not None:
                self.outcome = AuditUnavailable.slug  # stays so if writing fails
                self.sink([self], outcome)
            self.recorded = self.outcome = outcome


def record_together(events: Iterable[AuditEvent]) -> None:
    """Write events of answered calls, each once and to its own sink; raises AuditUnavailable.

    An event without a sink gets no line. The events of one sink and outcome are written all or
    none.
    """
    unwritten: dict[tuple[AuditSink | None, str], list[AuditEvent]] = {}
    for event in events:
        if event.recorded != event.answered:
            unwritten.setdefault((event.sink, event.answered), []).append(event)
    for (sink, outcome), together in unwritten.items():
        if sink is not None:
            sink(together, outcome)
        for event in together:
            event.recorded = event.outcome = outcome


# Writes events with their outcome to the audit log, all or none; raises AuditUnavailable.
AuditSink: TypeAlias = Callable[[Sequence[AuditEvent], str], None]

CURRENT: Final[ContextVar[AuditEvent | None]] = ContextVar("event", default=None)


def set_profile_id(profile: str, profile_id: str | None) -> None:
    """Set the profile id of the current call, unless it is set already."""
    event = CURRENT.get()
    if event is not None and event.profile_id is None and event.profile == profile:
        event.profile_id = profile_id


def set_key(kid: str, alg: str | None = None) -> None:
    """Set which key the current call concerns."""
    event = CURRENT.get()
    if event is not None:
        event.kid, event.alg = kid, alg


def set_operation(operation: str) -> None:
    """Set the operation of the current call, which was not known before."""
    event = CURRENT.get()
    if event is not None:
        event.operation = operation


def set_new_key(kid: str) -> None:
    """Set which key replaces the key of the current call."""
    event = CURRENT.get()
    if event is not None:
        event.new_kid = kid


def set_keys(keys: Iterable[tuple[str, str | None]]) -> None:
    """Set which keys the current call concerns, each with its algorithm."""
    event = CURRENT.get()
    if event is not None:
        (event.kid, event.alg), *others = keys
        event.others = tuple(others)


def set_alias(alias: str) -> None:
    """Set the alias by which the current call requests a key, even if no key has it."""
    event = CURRENT.get()
    if event is not None:
        event.alias = alias


def set_asked(kid: str | None = None, alias: str | None = None) -> None:
    """Set the key that the current call requested but did not find or may not use."""
    event = CURRENT.get()
    if event is not None:
        event.asked = kid, alias


def keep_key() -> None:
    """Keep the key of the current call in the audit log when the next key is set."""
    event = CURRENT.get()
    if event is not None and event.kid is not None:
        event.others = (*event.others, (event.kid, event.alg))


def set_key_alg(kid: str, alg: str) -> None:
    """Add a key's algorithm to the event of the current call, if the event names that key."""
    event = CURRENT.get()
    if event is not None and event.kid == kid:
        event.alg = alg


def set_token(token_id: str) -> None:
    """Set which token the current call concerns."""
    event = CURRENT.get()
    if event is not None:
        event.token = token_id


def set_provider(name: str) -> None:
    """Set which provider the current call uses."""
    event = CURRENT.get()
    if event is not None:
        event.provider = name


def set_rule(rule: str) -> None:
    """Set the rule that refused the current call, or an item of its batch."""
    event = CURRENT.get()
    if event is not None:
        event.rule = rule


def set_batch(results: Sequence[object]) -> None:
    """Set how many items of the current call's batch failed: the KmsErrors among `results`.

    If all failed, the call has the outcome of the first item, since a line has one outcome. A call
    that has a line already, for a key that it made, gets another line with these numbers.
    """
    event = CURRENT.get()
    failed = [result for result in results if isinstance(result, KmsError)]
    if event is not None and failed:
        event.batch = {"items": len(results), "failed": len(failed)}
        event.recorded = None
        if len(failed) == len(results):
            event.answered = failed[0].slug


def set_certificate(serial: str, subject: str, profile: str) -> None:
    """Set the certificate that the current call issues."""
    event = CURRENT.get()
    if event is not None:
        event.certificate = {"serial": serial, "subject": subject, "profile": profile}


def set_crl(number: int, count: int) -> None:
    """Set the number of the revocation list that the current call makes, and of its entries."""
    event = CURRENT.get()
    if event is not None:
        event.crl = {"number": number, "count": count}


def set_approval(kid: str | None, facts: Mapping[str, Any], *, used: bool = False) -> None:
    """Set the approval for a key that the current call asks for, signs or uses.

    A call that uses several approvals gets a line for each of them.
    """
    event = CURRENT.get()
    if event is not None:
        event.approvals = {**(event.approvals or {}), kid: facts}
        if used:
            event.recorded = None
