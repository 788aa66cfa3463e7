"""Compare two answers."""

import base64
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from vault import Answer

from vault_calls.call import Call


def _versioned(value: str) -> str:
    """The prefix of a signature, whose length may vary."""
    found = re.match(r"vault:v\d+:", value)
    assert found, value
    return found[0]


def _sealed(value: str) -> tuple[str, int]:
    """The prefix and the length of a ciphertext or a MAC."""
    prefix = _versioned(value)
    return prefix, len(base64.b64decode(value.removeprefix(prefix), validate=True))


def _key(value: str) -> str | int:
    """The kind of a key in PEM, or the length of one in base64."""
    if value.startswith("-----"):
        return value.partition("\n")[0] + value[-20:]
    return len(base64.b64decode(value, validate=True))


def _kind(value: Any) -> str:
    return type(value).__name__


def _length(value: str | dict[str, str]) -> int:
    return len(value)


# Members whose values are random or of their time, and the form in which they are compared.
_FORMS = {
    "request_id": _kind,
    "creation_time": _kind,
    "server_time_utc": _kind,
    "signature": _versioned,
    "ciphertext": _sealed,
    "hmac": _sealed,
    "random_bytes": _length,
    "public_key": _key,
    "csr": _key,
    "accessor": _kind,
}


def differences(call: Call, theirs: Answer, ours: Answer) -> Iterator[str]:
    """Say in which members two answers differ."""
    if call.ours:
        if ours.status != call.ours[0]:
            yield f"status: {ours.status} is not {call.ours[0]} ({call.ours[1]})"
        return
    # OpenBao answers 500 to some bodies that are the caller's fault.
    if (500 if ours.status == 400 else ours.status) != theirs.status != ours.status:
        yield f"status: {theirs.status} there, {ours.status} here"
        return
    if theirs.status >= 400:
        for there, answer in (("there", theirs), ("here", ours)):
            if not re.search(call.says, "".join(answer.body.get("errors", ()))):
                yield f"error: {answer.body} {there} does not say {call.says!r}"
    yield from _compare(call, "", theirs.body, ours.body)


def _compare(call: Call, path: str, theirs: Any, ours: Any) -> Iterator[str]:
    name = path.rpartition(".")[2]
    if any(fnmatchcase(path, pattern) for pattern in call.differs):
        return
    if type(theirs) is not type(ours):
        yield f"{path}: {theirs!r} there, {ours!r} here"
    elif isinstance(theirs, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            inner = f"{path}.{key}".lstrip(".")
            if any(fnmatchcase(inner, pattern) for pattern in call.differs):
                continue
            if key not in ours or key not in theirs:
                yield f"{inner}: only {'there' if key in theirs else 'here'}"
            else:
                yield from _compare(call, inner, theirs[key], ours[key])
    elif path == "data.keys" and theirs != ours:  # a listing
        yield f"{path}: {theirs} there, {ours} here"
    elif isinstance(theirs, list) and path != "data.keys":
        if len(theirs) != len(ours):
            yield f"{path}: {theirs} there, {ours} here"
        for number, (one, other) in enumerate(zip(theirs, ours, strict=False)):
            yield from _compare(call, f"{path}.{number}", one, other)
    elif name.isdigit() and path.startswith(("errors.", "warnings.")):
        pass  # sentences
    elif re.fullmatch(r"data\.(batch_results\.\d+\.)?error", path) and theirs and ours:
        pass
    elif name in _FORMS and theirs:
        form = _FORMS[name]
        if form(theirs) != form(ours):
            yield f"{path}: {form(theirs)} there, {form(ours)} here"
    elif _is_version(path):
        if _exported(theirs) != _exported(ours):
            yield f"{path}: {_exported(theirs)} there, {_exported(ours)} here"
    elif theirs != ours:
        yield f"{path}: {theirs!r} there, {ours!r} here"


def _is_version(path: str) -> bool:
    """Whether the value is the time of a symmetric key's version, or an exported key."""
    return bool(re.fullmatch(r"data\.keys\.\d+", path))


def _exported(value: Any) -> Any:
    return _key(value) if isinstance(value, str) else _kind(value)
