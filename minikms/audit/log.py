"""The audit log: a line for each event, which is on disk before the call has any effect."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import orjson

from minikms.audit.chain import Chain, Head, Link, Opening, tips
from minikms.audit.file import AuditFile, place
from minikms.audit.heads import AuditStore, public_text
from minikms.errors import AuditUnavailable, KmsError
from minikms.events import AuditEvent
from minikms.startup_errors import AuditError

LOGGER = logging.getLogger("minikms.audit")

# After how many lines a head is kept, and how long after a failure all that is tried again.
_LINES: Final = 1000
_RETRY: Final = 1.0  # in seconds

# Where what a line says is longer, in bytes, its values are cut to this many characters.
_LONG: Final = 3800
_LONG_VALUE: Final = 256


class AuditLog:
    """The audit log of this process, as long as it is open.

    A background task keeps what belongs in the store, so that no caller waits for that.
    """

    def __init__(self, path: str, store: AuditStore, public_key: str) -> None:
        self._path = path
        self._place = place(path)
        self._store = store
        self._public_key = public_key
        self._file: AuditFile
        self._chain: Chain
        self._spare: tuple[str, bytes] | None = None
        self._ended: list[Head] = []
        self._next_head = 0
        self._trouble = ""
        self._reopening = self._ending = False
        self._due = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str, store: AuditStore) -> AsyncIterator[Self]:
        """The log in a file, which goes on behind what is there; raises AuditError."""
        path = os.path.abspath(path)
        log = cls(path, store, public_text(await store.public_key()))
        log._file = AuditFile(path)
        try:
            await log._start()
            keeper = asyncio.create_task(log._keep())
            try:
                yield log
            finally:
                log._ending = True
                log._due.set()
                await keeper
                await log._end()
        finally:
            log._file.close()

    def write(self, events: Sequence[AuditEvent], outcome: str) -> None:
        """Write what calls do and what becomes of them, all or none; raises AuditUnavailable."""
        piece = self._chain.piece([_said(event, outcome) for event in events])
        try:
            self._file.append(piece.lines)
        except OSError as exc:
            self._complain(exc)
            raise AuditUnavailable() from None
        if self._trouble:
            LOGGER.warning("the audit log %s is written again", self._path)
            self._trouble = ""
        self._chain.advance(piece)
        if self._chain.count >= self._next_head:
            self._next_head += _LINES
            self._due.set()

    def reopen(self) -> None:
        """Go on in the file that is at its path by now, as soon as the store knows of it."""
        self._reopening = True
        self._due.set()

    # Chains

    async def _start(self) -> None:
        """Begin the first chain; raises AuditError."""
        heads = tips(await self._store.heads_of(self._place))
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
        """Begin another chain; raises as the store does, AuditError and OSError."""
        self._spare = self._spare or await self._store.new_chain()
        chain_id, key = self._spare
        # From here on until all is done nothing else is: no line is lost between two files.
        old = self._file
        file = old if old.is_in_place() else AuditFile(self._path)
        try:
            chain = self._begin(file, chain_id, key, self._chain.last)
        except BaseException:
            if file is not old:
                file.close()
            raise
        self._ended.append(self._chain.head(closed=True))
        self._file, self._chain, self._spare, self._reopening = file, chain, None, False
        if file is not old:
            await asyncio.shield(asyncio.to_thread(_finish, old))
        LOGGER.info("audit log %s opened anew, chain %s", self._path, chain_id)

    def _begin(self, file: AuditFile, chain_id: str, key: bytes, before: Link | None) -> Chain:
        """Write the opening line of a chain, which follows `before` where the file has nothing."""
        last, torn = file.begin()
        if last is not None:
            before = Link(last.chain, last.n, last.hash)
        opening = Opening(
            self._place,
            before.chain if before else None,
            before.n if before else 0,
            last is not None,
            torn,
            self._public_key,
        )
        chain = Chain(chain_id, key, opening, before)
        opening_line = chain.opening_line()
        file.append(opening_line.lines)
        chain.advance(opening_line)
        self._next_head = _LINES
        self._due.set()
        return chain

    # What the store is told

    async def _keep(self) -> None:
        """Keep heads, and begin another chain where that was asked for, until the end."""
        while not self._ending:
            await self._due.wait()
            self._due.clear()
            try:
                if self._reopening:
                    await self._reopen()
                await self._keep_heads()
            except Exception as exc:
                self._report(exc)
                await asyncio.sleep(_RETRY)
                self._due.set()

    async def _keep_heads(self) -> None:
        """Have the store keep how far this chain has come, and that others have ended."""
        head = self._chain.head(closed=False)
        # A head tells of nothing that could still be lost with the machine.
        await asyncio.to_thread(self._file.sync)
        while self._ended:
            await self._store.keep_head(self._ended[0])
            del self._ended[0]
        await self._store.keep_head(head)

    async def _end(self) -> None:
        """Have the store keep that this chain has ended."""
        self._ended.append(self._chain.head(closed=True))
        try:
            await asyncio.to_thread(self._file.sync)
            for head in self._ended:
                await self._store.keep_head(head)
        except (KmsError, OSError) as exc:
            self._report(exc)

    def _report(self, exc: Exception) -> None:
        known = isinstance(exc, (KmsError, AuditError, OSError))
        LOGGER.error(
            "what belongs to the audit log %s is not done yet: %s",
            self._path,
            exc.strerror if isinstance(exc, OSError) else exc,
            exc_info=None if known else exc,
        )

    def _complain(self, exc: OSError) -> None:
        """Log why no line can be written, once."""
        trouble = str(exc.strerror)
        if trouble != self._trouble:
            LOGGER.error(
                "the audit log %s cannot be written, so nothing is done: %s", self._path, trouble
            )
        self._trouble = trouble


def file_of_worker(path: str, name: str) -> str:
    """The file of one of several workers: for `worker 2`, `audit.log` becomes `audit.2.log`."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{name.rpartition(' ')[2]}{suffix}"


def _finish(file: AuditFile) -> None:
    try:
        file.sync()
    finally:
        file.close()


def _said(event: AuditEvent, outcome: str) -> bytes:
    """What a line says of an event, as an object in JSON."""
    facts = {
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
    try:
        said = orjson.dumps(facts)
    except TypeError:  # what a caller is called may be no Unicode
        said = b""
    if 0 < len(said) <= _LONG:
        return said
    return orjson.dumps({name: _cut(value) for name, value in facts.items()})


def _cut(value: Any) -> Any:
    """A value of bounded length that is Unicode."""
    if not isinstance(value, str):
        return value
    return value[:_LONG_VALUE].encode("utf-8", "replace").decode()
