"""Gives each failed call of Askar's an error of the right class, with its own code.

The wrapper of Askar 0.5.0 reads the last error of the whole process, so that calls that fail at the
same time get each other's errors. Its callbacks get the right code; this module makes the wrapper
use it.
"""

import asyncio
import logging
from types import MethodType
from typing import Any, Final

from aries_askar import AskarError, AskarErrorCode, Store
from aries_askar.bindings import get_library
from aries_askar.bindings.lib import LibLoad

from minikms.basics.private_names import PrivateNames

LOGGER = logging.getLogger(__name__)

PRIVATE_NAMES: Final = PrivateNames(
    "aries-askar",
    (
        (LibLoad, "_handle_callback", "is called with the code of a call's error"),
        (LibLoad, "_fulfill_future", "ends the call for its caller"),
        # `LibLoad._callbacks`, the calls under way, is in no class: `check_error_codes` finds out.
        (LibLoad, "get_current_error", "the cause of a store that cannot be opened"),
    ),
    without="calls that fail at the same time may get each other's errors;"
    " install a version that setup.cfg admits",
)

# Seconds for a call that fails without touching a store.
_TRIAL_TIMEOUT: Final = 5.0


class UndecryptableError(AskarError):
    """An entry, or the key of a profile, does not decrypt."""


class DuplicateError(AskarError):
    """An entry of this category and name exists."""


_KINDS: Final = {
    AskarErrorCode.ENCRYPTION: UndecryptableError,
    AskarErrorCode.DUPLICATE: DuplicateError,
}
_CODES: Final = {code.value: code for code in AskarErrorCode}


def take_error_codes() -> bool:
    """Make callbacks give their own errors, before the first call; False if Askar lacks a name.

    Each of Askar's functions keeps the callback that its first call had.
    """
    if PRIVATE_NAMES.missing():
        return False
    library = get_library().loaded
    if "_handle_callback" not in vars(library):
        library._handle_callback = MethodType(_handle, library)  # type: ignore[method-assign]
    return True


async def check_error_codes() -> None:
    """Take error codes from callbacks, and check by a failing call that they arrive.

    If they do not arrive, the wrapper's own errors are used, in the right class by their code.
    """
    if "__new__" in vars(AskarError):
        return  # they did not arrive before
    why = PRIVATE_NAMES.missing()
    if take_error_codes():
        try:
            async with asyncio.timeout(_TRIAL_TIMEOUT):
                # No other code calls this function of Askar's, which keeps its callback.
                await Store.remove("minikms://no-such-backend")
        except AskarError as exc:
            if exc.code is AskarErrorCode.UNSUPPORTED:
                return
            why = f"a callback of Askar's gave {exc.code.name}"
        except TimeoutError:
            why = "a callback of Askar's did not come"
        vars(get_library().loaded).pop("_handle_callback")
    LOGGER.warning("%s: %s", why, PRIVATE_NAMES.without)
    AskarError.__new__ = _of_its_kind  # type: ignore[method-assign,assignment]


CAUSES: Final = ("refused", "dead", "slow", "lost", "busy", "read-only", "full", "other")
"""The causes by which failed calls of the store are counted."""

# Parts of messages of SQLite, PostgreSQL and sqlx, in lower case, in the order of the search.
_PARTS: Final = (
    ("full", ("is full", "no space left", "could not extend")),
    ("read-only", ("readonly", "read-only")),
    (
        "busy",
        (
            "is locked",
            "lock timeout",
            "timed out while waiting",
            "too many clients",
            "slots are reserved",
        ),
    ),
    ("refused", ("connection refused", "starting up", "unable to open")),
    ("slow", ("statement timeout",)),
    ("dead", ("does not answer", "timed out", "timeout")),
    ("lost", ("reset", "broken pipe", "closed", "terminat", "shutting down", "end of file", "eof")),
)


def cause_of(text: str) -> str:
    """Find the cause of an error, one of `CAUSES`, by its message."""
    text = text.lower()
    for cause, parts in _PARTS:
        if any(part in text for part in parts):
            return cause
    return "other"


def message_of(exc: AskarError) -> str:
    """Askar's message for an error, or for another call that failed in the same moment."""
    return exc.extra or str(exc)  # Askar's wrapper sets no `extra`


def is_answer(text: str) -> bool:
    """Tell whether the message of an error is of a PostgreSQL server, which may translate it."""
    return "error returned from database" in text


def is_wait(exc: AskarError) -> bool:
    """Tell whether a call had no lock, no connection or no time: another one may wait as long."""
    return cause_of(message_of(exc)) in ("slow", "busy")


# Called in threads of Askar's own, which coverage does not see.
def _handle(self: Any, callback_id: int, error: int, result: Any = None) -> None:
    loop, future, _name = self._callbacks.pop(callback_id)
    code = _CODES.get(error, AskarErrorCode.UNEXPECTED)
    kind = _KINDS.get(code, AskarError)
    exc = None
    if error:
        # Askar gives the message of its last error once. If two calls fail in the same moment, both
        # get the same message.
        last = self.get_current_error(True).args[0]
        self.last_message = last or getattr(self, "last_message", "")
        exc = kind(code, f"Askar refused the call: {code.name}", self.last_message)
    if not loop.is_closed():  # the database may answer after the service has ended
        loop.call_soon_threadsafe(self._fulfill_future, future, result, exc)


def _of_its_kind(cls: type[AskarError], code: Any = None, *args: Any) -> AskarError:
    """Make an error of the subclass for its code."""
    error: AskarError = Exception.__new__(_KINDS.get(code, cls), code, *args)
    return error
