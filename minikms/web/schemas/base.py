"""What the requests of several resources have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from marshmallow import Schema, ValidationError, post_load, pre_load, validates_schema

from minikms.records import KeyRef
from minikms.web.schemas.fields import alias, jwk, kid

MAX_FIELDS: Final = 64


class Request(Schema):
    """A request body: fields that it does not name are refused."""

    max_size: ClassVar[int | None] = 64 * 1024
    """Its most bytes, decoded; None if it has data of any length."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Fields of which exactly one set must be there."""

    any_of: ClassVar[tuple[str, ...]] = ()
    """Fields of which at least one must be there."""

    @pre_load
    def _limit_fields(self, data: Any, **_: Any) -> Any:
        # Each unknown field would become a message of its own.
        if isinstance(data, Mapping) and len(data) > MAX_FIELDS:
            raise ValidationError(f"More than {MAX_FIELDS} fields.")
        return data

    @validates_schema(skip_on_field_errors=False)
    def _exactly_one(self, data: Mapping[str, Any], **_: Any) -> None:
        # Each set's last field is its own; a field before it may belong to several.
        given = [names for names in self.one_of if names[-1] in data]
        if self.one_of and len(given) != 1:
            choice = ", ".join(names[-1] for names in self.one_of)
            raise ValidationError(f"Give exactly one of: {choice}.", self.one_of[0][-1])
        for name in (name for names in given for name in names if name not in data):
            raise ValidationError("Missing data for required field.", name)

    @validates_schema
    def _at_least_one(self, data: Mapping[str, Any], **_: Any) -> None:
        if self.any_of and not data:
            raise ValidationError(f"Give at least one of: {', '.join(self.any_of)}.")


class ByKey(Request):
    """A key named by `kid` or by `alias`, exactly one of them, and data; loads into `by`."""

    max_size: ClassVar[int | None] = None
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("kid",), ("alias",))

    kid = kid()
    alias = alias()

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["by"] = KeyRef(data.pop("kid", None), data.pop("alias", None))
        return data


class ToJwk(Request):
    """The public JWK of a recipient, and data; loads into `by`."""

    max_size: ClassVar[int | None] = None
    to = jwk("The recipient's public JWK.", required=True)

    @post_load
    def _to_by(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["by"] = data.pop("to")
        return data


class ByKeyOrJwk(ByKey):
    """A key named by `kid` or `alias`, or a public JWK; loads into `by`."""

    one_of = (*ByKey.one_of, ("jwk",))

    jwk = jwk("A public JWK (RFC 7517).")

    @post_load
    def _to_by(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if "jwk" not in data:
            data = super()._to_by(data, **kwargs)
        else:
            data["by"] = data.pop("jwk")
        return data
