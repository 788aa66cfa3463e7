"""Bodies of requests and answers: AWS's JSON 1.1, and its error messages."""

import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from minikms.doors import parse_json
from minikms_aws.errors import AwsError, invalid, unsupported

_NANOSECONDS: Final = 1_000_000_000
# Limits of an error message: characters of a refused value, and number of faults.
_SHOWN: Final = 1024
_MOST_FAULTS: Final = 10

# A parsed structure: its members by AWS's names.
Body: TypeAlias = dict[str, Any]
# The known members of a structure; others are ignored.
Shape: TypeAlias = Mapping[str, "Member"]


class Member(ABC):
    """A member of a structure."""

    def __init__(self, *, required: bool = False) -> None:
        self.required = required

    @abstractmethod
    def read(self, value: Any, place: str, faults: list[str]) -> Any:
        """Return the value for handlers, and append AWS's messages about faults to `faults`.

        Raises AwsError with SerializationException for a value of another type.
        """


class Text(Member):
    """A string of `least` to `most` characters that matches `pattern`."""

    def __init__(
        self, least: int, most: int, pattern: str | None = None, *, required: bool = False
    ) -> None:
        super().__init__(required=required)
        self.least, self.most, self.pattern = least, most, pattern
        self._form = None if pattern is None else re.compile(rf"(?:{pattern})\Z")

    def read(self, value: Any, place: str, faults: list[str]) -> str:
        if type(value) is not str:
            raise _wrong_type(place)
        if len(value) < self.least:
            faults.append(_fault(place, value, _longer(self.least)))
        if len(value) > self.most:
            faults.append(_fault(place, value, _shorter(self.most)))
        if self._form is not None and not self._form.match(value):
            rule = f"satisfy regular expression pattern: {self.pattern}"
            faults.append(_fault(place, value, rule))
        return value


class Enum(Member):
    """One of several strings."""

    def __init__(self, values: Sequence[str], *, required: bool = False) -> None:
        super().__init__(required=required)
        self.values = values

    def read(self, value: Any, place: str, faults: list[str]) -> str:
        if type(value) is not str:
            raise _wrong_type(place)
        if value not in self.values:
            rule = f"satisfy enum value set: [{', '.join(self.values)}]"
            faults.append(_fault(place, value, rule))
        return value


class Blob(Member):
    """One to `most` bytes as base64; errors never quote them."""

    def __init__(self, most: int, *, required: bool = False) -> None:
        super().__init__(required=required)
        self.least, self.most = 1, most

    def read(self, value: Any, place: str, faults: list[str]) -> bytes:
        if type(value) is not str:
            raise _wrong_type(place)
        try:
            data = binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            raise _wrong_type(place) from None
        if not data:
            faults.append(_fault(place, data, _longer(1)))
        if len(data) > self.most:
            faults.append(_fault(place, data, _shorter(self.most)))
        return data


class Integer(Member):
    """A whole number of `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__()
        self.least, self.most = least, most

    def read(self, value: Any, place: str, faults: list[str]) -> int:
        if type(value) is not int:
            raise _wrong_type(place)
        if value < self.least:
            rule = f"have value greater than or equal to {self.least}"
            faults.append(_fault(place, value, rule))
        if value > self.most:
            faults.append(_fault(place, value, f"have value less than or equal to {self.most}"))
        return value


class Boolean(Member):
    """True or false."""

    def read(self, value: Any, place: str, faults: list[str]) -> bool:
        if type(value) is not bool:
            raise _wrong_type(place)
        return value


class Context(Member):
    """An encryption context: an object of strings."""

    def read(self, value: Any, place: str, faults: list[str]) -> dict[str, str]:
        if type(value) is not dict:
            raise _wrong_type(place)
        texts = {name: text for name, text in value.items() if text is not None}
        if any(type(text) is not str for text in texts.values()):
            raise _wrong_type(place)
        return texts


class Structure(Member):
    """A structure within another."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def read(self, value: Any, place: str, faults: list[str]) -> Body:
        if type(value) is not dict:
            raise _wrong_type(place)
        return _members(value, self.shape, f"{place}.", faults)


