"""Bodies as Vault accepts them: JSON objects, whose values are converted to the types of fields."""

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from minikms.doors import parse_json
from minikms_vault.errors import VaultError, invalid

_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
"""An integer of 64 bits as a string; Python's `int` also reads other digits, `1_0` and spaces."""

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 1000
_NO_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


class Body:
    """The members of a request, from its body, or the query of a GET, and its path.

    Each method reads one member by its name. An absent member has the default value; null is the
    empty value of its type. Numbers and booleans may be strings, and strings may be numbers. A
    value of another type raises VaultError with 400.
    """

    __slots__ = ("members",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.members = members

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def text(self, name: str, default: str = "") -> str:
        """Read a string."""
        value = self.members.get(name, default)
        if type(value) is str:
            return value
        if value is None:
            return ""
        if type(value) is bool:
            return "1" if value else "0"
        if type(value) is int or type(value) is float:
            return orjson.dumps(value).decode()
        raise _wrong(name, "expected type 'string'")

    def data(self, name: str) -> bytes:
        """Read bytes in base64, with or without line breaks; empty if the member is absent."""
        text = self.text(name)
        try:
            return decoded(text)
        except ValueError:
            raise invalid(f"unable to decode {name} as base64") from None

    def integer(self, name: str, default: int = 0) -> int:
        """Read an integer of 64 bits."""
        value = self.members.get(name, default)
        if type(value) is int:
            return value
        if value is None:
            return 0
        if type(value) is bool:
            return int(value)
        if type(value) is str:
            if not value:
                return 0
            if NUMBER.fullmatch(value):
                return int(value)
        elif type(value) is float and value.is_integer():
            return int(value)
        raise _wrong(name, "cannot parse value as 'int'")

    def boolean(self, name: str, default: bool = False) -> bool:
        """Read a boolean."""
        value = self.members.get(name, default)
        if type(value) is bool:
            return value
        if value is None:
            return False
        if type(value) is int or type(value) is float:
            return bool(value)
        if type(value) is str:
            if value in _TRUE:
                return True
            if value in _FALSE:
                return False
        raise _wrong(name, "cannot parse value as 'bool'")

    def texts(self, name: str) -> list[str]:
        """Read a list of strings, or a string with commas between them."""
        value = self.members.get(name)
        if value is None:
            return []
        if type(value) is str:
            return [part for each in value.split(",") if (part := each.strip())]
        if type(value) is list and all(type(each) is str for each in value):
            return value
        raise _wrong(name, "expected a list of strings")

    def items(self, name: str) -> "list[Body] | None":
        """Read a list of structures, such as `batch_input`; None if it is absent or null."""
        value = self.members.get(name)
        if value is None:
            return None
        if type(value) is not list or not all(type(each) is dict for each in value):
            raise _wrong(name, "expected a list of objects")
        return [Body(each) for each in value]


def read(content: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Read the members of a body: a JSON object, or a form if the headers say so.

    An empty body and `null` have no members. Raises VaultError with 400 for any other body, and
    BodyTooLarge for too many values.
    """
    if not content:
        return {}
    if content[:1] != b"{" and _is_form(content, headers):
        return _form(content)
    try:
        document = parse_json(content)
    except orjson.JSONDecodeError:
        raise invalid("failed to decode JSON input: the body is not valid JSON") from None
    if document is None:
        return {}
    if type(document) is not dict:
        raise invalid("failed to decode JSON input: the body is not a JSON object")
    return document


def _is_form(content: bytes, headers: Mapping[str, str]) -> bool:
    """Tell whether a body is a form; curl also labels JSON as a form."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == _FORM and not content.lstrip().startswith((b"{", b"["))


def _form(content: bytes) -> dict[str, Any]:
    """Read a form, with commas between the values of a name; raises VaultError with 400."""
    text = content.decode(errors="replace")
    try:
        if ";" in text or _NO_ESCAPE.search(text):
            raise ValueError("Go's parser refuses it")
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise invalid("error parsing form data") from None
    return {name: ",".join(values) for name, values in fields.items()}


def decoded(text: str) -> bytes:
    """Decode padded base64, ignoring line breaks as Vault does; raises ValueError."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        if "\n" not in text and "\r" not in text:
            raise
        plain = text.replace("\r", "").replace("\n", "")
        return binascii.a2b_base64(plain, strict_mode=True)


def base64(data: bytes) -> str:
    """Encode bytes in base64, with padding."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _wrong(name: str, fault: str) -> VaultError:
    return invalid(f'Field validation failed: error converting input for field "{name}": {fault}')
