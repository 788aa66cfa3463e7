"""The state that a sidecar hands to the process that takes its place.

The state goes through a file in memory that only the two processes have open, since it contains the
tokens of logins.
"""

import base64
import json
import logging
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from minikms_p11.application import Application, Operation, Session
from minikms_p11.connection import Connection
from minikms_p11.handles import Handles, Reference
from minikms_p11.jwk import public_key_of_template
from minikms_p11.objects import SessionPublicKey, SessionSecret
from minikms_p11.sidecar import Sidecar
from minikms_p11.wire import OaepParameter, PssParameter

_log = logging.getLogger(__name__)

VARIABLE: Final = "MINIKMS_P11_STATE"  # the number of the file
_FORM: Final = 1  # of the state: a process that does not know it begins anew

_PARAMETERS: Final = {"pss": PssParameter, "oaep": OaepParameter}


@dataclass
class State:
    """The state of a sidecar: its listening socket, its slots, its handles, its connections."""

    listener: int | None
    slots: list[list[str]] = field(default_factory=list)  # label and profile
    handles: dict[str, Any] = field(default_factory=lambda: {"last": 0, "references": []})
    connections: list[dict[str, Any]] = field(default_factory=list)


def save(listener: socket.socket | None, sidecar: Sidecar, connections: list[Connection]) -> int:
    """Write the state into a new file in memory, and let the next process inherit its files."""
    handles = sidecar.handles
    files = list(map(_file, connections))
    state = {
        "form": _FORM,
        "listener": None if listener is None else listener.fileno(),
        "files": files,
        "slots": [[slot.label, slot.profile] for slot in sidecar.slots],
        "handles": {
            "last": handles.last,
            "references": [
                [handle, it.profile, it.kid, it.object_class, it.fingerprint]
                for handle, it in handles.references.items()
            ],
        },
        "connections": list(map(_connection, connections)),
    }
    memory = os.memfd_create("minikms-p11")
    with os.fdopen(memory, "w", closefd=False) as file:
        json.dump(state, file)
    for number in (memory, *files, *(() if listener is None else (listener.fileno(),))):
        os.set_inheritable(number, True)
    return memory


def load(memory: int) -> State:
    """Read the state, and close its file; of a state in another form only the listening socket."""
    with os.fdopen(memory) as file:
        file.seek(0)
        state = json.load(file)
    files = state.pop("files")
    if state.pop("form") == _FORM:
        return State(**state)
    _log.error("programs have to connect again: the state of the process before has another form")
    for number in files:
        os.close(number)
    return State(state["listener"])


def handles_of(state: State) -> Handles:
    """The handles of a state."""
    references = {
        handle: Reference(profile, kid, object_class, fingerprint)
        for handle, profile, kid, object_class, fingerprint in state.handles["references"]
    }
    return Handles(state.handles["last"], references)


def restore(sidecar: Sidecar, state: State, record: dict[str, Any]) -> Application:
    """The program of a connection, without its sessions with slots that are not there any more."""
    now = {(slot.label, slot.profile): number for number, slot in enumerate(sidecar.slots)}
    slots = {
        number: now.get((label, profile)) for number, (label, profile) in enumerate(state.slots)
    }
    application = Application(sidecar, record["pid"], record["uid"])
    application.initialized = record["initialized"]
    for handle, slot, flags, found, operations in record["sessions"]:
        number = slots.get(slot)
        if number is None:
            continue
        session = Session(handle, number, flags, found)
        for name, (mechanism, parameter, key, data) in operations.items():
            session.operations[name] = Operation(
                mechanism,
                _read_parameter(parameter),
                key,
                data=None if data is None else bytearray(unpacked(data)),
            )
        application.sessions[handle] = session
    for handle, session, given, secret in record["own"]:
        template = _read_template(given)
        application.own[handle] = (
            session,
            SessionPublicKey(public_key_of_template(template), template)
            if secret is None
            else SessionSecret(unpacked(secret), template),
        )
    for session, kids in record["temporary"]:
        application.temporary[session] = kids
    login_files = dict(record.get("login_files", ()))  # 0.4 wrote none
    for slot, token in record["logins"]:
        number = slots.get(slot)
        if number is not None:
            file = Path(login_files[slot]) if slot in login_files else None
            application.login(number, token, by_pin=True, file=file)
    return application


def _connection(connection: Connection) -> dict[str, Any]:
    application = connection.application
    logins = application.pin_logins()
    return {
        "file": _file(connection),
        "version": connection.version,
        "unread": _packed(bytes(connection.unread)),
        "pid": application.pid,
        "uid": application.uid,
        "initialized": application.initialized,
        "sessions": [_session(session) for session in application.sessions.values()],
        "own": [
            [
                handle,
                session,
                _template(made.given),
                _packed(made.value) if isinstance(made, SessionSecret) else None,
            ]
            for handle, (session, made) in application.own.items()
        ],
        "temporary": list(application.temporary.items()),
        "logins": [[slot, login.token] for slot, login in logins.items()],
        "login_files": [[slot, str(it.file)] for slot, it in logins.items() if it.file],
    }


def _file(connection: Connection) -> int:
    number: int = connection.transport.get_extra_info("socket").fileno()
    return number


def _session(session: Session) -> list[Any]:
    operations = {
        name: [
            it.mechanism,
            _parameter(it.parameter),
            it.handle,
            None if it.data is None else _packed(bytes(it.data)),
        ]
        for name, it in session.operations.items()
        if it.hash is None  # the state of a hash cannot be handed over
    }
    return [session.handle, session.slot, session.flags, session.found, operations]


def _parameter(parameter: Any) -> Any:
    for name, kind in _PARAMETERS.items():
        if isinstance(parameter, kind):
            return {name: list(map(_value, vars(parameter).values()))}
    return None


def _read_parameter(record: Any) -> Any:
    if record is None:
        return None
    ((name, values),) = record.items()
    return _PARAMETERS[name](*map(_read_value, values))


def _template(given: Any) -> list[list[Any]]:
    return [[kind, _value(value)] for kind, value in given.items()]


def _read_template(items: list[list[Any]]) -> dict[int, Any]:
    return {kind: _read_value(value) for kind, value in items}


def _value(value: Any) -> Any:
    return {"bytes": _packed(value)} if isinstance(value, bytes) else value


def _read_value(record: Any) -> Any:
    return unpacked(record["bytes"]) if isinstance(record, dict) else record


def _packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def unpacked(text: str) -> bytes:
    """The bytes that the state has as text."""
    return base64.b64decode(text)
