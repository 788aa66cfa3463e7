"""Request and response bodies: the only description of them, for marshmallow and for OpenAPI."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from marshmallow import (
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
    validates,
    validates_schema,
)

from minikms.access.policy import SCOPES
from minikms.keys import jws
from minikms.keys.signing import SignOptions
from minikms.records import KeyPolicy, KeyRef, KeySource
from minikms.web.schemas.fields import (
    HOLDER_PATTERN,
    Base64Url,
    BoundedList,
    Flag,
    Timestamp,
    algorithm,
    alias,
    jose_alg,
    jwk,
    kid,
    labels,
    operations,
    profile,
    state,
)

MAX_FIELDS: Final = 64
MAX_KEY_BYTES: Final = 65_535  # a multiple of three, so that the length of its text is exact

# Requests


class Request(Schema):
    """A request body: fields that it does not name are refused."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Fields of which exactly one set must be there."""

    any_of: ClassVar[tuple[str, ...]] = ()
    """Fields of which at least one must be there."""

    @pre_load
    def _of_reasonable_size(self, data: Any, **_: Any) -> Any:
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


class KeyOptions(Request):
    """What is asked of a new key; loads into `policy`."""

    alias = alias()
    labels = labels()
    exportable = Flag(metadata={"description": "Whether its private part can be exported."})
    operations = operations()
    expires = Timestamp("From when on it is verify-only.")

    @post_load
    def _to_policy(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        names = ("aliases", "labels", "exportable", "operations", "expires")
        given = {name: data.pop(name) for name in names if name in data}
        if "alias" in data:
            given["aliases"] = (data.pop("alias"),)
        for name in given.keys() & {"aliases", "operations"}:
            given[name] = tuple(given[name])
        return {"policy": KeyPolicy(**given), **data}


class GenerateKey(KeyOptions):
    """A key to make."""

    alg = algorithm(required=True)


class ImportKey(KeyOptions):
    """A key to take: a JWK, or an algorithm and its secret, seed or wrapped secret."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("jwk",),
        ("alg", "secret"),
        ("alg", "seed"),
        ("alg", "unwrap_kid", "wrapped"),
    )

    jwk = jwk("The JWK, private or public alone (RFC 7517).")
    alg = algorithm()
    secret = Base64Url("The secret bytes.", most=MAX_KEY_BYTES)
    seed = Base64Url(
        "The seed that the algorithm's specification expands, never hashed first.",
        most=MAX_KEY_BYTES,
    )
    wrapped = Base64Url("The wrapped secret bytes (RFC 3394, RFC 5649).", most=MAX_KEY_BYTES)
    unwrap_kid = kid()

    @validates_schema
    def _unwrap_kid_applies(self, data: Mapping[str, Any], **_: Any) -> None:
        if "unwrap_kid" in data and "wrapped" not in data:
            raise ValidationError("Goes with wrapped alone.", "unwrap_kid")

    @post_load
    def _to_source(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        names = ("alg", "jwk", "secret", "seed", "wrapped", "unwrap_kid")
        given = {name: data.pop(name) for name in names if name in data}
        return {"source": KeySource(**given), **data}


class UpdateKey(Request):
    """What a key gets in place of what it has; what is left out stays."""

    any_of = ("state", "expires", "labels")

    state = state()
    expires = Timestamp("From when on it is verify-only; null for never.", allow_none=True)
    labels = labels()


class AssociateAlias(Request):
    """An alias to bind."""

    alias = alias(required=True)


class ByKey(Request):
    """A key named by `kid` or by `alias`, exactly one of them; loads into `ref`."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("kid",), ("alias",))

    kid = kid()
    alias = alias()

    @post_load
    def _to_ref(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["ref"] = KeyRef(data.pop("kid", None), data.pop("alias", None))
        return data


class ByKeyOrJwk(ByKey):
    """A key named by `kid` or `alias`, or a public JWK; loads into `by`."""

    one_of = (*ByKey.one_of, ("jwk",))

    jwk = jwk("A public JWK (RFC 7517).")

    @post_load
    def _to_ref(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if "jwk" in data:
            data["by"] = data.pop("jwk")
        else:
            data["by"] = super()._to_ref(data, **kwargs).pop("ref")
        return data


_NO_OPTIONS: Final = SignOptions()


class _Options(Request):
    alg = jose_alg()
    encoding = fields.String(
        validate=validate.OneOf(("raw", "der")),
        metadata={
            "description": "Form of the signature: ECDSA's r‖s, or its DER.",
            "x-component": "SignatureEncoding",
        },
    )
    prehashed = Flag(metadata={"description": "Whether the data is the digest already."})

    @post_load
    def _to_options(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        names = ("alg", "encoding", "prehashed")
        given = {name: data.pop(name) for name in names if name in data}
        data["options"] = SignOptions(**given) if given else _NO_OPTIONS
        return data


class SignRequest(ByKey, _Options):
    """Bytes to sign."""

    data = Base64Url("The message, or its digest.", required=True)


class VerifyRequest(ByKeyOrJwk, _Options):
    """Bytes and their signature."""

    data = Base64Url("The message, or its digest.", required=True)
    sig = Base64Url("The signature.", required=True)


def _batch_text(description: str) -> fields.String:
    return fields.String(
        required=True,
        metadata={"description": f"{description} In base64url; what is not, is its own problem."},
    )


class BatchSignItem(Request):
    """One message of a batch."""

    data = _batch_text("The message, or its digest.")


class BatchVerifyItem(BatchSignItem):
    """One message of a batch, and its signature."""

    sig = _batch_text("The signature.")


_MAX_BATCH: Final = 1000


class BatchSignRequest(ByKey, _Options):
    """Messages to sign, in order."""

    items = BoundedList(fields.Nested(BatchSignItem), 1, _MAX_BATCH, required=True)


class BatchVerifyRequest(ByKeyOrJwk, _Options):
    """Messages and their signatures, in order."""

    items = BoundedList(fields.Nested(BatchVerifyItem), 1, _MAX_BATCH, required=True)


class EncryptRequest(ByKey):
    """Bytes to encrypt."""

    plaintext = Base64Url("The plaintext.", required=True)
    aad = Base64Url("Data that is bound to it and not encrypted.", load_default=b"")


class DecryptRequest(ByKey):
    """What encrypt gave."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce.", required=True)
    tag = Base64Url("The authentication tag.", required=True)
    aad = Base64Url("The data that is bound to it.", load_default=b"")


class WrapRequest(ByKey):
    """A key to wrap."""

    key = Base64Url("The secret bytes, 16 at least.", required=True)


class UnwrapRequest(ByKey):
    """A wrapped key."""

    wrapped = Base64Url("What wrap gave.", required=True)


class DeriveRequest(ByKey):
    """A peer to agree with."""

    peer = jwk("The peer's public JWK, on the key's own curve.", required=True)


class MacRequest(ByKey):
    """Bytes to authenticate."""

    data = Base64Url("The message.", required=True)


class VerifyMacRequest(MacRequest):
    """Bytes and their authentication code."""

    mac = Base64Url("The authentication code.", required=True)


class SignJwsRequest(ByKey):
    """A payload to sign as JWS."""

    payload = Base64Url("The payload.", required=True)
    header = fields.Dict(
        load_default=dict,
        metadata={"description": "More header members; not alg, kid, b64 or crit."},
    )
    alg = jose_alg(load_default=None)
    detached = Flag(
        load_default=False,
        metadata={
            "description": "Leave the payload out, and sign it as it stands (RFC 7797); "
            "false by default."
        },
    )

    @validates("header")
    def _not_reserved(self, value: Mapping[str, Any], **_: Any) -> None:
        if not jws.RESERVED.isdisjoint(value):
            raise ValidationError("alg, kid, b64 and crit are set by the service.")
        if jws.too_deep(value):
            raise ValidationError("Nested too deep.")


class VerifyJwsRequest(ByKeyOrJwk):
    """A JWS to verify."""

    jws = fields.String(required=True, metadata={"description": "The compact JWS (RFC 7515)."})
    payload = Base64Url("The payload of a detached JWS.", load_default=None)


class RandomRequest(Request):
    """Random bytes to make."""

    length = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, 65536),
        metadata={"description": "How many bytes."},
    )


class CreateProfile(Request):
    """A profile to make."""

    name = profile(required=True)


def _jwks_access() -> fields.String:
    return fields.String(
        required=True,
        validate=validate.OneOf(("public", "private")),
        metadata={
            "description": "Whether everybody may have its JWK Set, without a token.",
            "x-component": "JwksAccess",
        },
    )


class ChangeProfile(Request):
    """What is to change of a profile."""

    jwks = _jwks_access()


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


# Answers


class Key(Schema):
    """What is known of a key; what it has no form for is null."""

    kid = kid(required=True)
    alg = fields.String(required=True, metadata={"description": "Name of its algorithm."})
    kty = fields.String(required=True, metadata={"description": "JWK key type."})
    jwk = jwk("Public JWK (RFC 7517).", required=True, allow_none=True)
    b58 = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Public key in base58; for EC the compressed point."},
    )
    multikey = fields.String(
        required=True, allow_none=True, metadata={"description": "Public key as W3C Multikey."}
    )
    did = fields.String(required=True, allow_none=True, metadata={"description": "Its did:key."})
    aliases = fields.List(alias(), required=True)
    labels = labels(required=True)
    operations = fields.List(
        fields.String(), required=True, metadata={"description": "What it may be used for."}
    )
    exportable = fields.Boolean(required=True)
    installed = fields.Boolean(
        metadata={
            "description": "false where its algorithm is not, so that it cannot be used; "
            "otherwise it is left out."
        }
    )
    state = state(required=True, attribute="current_state")
    created = Timestamp(required=True)
    expires = Timestamp("From when on it is verify-only.", required=True, allow_none=True)
    deletes = Timestamp("From when on it is gone.", required=True, allow_none=True)


class PrivateJwk(Schema):
    """A private key."""

    jwk = jwk("The private JWK (RFC 7517).", required=True)


class JwkSet(Schema):
    """Public keys (RFC 7517 section 5)."""

    keys = fields.List(jwk("A public JWK."), required=True)


class Association(Schema):
    """An alias and its key."""

    alias = alias(required=True)
    kid = kid(required=True)


class Deletion(Schema):
    """A key that is gone, or will be."""

    message = fields.String(
        required=True, validate=validate.OneOf(("Key deleted", "Key deletion scheduled"))
    )
    kid = kid(required=True)
    deletes = Timestamp("From when on it is gone, where that is scheduled.")


class Signature(Schema):
    """A signature, the JOSE name it is for, null where it has none, and the key that made it."""

    sig = Base64Url("The signature.", required=True)
    alg = fields.String(
        required=True, allow_none=True, metadata={"description": "JOSE name it is for."}
    )
    kid = kid(required=True)


class Verification(Schema):
    """Whether it is good."""

    valid = fields.Boolean(required=True)


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


class SignResult(Schema):
    """A signature, or the problem of its message."""

    sig = Base64Url("The signature.")
    problem = fields.Nested(Problem)


class VerifyResult(Schema):
    """Whether it is good, or the problem of its message."""

    valid = fields.Boolean()
    problem = fields.Nested(Problem)


class BatchSignature(Schema):
    """What became of each message, in order."""

    results = fields.List(fields.Nested(SignResult), required=True)


class BatchVerification(Schema):
    """What became of each message, in order."""

    results = fields.List(fields.Nested(VerifyResult), required=True)


class Ciphertext(Schema):
    """What decrypt needs."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce.", required=True)
    tag = Base64Url("The authentication tag.", required=True)


class Plaintext(Schema):
    """What was encrypted."""

    plaintext = Base64Url("The plaintext.", required=True)


class WrappedKey(Schema):
    """A wrapped key."""

    wrapped = Base64Url("The wrapped secret bytes.", required=True)


class UnwrappedKey(Schema):
    """What was wrapped."""

    key = Base64Url("The secret bytes.", required=True)


class SharedSecret(Schema):
    """The raw ECDH secret, which needs a key derivation function before it is a key."""

    secret = Base64Url("The shared secret.", required=True)


class AuthenticationCode(Schema):
    """An authentication code."""

    mac = Base64Url("The authentication code.", required=True)


class JwsSignature(Schema):
    """A JWS."""

    jws = fields.String(required=True, metadata={"description": "The compact JWS (RFC 7515)."})


class JwsVerification(Schema):
    """Whether a JWS is good, and what it says; the payload only where it is."""

    valid = fields.Boolean(required=True)
    header = fields.Dict(required=True, allow_none=True)
    payload = Base64Url("The payload.", required=True, allow_none=True)


class RandomBytes(Schema):
    """Random bytes."""

    bytes = Base64Url("The bytes.", required=True)


class ProfileCreated(Schema):
    """A profile that was made."""

    name = profile(required=True)
    success = fields.Boolean(required=True)


class ProfileDeleted(Schema):
    """Whether there was a profile to delete."""

    success = fields.Boolean(required=True)


class Profiles(Schema):
    """The names of all profiles."""

    profiles = fields.List(profile(), required=True)


class Profile(Schema):
    """A profile, and who may have its public keys."""

    name = profile(required=True)
    jwks = _jwks_access()


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
