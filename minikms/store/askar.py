"""Stores of Askar's, opened and made, and what is wrong where they cannot be."""

import logging
import os
from pathlib import Path
from types import MethodType
from typing import Any, Final

from aries_askar import AskarError, AskarErrorCode, Store, bindings
from aries_askar.bindings.lib import LibLoad

from minikms.private_names import PrivateNames
from minikms.startup_errors import StoreError
from minikms.store.location import StoreKey, StoreLocation

LOGGER = logging.getLogger(__name__)

# And `LibLoad._callbacks`, which is in no class: the futures of calls, by the id of each.
PRIVATE_NAMES: Final = PrivateNames(
    "aries-askar",
    (
        (LibLoad, "_handle_callback", "takes the result of a call, in a thread of Askar's"),
        (LibLoad, "_fulfill_future", "gives it to whoever waits for it"),
    ),
    without="calls that fail at the same time may get each other's errors",
)


class UndecryptableError(AskarError):
    """What is stored does not decrypt."""


class DuplicateError(AskarError):
    """There is such an entry already."""


_KINDS: Final = {
    AskarErrorCode.ENCRYPTION: UndecryptableError,
    AskarErrorCode.DUPLICATE: DuplicateError,
}


def new_raw_key() -> str:
    """A random raw key, in Askar's base58."""
    return Store.generate_raw_key()


async def check_key(key: StoreKey) -> None:
    """Raise StoreError for what is no key of its method."""
    try:
        store = await Store.provision("sqlite://:memory:", key.askar_method, key.secret)
    except AskarError as exc:
        if exc.code is not AskarErrorCode.INPUT:
            raise
        raise StoreError(f"The new key is no {key.method} key.") from None
    await store.close()


async def open_store(location: StoreLocation, key: StoreKey) -> Store:
    """The store that is there; raises StoreError, and changes nothing."""
    _take_error_codes_from_callbacks()
    try:
        return await Store.open(location.uri, key.askar_method, key.secret)
    except AskarError as exc:
        raise StoreError(_why_not_opened(exc.code, location, key)) from None


async def provision_store(location: StoreLocation, key: StoreKey, profile: str) -> Store:
    """The store that is there under this key and with this default profile, or a new one.

    Raises StoreError, and then changes nothing.
    """
    _take_error_codes_from_callbacks()
    before = os.umask(0o077)  # SQLite's file, and those that it puts beside it
    try:
        store = await Store.provision(location.uri, key.askar_method, key.secret, profile=profile)
    except AskarError as exc:
        if exc.code is AskarErrorCode.ENCRYPTION:
            raise StoreError(f"There is a store at {location} already.") from None
        why = _why_not_opened(exc.code, location, key)
        if location.path and location.path.parent.is_dir() and not location.path.exists():
            why = f"The directory {location.path.parent} cannot be written."
        if "no rows returned" in why:  # it has a store, and that no such profile
            why = f"There is a store of another program at {location}."
        raise StoreError(why) from None
    finally:
        os.umask(before)
    if await store.get_default_profile() != profile:
        await store.close()
        raise StoreError(f"There is a store of another program at {location}.")
    return store


def _why_not_opened(code: AskarErrorCode, location: StoreLocation, key: StoreKey) -> str:
    """One sentence on a store that cannot be opened or made."""
    # Askar's last error is that of this call as long as nothing else runs, as at the start.
    error = bindings.get_library().loaded.get_current_error()
    cause = str(error).splitlines()[-1].removeprefix("Caused by: ")
    absent = f"There is no store at {location}: `minikms store init` makes one."
    if code is AskarErrorCode.ENCRYPTION:
        return f"The key does not open the store at {location}."
    if code is AskarErrorCode.INPUT and "parameter" in str(error):
        return f"An option in the URL of the store at {location} is not valid."
    if code is AskarErrorCode.INPUT:
        return (
            f"The key is no {key.method} key, or not of the method that the store at {location} "
            "was made with."
        )
    if location.path is not None:
        folder = location.path.parent
        if not folder.is_dir():
            return f"The directory {folder} does not exist."
        if not location.path.exists():
            return absent
        if _denied(location.path):
            return f"The file {location.path} cannot be read and written."
        if "database is locked" in cause:
            return f"The file {location.path} is locked by another program."
        return f"What is at {location} is not a store of Mini KMS: {cause}."
    if code is AskarErrorCode.NOT_FOUND or 'relation "config" does not exist' in cause:
        return absent
    if "timed out" in cause:
        return f"The database at {location} does not answer."
    return f"The database at {location} cannot be used: {cause}."


def _denied(path: Path) -> bool:
    return not os.access(path, os.R_OK | os.W_OK)


def _take_error_codes_from_callbacks() -> None:
    """Give each failed call of Askar's its own error, of its own kind.

    Askar 0.5.0's wrapper reads the code from the last error of the whole process, so that calls
    that fail at once get each other's; the callback's own argument is right every time.
    """
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        return
    library = bindings.get_library().loaded
    codes, unknown = {code.value: code for code in AskarErrorCode}, AskarErrorCode.UNEXPECTED

    # Called in threads of Askar's own, where coverage does not see it.
    def handle(self: Any, callback_id: int, error: int, result: Any = None) -> None:
        loop, future, _name = self._callbacks.pop(callback_id)
        code = codes.get(error, unknown)
        kind = _KINDS.get(code, AskarError)
        exc = kind(code, f"Askar refused the call: {code.name}") if error else None
        if not loop.is_closed():  # what the database answers once the service has ended
            loop.call_soon_threadsafe(self._fulfill_future, future, result, exc)

    library._handle_callback = MethodType(handle, library)  # type: ignore[method-assign]
