"""Bodies of the calls on tokens."""

from typing import Any, Final

from marshmallow import post_load, validate

from minikms.access.callers import SCOPES
from minikms.web.schemas.base import MAX_FIELDS, Body, Request
from minikms.web.schemas.fields import BoundedList, ListOf, Part, Text
from minikms.web.schemas.named_fields import profile
from minikms.web.schemas.times import Timestamp

HOLDER_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f]{1,128}\Z"


def _scopes(**kwargs: Any) -> ListOf:
    return BoundedList(
        Text(component="Scope", validate=validate.OneOf(SCOPES)),
        1,
        len(SCOPES),
        description="Calls that the token permits.",
        **kwargs,
    )


def _token_profiles(**kwargs: Any) -> ListOf:
    return BoundedList(
        profile(),
        1,
        MAX_FIELDS,
        description="Profiles of the token; by default all profiles of the caller.",
        **kwargs,
    )


class CreateToken(Request):
    """A token to create."""

    name = Text(
        "Name of its holder in the audit log.",
        required=True,
        validate=validate.Regexp(
            HOLDER_PATTERN, error="Must be 1 to 128 characters, no control characters."
        ),
    )
    scopes = _scopes(required=True)
    profiles = _token_profiles(load_default=None)
    expires = Timestamp("Expiry; never by default.", load_default=None)

    @post_load
    def _to_tuples(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        for name in ("scopes", "profiles"):
            if data[name] is not None:
                data[name] = tuple(dict.fromkeys(data[name]))
        return data


class Token(Body):
    """A token, without its secret."""

    id = Text("Id of the token.", required=True)
    name = Text(required=True)
    scopes = _scopes(required=True)
    profiles = _token_profiles(required=True, allow_none=True)
    created = Timestamp(required=True)
    expires = Timestamp(required=True, allow_none=True)
    last_used = Timestamp(
        "Time of its last use, accurate to five minutes; null if unknown.",
        required=True,
        allow_none=True,
    )


class OwnRole(Body):
    """A role of the caller, which has its scopes in its own profiles alone."""

    name = Text(required=True)
    scopes = ListOf(Text(component="Scope", validate=validate.OneOf(SCOPES)), required=True)
    profiles = ListOf(
        profile(), "Profiles of the role; null for all.", required=True, allow_none=True
    )


class OwnToken(Body):
    """The caller's own token, JWT or client certificate."""

    id = Text(
        "Id of the token; null for a JWT, a certificate, the operator's token, and if callers "
        "need no token.",
        required=True,
        allow_none=True,
    )
    name = Text(
        "Name of the caller in the audit log; null if callers need no token.",
        required=True,
        allow_none=True,
    )
    issuer = Text(
        "Name of the issuer in the file of roles, or `certificate`; null for a caller whose "
        "permissions are not of roles.",
        required=True,
        allow_none=True,
    )
    subject = Text(
        "The `sub` of the JWT, or the name in the certificate; likewise null.",
        required=True,
        allow_none=True,
    )
    roles = ListOf(Part(OwnRole), "Roles of the caller.", required=True)
    scopes = ListOf(Text(component="Scope", validate=validate.OneOf(SCOPES)), required=True)
    profiles = ListOf(
        profile(), "Profiles of the token; null for all.", required=True, allow_none=True
    )
    expires = Timestamp("Expiry; null for never.", required=True, allow_none=True)


class TokenCreated(Body):
    """A new token; only this answer contains its secret."""

    token = Text("The token that its holder sends.", required=True)
    record = Part(Token, required=True)


class TokenRevoked(Body):
    """A revoked token."""

    message = Text(required=True, validate=validate.Equal("Token revoked"))
    id = Text(required=True)
