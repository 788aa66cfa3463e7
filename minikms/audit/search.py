"""Searches the files of an audit log, newest lines first, page by page."""

import errno
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.audit.line_reader import Clock, Found, LineReader, OutOfTimeError
from minikms.audit.query import LATEST, LineFilter, Query
from minikms.audit.searched_files import Identity, LogFiles, MovedError, SearchedFile
from minikms.basics.fair_threads import FairThreads
from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import AuditUnavailable, TooBusy, ValidationFailed

LOGGER = logging.getLogger("minikms.audit")

# The time limit of one search, in seconds; the next page continues it.
LONGEST_SEARCH: Final = 0.7
# Seconds for which another search waits for its turn.
_PATIENCE: Final = 10.0

# Attempts to read the files at their paths while logrotate renames them.
_ATTEMPTS: Final = 5

_NONCE_LENGTH: Final = 12


class Cursor(NamedTuple):
    """The place of a search.

    `ends` are the offsets in files that it has begun; other files are still to be searched if their
    `key` is at most `before`.
    """

    before: tuple[str, Identity]
    ends: dict[Identity, int]

    def end_of(self, file: SearchedFile) -> int:
        """Return the end of the unsearched part of a file; 0 if all of it has been searched."""
        if file.identity in self.ends:
            return min(self.ends[file.identity], file.size)
        return file.size if file.key <= self.before else 0


BEGINNING: Final = Cursor((LATEST, (0, 0)), {})
"""The cursor of a search that has read nothing yet."""


class CursorSeal:
    """Encrypts cursors by AES-GCM under a key that the processes of a service share.

    A cursor has offsets in files, from which a tenant could count the calls of others.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, cursor: Cursor) -> str:
        """Encrypt a cursor, as base64url."""
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        plain = orjson.dumps([cursor.before, *cursor.ends.items()])
        return jose_b64url(nonce + self._cipher.encrypt(nonce, plain, None))

    def open(self, text: str) -> Cursor:
        """Decrypt a cursor; raises ValidationFailed."""
        try:
            sealed = b64url_decode(text)
            nonce, encrypted = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
            plain = self._cipher.decrypt(nonce, encrypted, None)
        except (ValueError, InvalidTag):
            fault = "#/after", "The cursor did not come from a page of this service."
            raise ValidationFailed(errors=[fault]) from None
        (time, identity), *ends = orjson.loads(plain)
        return Cursor((time, tuple(identity)), {tuple(file): end for file, end in ends})


class Page(NamedTuple):
    """Matching lines, newest first, and the cursor that continues the search; None at its end."""

    found: list[Found]
    after: Cursor | None


class AuditSearch:
    """Searches the audit log of a service: the files of all its processes, and rotated files.

    One search runs at a time, in a thread; callers take turns by name.
    """

    def __init__(self, path: str, key: bytes) -> None:
        """`key` encrypts cursors; the processes of a service share it."""
        self._path = path
        self._files = LogFiles(path)
        self._seal = CursorSeal(key)
        self._threads = FairThreads(TooBusy, 1, given=1, patience=_PATIENCE)

    async def page(
        self, query: Query, limit: int, after: str, name: str
    ) -> tuple[list[Found], str]:
        """Search for up to `limit` lines; return them with the cursor of the next page or "".

        A slow search ends with a cursor and fewer lines, or none. Raises AuditUnavailable, TooBusy,
        and ValidationFailed for a forged cursor.
        """
        place = self._seal.open(after) if after else BEGINNING
        search = partial(self._search, query, limit, place)
        try:
            found, following = await self._threads.run(name, search)
        except OSError as exc:
            path = exc.filename or self._path
            LOGGER.error("the audit log %s cannot be read: %s", path, exc.strerror)
            raise AuditUnavailable(
                f"{os.path.basename(path)}, a file of the audit log, cannot be read."
            ) from None
        return found, self._seal.seal(following) if following else ""

    def _search(self, query: Query, limit: int, after: Cursor) -> Page:
        clock = Clock(LONGEST_SEARCH)
        for _ in range(_ATTEMPTS):
            try:
                return search(self._files.read(clock.advance), query, limit, after, clock)
            except MovedError:
                continue
            except OutOfTimeError:  # the next page reads the files that are still unknown
                return Page([], after)
        raise OSError(errno.ESTALE, "its files are being renamed")


def search(
    files: Iterable[SearchedFile],
    query: Query,
    limit: int,
    after: Cursor = BEGINNING,
    clock: Clock | None = None,
) -> Page:
    """Search files for up to `limit` lines within the clock's time; raises OSError.

    Lines are ordered by their times, newest first. Lines written after the first page are not on
    later pages.
    """
    wanted, clock = LineFilter(query), clock or Clock()
    waiting = []
    for file in sorted(files, key=lambda file: file.key):
        end = after.end_of(file)
        if end and file.last and file.last >= wanted.since and file.first < wanted.until:
            is_begun = file.is_live or file.identity in after.ends
            waiting.append(LineReader(file, wanted, end, is_begun=is_begun))
    found: list[Found] = []
    reading: list[LineReader] = []
    try:
        while True:
            newest = max(reading, key=lambda reader: reader.time, default=None)
            if waiting and (newest is None or waiting[-1].file.last >= newest.time):
                reading.append(newest := waiting.pop())
            elif newest is None:
                break
            else:
                found.append(newest.take())
                clock.moved = True
                if len(found) == limit:
                    break
            newest.advance(clock)
            if newest.head is None:
                reading.remove(newest)
    except OutOfTimeError:
        pass
    finally:
        for reader in reading:
            reader.close()
    return Page(found, _place(reading, waiting))


def _place(reading: Sequence[LineReader], waiting: Sequence[LineReader]) -> Cursor | None:
    """Return the cursor of a search with these readers; None at its end."""
    others = [reader.file for reader in waiting if not reader.is_begun]
    begun = [*reading, *(reader for reader in waiting if reader.is_begun)]
    ends = {reader.file.identity: reader.end for reader in begun if reader.end}
    if not others and not ends:
        return None
    return Cursor(others[-1].key if others else ("", (0, 0)), ends)
