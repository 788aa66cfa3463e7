"""Bodies of the calls on profiles."""

from marshmallow import validate

from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.fields import Flag, ListOf, Text, profile


def _jwks_access() -> Text:
    return Text(
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


class ProfileCreated(Body):
    """A profile that was made."""

    name = profile(required=True)
    success = Flag(required=True)


class ProfileDeleted(Body):
    """Whether there was a profile to delete."""

    success = Flag(required=True)


class ProfileNames(Body):
    """The names of all profiles."""

    profiles = ListOf(profile(), required=True)


class ChangeProfile(Request):
    """What is to change of a profile."""

    jwks = _jwks_access()


class Profile(Body):
    """A profile, and who may have its public keys."""

    name = profile(required=True)
    jwks = _jwks_access()
