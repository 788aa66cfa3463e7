"""The state that a sidecar hands to the process that takes its place.

It goes through a file in memory, which only the two processes have: it has the tokens of logins.
"""

import base64
import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any, Final

from minikms_p11.application import Application, Operation, Session
from minikms_p11.connection import Connection
from minikms_p11.handles import Handles, Reference
from minikms_p11.jwk import public_key_of_template
from minikms_p11.objects import SessionPublicKey, SessionSecret
from minikms_p11.sidecar import Sidecar
from minikms_p11.wire import OaepParameter, PssParameter

VARIABLE: Final = "MINIKMS_P11_STATE"  # the number of the file
_FORM: Final = 1  # of the state: a process that does not know it begins anew

_PARAMETERS: Final = {"pss": PssParameter, "oaep": OaepParameter}


@dataclass
class State:
    """The state of a sidecar: its listening socket, its handles, its connections."""

    listener: int | None
    handles: dict[str, Any]
    connections: list[dict[str, Any]] = field(default_factory=list)


def save(listener: socket.socket | None, handles: Handles, connections: list[Connection]) -> int:
    """Write the state into a new file in memory, and let the next process inherit all its files."""
    state = {
        "form": _FORM,
        "listener": None if listener is None else listener.fileno(),
        "handles": {
            "last": handles.last,
            "references": [
                [handle, it.profile, it.kid, it.object_class, it.fingerprint]
                for handle, it in handles.references.items()
            ],
        },
        "connections": list(map(_connection, connections)),
    }
    if listener is not None:
        os.set_inheritable(listener.fileno(), True)
    for connection in connections:
        os.set_inheritable(_file(connection), True)
    memory = os.memfd_create("minikms-p11", 0)
    with os.fdopen(os.dup(memory), "w") as file:
        json.dump(state, file)
    return memory


def load(memory: int) -> State | None:
    """Read the state, and close its file; None if it has another form."""
    with os.fdopen(memory) as file:
        file.seek(0)
        state = json.load(file)
    if state.pop("form") != _FORM:
        return None
    return State(**state)


def handles_of(state: State) -> Handles:
    """The handles of a state."""
    references = {
        handle: Reference(profile, kid, object_class, fingerprint)
        for handle, profile, kid, object_class, fingerprint in state.handles["references"]
    }
    return Handles(state.handles["last"], references)


def restore(sidecar: Sidecar, record: dict[str, Any]) -> Application:
    """The program of a connection."""
    application = Application(sidecar, record["pid"], record["uid"])
    application.initialized = record["initialized"]
    for handle, slot, flags, found, operations in record["sessions"]:
        session = Session(handle, slot, flags, found)
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
    for slot, token in record["logins"]:
        if slot < len(sidecar.slots):
            application.login(slot, token, by_pin=True)
    return application


def _connection(connection: Connection) -> dict[str, Any]:
    application = connection.application
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
        "logins": list(application.pin_tokens().items()),
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
            values = vars(parameter)
            return {
                name: [
                    {"bytes": _packed(value)} if isinstance(value, bytes) else value
                    for value in values.values()
                ]
            }
    return None


def _read_parameter(record: Any) -> Any:
    if record is None:
        return None
    ((name, values),) = record.items()
    return _PARAMETERS[name](
        *(unpacked(value["bytes"]) if isinstance(value, dict) else value for value in values)
    )


def _template(given: Any) -> list[list[Any]]:
    return [
        [kind, _packed(value) if isinstance(value, bytes) else value, isinstance(value, bytes)]
        for kind, value in given.items()
    ]


def _read_template(items: list[list[Any]]) -> dict[int, Any]:
    return {kind: unpacked(value) if is_bytes else value for kind, value, is_bytes in items}


def _packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def unpacked(text: str) -> bytes:
    """The bytes that the state has as text."""
    return base64.b64decode(text)
