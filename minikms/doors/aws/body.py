"""Bodies in and out: AWS's JSON 1.1, its sentences on faults, and its pages of listings."""

import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from minikms.doors.aws.errors import (
    AwsError,
)
from minikms.encodings import b64url, b64url_decode, parse_json
from minikms.web.schemas import compiled
from minikms.web.schemas.fields import BoundedList, Converted, Flag

Body: TypeAlias = dict[str, Any]

_NANOSECONDS: Final = 1_000_000_000
# What a constraint says begins so; all other messages are marshmallow's of a wrong type.
_MUST: Final = "Member must "
_REQUIRED: Final[dict[str, str | list[Any] | dict[Any, Any]]] = {"required": f"{_MUST}not be null"}
_SHOWN: Final = 1024
_MOST_FAULTS: Final = 10
# How deep in a body the members of structures are: of it, of a list, of a structure in the list.
_DEPTH: Final = 3
# Lists with more items are refused, or ignored, whatever is in them.
_LONGEST_LIST: Final = 1000


class _Unshown(str):
    """A message on a value that no error repeats."""


class Shape(Schema):
    """A structure, its members named as AWS names them: unknown ones are ignored."""

    class Meta:
        """Of marshmallow."""

        unknown = EXCLUDE


class Blob(Converted):
    """Bytes as base64, of `most` bytes; never shown."""

    fault = "Not base64."

    def __init__(self, most: int, **kwargs: Any) -> None:
        self._most = most
        super().__init__(**kwargs)

    def convert(self, text: str) -> bytes:
        data = binascii.a2b_base64(text, strict_mode=True)
        if not data:
            raise ValidationError(_Unshown(_longer(1)))
        if len(data) > self._most:
            raise ValidationError(_Unshown(_shorter(self._most)))
        return data


class Context(fields.Field[Any]):
    """An encryption context: texts by texts. The first that is none ends the reading."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        if not isinstance(value, dict) or any(type(text) is not str for text in value.values()):
            raise ValidationError("Not texts by texts.")
        return value


class Unsupported(fields.Field[Any]):
    """A member that AWS takes, and that is refused here."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        raise AwsError("UnsupportedOperationException", f"{self.name} is not supported here.")


class Whole(fields.Integer):
    """A whole number; not the texts and flags that marshmallow takes for one."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return value


class Several(BoundedList):
    """A list of up to `most` values."""

    def __init__(self, inner: fields.Field[Any], most: int, **kwargs: Any) -> None:
        self._most = most
        super().__init__(inner, 0, most, **kwargs)

    def check_length(self, value: list[Any]) -> None:
        if len(value) > self._most:
            raise ValidationError(_shorter(self._most))


def blob(most: int, *, required: bool = False) -> Blob:
    """Bytes, one to `most`."""
    return Blob(most, required=required, error_messages=_REQUIRED)


def text(
    least: int, most: int, pattern: str | None = None, *, required: bool = False
) -> fields.String:
    """A text with so many characters, of the form of `pattern`."""
    tests: list[Any] = [
        validate.Length(least, error=_longer(least)),
        validate.Length(max=most, error=_shorter(most)),
    ]
    if pattern is not None:
        shown = pattern.replace("{", "{{").replace("}", "}}")
        sentence = f"{_MUST}satisfy regular expression pattern: {shown}"
        tests.append(validate.Regexp(rf"(?:{pattern})\Z", error=sentence))
    return fields.String(validate=tests, required=required, error_messages=_REQUIRED)


def key_id(*, required: bool = True) -> fields.String:
    """What names a key."""
    return text(1, 2048, required=required)


def enum(values: Sequence[str], *, required: bool = False) -> fields.String:
    """One of these texts."""
    sentence = f"{_MUST}satisfy enum value set: [{', '.join(values)}]"
    test = validate.OneOf(values, error=sentence)
    return fields.String(validate=test, required=required, error_messages=_REQUIRED)


def integer(least: int, most: int, *, required: bool = False) -> fields.Integer:
    """A whole number within these limits."""
    tests = [
        validate.Range(least, error=f"{_MUST}have value greater than or equal to {least}"),
        validate.Range(max=most, error=f"{_MUST}have value less than or equal to {most}"),
    ]
    return Whole(validate=tests, required=required, error_messages=_REQUIRED)


def boolean() -> Flag:
    """True or false."""
    return Flag()


def context() -> Context:
    """An encryption context: texts by texts."""
    return Context()


def texts(inner: fields.String, most: int, *, required: bool = False) -> Several:
    """A list of up to so many texts."""
    return Several(inner, most, required=required, error_messages=_REQUIRED)


def shapes(shape: type[Shape], most: int, *, required: bool = False) -> Several:
    """A list of up to so many structures."""
    return Several(fields.Nested(shape), most, required=required, error_messages=_REQUIRED)


def read(body: bytes, schema: Schema) -> Body:
    """What is in a body; raises SerializationException and ValidationException.

    A member that is null counts as absent, and an empty body as one without members.
    """
    try:
        document = parse_json(body) if body else {}
    except orjson.JSONDecodeError:
        raise AwsError("SerializationException", "The body is not valid JSON.") from None
    loaded: Body
    try:
        loaded = compiled.load(schema, document)
    except ValidationError:
        document = _without_nulls(document)
        try:
            loaded = compiled.load(schema, document)
        except ValidationError as exc:
            raise _refused(exc.messages, document) from None
    return loaded


def write(answer: Mapping[str, Any] | None) -> bytes:
    """The body of an answer, empty where it has nothing to say."""
    return b"" if answer is None else orjson.dumps(answer)


def base64(data: bytes) -> str:
    """Bytes as an answer has them."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def timestamp(nanoseconds: int) -> float:
    """A time as an answer has it: seconds since the epoch."""
    return round(nanoseconds / _NANOSECONDS, 3)


