"""Bodies of the calls on tokens."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from minikms.access.policy import SCOPES
from minikms.web.schemas.base import MAX_FIELDS, Request
from minikms.web.schemas.fields import HOLDER_PATTERN, BoundedList, Timestamp, profile


def _scopes(**kwargs: Any) -> fields.List[Any]:
    return BoundedList(
        fields.String(validate=validate.OneOf(SCOPES), metadata={"x-component": "Scope"}),
        1,
        len(SCOPES),
        metadata={"description": "What it lets its holder do."},
        **kwargs,
    )


def _token_profiles(**kwargs: Any) -> fields.List[Any]:
    return BoundedList(
        profile(),
        1,
        MAX_FIELDS,
        metadata={"description": "The profiles that it is for; all of its maker's by default."},
        **kwargs,
    )


class CreateToken(Request):
    """A token to make."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            HOLDER_PATTERN, error="Must be 1 to 128 characters, no control characters."
        ),
        metadata={"description": "Whom it names in the audit log."},
    )
    scopes = _scopes(required=True)
    profiles = _token_profiles(load_default=None)
    expires = Timestamp("When it ends; never by default.", load_default=None)

    @post_load
    def _to_tuples(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        for name in ("scopes", "profiles"):
            if data[name] is not None:
                data[name] = tuple(dict.fromkeys(data[name]))
        return data


class Token(Schema):
    """What is known of a token."""

    id = fields.String(required=True, metadata={"description": "What it is found by."})
    name = fields.String(required=True)
    scopes = _scopes(required=True)
    profiles = _token_profiles(required=True, allow_none=True)
    created = Timestamp(required=True)
    expires = Timestamp(required=True, allow_none=True)


class TokenCreated(Schema):
    """A new token, shown this once."""

    token = fields.String(required=True, metadata={"description": "What its holder sends."})
    record = fields.Nested(Token, required=True)


class TokenRevoked(Schema):
    """A token that lets nobody in any more."""

    message = fields.String(required=True, validate=validate.Equal("Token revoked"))
    id = fields.String(required=True)
