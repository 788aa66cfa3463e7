"""The fields of bodies: kinds of values, with their patterns and bounds.

Most have ways of their own, which are faster than marshmallow's (base.py): `read` loads a value, or
raises ValidationError, and `write` dumps one; None if the value is dumped as it is.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate

from minikms.encodings import b64url, b64url_decode, jose_b64url

# Groups of four, then a rest of two or three, padded or not.
BYTES: Final[Mapping[str, Any]] = MappingProxyType({"x-bytes": True})
"""The mark of a text that stands for bytes, by which generators of clients give it their type."""

BASE64URL_PATTERN: Final = r"^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2}(==)?|[A-Za-z0-9_-]{3}=?)?\Z"

# Faults of a body that the answer names; reading a list stops at this number of faults.
MAX_FAULTS: Final = 32

_MAX_MEDIA_TYPE: Final = 255  # RFC 6838 section 4.2: two names of 127 characters
_MAX_CONTENT_FORMAT: Final = 65_535


class Described:
    """A field with a description; all fields of a `component` have one type in the document."""

    def __init__(
        self,
        description: str = "",
        *inner: fields.Field[Any],
        component: str = "",
        metadata: Mapping[str, Any] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        own = {"description": description, "x-component": component}
        kwargs["metadata"] = {**{name: text for name, text in own.items() if text}, **metadata}
        super().__init__(*inner, **kwargs)


class Readable(Described):
    """A field whose `read` loads a value for `Body`, and for marshmallow."""

    def read(self, value: Any) -> Any:
        """Load a value; raises ValidationError."""
        raise NotImplementedError

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        return self.read(value)


class Text(Readable, fields.String):
    """A text."""

    write = None

    def read(self, value: Any) -> Any:
        if type(value) is not str:
            raise self.make_error("invalid")
        for check in self.validators:
            check(value)
        return value


class Converted(Readable, fields.String):
    """A text that `convert` loads as another value; it has no validators."""

    fault: ClassVar[str]
    """The error message for a text that `convert` refuses."""

    convert: Callable[[str], Any]
    """Converts a text; raises ValueError, or ValidationError with a message of its own."""

    write: Callable[[Any], str] | None = None

    def read(self, value: Any) -> Any:
        if type(value) is not str:
            raise self.make_error("invalid")
        try:
            return self.convert(value)
        except ValueError:
            raise ValidationError(self.fault) from None

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value if value is None or self.write is None else self.write(value)


class Base64Url(Converted):
    """Bytes as base64url: taken padded or not, given padded.

    A value longer than `most` bytes is refused before it is decoded.
    """

    form = "taken padded or not, given padded"
    fault = "Not base64url."
    write = staticmethod(b64url)
    marks: ClassVar[Mapping[str, Any]] = BYTES

    def __init__(self, description: str, *, most: int | None = None, **kwargs: Any) -> None:
        metadata: dict[str, Any] = {"pattern": BASE64URL_PATTERN, **self.marks}
        self.convert = b64url_decode
        if most is not None:
            metadata["maxLength"] = _padded(most)
            self.convert = partial(_decode_short, most)
        super().__init__(f"{description} Base64url: {self.form}.", metadata=metadata, **kwargs)


class UnpaddedBase64Url(Base64Url):
    """Bytes as JOSE writes them: given unpadded."""

    form = "taken padded or not, given unpadded"
    write = staticmethod(jose_b64url)
    marks = MappingProxyType({})  # a part of an envelope, which callers pass on as it is


def _decode_short(most: int, text: str) -> bytes:
    if len(text) > _padded(most):
        raise ValidationError(f"At most {most} bytes.")
    return b64url_decode(text)


def _padded(size: int) -> int:
    """The length of `size` bytes in padded base64."""
    return (size + 2) // 3 * 4


class JoseValue(Readable, fields.Field[Any]):
    """A JWS or a JWE: a text, or an object."""

    write = None

    def __init__(self, description: str, **kwargs: Any) -> None:
        forms = [{"type": "string"}, {"type": "object", "additionalProperties": {}}]
        super().__init__(description, metadata={"oneOf": forms}, **kwargs)

    def read(self, value: Any) -> Any:
        if not isinstance(value, (str, dict)):
            raise ValidationError("Must be a text or an object.")
        return value


class MediaType(Readable, fields.Field[Any]):
    """A media type, or the number of a CoAP content format (RFC 7252 section 12.3)."""

    write = None

    def __init__(self, description: str, **kwargs: Any) -> None:
        forms = [
            {"type": "string", "minLength": 1, "maxLength": _MAX_MEDIA_TYPE},
            {"type": "integer", "minimum": 0, "maximum": _MAX_CONTENT_FORMAT},
        ]
        kwargs.setdefault("load_default", None)
        super().__init__(description, metadata={"oneOf": forms}, **kwargs)

    def read(self, value: Any) -> Any:
        if type(value) is int and 0 <= value <= _MAX_CONTENT_FORMAT:
            return value
        if type(value) is str and 0 < len(value) <= _MAX_MEDIA_TYPE:
            return value
        raise ValidationError("Must be a media type, or the number of a content format.")


def number(description: str, most: int, *, least: int = 1, **kwargs: Any) -> fields.Integer:
    """A number from `least` to `most`, required unless it has a default."""
    return fields.Integer(
        required="load_default" not in kwargs,
        strict=True,
        validate=validate.Range(least, most),
        metadata={"description": description},
        **kwargs,
    )


class Seconds(Readable, fields.Integer):
    """A whole number of seconds."""

    write = None

    def read(self, value: Any) -> Any:
        if value is None and self.allow_none:
            return None
        if type(value) is not int:
            raise self.make_error("invalid")
        for check in self.validators:
            check(value)
        return value


class Part(fields.Nested):
    """An object that has a schema of its own."""

    def read(self, value: Any) -> Any:
        return self.schema.load(value)

    def write(self, value: Any) -> Any:
        return self.schema.dump(value)


class ListOf(Described, fields.List[Any]):
    """A list."""

    def __init__(self, inner: fields.Field[Any], description: str = "", **kwargs: Any) -> None:
        super().__init__(description, inner, **kwargs)
        write: Callable[[Any], Any] | None = inner.write  # type: ignore[attr-defined]
        self.write = write and (lambda value: [write(one) for one in value])


class BoundedList(Readable, ListOf):
    """A list whose length is checked before its items; reading stops after `MAX_FAULTS` faults."""

    def __init__(self, inner: fields.Field[Any], least: int, most: int, **kwargs: Any) -> None:
        self._length = validate.Length(least, most)
        super().__init__(inner, validate=self._length, **kwargs)

    def read(self, value: Any) -> list[Any]:
        read = self.inner.read  # type: ignore[attr-defined]
        if type(value) is not list:
            raise self.make_error("invalid")
        self._length(value)
        with suppress(ValidationError):
            return [read(one) for one in value]
        loaded: list[Any] = []
        faults: dict[int, Any] = {}
        found = 0
        for place, one in enumerate(value):
            try:
                loaded.append(read(one))
            except ValidationError as exc:
                faults[place] = exc.messages
                found += len(exc.messages)
                if found >= MAX_FAULTS:
                    break
        raise ValidationError(faults, valid_data=loaded)


class LongList(BoundedList):
    """A list whose length is checked when it is read, but its items later, in a thread."""

    def read(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise self.make_error("invalid")
        self._length(value)
        return value


class Object(Readable, fields.Dict):
    """An object with members of any kind."""

    write = None

    def read(self, value: Any) -> Any:
        if type(value) is not dict:
            raise self.make_error("invalid")
        for check in self.validators:
            check(value)
        return dict(value)


class Flag(Readable, fields.Boolean):
    """True or false; marshmallow alone also takes words and numbers."""

    write = None

    def read(self, value: Any) -> Any:
        if type(value) is not bool:
            raise self.make_error("invalid", input=value)
        return value
