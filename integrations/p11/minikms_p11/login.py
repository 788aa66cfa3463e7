"""Logins: the tokens of the service that PINs are, or stand for."""

import asyncio
import hmac
import os
import stat
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from minikms_p11.constants import CKR_FUNCTION_FAILED, CKR_PIN_INCORRECT
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service

_LONGEST_PIN: Final = 4096  # bytes; a JWT may be long
# The service accepts tokens of up to 16 KiB; white space may surround the token.
_LARGEST_TOKEN_FILE: Final = 17 * 1024
# Seconds of the pauses after failed logins.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 8.0
_HALVED: Final = 60.0


def read_token(path: Path) -> str:
    """The token in a file; raises OSError or ValueError, without the content of the file."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_TOKEN_FILE + 1)
    if len(content) > _LARGEST_TOKEN_FILE:
        raise ValueError(f"{path} is larger than 17 KiB")
    token = content.strip()
    if not token:
        raise ValueError(f"{path} is empty")
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise ValueError(f"{path} has no token")
    return token.decode()


def version_of(path: Path | None) -> tuple[int, ...] | None:
    """The facts of a file that change when somebody writes or replaces it; None without one."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return found and (found.st_mtime_ns, found.st_ino, found.st_size)


class Pins:
    """The file of `--pins`: lines of a PIN and the path of the file with its token."""

    def __init__(self, path: Path | None) -> None:
        """Read the file; raises OSError or ValueError, also if others can read it."""
        self._path = path
        self._paths: dict[bytes, Path] = {}
        if path is None:
            return
        with path.open() as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ValueError(f"{path} can be read by others: chmod 600 {path}")
            for number, line in enumerate(file, start=1):
                if not line.strip() or line.startswith("#"):
                    continue
                pin, _, token = line.strip().partition(" ")
                if not token:
                    raise ValueError(f"line {number} of {path} is not PIN PATH-OF-TOKEN")
                self._paths[pin.encode()] = path.parent / token.strip()

    @property
    def files(self) -> set[Path]:
        """The files of all tokens."""
        return set(self._paths.values())

    def file(self, pin: bytes) -> Path | None:
        """The file with the token of a PIN, None if the PIN is a token itself; raises Refusal."""
        found = None
        for known, path in self._paths.items():  # each of them, so that the time tells nothing
            if hmac.compare_digest(known, pin):
                found = path
        if found is not None:
            return found
        if not 1 <= len(pin) <= _LONGEST_PIN or not all(0x21 <= byte <= 0x7E for byte in pin):
            raise Refusal(CKR_PIN_INCORRECT, "wrong PIN")
        # A guess is not sent to the service, which would count it as a wrong token.
        if self._path is not None and not (pin.startswith(b"mkms_") or pin.count(b".") == 2):
            raise Refusal(CKR_PIN_INCORRECT, "wrong PIN")
        return None


class Pause:
    """The pause after a failed login: twice as long as the one before, up to 8 seconds.

    Only time shortens the pause, by half in a minute: a correct login may be another program's.
    """

    def __init__(self) -> None:
        self._length = self._end = 0.0

    def begin(self, now: float) -> None:
        """Begin the pause for a login that failed now, when the last pause has ended."""
        last = self._length * 0.5 ** ((now - self._end) / _HALVED)
        self._length = min(max(2 * last, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._end = now + self._length

    def left(self, now: float) -> float:
        """The remaining seconds of the pause."""
        return max(0.0, self._end - now)


class Logins:
    """Checks PINs, one after the other for each user of the machine."""

    def __init__(self, service: Service, pins: Pins) -> None:
        self._service, self._pins = service, pins
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.pauses: defaultdict[int, Pause] = defaultdict(Pause)

    async def check(self, pin: bytes, profile: str, pid: int, uid: int) -> tuple[str, Path | None]:
        """The token of a PIN that is valid in the profile, and its file; raises Refusal."""
        async with self._turns[uid]:
            pause = self.pauses[uid]
            # A program that did not wait for its answer has left a pause.
            await asyncio.sleep(pause.left(time.monotonic()))
            try:
                file = self._pins.file(pin)
                token = pin.decode() if file is None else _read(file)
                await check_token(self._service, Caller(pid, token, profile), profile)
            except Refusal as refusal:
                # A service that refuses unknown tokens by 429 or 503 still answers valid ones.
                if not isinstance(refusal, Problem) or refusal.slug != "unavailable":
                    pause.begin(time.monotonic())
                    await asyncio.sleep(pause.left(time.monotonic()))
                raise
            return token, file


def _read(file: Path) -> str:
    try:
        return read_token(file)
    except (OSError, ValueError) as error:
        raise Refusal(CKR_FUNCTION_FAILED, f"the token file cannot be read: {error}") from None


async def check_token(service: Service, caller: Caller, profile: str) -> None:
    """Ask the service if a token is valid in a profile; raises Refusal."""
    try:
        record = await service.call(caller, "GET", "tokens/self")
    except Problem as problem:
        if problem.slug in ("unauthenticated", "profile-not-found", "forbidden"):
            raise Refusal(CKR_PIN_INCORRECT, problem.reason) from None
        raise
    if record["profiles"] is not None and profile not in record["profiles"]:
        raise Refusal(CKR_PIN_INCORRECT, f"the token is not for the profile {profile}")