def _longer(least: int) -> str:
    return f"{_MUST}have length greater than or equal to {least}"


def _shorter(most: int) -> str:
    return f"{_MUST}have length less than or equal to {most}"


def _without_nulls(value: Any, depth: int = _DEPTH) -> Any:
    if depth and isinstance(value, dict):
        return {n: _without_nulls(one, depth - 1) for n, one in value.items() if one is not None}
    if depth and isinstance(value, list) and len(value) <= _LONGEST_LIST:
        return [_without_nulls(one, depth - 1) for one in value]
    return value


def _refused(messages: Any, document: Any) -> AwsError:
    """The error of what marshmallow says is wrong with a document."""
    if not isinstance(messages, Mapping) or not isinstance(document, dict):
        return AwsError("SerializationException", "The body is not a JSON object.")
    found = []
    for place, value, message in islice(_faults(messages, document), _MOST_FAULTS):
        if not message.startswith(_MUST):
            return AwsError("SerializationException", f"The value at '{place}' is not of its type.")
        found.append(f"Value{value} at '{place}' failed to satisfy constraint: {message}")
    many = "s" if len(found) > 1 else ""
    return AwsError(
        "ValidationException", f"{len(found)} validation error{many} detected: {'; '.join(found)}"
    )


def _faults(
    messages: Mapping[Any, Any], values: Any, parent: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Where each fault is, the value there as a sentence has it, and what is wrong with it."""
    for name, what in messages.items():
        if isinstance(name, int):
            place, value = f"{parent}.{name + 1}.member", values[name]
        else:
            place = name[:1].lower() + name[1:_SHOWN]
            place = f"{parent}.{place}" if parent else place
            value = values.get(name) if isinstance(values, dict) else None
        if isinstance(what, Mapping):
            yield from _faults(what, value, place)
        else:
            yield from ((place, _shown(value, message), str(message)) for message in what)


def _shown(value: Any, message: str) -> str:
    if value is None:
        return " null"
    if isinstance(message, _Unshown) or not isinstance(value, (str, int)):
        return ""
    return f" '{str(value)[:_SHOWN]}'"


# The `seq` of a key, and a name that it has.
_MARKER: Final = re.compile(r"([0-9]{20}):(.*)", re.DOTALL)


class Page(Shape):
    """What every listing takes."""

    Limit = integer(1, 1000)
    Marker = text(1, 1024, "[\u0020-\u00ff]*")


class Position(NamedTuple):
    """Where a listing goes on: at the key with this `seq` or behind it, in that behind `name`."""

    seq: str = "0" * 20
    name: str = ""

    @property
    def after(self) -> str:
        """The `seq` behind which the keys of the page are."""
        return f"{max(int(self.seq) - 1, 0):020d}"

    @property
    def marker(self) -> str:
        """What the caller gives back, in the characters that AWS allows there."""
        return b64url(f"{self.seq}:{self.name}".encode())


def position(body: Body) -> Position:
    """Where the page of a request begins; raises InvalidMarkerException."""
    if "Marker" not in body:
        return Position()
    try:
        found = _MARKER.fullmatch(b64url_decode(body["Marker"]).decode())
    except ValueError:
        found = None
    if found is None:
        raise AwsError("InvalidMarkerException", "Could not deserialize marker.")
    return Position(*found.groups())


def behind(seq: str) -> Position:
    """The position behind a key and all that it has."""
    return Position(f"{int(seq) + 1:020d}")


def listed(member: str, items: list[Any], goes_on: Position | None) -> dict[str, Any]:
    """The answer of a listing, which `goes_on` somewhere unless that is None."""
    answer: dict[str, Any] = {member: items, "Truncated": goes_on is not None}
    if goes_on is not None:
        answer["NextMarker"] = goes_on.marker
    return answer
