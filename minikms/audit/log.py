"""The audit log: one line per event, on disk before the call takes effect."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Self

import orjson

from minikms.audit.chain import Chain, Head, Link, Opening, chain_ends
from minikms.audit.file import AuditFile, file_name
from minikms.audit.heads import AuditStore, public_text
from minikms.errors import AuditUnavailable, KmsError
from minikms.events import SUCCESS, AuditEvent
from minikms.startup_errors import AuditError

LOGGER = logging.getLogger("minikms.audit")

# The number of lines between saved heads.
_LINES: Final = 1000
# Seconds before a failed save is retried.
_RETRY: Final = 1.0

# If an encoded event has more bytes than this, its values are cut to this many characters.
_LONG: Final = 3800
_LONG_VALUE: Final = 256
# Likewise, a list to this number of items.
_LONG_LIST: Final = 32
# This member has a proof, which is verified from the log, so it is never cut.
_WHOLE: Final = "approval"

# In UTF-8, the control characters that JSON does not escape. A terminal may obey them.
_CONTROLS: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


class AuditLog:
    """The open audit log of this process.

    A background task stores heads, so that no caller waits for them.
    """

    def __init__(self, path: str, store: AuditStore, public_key: str) -> None:
        self._path = path
        self._file_name = file_name(path)
        self._store = store
        self._public_key = public_key
        self._file: AuditFile
        self._chain: Chain
        self._next_chain: tuple[str, bytes] | None = None
        self._closed_heads: list[Head] = []
        self._next_head = 0
        self._write_error = self._failure = ""
        self._reopening = self._ending = False
        self._due = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str, store: AuditStore) -> AsyncIterator[Self]:
        """Open the log in a file and continue after its last line.

        Raises AuditError and the errors of `AuditStore`.
        """
        path = os.path.abspath(path)
        log = cls(path, store, public_text(await store.public_key()))
        log._file = AuditFile(path)
        try:
            await log._start()
            task = asyncio.create_task(log._run())
            try:
                yield log
            finally:
                log._ending = True
                log._due.set()
                await task
                await log._end()
        finally:
            log._file.close()

    def write(self, events: Sequence[AuditEvent], outcome: str) -> None:
        """Write events with an outcome, all or none; raises AuditUnavailable.

        Each key that a call uses gets a line, its main key first.
        """
        facts = []
        for event in events:
            facts.append(_encode(event, outcome))
            if event.others:
                kids = dict(event.others)
                kids.pop(event.kid or "", None)
                for kid, alg in kids.items():
                    facts.append(_encode(replace(event, kid=kid, alg=alg), outcome))
        try:
            self._chain.append(facts, self._file.append)
        except OSError as exc:
            self._log_write_error(exc)
            raise AuditUnavailable() from None
        if self._write_error:
            LOGGER.warning("the audit log %s is written again", self._path)
            self._write_error = ""
        if self._chain.count >= self._next_head:
            self._next_head += _LINES
            self._due.set()

    @property
    def is_writable(self) -> bool:
        """False after a failed write, until a write succeeds."""
        return not self._write_error

    @property
    def is_failing(self) -> bool:
        """True while heads cannot be stored, or the file cannot be reopened."""
        return bool(self._failure)

    def require_writable(self) -> None:
        """Try to write a line if the last write failed; raises AuditUnavailable."""
        if self._write_error:
            self.write([AuditEvent("readyz", None)], SUCCESS)

    def reopen(self) -> None:
        """Continue in the file that is now at the path, once the new chain is stored."""
        self._reopening = True
        self._due.set()

    # Chains

    async def _start(self) -> None:
        """Begin the first chain of this process; raises AuditError."""
        heads = chain_ends(await self._store.heads_of(self._file_name))
        latest = max(heads, key=lambda head: head.time, default=None)
        before = Link(latest.chain, latest.count, latest.hash) if latest else None
        chain_id, key = await self._store.new_chain()
        try:
            self._chain = self._begin(self._file, chain_id, key, before)
        except OSError as exc:
            raise AuditError(
                f"The audit log {self._path} cannot be written: {exc.strerror}."
            ) from None
        LOGGER.info("audit log %s, chain %s, public key %s", self._path, chain_id, self._public_key)

    async def _reopen(self) -> None:
        """Begin a new chain; raises errors of the store, AuditError and OSError."""
        if not self._file.is_in_place():
            # Nothing is appended to the old file any more. If it was removed from a full disk, it
            # occupies room until it is closed, which the store or the new file may need.
            await self._file.leave()
        self._next_chain = self._next_chain or await self._store.new_chain()
        chain_id, key = self._next_chain
        # No await until file and chain are both switched, so that no line is lost in between.
        old = self._file
        file = old if old.is_in_place() else AuditFile(self._path)
        try:
            chain = self._begin(file, chain_id, key, self._chain.last)
        except BaseException:
            if file is not old:
                file.close()
            raise
        self._closed_heads.append(self._chain.head(closed=True))
        self._file, self._chain, self._next_chain, self._reopening = file, chain, None, False
        if file is not old:
            await old.leave()
        LOGGER.info("audit log %s opened again, chain %s", self._path, chain_id)

    def _begin(self, file: AuditFile, chain_id: str, key: bytes, before: Link | None) -> Chain:
        """Write the opening line of a chain; in an empty file, it follows `before`."""
        last, torn = file.begin()
        if last is not None:
            before = Link(last.chain, last.n, last.hash)
        opening = Opening(
            self._file_name,
            before.chain if before else None,
            before.n if before else 0,
            last is not None,
            torn,
            self._public_key,
        )
        chain = Chain(chain_id, key, opening, before)
        chain.open(file.append)
        self._next_head = _LINES
        self._due.set()
        return chain

    # Heads in the store

    async def _run(self) -> None:
        """Save heads, and begin a new chain after `reopen`, until the log is closed."""
        while not self._ending:
            await self._due.wait()
            self._due.clear()
            try:
                if self._reopening:
                    await self._reopen()
                await self._save_heads()
                if self._failure:
                    LOGGER.warning("the audit log %s saves heads again", self._path)
                    self._failure = ""
            except Exception as exc:
                self._log_failure(exc)
                await asyncio.sleep(_RETRY)
                self._due.set()

    async def _save_heads(self) -> None:
        """Save the heads of closed chains and of this one."""
        head = self._chain.head(closed=False)
        # A head must not name a line that is not on disk yet: a crash of the machine could lose it.
        await asyncio.to_thread(self._file.sync)
        while self._closed_heads:
            await self._store.save_head(self._closed_heads[0])
            del self._closed_heads[0]
        await self._store.save_head(head)

    async def _end(self) -> None:
        """Store the last head of this chain, marked as closed."""
        self._closed_heads.append(self._chain.head(closed=True))
        try:
            await asyncio.to_thread(self._file.sync)
            for head in self._closed_heads:
                await self._store.save_head(head)
        except (KmsError, OSError) as exc:
            self._log_failure(exc)

    def _log_failure(self, exc: Exception) -> None:
        """Log a failure that is retried, only once until the next success."""
        failure = "be opened again" if self._reopening else "save its heads"
        if failure != self._failure:
            known = isinstance(exc, (KmsError, AuditError, OSError))
            LOGGER.error(
                "the audit log %s cannot %s: %s",
                self._path,
                failure,
                exc.strerror if isinstance(exc, OSError) else exc,
                exc_info=None if known else exc,
            )
        self._failure = failure

    def _log_write_error(self, exc: OSError) -> None:
        """Log why no line can be written, once for each reason."""
        trouble = str(exc.strerror)
        if trouble != self._write_error:
            LOGGER.error(
                "the audit log %s cannot be written, so calls are refused: %s", self._path, trouble
            )
        self._write_error = trouble


def file_of_worker(path: str, name: str) -> str:
    """Name the file of a worker: for `worker 2`, `audit.log` becomes `audit.2.log`."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{name.rpartition(' ')[2]}{suffix}"


