"""A program that is connected: its sessions, its logins, and its own objects."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from minikms_p11 import constants as c
from minikms_p11.directory import Directory, reference_of
from minikms_p11.keys import Key
from minikms_p11.login import version_of
from minikms_p11.mechanisms import new_hash
from minikms_p11.objects import CertificateObject, KeyObject, SessionPublicKey, SessionSecret
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller
from minikms_p11.sidecar import Sidecar
from minikms_p11.slots import Slot
from minikms_p11.wire import Template

T = TypeVar("T")

MOST_SESSIONS: Final = 1024
_MOST_OBJECTS: Final = 1024  # of a program's own
_MOST_BYTES: Final = 8 << 20  # of its objects, the parts of its operations, and found handles
_HANDLE: Final = 8  # bytes
_MOST_KEPT: Final = 65536  # bytes of parts that are kept before they are hashed
_MOST_DATA: Final = 720_000  # bytes of a MAC in parts: a body of the service has 1 MiB, in base64

AnyObject = KeyObject | CertificateObject | SessionPublicKey | SessionSecret


@dataclass
class Operation:
    """An operation of a session that C_…Init began."""

    mechanism: int
    parameter: Any
    handle: int  # of its key, 0 for a digest
    found: Any = None  # the object of the handle, None after a restart of the sidecar
    # The parts of an operation in several parts, or a plaintext that waits for a buffer.
    data: bytearray | None = field(default=None, repr=False)
    hash: Any = None  # of parts that are too long to be kept

    @property
    def in_parts(self) -> bool:
        return self.data is not None

    def add(self, part: bytes, hash_name: str, room: int) -> None:
        """Take another part, of a program that may keep `room` more bytes.

        The part is kept if the mechanism has no hash, or the data is short, since a restart cannot
        hand over a hash.
        """
        data = self.data = bytearray() if self.data is None else self.data
        fits = len(part) <= room
        if fits and len(data) + len(part) <= (_MOST_KEPT if hash_name else _MOST_DATA):
            data += part
            return
        if not hash_name:
            raise Refusal(c.CKR_DATA_LEN_RANGE if fits else c.CKR_DEVICE_MEMORY)
        if self.hash is None:
            self.hash = new_hash(hash_name)
        self.hash.update(data)
        self.hash.update(part)
        data.clear()

    def digest(self, hash_name: str, last: bytes) -> bytes:
        """The digest of all parts and a last one."""
        whole = new_hash(hash_name) if self.hash is None else self.hash.copy()
        whole.update(self.data or b"")
        whole.update(last)
        result: bytes = whole.digest()
        return result


@dataclass
class Session:
    """A session with a slot."""

    handle: int
    slot: int
    flags: int
    found: list[int] | None = None  # by an active search
    operations: dict[str, Operation] = field(default_factory=dict)  # by `sign`, `verify`, …

    def operation(self, name: str) -> Operation:
        operation = self.operations.get(name)
        if operation is None:
            raise Refusal(c.CKR_OPERATION_NOT_INITIALIZED)
        return operation


@dataclass
class Login:
    """A token of the service that a program uses for a slot."""

    token: str | None = field(repr=False)
    caller: Caller
    directory: Directory
    by_pin: bool  # by C_Login, and not by `--token-file`
    file: Path | None  # of the token
    version: tuple[int, ...] | None = None  # of the file, when it was last read
    began: object = field(default_factory=object, repr=False)  # kept while its token is renewed


class Application:
    """A connected program."""

    def __init__(self, sidecar: Sidecar, pid: int, uid: int) -> None:
        self.sidecar, self.pid, self.uid = sidecar, pid, uid
        self.initialized = False
        self.sessions: dict[int, Session] = {}
        self.own: dict[int, tuple[int, SessionPublicKey | SessionSecret]] = {}  # with the session
        self.temporary: dict[int, list[str]] = {}  # kids of key pairs, by the session
        self._logins: dict[int, Login] = {}  # by slot
        # By slot: logins whose tokens were refused, until their files contain new tokens.
        self._refused: dict[int, Login] = {}

    def slot(self, number: int) -> Slot:
        try:
            return self.sidecar.slots[number]
        except IndexError:
            raise Refusal(c.CKR_SLOT_ID_INVALID) from None

    def session(self, handle: int) -> Session:
        session = self.sessions.get(handle)
        if session is None:
            raise Refusal(c.CKR_SESSION_HANDLE_INVALID)
        return session

    def writable(self, handle: int) -> Session:
        session = self.session(handle)
        if not session.flags & c.CKF_RW_SESSION:
            raise Refusal(c.CKR_SESSION_READ_ONLY)
        return session

    def open(self, slot: int, flags: int) -> int:
        if len(self.sessions) >= MOST_SESSIONS:
            raise Refusal(c.CKR_SESSION_COUNT)
        handle = self.sidecar.handles.new()
        self.sessions[handle] = Session(handle, slot, flags)
        return handle

    def close(self, session: Session) -> None:
        """End a session with its objects, and the login of its slot if it was the last one."""
        self._end_key_pairs(session)
        del self.sessions[session.handle]
        self.own = {h: made for h, made in self.own.items() if made[0] != session.handle}
        if not any(other.slot == session.slot for other in self.sessions.values()):
            self.logout(session.slot)

    @property
    def room(self) -> int:
        """The bytes that the program may still keep here."""
        room = _MOST_BYTES - sum(made.size for _, made in self.own.values())
        for session in self.sessions.values():
            room -= _HANDLE * len(session.found or ())
            room -= sum(len(it.data or b"") for it in session.operations.values())
        return room

    def close_all(self) -> None:
        for session in list(self.sessions.values()):
            self.close(session)

    def login(
        self, slot: int, token: str | None, *, by_pin: bool, file: Path | None = None
    ) -> Login:
        profile = self.slot(slot).profile
        caller = Caller(self.pid, token, profile)
        login = Login(token, caller, self.sidecar.directory(profile, token), by_pin, file)
        self._logins[slot] = login
        self._refused.pop(slot, None)
        return login

    def is_logged_in(self, slot: int) -> bool:
        """If the program has logged in with a PIN."""
        login = self._logins.get(slot)
        return login is not None and login.by_pin

    def logout(self, slot: int) -> None:
        """End a login with its sessions' key pairs, private objects and operations."""
        ended = {session.handle for session in self.sessions.values() if session.slot == slot}
        for handle in ended:
            self._end_key_pairs(self.sessions[handle])
            self.sessions[handle].operations.clear()
        for handle, (session, made) in list(self.own.items()):
            if session in ended and made.attribute(c.CKA_PRIVATE):
                del self.own[handle]
        self._logins.pop(slot, None)
        self._refused.pop(slot, None)

    def _end_key_pairs(self, session: Session) -> None:
        kids = self.temporary.pop(session.handle, ())
        login = self._logins.get(session.slot)
        if kids and login is not None:
            login = self._current(session.slot, login)
            for kid in kids:
                self.sidecar.delete_later(login.caller, login.directory, kid)

    def made(self, kid: str) -> bool:
        """If this program made the key pair for one of its sessions."""
        return any(kid in kids for kids in self.temporary.values())

    def pin_logins(self) -> dict[int, Login]:
        """The logins by PIN, by slot, including logins with a refused token."""
        logins = {**self._logins, **self._refused}
        return {slot: login for slot, login in logins.items() if login.by_pin}

    async def access(self, session: Session) -> Login:
        """The login for a slot, or else the access without a login."""
        slot = session.slot
        login = self._logins.get(slot) or self._renewed(slot, self._refused.get(slot))
        if login is None:
            if await self.sidecar.needs_login():
                raise Refusal(c.CKR_USER_NOT_LOGGED_IN)
            settings, token = self.sidecar.settings, self.sidecar.token
            login = self.login(slot, token, by_pin=False, file=settings.token_file)
        return self._current(slot, login)

    def _current(self, slot: int, login: Login) -> Login:
        """A login with the token of its file, which is read if it has changed."""
        version = version_of(login.file)
        if version == login.version:
            return login
        login.version = version
        return self._renewed(slot, login) or login

    def _renewed(self, slot: int, login: Login | None) -> Login | None:
        """A login with the token that the file of another one has now, if it is another token."""
        if login is None:
            return None
        token = self.sidecar.renewed_token(login.file, login.token)
        if token is None:
            return None
        renewed = self.login(slot, token, by_pin=login.by_pin, file=login.file)
        renewed.began = login.began
        return renewed

    async def find(self, session: Session, template: Template) -> list[int]:
        """The handles of the objects in a session's slot that match a template."""
        slot = self.slot(session.slot)
        return await self._with_access(
            session, lambda login: login.directory.find(login.caller, slot, template)
        )

    async def keys(self, session: Session) -> list[Key]:
        """The keys that a session's slot shows, as they are now."""
        keys = await self._with_access(
            session, lambda login: login.directory.all(login.caller, now=True)
        )
        return list(filter(self.slot(session.slot).shows, keys))

    async def call(self, session: Session, method: str, path: str, body: Any = None) -> Any:
        """The service's answer to a call with the token of a session's slot."""
        service = self.sidecar.service
        return await self._with_access(
            session, lambda login: service.call(login.caller, method, path, body)
        )

    async def make(self, session: Session, body: Any) -> Key:
        """Make a key pair."""
        return self.keep(session, await self.call(session, "POST", "key/generate", body))

    async def make_temporary(self, session: Session, body: Any) -> Key:
        """Make a key pair that ends with its session, even if that ends before it is made."""
        login = await self.access(session)
        making = self.sidecar.run(self.make(session, body))
        try:
            await asyncio.wait({making})
        except asyncio.CancelledError:
            self.sidecar.abandon(making, login.caller, login.directory)
            raise
        key = making.result()
        closed = session.handle not in self.sessions
        current = self._logins.get(session.slot)
        if closed or (login.by_pin and (current is None or current.began is not login.began)):
            self.sidecar.delete_later(login.caller, login.directory, key.kid)
            raise Refusal(c.CKR_SESSION_CLOSED if closed else c.CKR_USER_NOT_LOGGED_IN)
        self.temporary.setdefault(session.handle, []).append(key.kid)
        return key

    async def _with_access(self, session: Session, work: Callable[[Login], Awaitable[T]]) -> T:
        """Do something with the access to a session's slot.

        If the service refuses the token, read its file again; if the file has no other token, end
        the login. After many refusals the service answers `too-many-attempts`.
        """
        login = await self.access(session)
        try:
            return await work(login)
        except Problem as problem:
            if problem.slug not in ("unauthenticated", "too-many-attempts"):
                raise
            slot = session.slot
            current = self._logins.get(slot)
            if current is not login:  # the program has logged out, or another call has renewed it
                if current is None or login.file is None or current.file != login.file:
                    raise
            elif self._renewed(slot, login) is None:
                # The service also answers so after many wrong tokens of other callers.
                if login.by_pin and problem.slug == "too-many-attempts":
                    raise
                del self._logins[slot]
                if login.by_pin:
                    self._refused[slot] = login
                raise
        return await work(await self.access(session))

    def known(self, session: Session, handle: int, *, fresh: bool = True) -> AnyObject | None:
        """The object of a handle if it is in memory, of a key that was read lately if `fresh`.

        Raises Refusal for an unknown handle.
        """
        if handle in self.own:
            return self.own[handle][1]
        login = self._logins.get(session.slot)
        if login is None:
            return None
        return login.directory.known(self.slot(session.slot), handle, fresh=fresh)

    async def object(self, session: Session, handle: int) -> AnyObject:
        """The object of a handle."""
        return self.known(session, handle) or await self.read(session, handle)

    async def read(self, session: Session, handle: int) -> AnyObject:
        """The object of a handle, one of the service as it is now."""
        if handle in self.own:
            return self.own[handle][1]
        slot = self.slot(session.slot)
        return await self._with_access(
            session, lambda login: login.directory.read(login.caller, slot, handle)
        )

    def keep(self, session: Session, record: Any) -> Key:
        """Take over the key object that the service has just answered."""
        key = Key.read(record)
        if key is None:
            raise Refusal(c.CKR_OBJECT_HANDLE_INVALID)
        login = self._logins.get(session.slot)
        if login is not None:
            login.directory.keep(key)
        return key

    def forget(self, session: Session, kid: str) -> None:
        login = self._logins.get(session.slot)
        if login is not None:
            login.directory.forget(kid)

    def handle_of(self, session: Session, found: KeyObject | CertificateObject) -> int:
        return self.sidecar.handles.of(reference_of(self.slot(session.slot).profile, found))

    def add(self, session: Session, made: SessionPublicKey | SessionSecret) -> int:
        """Keep an object until the session ends; its handle."""
        if len(self.own) >= _MOST_OBJECTS or made.size > self.room:
            raise Refusal(c.CKR_DEVICE_MEMORY)
        handle = self.sidecar.handles.new()
        self.own[handle] = session.handle, made
        return handle
