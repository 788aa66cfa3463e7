"""Bodies of the calls on profiles."""

from marshmallow import fields, validate

from minikms.profile_settings import MAX_CALLS, MAX_DELETION_DELAY, MAX_JWKS_AGE, MAX_KEYS
from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.fields import Flag, ListOf, Part, Text
from minikms.web.schemas.named_fields import profile


def _jwks_access(*, required: bool) -> Text:
    return Text(
        "Whether the JWK Set is readable without a token.",
        component="JwksAccess",
        required=required,
        validate=validate.OneOf(("public", "private")),
    )


def _bound(description: str, least: int, most: int) -> fields.Integer:
    """Make a field for a number, or null for no bound."""
    return fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(least, most),
        metadata={"description": f"{description} Null for no bound."},
    )


class CreateProfile(Request):
    """A profile to create."""

    name = profile(required=True)


class ProfileCreated(Body):
    """A created profile."""

    name = profile(required=True)
    success = Flag(required=True)


class ProfileDeleted(Body):
    """The result of a deletion: whether the profile existed."""

    success = Flag(required=True)


class ProfileSettings(Body):
    """The settings of a profile; null for no bound."""

    max_keys = _bound("Largest number of keys.", 0, MAX_KEYS)
    min_deletion_delay = _bound("Shortest delay of a deletion, in seconds.", 1, MAX_DELETION_DELAY)
    calls_per_second = _bound("Largest rate of calls.", 1, MAX_CALLS)
    delete_scope = Flag("Whether callers need the scope keys:delete to delete keys.")
    frozen = Flag("Whether nothing in the profile changes.")
    jwks_max_age = _bound("Seconds for which readers may keep the JWK Set.", 1, MAX_JWKS_AGE)


class ListedSettings(ProfileSettings):
    """The settings of a profile, and with `include=jwks` whether its JWK Set is public."""

    jwks = _jwks_access(required=False)


class ProfileNames(Body):
    """Names of profiles, and the settings of profiles that have some."""

    profiles = ListOf(profile(), required=True)
    settings = fields.Dict(
        keys=Text(),
        values=Part(ListedSettings),
        required=True,
        metadata={
            "description": "Settings by profile name, of profiles that have some, or with "
            "`include=jwks` a public JWK Set."
        },
    )


class ChangeProfile(ProfileSettings, Request):
    """A change of a profile; omitted members stay unchanged."""

    any_of = (
        *("jwks", "max_keys", "min_deletion_delay", "calls_per_second", "delete_scope"),
        *("frozen", "jwks_max_age"),
    )

    jwks = _jwks_access(required=False)


class Profile(ProfileSettings):
    """A profile, with its settings, and whether its JWK Set is public."""

    name = profile(required=True)
    jwks = _jwks_access(required=True)