class Several(Member):
    """A list of up to `most` values."""

    def __init__(self, inner: Member, most: int, *, required: bool = False) -> None:
        super().__init__(required=required)
        self.inner, self.least, self.most = inner, 0, most

    def read(self, value: Any, place: str, faults: list[str]) -> list[Any]:
        if type(value) is not list:
            raise _wrong_type(place)
        if len(value) > self.most:
            faults.append(_fault(place, value, _shorter(self.most)))
            return []
        items = []
        for number, item in enumerate(value, 1):
            items.append(self.inner.read(item, f"{place}.{number}.member", faults))
            if len(faults) >= _MOST_FAULTS:
                break
        return items


class Unsupported(Member):
    """A member that AWS accepts, but Mini KMS refuses."""

    def read(self, value: Any, place: str, faults: list[str]) -> Any:
        raise unsupported(place)


KEY_ID: Final = Text(1, 2048, required=True)
"""The id or the ARN of a key or an alias, or the name of an alias."""
OPTIONAL_KEY_ID: Final = Text(1, 2048)
BY_KEY_ID: Final[Shape] = {"KeyId": KEY_ID}


def read(body: bytes, shape: Shape) -> Body:
    """Read a body.

    A null member counts as absent, and an empty body as having no members. Raises AwsError:
    SerializationException for a wrong type, and ValidationException with AWS's messages about the
    values.
    """
    try:
        document = parse_json(body) if body else {}
    except orjson.JSONDecodeError:
        raise AwsError("SerializationException", "The body is not valid JSON.") from None
    if type(document) is not dict:
        raise AwsError("SerializationException", "The body is not a JSON object.")
    return read_members(document, shape)


def read_members(document: Mapping[str, Any], shape: Shape) -> Body:
    """Read the members of a request; raises AwsError, as `read` does."""
    faults: list[str] = []
    members = _members(document, shape, "", faults)
    if faults:
        found = faults[:_MOST_FAULTS]
        many = "s" if len(found) > 1 else ""
        raise invalid(f"{len(found)} validation error{many} detected: {'; '.join(found)}")
    return members


def write(answer: Mapping[str, Any] | None) -> bytes:
    """Write an answer, empty if it has no members."""
    return b"" if answer is None else orjson.dumps(answer)


def base64(data: bytes) -> str:
    """Encode bytes as in answers."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def timestamp(nanoseconds: int) -> float:
    """Convert a time to the seconds since the epoch that answers have."""
    return round(nanoseconds / _NANOSECONDS, 3)


def _members(document: Mapping[str, Any], shape: Shape, parent: str, faults: list[str]) -> Body:
    found = {}
    for name, member in shape.items():
        value = document.get(name)
        if value is not None:
            found[name] = member.read(value, parent + name, faults)
        elif member.required:
            faults.append(_fault(parent + name, None, "not be null"))
    return found


def _wrong_type(place: str) -> AwsError:
    return AwsError("SerializationException", f"The value at '{_shown(place)}' is not of its type.")


def _fault(place: str, value: Any, rule: str) -> str:
    if value is None:
        found = " null"
    else:
        found = f" '{str(value)[:_SHOWN]}'" if isinstance(value, (str, int)) else ""
    return f"Value{found} at '{_shown(place)}' failed to satisfy constraint: Member must {rule}"


def _shown(place: str) -> str:
    """Write a member's path as AWS does: `tags.1.member.tagKey`."""
    return ".".join(name[:1].lower() + name[1:] for name in place.split("."))


def _longer(least: int) -> str:
    return f"have length greater than or equal to {least}"


def _shorter(most: int) -> str:
    return f"have length less than or equal to {most}"
