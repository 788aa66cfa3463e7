"""Approvals that uses of keys wait for, and have (docs/approvals.md).

A key with the rule `approval` is used only by a use that enough of its approvers have signed. Each
approval is an entry of the profile, whose name follows from the use. Its proofs are verified when
they arrive, and again when the approval is used: what the store has is not enough.
"""

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias, TypeGuard

import orjson

from minikms.approval_rule import ApprovalRule
from minikms.encodings import jose_b64url
from minikms.errors import (
    ApprovalNotFound,
    ApprovalRequired,
    InvalidApproval,
    KeyNotUsable,
    RuleViolated,
    TooManyApprovals,
)
from minikms.events import CURRENT, SUCCESS, set_approval, set_key
from minikms.records import KeyRecord
from minikms.store.approval_checks import ApprovalChecks, Proof
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Entry, Session, Transaction
from minikms.store.categories import APPROVAL
from minikms.store.database import Database
from minikms.store.keys.entries import fetch_record, load_record

MOST_OF_KEY: Final = 64
MOST_OF_PROFILE: Final = 1000
"""The approvals that may wait for a key, and in a profile."""

MAX_DATA: Final = 16 * 1024
"""The signed bytes that approvers are shown, of all signatures together."""

MAX_DOCUMENT: Final = 24 * 1024
"""The bytes of a document, so that its proofs fit into a line of the audit log."""

# Seconds that the clocks of processes may differ.
_SKEW: Final = 60

# The random bytes of a document, and the bytes of an id.
_ID_BYTES: Final = 16


class GuardedUse(NamedTuple):
    """A use of a key that needs approvals.

    `what` describes each signature in JSON, and `data` has the signed bytes, where they are known.
    """

    operation: str
    what: tuple[Mapping[str, Any], ...]
    data: tuple[bytes, ...] = ()


class UnapprovedError(Exception):
    """A use of a key is not approved, or not by enough of its approvers. Nothing was written."""

    def __init__(self, kid: str, use: GuardedUse) -> None:
        super().__init__()
        self.kid = kid
        self.use = use


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval that was asked for, and the proofs that it has.

    Approvers sign `document`, the bytes of a JSON object. `expires` is in seconds since the epoch,
    and `asked` the time when it was asked for. `store` is the identity of the store, which a backup
    does not have.
    """

    id: str
    kid: str
    document: bytes
    data: tuple[str, ...]
    asked: int
    expires: int
    store: str
    proofs: tuple[Proof, ...] = ()

    @classmethod
    def of(cls, name: str, value: bytes) -> Self:
        """Parse the result of `to_bytes`."""
        members = orjson.loads(value)
        members["document"] = members["document"].encode()
        members["data"], members["proofs"] = tuple(members["data"]), tuple(members["proofs"])
        return cls(name, **members)

    def to_bytes(self) -> bytes:
        """Encode it for the store."""
        return orjson.dumps(
            {
                "kid": self.kid,
                "document": self.document.decode(),
                "data": self.data,
                "asked": self.asked,
                "expires": self.expires,
                "store": self.store,
                "proofs": self.proofs,
            }
        )

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which approvals of a key are found, and old ones."""
        return {"kid": self.kid, "~until": _until(self.expires)}

    def is_alive(self, store: str) -> bool:
        """Tell whether it may be used in this store now; also false if the clock was set back."""
        return self.store == store and self.asked - _SKEW <= _now() < self.expires


class Checked(NamedTuple):
    """A verified proof as it is kept, and what the audit line has of it: `by` is the name."""

    proof: Proof
    facts: Mapping[str, Any]


class Waiting(NamedTuple):
    """An approval, the rule of its key, and the names of the approvers who have signed it."""

    approval: Approval
    rule: ApprovalRule
    approved_by: list[str]

    @property
    def is_approved(self) -> bool:
        """Tell whether enough approvers have signed it."""
        return len(self.approved_by) >= self.rule.threshold

    def document(self) -> dict[str, Any]:
        """Return it as callers see it."""
        approval, rule = self.approval, self.rule
        return {
            "id": approval.id,
            "kid": approval.kid,
            "state": "approved" if self.is_approved else "pending",
            "threshold": rule.threshold,
            "approved_by": self.approved_by,
            "approvers": [
                {
                    "name": each.name,
                    "passkey": each.passkey and each.passkey.id,
                    "rp_id": each.passkey and each.passkey.rp_id,
                }
                for each in rule.approvers
            ],
            "expires": approval.expires,
            "document": jose_b64url(approval.document),
            "challenge": jose_b64url(hashlib.sha256(approval.document).digest()),
            "data": list(approval.data),
        }


ApprovalEvent: TypeAlias = Literal["asked", "approved", "expired", "refused"]
"""What is counted of approvals; "refused" are proofs that are not valid."""


