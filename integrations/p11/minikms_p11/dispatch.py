"""A message of the protocol, taken apart, performed, and answered."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11 import wire
from minikms_p11.application import Application
from minikms_p11.calls import CALLS, ERROR, Call
from minikms_p11.functions import FUNCTIONS
from minikms_p11.functions.answers import Function, unsupported
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Reader

_log = logging.getLogger(__name__)

_READERS: Final[dict[str, Callable[[Reader], Any]]] = {
    "u": Reader.u64,
    "y": Reader.byte,
    "z": Reader.sized,
    "s": Reader.sized,
    "ay": Reader.byte_array,
    "fy": Reader.byte_room,
    "fu": Reader.number_room,
    "aA": Reader.attributes,
    "fA": Reader.attribute_rooms,
    "M": Reader.mechanism,
}
_WRITERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "u": wire.u64,
    "v": wire.version,
    "s": wire.sized,
    "ay": wire.byte_array,
    "au": wire.number_array,
    "aA": wire.attribute_array,
    "P": lambda _: wire.byte(0),  # no change
}
_LETTERS: Final = re.compile("[af]?[a-zA-Z]")


class _Form:
    """A call, with the functions that read its request and write its answer."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.function: Function = FUNCTIONS.get(call.name, unsupported)
        self.signature = wire.sized(call.request.encode())
        self.readers = [_READERS[letter] for letter in _LETTERS.findall(call.request)]
        self.writers = [_WRITERS[letter] for letter in _LETTERS.findall(call.answer)]
        self.names_key = "Mu" in call.request
        self.head = wire.u32(call.number) + wire.sized(call.answer.encode())

    def answer(self, values: tuple[Any, ...]) -> bytes:
        parts = [write(value) for write, value in zip(self.writers, values, strict=True)]
        return self.head + b"".join(parts)


_FORMS: Final = {number: _Form(call) for number, call in CALLS.items()}
_ERROR_HEAD: Final = wire.u32(ERROR.number) + wire.sized(ERROR.answer.encode())


def answer(application: Application, version: int, message: bytes) -> bytes | Awaitable[bytes]:
    """The answer to a message, at once if it does not wait for the service."""
    form = None
    try:
        form, values = _read(application, version, message)
        result = form.function(application, *values)
        if isinstance(result, tuple):
            return form.answer(result)
    except Refusal as refusal:
        return _refused(application, form, refusal)
    except Exception:
        return _bug()
    return _wait(application, form, result)


async def _wait(application: Application, form: _Form, result: Awaitable[tuple[Any, ...]]) -> bytes:
    try:
        return form.answer(await result)
    except Refusal as refusal:
        return _refused(application, form, refusal)
    except asyncio.CancelledError:
        raise
    except Exception:
        return _bug()


def _read(application: Application, version: int, message: bytes) -> tuple[_Form, list[Any]]:
    reader = Reader(message, version)
    form = _FORMS.get(reader.u32())
    if form is None or reader.take(len(form.signature)) != form.signature:
        raise Refusal(c.CKR_DEVICE_ERROR)
    if not application.initialized and form.call.name != "C_Initialize":
        raise Refusal(c.CKR_CRYPTOKI_NOT_INITIALIZED)
    values = [read(reader) for read in form.readers]
    reader.end()
    return form, values


def _refused(application: Application, form: _Form | None, refusal: Refusal) -> bytes:
    value = refusal.value
    if form is None:
        return error(value)
    if refusal.reason:
        pid, uid, name = application.pid, application.uid, form.call.name
        _log.warning("process %d of user %d: %s: %s", pid, uid, name, refusal.reason)
    if form.names_key and value == c.CKR_OBJECT_HANDLE_INVALID:
        value = c.CKR_KEY_HANDLE_INVALID
    return error(value)


def error(value: int) -> bytes:
    """The answer that is a return value."""
    return _ERROR_HEAD + wire.u64(value)


def _bug() -> bytes:
    _log.exception("a call failed")
    return error(c.CKR_GENERAL_ERROR)
