"""Logins: the tokens of the service that PINs are, or stand for."""

import asyncio
import hmac
import os
import stat
from collections import defaultdict
from pathlib import Path
from typing import Final

from minikms_p11.constants import CKR_FUNCTION_FAILED, CKR_PIN_INCORRECT
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service

_LONGEST_PIN: Final = 4096  # bytes; a JWT may be long
# In seconds: after each wrong PIN of a user of the machine twice as long, until a right one.
_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 8.0


def read_token(path: Path) -> str:
    """The token in a file; raises OSError or ValueError."""
    token = path.read_text().strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{path} has no token")
    return token


class Pins:
    """The file of `--pins`: lines of a PIN and the path of the file with its token."""

    def __init__(self, path: Path | None) -> None:
        """Read the file; raises OSError or ValueError, also if others can read it."""
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

    def token(self, pin: bytes) -> str:
        """The token that a PIN stands for, or the PIN itself; raises Refusal."""
        found = None
        for known, path in self._paths.items():  # each of them, so that the time tells nothing
            if hmac.compare_digest(known, pin):
                found = path
        if found is not None:
            try:
                return read_token(found)
            except (OSError, ValueError):
                raise Refusal(CKR_FUNCTION_FAILED) from None
        if not 1 <= len(pin) <= _LONGEST_PIN or not all(0x21 <= byte <= 0x7E for byte in pin):
            raise Refusal(CKR_PIN_INCORRECT)
        return pin.decode()


class Logins:
    """Checks PINs, those of a user of the machine one after the other."""

    def __init__(self, service: Service, pins: Pins) -> None:
        self._service, self._pins = service, pins
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waits: dict[int, float] = {}

    async def check(self, pin: bytes, profile: str, pid: int, uid: int) -> str:
        """The token of a PIN that is valid in the profile; raises Refusal."""
        async with self._turns[uid]:
            try:
                token = self._pins.token(pin)
                await check_token(self._service, Caller(pid, token, profile), profile)
            except Refusal as refusal:
                if refusal.value == CKR_PIN_INCORRECT:
                    wait = self._waits.get(uid, _FIRST_WAIT)
                    self._waits[uid] = min(2 * wait, _LONGEST_WAIT)
                    await asyncio.sleep(wait)
                raise
            self._waits.pop(uid, None)
            return token


async def check_token(service: Service, caller: Caller, profile: str) -> None:
    """Ask the service if a token is valid in a profile; raises Refusal."""
    try:
        record = await service.call(caller, "GET", "tokens/self")
    except Problem as problem:
        if problem.slug in ("unauthenticated", "profile-not-found", "forbidden"):
            raise Refusal(CKR_PIN_INCORRECT) from None
        raise
    if record["profiles"] is not None and profile not in record["profiles"]:
        raise Refusal(CKR_PIN_INCORRECT)
