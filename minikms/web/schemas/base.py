"""Base classes of bodies: loading, dumping, and parts that several bodies share."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson
from marshmallow import Schema, ValidationError, missing, post_load, pre_load, validates_schema
from marshmallow.exceptions import SCHEMA

from minikms.errors import ValidationFailed
from minikms.http.body_bounds import MAX_VALUES
from minikms.http.problems import pointer
from minikms.key_requests import KeyRef
from minikms.web.schemas.fields import MAX_FAULTS
from minikms.web.schemas.named_fields import alias, jwk, kid

MAX_FIELDS: Final = 64


class Body(Schema):
    """A body of a request or an answer.

    Its fields' own `read` and `write` load and dump it in a fifth of marshmallow's time. If they
    refuse a body, marshmallow loads it again to describe the faults.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        loaded = self.load_fields.items()
        self._readers = {
            field.data_key or name: (name, getattr(field, "read", field.deserialize))
            for name, field in loaded
        }
        self._required = [name for name, field in loaded if field.required]
        defaults = {name: field.load_default for name, field in loaded}
        self._made = [(name, make) for name, make in defaults.items() if callable(make)]
        self._defaults = {name: value for name, value in defaults.items() if value is not missing}
        hooks = type(self).resolve_hooks()
        self._checks = [getattr(self, name) for name, *_ in hooks["validates_schema"]]
        self._shapers = [getattr(self, name) for name, *_ in hooks["post_load"]]
        self._writers: list[tuple[str, str, Any]] = [
            (field.data_key or name, field.attribute or name, getattr(field, "write", missing))
            for name, field in self.dump_fields.items()
        ]
        self._writes = all(
            write is not missing and "." not in name for _, name, write in self._writers
        )

    def parse(self, document: Any) -> dict[str, Any]:
        """Load a body; raises ValidationFailed."""
        loaded: dict[str, Any]
        try:
            loaded = self.read(document)
        except (ValueError, ValidationError):
            try:
                loaded = super().load(document)
            except ValidationError as exc:
                faults = _pointers(exc.normalized_messages())  # type: ignore[no-untyped-call]
                raise ValidationFailed(errors=faults[:MAX_FAULTS]) from None
        return loaded

    def load(self, data: Any, **options: Any) -> Any:
        """Load a body that is a part of another; raises ValidationError, which names its faults."""
        try:
            return self.read(data)
        except (ValueError, ValidationError):
            return super().load(data, **options)

    def read(self, document: Any) -> Any:
        """Load a valid body; raises ValueError or ValidationError for an invalid one."""
        if type(document) is not dict:
            raise ValueError
        data = self._defaults.copy()
        for name, make in self._made:
            data[name] = make()
        for key, value in document.items():
            field = self._readers.get(key)
            if field is None:
                raise ValueError
            name, read = field
            data[name] = read(value)
        for name in self._required:
            if name not in data:
                raise ValueError
        for check in self._checks:
            check(data)
        for shape in self._shapers:
            data = shape(data)
        return data

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Dump a body, or a list of them."""
        if not self._writes:
            return super().dump(obj, many=many)
        if many:
            return [self.dump(one) for one in obj]
        written = {}
        by_name = type(obj) is dict
        for key, name, write in self._writers:
            value = obj.get(name, missing) if by_name else getattr(obj, name, missing)
            if value is not missing:
                written[key] = value if write is None or value is None else write(value)
        return written

    def encode(self, data: Any, *, many: bool = False) -> bytes:
        """Dump a body, or a list of them, as JSON."""
        return orjson.dumps(self.dump(data, many=many), option=orjson.OPT_APPEND_NEWLINE)


class Request(Body):
    """A request body; unknown fields are refused."""

    max_size: ClassVar[int | None] = 64 * 1024
    """The largest size in bytes, decoded; None for data of any length."""

    list_size: ClassVar[int] = 0
    """The size in bytes of a long list, which is allowed even if `--max-body` is smaller."""

    max_values: ClassVar[int] = MAX_VALUES
    """The most JSON values if the body is large."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Sets of fields; exactly one set must be given."""

    any_of: ClassVar[tuple[str, ...]] = ()
    """Fields of which at least one must be given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Each item of a batch is validated like such a request.
        if not self.one_of:
            self._checks.remove(self._exactly_one)
        if not self.any_of:
            self._checks.remove(self._at_least_one)

    @pre_load
    def _limit_fields(self, data: Any, **_: Any) -> Any:
        # Each unknown field would get a message of its own.
        if isinstance(data, Mapping) and len(data) > MAX_FIELDS:
            raise ValidationError(f"More than {MAX_FIELDS} fields.")
        return data

    @validates_schema(skip_on_field_errors=False)
    def _exactly_one(self, data: Mapping[str, Any], **_: Any) -> None:
        # The last field of a set belongs to that set only; others may belong to several sets.
        number = 0
        given: tuple[str, ...] = ()
        for names in self.one_of:
            if names[-1] in data:
                number, given = number + 1, names
        if self.one_of and number != 1:
            choice = ", ".join(names[-1] for names in self.one_of)
            raise ValidationError(f"Give exactly one of: {choice}.", self.one_of[0][-1])
        for name in given:
            if name not in data:
                raise ValidationError("Missing data for required field.", name)

    @validates_schema
    def _at_least_one(self, data: Mapping[str, Any], **_: Any) -> None:
        if self.any_of and not data:
            raise ValidationError(f"Give at least one of: {', '.join(self.any_of)}.")


def made_of(kind: Any, data: dict[str, Any]) -> Any:
    """Make an object of the data class `kind`; move the values of its fields out of a body."""
    names = [each.name for each in dataclasses.fields(kind) if each.name in data]
    return kind(**{name: data.pop(name) for name in names})


class Either:
    """A body of one of two schemas: of the second if it has the field `member`."""

    def __init__(self, first: Request, second: Request, member: str) -> None:
        self._first = first
        self._second = second
        self._member = member

    def parse(self, document: Any) -> dict[str, Any]:
        """Load a body; raises ValidationFailed."""
        is_second = isinstance(document, dict) and self._member in document
        return (self._second if is_second else self._first).parse(document)


class ByKey(Request):
    """A key, named by either `kid` or `alias`; loads into `by`."""

    max_size: ClassVar[int | None] = None
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("kid",), ("alias",))

    kid = kid()
    alias = alias()

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["by"] = KeyRef(data.pop("kid", None), data.pop("alias", None))
        return data


class ToJwk(Request):
    """The public JWK of a recipient; loads into `by`."""

    max_size: ClassVar[int | None] = None
    to = jwk("The recipient's public JWK.", required=True)

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["by"] = data.pop("to")
        return data


class ByKeyOrJwk(ByKey):
    """A key, named by `kid` or `alias`, or a public JWK; loads into `by`."""

    one_of = (*ByKey.one_of, ("jwk",))

    jwk = jwk("A public JWK (RFC 7517).")

    @post_load
    def _to_by(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if "jwk" not in data:
            data = super()._to_by(data, **kwargs)
        else:
            data["by"] = data.pop("jwk")
        return data


def _pointers(messages: Mapping[Any, Any], parent: str = "#") -> list[tuple[str, str]]:
    """Convert marshmallow's messages to JSON pointers (RFC 6901) and sentences."""
    found = []
    for name, what in messages.items():
        at = parent if name == SCHEMA else pointer(name, parent)
        # Messages about a list are keyed by index, about an object by name.
        if isinstance(what, Mapping) and not _is_of_dict(what):
            found.extend(_pointers(what, at))
        else:
            found.append((at, sentence(what)))
    return found


def _is_of_dict(messages: Mapping[Any, Any]) -> bool:
    """Tell whether messages are about a mapping whose keys the caller chooses."""
    return all(
        isinstance(what, Mapping) and what.keys() <= {"key", "value"} for what in messages.values()
    )


def sentence(what: Any) -> str:
    """Return the first sentence of marshmallow's messages about one field."""
    while not isinstance(what, str):
        what = next(iter(what.values() if isinstance(what, Mapping) else what))
    return what
