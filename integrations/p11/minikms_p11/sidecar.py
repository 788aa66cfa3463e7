"""The state that all programs share: the slots, the service, the keys and their handles."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from minikms_p11.constants import CKR_PIN_INCORRECT
from minikms_p11.directory import Directory
from minikms_p11.handles import Handles
from minikms_p11.keys import Key
from minikms_p11.login import Logins, Pins, check_token, read_token
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service
from minikms_p11.slots import Slot

_log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 10.0  # seconds, for whether the service needs tokens
_LONGEST_END: Final = 5.0  # seconds that the end waits for calls of programs that have gone
_MOST_ABANDONED: Final = 64  # calls; more would delay other programs' calls

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """The options of the command."""

    url: str
    socket: str | None = None
    slots: tuple[Slot, ...] = (Slot("minikms"),)
    token_file: Path | None = None
    pins: Path | None = None
    uids: frozenset[int] = field(default_factory=lambda: frozenset({os.getuid()}))
    allow_delete: bool = False
    cache: float = 2.0


class Sidecar:
    """All that the programs of a sidecar share."""

    def __init__(self, settings: Settings, handles: Handles) -> None:
        """Read the files of the options; raises OSError or ValueError."""
        self.settings, self.handles = settings, handles
        self.slots = settings.slots
        major, minor, *_ = version("minikms-p11").split(".")
        self.version = int(major), int(minor)
        self.token = None if settings.token_file is None else read_token(settings.token_file)
        pins = Pins(settings.pins)
        self.service = Service(settings.url)
        self.logins = Logins(self.service, pins)
        # By profile and digest of the token; kept while a program has a login with both.
        self._directories: WeakValueDictionary[tuple[str, bytes], Directory] = WeakValueDictionary()
        self._needs_login = True
        self._ask_at = 0.0  # whether the service needs tokens
        self._later: set[asyncio.Task[Any]] = set()
        self._abandoned: set[asyncio.Task[Key]] = set()  # of programs that have gone

    async def close(self) -> None:
        """End, after the calls for programs that have gone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST_END
        while self._later and loop.time() < end:
            await asyncio.wait(self._later, timeout=end - loop.time())
        if self._later:
            _log.warning("%d session keys stay until they end", len(self._later))
            for task in self._later:
                task.cancel()
        await self.service.close()

    def directory(self, profile: str, token: str | None) -> Directory:
        """The keys that a token sees in a profile."""
        key = profile, hashlib.sha256((token or "").encode()).digest()
        directory = self._directories.get(key)
        if directory is None:
            directory = Directory(self.service, profile, self.handles, self.settings.cache)
            self._directories[key] = directory
        return directory

    async def needs_login(self) -> bool:
        """Tell if programs must log in: the service needs tokens, and no `--token-file` is set."""
        if self.token is not None:
            return False
        if time.monotonic() >= self._ask_at:
            caller = Caller(os.getpid(), None, "default")
            try:
                await check_token(self.service, caller, "default")
                self._needs_login = False
            except Refusal as refusal:
                if refusal.value != CKR_PIN_INCORRECT:
                    raise
                self._needs_login = True
            self._ask_at = time.monotonic() + _ASK_AGAIN
        return self._needs_login

    def renewed_token(self, file: Path | None, known: str | None) -> str | None:
        """Read a token file anew; its token, None for the known one, or without a file."""
        if file is None:
            self._ask_at = 0.0
            return None
        try:
            token = read_token(file)
        except (OSError, ValueError) as error:
            _log.error("the token file cannot be read: %s", error)
            return None
        if file == self.settings.token_file:
            self.token = token
        if token == known:
            return None
        _log.info("%s has another token", file)
        return token

    def delete_later(self, caller: Caller, directory: Directory, kid: str) -> None:
        """Delete a key pair of a session that ended; if it fails, the key ends by itself."""

        async def delete() -> None:
            try:
                await self.service.call(caller, "DELETE", f"key/{kid}")
            except Problem as problem:
                _log.info("session key %s stays until it ends: %s", kid, problem.slug)
            directory.forget(kid)

        self.run(delete())

    def abandon(self, making: asyncio.Task[Key], caller: Caller, directory: Directory) -> None:
        """Delete the key pair of a call whose program has gone, once the service has made it."""

        def delete(_: object) -> None:
            self._abandoned.discard(making)
            if not making.cancelled() and making.exception() is None:
                self.delete_later(caller, directory, making.result().kid)

        if len(self._abandoned) >= _MOST_ABANDONED:
            making.cancel()
        self._abandoned.add(making)
        making.add_done_callback(delete)

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that the end of the sidecar waits for."""
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task
