"""Request and response bodies: the only description of them, for marshmallow and for OpenAPI."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from minikms.encodings import b64url, b64url_decode
from minikms.records import KeyRef

KID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,128}\Z"
PROFILE_PATTERN: Final = r"^[!-~]{1,128}\Z"
ALIAS_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f]{1,512}\Z"
# The `seq` of a record, which its callers pass back as it came.
CURSOR_PATTERN: Final = r"^[0-9]{20}[0-9a-f]{8}\Z"
# Groups of four, then a rest of two or three with padding or without.
BASE64URL_PATTERN: Final = r"^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2}(==)?|[A-Za-z0-9_-]{3}=?)?\Z"


class Base64Url(fields.String):
    """Bytes as base64url: taken with padding or without, given with it."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        metadata = {
            "description": f"{description} Base64url: taken padded or not, given padded.",
            "pattern": BASE64URL_PATTERN,
            **kwargs.pop("metadata", {}),
        }
        super().__init__(metadata=metadata, **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else b64url(value)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        try:
            return b64url_decode(super()._deserialize(value, attr, data, **kwargs))
        except ValueError:
            raise ValidationError("Not base64url.") from None


class Timestamp(fields.String):
    """Nanoseconds since the epoch, given as RFC 3339 in UTC."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str:
        moment = datetime.fromtimestamp(value / 1e9, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kid(**kwargs: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(KID_PATTERN, error="Not the form of a kid."),
        metadata={"description": "Key id: the thumbprint of the public JWK (RFC 7638)."},
        **kwargs,
    )


def _alias(**kwargs: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(
            ALIAS_PATTERN, error="Must be 1 to 512 characters, no control characters."
        ),
        metadata={"description": "Another name of a key, such as a DID URL."},
        **kwargs,
    )


def _profile(**kwargs: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(
            PROFILE_PATTERN, error="Must be 1 to 128 visible ASCII characters."
        ),
        metadata={"description": "Name of the profile."},
        **kwargs,
    )


# Requests


class Request(Schema):
    """A request body: fields that it does not name are refused."""

    example: ClassVar[Mapping[str, Any]]
    """A body that can be sent as it stands."""


class GenerateKey(Request):
    """A key to make."""

    alg = fields.String(
        required=True,
        metadata={"description": "Name or alias of an algorithm, see GET /algorithms."},
    )

    example = {"alg": "ed25519"}


class AssociateAlias(Request):
    """An alias to bind."""

    alias = _alias(required=True)

    example = {"alias": "did:example:123#key-1"}


class KeyRefSchema(Request):
    """A key named by `kid` or by `alias`, exactly one of them; loads into `ref`."""

    kid = _kid()
    alias = _alias()

    @validates_schema(skip_on_field_errors=False)
    def _exactly_one(self, data: Mapping[str, Any], **_: Any) -> None:
        if len(data.keys() & {"kid", "alias"}) != 1:
            raise ValidationError("Give exactly one of kid and alias.", "kid")

    @post_load
    def _to_ref(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"ref": KeyRef(data.pop("kid", None), data.pop("alias", None)), **data}


class SignRequest(KeyRefSchema):
    """Bytes to sign."""

    data = Base64Url("The message.", required=True)

    example = {"alias": "did:example:123#key-1", "data": "aGVsbG8="}


class VerifyRequest(SignRequest):
    """Bytes and their signature."""

    sig = Base64Url("The signature; ECDSA as r‖s.", required=True)

    example = {**SignRequest.example, "sig": "A" * 86 + "=="}


class CreateProfile(Request):
    """A profile to make."""

    name = _profile(required=True)

    example = {"name": "alice"}


# Answers


class Key(Schema):
    """What is known of a key; `jwk` and `b58` are null for a symmetric one."""

    kid = _kid(required=True)
    alg = fields.String(required=True, metadata={"description": "Name of its algorithm."})
    kty = fields.String(required=True, metadata={"description": "JWK key type."})
    jwk = fields.Dict(
        required=True, allow_none=True, metadata={"description": "Public JWK (RFC 7517)."}
    )
    b58 = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Public key in base58; for EC the compressed point."},
    )
    aliases = fields.List(_alias(), required=True)
    created = Timestamp(required=True, metadata={"format": "date-time"})

    # The key of RFC 8037 appendix A.
    example: ClassVar[Mapping[str, Any]] = {
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "alg": "ed25519",
        "kty": "OKP",
        "jwk": {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        },
        "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
        "aliases": ["did:example:123#key-1"],
        "created": "2026-01-31T12:00:00.000Z",
    }


class Association(Schema):
    """An alias and its key."""

    alias = _alias(required=True)
    kid = _kid(required=True)


class Deletion(Schema):
    """A key that is gone."""

    message = fields.String(required=True, validate=validate.Equal("Key deleted"))
    kid = _kid(required=True)


class Signature(Schema):
    """A signature."""

    sig = Base64Url("The signature; ECDSA as r‖s.", required=True)


class Verification(Schema):
    """Whether a signature is good."""

    valid = fields.Boolean(required=True)


class ProfileCreated(Schema):
    """A profile that was made."""

    name = _profile(required=True)
    success = fields.Boolean(required=True)


class ProfileDeleted(Schema):
    """Whether there was a profile to delete."""

    success = fields.Boolean(required=True)


class Profiles(Schema):
    """The names of all profiles."""

    profiles = fields.List(_profile(), required=True)


class Algorithm(Schema):
    """An algorithm and what it can do."""

    name = fields.String(required=True, attribute="algorithm.name")
    aliases = fields.List(fields.String(), required=True, attribute="algorithm.aliases")
    kty = fields.String(
        required=True, attribute="algorithm.kty", metadata={"description": "JWK key type."}
    )
    jose_algs = fields.List(
        fields.String(), required=True, metadata={"description": "JOSE names it has a use for."}
    )
    operations = fields.List(fields.String(), required=True, attribute="algorithm.operations")
    source = fields.String(
        required=True, metadata={"description": "Package whose entry point it is."}
    )


class Status(Schema):
    """How the service is."""

    status = fields.String(required=True)


class ProblemDetail(Schema):
    """What is wrong at one place of the request."""

    pointer = fields.String(
        required=True, metadata={"description": "JSON pointer to the field or parameter."}
    )
    detail = fields.String(required=True)


class Problem(Schema):
    """A failure (RFC 9457)."""

    type = fields.String(
        required=True, metadata={"example": "urn:minikms:problem:validation-failed"}
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(ProblemDetail))


REQUESTS: Final = (GenerateKey, AssociateAlias, SignRequest, VerifyRequest, CreateProfile)
ANSWERS: Final = (
    Key,
    Association,
    Deletion,
    Signature,
    Verification,
    ProfileCreated,
    ProfileDeleted,
    Profiles,
    Algorithm,
    Status,
    Problem,
)
