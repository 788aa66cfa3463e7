"""Sessions on a token: a process logs in once, and reconnects after a loss."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pkcs11

from minikms.plugin import ProviderFault, ProviderUnavailable
from minikms_pkcs11.module import Module
from minikms_pkcs11.pin_file import PinFile
from minikms_pkcs11.uri import TokenUri

_PIN_REFUSED: Final = (
    pkcs11.PinExpired,
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)
# Errors that refuse a call. All other errors end the connection.
REFUSALS: Final = (
    pkcs11.ArgumentsBad,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.DataInvalid,
    pkcs11.DataLenRange,
    pkcs11.DeviceMemory,
    pkcs11.DomainParamsInvalid,
    pkcs11.FunctionNotSupported,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.TemplateInconsistent,
    pkcs11.TokenWriteProtected,
)

# Seconds between attempts to connect: each initialises the library again, for all its users.
_PAUSE: Final = 0.5
# Seconds to wait for a free session if the token opens no more.
_WAIT: Final = 5.0


@dataclass(slots=True, eq=False)
class TokenSession:
    """A session, with the key handles that its users cache."""

    raw: Any  # a pkcs11.Session; its type lacks attributes of the implementation
    module: Module
    keys: dict[bytes, Any] = field(default_factory=dict)

    @property
    def serial(self) -> str:
        """The serial number of the token."""
        return serial_of(self.raw.token)

    def require_sight(self) -> None:
        """Raise PKCS11Error if the token may have an object that was not found.

        After a lost login, private objects are hidden; a removed token looks empty.
        """
        token = self.raw.token
        if token.slot.get_token().serial != token.serial:
            raise pkcs11.TokenNotPresent()
        if not self.module.functions.is_logged_in(self.raw.handle):
            raise pkcs11.UserNotLoggedIn()


class Connection:
    """The sessions of this process on the token of a URI.

    `detail` describes a loss to an operator, and `reconnects` counts connections after the first.
    """

    def __init__(self, uri: TokenUri) -> None:
        self.is_connected = False
        self.detail = "The token is not connected yet."
        self.reconnects = 0
        self._uri = uri
        self._module: Module | None = None
        self._epoch = 0  # the library's epoch at the last attempt to connect
        self._has_failed = False  # until a restart
        self._next_try = 0.0
        self._connecting = threading.Lock()
        self._connections = 0
        self._token: Any = None
        self._idle: list[TokenSession] = []
        self._open_sessions = 0
        self._most_sessions: int | None = None  # as the token reported
        self._pool_changed = threading.Condition()

    @property
    def sessions(self) -> int:
        """The number of open sessions."""
        return self._open_sessions if self.is_connected else 0

    def open(self) -> Module:
        """Connect if necessary; raises ProviderUnavailable, or until a restart ProviderFault."""
        if self._has_failed:
            raise ProviderFault(self.detail)
        module = self._module
        if module is not None and self.is_connected and module.epoch == self._epoch:
            return module
        if not self._connecting.acquire(blocking=False):
            raise ProviderUnavailable(self.detail)
        try:
            if time.monotonic() < self._next_try:
                raise ProviderUnavailable(self.detail)
            return self._connect()
        finally:
            self._connecting.release()

    def close(self) -> None:
        """Release the library; its last user closes all sessions by finalizing it.

        Until then sessions stay open: closing the first one would also log out the other users.
        """
        module, self._module, self.is_connected = self._module, None, False
        if module is not None:
            module.release()

    @contextmanager
    def session(self) -> Iterator[TokenSession]:
        """Yield a session for one call.

        A PKCS#11 error in the block becomes ProviderUnavailable. Unless it is one of `REFUSALS`,
        the connection is lost, and the next call reconnects.
        """
        module = self.open()
        with module.calls():
            if module.epoch != self._epoch or not self.is_connected:
                raise ProviderUnavailable(self.detail)
            session = None
            try:
                session = self._take(module)
                yield session
            except REFUSALS as error:
                raise ProviderUnavailable(f"The token refused it with {name_of(error)}.") from error
            except pkcs11.PKCS11Error as error:
                self.is_connected = False
                raise self._lost(error) from error
            finally:
                if session is not None:
                    self._give_back(session)

    def _lost(self, error: pkcs11.PKCS11Error) -> ProviderUnavailable:
        self.detail = f"The token failed with {name_of(error)}."
        return ProviderUnavailable(self.detail)

    def _connect(self) -> Module:
        self.is_connected = False
        try:
            module = self._module = self._module or Module.at(self._uri.module_path)
            module.start(self._epoch)
            with module.calls() as library:
                self._epoch = module.epoch
                token = self._find(library)
                first = TokenSession(self._log_in(token), module)
        except pkcs11.PKCS11Error as error:
            self._next_try = time.monotonic() + _PAUSE
            raise self._lost(error) from error
        except ProviderUnavailable as error:
            self._next_try = time.monotonic() + _PAUSE
            self.detail = error.detail
            self._has_failed = isinstance(error, ProviderFault)
            raise
        with self._pool_changed:
            self._token, self._idle = token, [first]
            self._open_sessions, self._most_sessions = 1, None
        self.reconnects += self._connections > 0
        self._connections += 1
        self.is_connected, self.detail = True, ""
        return module

    def _find(self, library: Any) -> Any:
        found = []
        for slot in library.get_slots(token_present=True):
            with suppress(pkcs11.PKCS11Error):  # a slot of another token
                token = slot.get_token()
                if (
                    token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED
                    and self._uri.token in (None, token.label)
                    and self._uri.serial in (None, serial_of(token))
                ):
                    found.append(token)
        if not found:
            raise ProviderUnavailable("The token is not there.")
        if len(found) > 1:
            raise ProviderUnavailable("Several tokens have this label: the URI needs a serial.")
        return found[0]

    def _log_in(self, token: Any) -> Any:
        with PinFile(self._uri.pin_file) as file:
            try:
                return token.open(rw=True, user_pin=file.pin)
            except pkcs11.UserAlreadyLoggedIn:  # another user of the library logged in
                return token.open(rw=True)
            except _PIN_REFUSED as error:
                file.keep_locked()
                raise ProviderFault(
                    f"The token refused the PIN with {name_of(error)}; it is not tried again."
                ) from error

    def _take(self, module: Module) -> TokenSession:
        while True:
            with self._pool_changed:
                most = self._most_sessions
                if most is not None and self._open_sessions >= most:
                    self._pool_changed.wait_for(lambda: self._idle, _WAIT)
                    if not self._idle:
                        raise ProviderUnavailable("The token has no free session.")
                if self._idle:
                    return self._idle.pop()
                self._open_sessions += 1
            try:
                return TokenSession(self._token.open(rw=True), module)
            except pkcs11.PKCS11Error as error:
                with self._pool_changed:
                    self._open_sessions -= 1
                    if not (isinstance(error, pkcs11.SessionCount) and self._open_sessions):
                        raise
                    self._most_sessions = self._open_sessions

    def _give_back(self, session: TokenSession) -> None:
        with self._pool_changed:
            self._idle.append(session)
            if self._most_sessions is not None:
                self._pool_changed.notify()


def serial_of(token: Any) -> str:
    """Return the serial number of a token as a string."""
    return str(token.serial, "ascii", "replace")


def name_of(error: pkcs11.PKCS11Error) -> str:
    """Return the name of a PKCS#11 error, such as `DeviceRemoved`, without its message."""
    return type(error).__name__
