"""Bodies of the calls on profiles."""

from marshmallow import Schema, fields, validate

from minikms.web.schemas.base import Request
from minikms.web.schemas.fields import profile


def _jwks_access() -> fields.String:
    return fields.String(
        required=True,
        validate=validate.OneOf(("public", "private")),
        metadata={
            "description": "Whether everybody may have its JWK Set, without a token.",
            "x-component": "JwksAccess",
        },
    )


class CreateProfile(Request):
    """A profile to make."""

    name = profile(required=True)


class ProfileCreated(Schema):
    """A profile that was made."""

    name = profile(required=True)
    success = fields.Boolean(required=True)


class ProfileDeleted(Schema):
    """Whether there was a profile to delete."""

    success = fields.Boolean(required=True)


class ProfileNames(Schema):
    """The names of all profiles."""

    profiles = fields.List(profile(), required=True)


class ChangeProfile(Request):
    """What is to change of a profile."""

    jwks = _jwks_access()


class Profile(Schema):
    """A profile, and who may have its public keys."""

    name = profile(required=True)
    jwks = _jwks_access()
