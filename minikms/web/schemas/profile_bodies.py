"""Bodies of the calls on profiles."""

from marshmallow import validate

from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.fields import Flag, ListOf, Text, profile


def _jwks_access() -> Text:
    return Text(
        "Whether callers get the JWK Set without a token.",
        component="JwksAccess",
        required=True,
        validate=validate.OneOf(("public", "private")),
    )


class CreateProfile(Request):
    """A profile to make."""

    name = profile(required=True)


class ProfileCreated(Body):
    """A profile that was made."""

    name = profile(required=True)
    success = Flag(required=True)


class ProfileDeleted(Body):
    """The result of a deletion: whether the profile existed."""

    success = Flag(required=True)


class ProfileNames(Body):
    """Names of profiles."""

    profiles = ListOf(profile(), required=True)


class ChangeProfile(Request):
    """A change of a profile."""

    jwks = _jwks_access()


class Profile(Body):
    """A profile, and whether its JWK Set is public."""

    name = profile(required=True)
    jwks = _jwks_access()