def _encode(event: AuditEvent, outcome: str) -> bytes:
    """Encode an event as a JSON object; cut values that are too long or not valid Unicode."""
    facts: dict[str, Any] = {
        "request_id": event.request_id,
        "who": event.who,
        "address": event.address,
        "subject": event.subject,
        "profile": event.profile,
        "kid": event.kid,
        "alg": event.alg,
        "token": event.token,
        "operation": event.operation,
        "outcome": outcome,
    }
    if event.roles:
        facts["roles"] = event.roles
    if event.alias is not None:
        facts["alias"] = event.alias
    if event.new_kid is not None and outcome == SUCCESS:  # a failed call has no new key
        facts["new_kid"] = event.new_kid
    if event.certificate is not None:
        facts["certificate"] = event.certificate
    if event.crl is not None:
        facts["crl"] = event.crl
    if event.batch is not None:
        facts["batch"] = event.batch
    if event.rule is not None:
        facts["rule"] = event.rule
    if event.provider is not None:
        facts["provider"] = event.provider
    if event.object_id is not None:
        facts["object_id"] = event.object_id
    if event.approvals is not None and event.kid in event.approvals:
        facts["approval"] = event.approvals[event.kid]
    if event.profile_id is not None:
        facts["profile_id"] = event.profile_id
    if event.admitted:
        facts["admitted"] = True
    try:
        encoded = orjson.dumps(facts)
    except TypeError:  # a name from a caller may contain lone surrogates
        encoded = b""
    if not 0 < len(encoded) <= _LONG:
        cut = {name: _cut(value) for name, value in facts.items() if name != _WHOLE}
        encoded = orjson.dumps(facts | cut)
    # The names in JWTs and certificates may have any characters.
    if _is_printable(event.who) and _is_printable(event.subject):
        return encoded
    return _CONTROLS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), encoded)


def _is_printable(text: str | None) -> bool:
    return text is None or text.isprintable()


def _cut(value: Any) -> Any:
    """Cut a string to valid Unicode of bounded length, a list, and each string in an object."""
    if isinstance(value, tuple):
        return value[:_LONG_LIST]
    if isinstance(value, Mapping):
        return {name: _cut(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    return value[:_LONG_VALUE].encode("utf-8", "replace").decode()