class Approvals:
    """The approvals of a store; all methods raise ProfileNotFound and StoreUnavailable.

    `counts` are since the start of this process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checks = database.approval_checks
        self.counts: Counter[str] = Counter()

    async def ask(self, profile: str, kid: str, use: GuardedUse) -> Waiting:
        """Find the approval of a use; ask for it unless it waits already.

        The audit event of the call is recorded before that, as `approval-required`. Raises
        KeyNotFound and TooManyApprovals.
        """
        named = approval_id(kid, use)
        set_approval(kid, {"id": named})
        found = await self.find(profile, named)
        if found is not None:
            return found

        async def work(session: Transaction) -> Waiting:
            record = await fetch_record(session, kid)
            entry = await session.fetch(APPROVAL, named, for_update=True)
            approval = _alive(entry, self._checks)
            if approval is None:
                await _require_room(session, kid)
                if entry is not None:
                    await session.remove(APPROVAL, named, cached=False)
                approval = _asked(record, use, named, self._checks.store)
                await session.insert(
                    APPROVAL, named, approval.to_bytes(), approval.tags, cached=False
                )
                session.due.add(approval.expires * 10**9)
            return self._waiting(approval, record)

        event = CURRENT.get()
        if event is not None:
            event.answered = ApprovalRequired.slug
        try:
            with suppress(DuplicateError):
                waiting = await self._database.write(profile, work)
                self.counts["asked"] += 1
                return waiting
            return await self._database.write(profile, work)  # another process has asked
        finally:
            if event is not None:
                event.answered = SUCCESS

    async def get(self, profile: str, named: str) -> Waiting:
        """Find an approval that waits, or was approved; raises ApprovalNotFound."""
        found = await self.find(profile, named)
        if found is None:
            raise ApprovalNotFound()
        return found

    async def is_approved(self, profile: str, kid: str, use: GuardedUse) -> bool:
        """Tell whether the approval of a use is there."""
        found = await self.find(profile, approval_id(kid, use))
        return found is not None and found.is_approved

    async def find(self, profile: str, named: str) -> Waiting | None:
        """Find an approval that waits, or was approved; None without one."""

        async def work(session: Session) -> Waiting | None:
            approval = await _load(session, self._checks, named)
            record = None if approval is None else await load_record(session, approval.kid)
            if approval is None or not _has_rule(record):
                return None
            set_key(record.kid, record.alg)
            return self._waiting(approval, record)

        return await self._database.read(profile, work)

    async def waiting(self, profile: str, kid: str | None = None) -> list[Waiting]:
        """List the approvals that wait, or were approved, the first to expire first."""
        tag_filter = {} if kid is None else {"kid": kid}

        async def work(session: Session) -> list[Waiting]:
            entries = await session.fetch_all(APPROVAL, tag_filter, 2 * MOST_OF_PROFILE)
            found = [Approval.of(entry.name, entry.value) for entry in entries]
            records: dict[str, KeyRecord | None] = {}
            waiting: list[Waiting] = []
            for each in sorted(found, key=lambda one: (one.expires, one.id)):
                if each.kid not in records:
                    records[each.kid] = await load_record(session, each.kid)
                record = records[each.kid]
                if _has_rule(record) and each.is_alive(self._checks.store):
                    waiting.append(self._waiting(each, record))
            return waiting

        return await self._database.run(profile, work)

    async def add_proof(
        self,
        profile: str,
        named: str,
        check: Callable[[ApprovalRule, bytes], Checked],
    ) -> Waiting:
        """Add a proof to an approval that waits; a name that has signed already is not added again.

        `check` gets the rule of the key and the document, verifies the proof, and may raise. Raises
        ApprovalNotFound.
        """

        async def work(session: Transaction) -> Waiting:
            approval = await _load(session, self._checks, named)
            record = None if approval is None else await load_record(session, approval.kid)
            if approval is None or not _has_rule(record):
                raise ApprovalNotFound()
            set_key(record.kid, record.alg)
            set_approval(record.kid, {"id": named})
            before = self._waiting(approval, record)
            checked = check(before.rule, approval.document)
            set_approval(record.kid, {"id": named, **checked.facts})
            if checked.facts["by"] in before.approved_by:
                return before
            approval = replace(approval, proofs=(*approval.proofs, checked.proof))
            await session.replace(APPROVAL, named, approval.to_bytes(), approval.tags, cached=False)
            return self._waiting(approval, record)

        try:
            approved = await self._database.write(profile, work)
        except InvalidApproval:
            self.counts["refused"] += 1
            raise
        self.counts["approved"] += 1
        return approved

    async def withdraw(self, profile: str, named: str) -> Waiting:
        """Remove an approval that waits, or was approved; raises ApprovalNotFound."""

        async def work(session: Transaction) -> Waiting:
            approval = await _load(session, self._checks, named)
            record = None if approval is None else await load_record(session, approval.kid)
            if approval is None or not _has_rule(record):
                raise ApprovalNotFound()
            set_key(record.kid, record.alg)
            set_approval(record.kid, {"id": named})
            await session.remove(APPROVAL, named, cached=False)
            return self._waiting(approval, record)

        return await self._database.write(profile, work)

    async def take(self, profile: str, kid: str, use: GuardedUse) -> None:
        """Take the approval of a use, so that it is used once; raises UnapprovedError."""

        async def work(session: Transaction) -> None:
            await take_approval(session, await fetch_record(session, kid), use)

        await self._database.write(profile, work)

    async def remove_expired(self, profile: str) -> None:
        """Remove the approvals of a profile that have expired."""

        async def work(session: Transaction) -> int:
            tag_filter = {"~until": {"$lte": _until(_now())}}
            return await session.remove_all(APPROVAL, tag_filter, cached=False)

        self.counts["expired"] += await self._database.run(profile, work, write=True)

    def _waiting(self, approval: Approval, record: KeyRecord) -> Waiting:
        rule = _rule_of(record)
        return Waiting(approval, rule, _names(self._checks, rule, approval))


async def take_approval(session: Transaction, record: KeyRecord, use: GuardedUse) -> None:
    """Take the approval of a use in the transaction of that use; raises UnapprovedError.

    Enough approvers must have signed it who are approvers now.
    """
    rule, checks = _rule_of(record), session.approval_checks
    named = approval_id(record.kid, use)
    approval = await _load(session, checks, named)
    names = [] if approval is None else _names(checks, rule, approval)
    if len(names) < rule.threshold:
        raise UnapprovedError(record.kid, use)
    await session.remove(APPROVAL, named, cached=False)
    facts = {"id": named, "by": names, "threshold": rule.threshold}
    set_approval(record.kid, facts, used=True)


def approval_id(kid: str, use: GuardedUse) -> str:
    """Return the id of the approval of a use: the same call of a caller always has the same."""
    event = CURRENT.get()
    caller = ("", "") if event is None else (event.profile, event.caller_token or event.who)
    facts = [*caller, kid, use.operation, use.what]
    named = hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).digest()
    return jose_b64url(named[:_ID_BYTES])


def _asked(record: KeyRecord, use: GuardedUse, named: str, store: str) -> Approval:
    """Make the approval of a use that is asked for now."""
    event, now = CURRENT.get(), _now()
    expires = now + _rule_of(record).expires_in
    document = {
        "jti": jose_b64url(secrets.token_bytes(_ID_BYTES)),
        "sub": record.kid,
        "profile": None if event is None else event.profile,
        "who": "" if event is None else event.who,
        "operation": use.operation,
        "what": use.what,
        "iat": now,
        "exp": expires,
    }
    encoded = orjson.dumps(document)
    if len(encoded) > MAX_DOCUMENT:
        fault = f"What approvers sign has at most {MAX_DOCUMENT:,} bytes, and this would have more."
        raise RuleViolated("approval", fault)
    is_short = sum(map(len, use.data)) <= MAX_DATA
    data = tuple(jose_b64url(each) for each in use.data) if is_short else ()
    return Approval(named, record.kid, encoded, data, now, expires, store)


async def _require_room(session: Transaction, kid: str) -> None:
    """Raise TooManyApprovals if no more approvals may wait for a key, or in the profile."""
    alive = {"~until": {"$gt": _until(_now())}}
    if await session.count(APPROVAL, {"kid": kid, **alive}) >= MOST_OF_KEY:
        raise TooManyApprovals(f"At most {MOST_OF_KEY} approvals wait for a key.")
    if await session.count(APPROVAL, alive) >= MOST_OF_PROFILE:
        raise TooManyApprovals(f"At most {MOST_OF_PROFILE:,} approvals wait in a profile.")


async def _load(session: Session, checks: ApprovalChecks, named: str) -> Approval | None:
    """Read an approval; None if it does not exist, or may not be used any more."""
    entry = await session.fetch(APPROVAL, named, for_update=session.is_transaction)
    return _alive(entry, checks)


def _alive(entry: Entry | None, checks: ApprovalChecks) -> Approval | None:
    """Parse an entry; None without one, and for an approval that may not be used any more."""
    approval = None if entry is None else Approval.of(entry.name, entry.value)
    return approval if approval is not None and approval.is_alive(checks.store) else None


def _names(checks: ApprovalChecks, rule: ApprovalRule, approval: Approval) -> list[str]:
    """List the names of approvers who have signed an approval, in the order of their proofs."""
    return checks.proven(rule, approval.document, approval.proofs)


def _has_rule(record: KeyRecord | None) -> TypeGuard[KeyRecord]:
    """Tell whether a key exists, and has the rule."""
    return (
        record is not None
        and not record.is_gone
        and record.rules is not None
        and record.rules.approval is not None
    )


def _rule_of(record: KeyRecord) -> ApprovalRule:
    """Return the rule of a key; raises KeyNotUsable if it is not there, or cannot be read."""
    record.require_understood()
    if record.rules is None or record.rules.approval is None:
        raise KeyNotUsable("The key has lost its rule: approval.")
    return record.rules.approval


def _now() -> int:
    """The time in seconds since the epoch."""
    return time.time_ns() // 10**9


def _until(time_in_seconds: int) -> str:
    return f"{max(time_in_seconds, 0):020d}"
