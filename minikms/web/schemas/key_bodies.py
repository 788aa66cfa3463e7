"""Bodies of the calls that make, import, describe and change keys."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from marshmallow import ValidationError, post_load, validate, validates_schema

from minikms.credentials.cose.cose_key import cose_key
from minikms.credentials.x509.certificates import thumbprint_of
from minikms.encodings import b64url
from minikms.key_bounds import MAX_CERTIFICATES
from minikms.key_requests import KeyPolicy, KeySource
from minikms.records import KeyRecord
from minikms.web.schemas.base import Body, Request, made_of
from minikms.web.schemas.fields import Base64Url, BoundedList, Flag, ListOf, Part, Text, number
from minikms.web.schemas.named_fields import (
    algorithm,
    alias,
    alias_taken,
    certificate,
    delete_after,
    if_exists,
    jwk,
    kid,
    labels,
    operations,
    provider,
    publish_ahead,
    retire_after,
    rotate_every,
    state,
    state_in_effect,
)
from minikms.web.schemas.rule_bodies import KeyRules, RulesField
from minikms.web.schemas.times import Timestamp

MAX_KEY_BYTES: Final = 65_535  # a multiple of three, so that its base64 has no padding


# The size in bytes of a body with the largest labels, each character escaped.
MAX_LABELLED: Final = 128 * 1024

# The largest number of keys that one call makes.
MAX_KEYS: Final = 1000


class NewKeyOptions(Request):
    """The properties of new keys; loads into `policy`."""

    max_size: ClassVar[int | None] = MAX_LABELLED
    labels = labels()
    exportable = Flag("Whether the private key can be exported.")
    operations = operations()
    expires = Timestamp("Time from which the key only verifies and decrypts.")
    rules = RulesField()
    rotate_every = rotate_every()
    publish_ahead = publish_ahead()
    retire_after = retire_after()
    delete_after = delete_after()
    provider = provider(
        "Provider that makes and keeps the private key, such as an HSM (see GET /algorithms); by "
        "default the service itself."
    )

    @post_load
    def _to_policy(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "alias" in data:
            data["aliases"] = (data.pop("alias"),)
        for name in ("rotate_every", "retire_after"):
            if "delete_after" in data and name in data:
                raise ValidationError(f"Not allowed with {name}.", "delete_after")
        for name in data.keys() & {"aliases", "operations"}:
            data[name] = tuple(data[name])
        return {"policy": made_of(KeyPolicy, data), **data}


class KeyOptions(NewKeyOptions):
    """The properties of a new key; loads into `policy`."""

    alias = alias()
    alias_taken = alias_taken()


class GenerateKey(KeyOptions):
    """A key to make."""

    alg = algorithm(required=True)


class GenerateKeys(NewKeyOptions):
    """Keys to make, with the same properties."""

    alg = algorithm(required=True)
    count = number("Number of keys.", MAX_KEYS)


class ImportKey(KeyOptions):
    """A key to import: a JWK, or an algorithm with a secret, seed or wrapped secret."""

    max_size: ClassVar[int | None] = None
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("jwk",),
        ("alg", "secret"),
        ("alg", "seed"),
        ("alg", "unwrap_kid", "wrapped"),
    )

    jwk = jwk("The JWK: private, or only public (RFC 7517).")
    alg = algorithm()
    secret = Base64Url("The secret bytes.", most=MAX_KEY_BYTES)
    seed = Base64Url(
        "The seed, expanded as the algorithm's specification says; it is not hashed first.",
        most=MAX_KEY_BYTES,
    )
    wrapped = Base64Url("The wrapped secret bytes (RFC 3394, RFC 5649).", most=MAX_KEY_BYTES)
    unwrap_kid = kid()
    if_exists = if_exists(load_default="refuse")

    @validates_schema
    def _unwrap_kid_applies(self, data: Mapping[str, Any], **_: Any) -> None:
        if "unwrap_kid" in data and "wrapped" not in data:
            raise ValidationError("Allowed only with wrapped.", "unwrap_kid")

    @post_load
    def _to_source(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"source": made_of(KeySource, data), **data}


class UpdateKey(Request):
    """Changes of a key; omitted members stay unchanged."""

    max_size: ClassVar[int | None] = None  # a key from an earlier version may have more labels
    any_of = (
        *("state", "expires", "labels", "rules", "rotate_every", "publish_ahead"),
        "retire_after",
    )

    state = state()
    expires = Timestamp(
        "Time from which the key only verifies and decrypts; null for never.", allow_none=True
    )
    labels = labels()
    rules = RulesField()
    rotate_every = rotate_every(allow_none=True)
    publish_ahead = publish_ahead(allow_none=True)
    retire_after = retire_after(allow_none=True)


class AssociateAlias(Request):
    """An alias to bind."""

    alias = alias(required=True)
    alias_taken = alias_taken(load_default="move")


class SetCertificates(Request):
    """The certificates of a key."""

    certificates = BoundedList(
        certificate(),
        1,
        MAX_CERTIFICATES,
        description="X.509 certificates in PEM, the key's own first, each signed by the next.",
        required=True,
    )


# Members of a key that are left out, and not null, if it has none.
_ABSENT_IF_NONE: Final = (
    *("provider", "rules", "publish_ahead", "retire_after", "retires", "follows"),
)


class Key(Body):
    """A key; a form that its algorithm lacks is null."""

    kid = kid(required=True)
    alg = Text("Name of the algorithm.", required=True)
    kty = Text("JWK key type.", required=True)
    jwk = jwk("Public JWK (RFC 7517).", required=True, allow_none=True)
    b58 = Text("Public key in base58; for EC the compressed point.", required=True, allow_none=True)
    multikey = Text("Public key as W3C Multikey.", required=True, allow_none=True)
    did = Text("The key as did:key.", required=True, allow_none=True)
    aliases = ListOf(alias(), required=True)
    labels = labels(required=True)
    operations = ListOf(Text(), "Permitted operations.", required=True)
    exportable = Flag(required=True)
    imported = Flag("true if its private part or secret was imported; otherwise absent.")
    provider = provider(
        "Provider that has the private key; absent if the service has it.",
    )
    installed = Flag(
        "false if the algorithm is not installed, so that the key cannot be used; otherwise absent."
    )
    state = state_in_effect(required=True, attribute="current_state")
    created = Timestamp(required=True)
    expires = Timestamp(
        "Time from which the key only verifies and decrypts.", required=True, allow_none=True
    )
    deletes = Timestamp("Time at which the key is deleted.", required=True, allow_none=True)
    last_used = Timestamp(
        "Time of its last use, accurate to five minutes; null if unknown.",
        required=True,
        allow_none=True,
    )
    rotate_every = rotate_every()
    rotates = Timestamp("Time of its next scheduled rotation; absent if there is none.")
    publish_ahead = publish_ahead()
    retire_after = retire_after()
    retires = Timestamp("Time at which the replaced key is disabled; absent if it stays.")
    next = Text(
        "The next key, which the next rotation puts in its place.",
        required=True,
        allow_none=True,
        attribute="next_kid",
    )
    follows = Text("The key that this next key will replace; absent for another key.")
    certificates = ListOf(
        Text(),
        "Its certificate and the chain above it, in DER as base64; absent if it has none.",
    )
    x5t_s256 = Text(
        "SHA-256 thumbprint of its certificate (RFC 7515); absent if it has none.",
        data_key="x5t#S256",
    )
    rules = Part(KeyRules, metadata={"description": "Its rules; absent if it has none."})

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        if many:
            return [self.dump(one) for one in obj]
        written = super().dump(obj)
        if obj.rotate_every is None:
            del written["rotate_every"], written["rotates"]
        if not obj.imported:
            del written["imported"]
        for name in _ABSENT_IF_NONE:
            if written[name] is None:
                del written[name]
        if obj.certificates:
            written["x5t#S256"] = thumbprint_of(obj)
        else:
            del written["certificates"]
        return written


class KeyAndEarlier(NamedTuple):
    """A key, and the kids of the keys that rotations replaced by it, newest first."""

    record: KeyRecord
    predecessors: Sequence[str]


class KeyWithCose(Key):
    """A key, with its COSE_Key and its predecessors; a form that it lacks is null."""

    cose_key = Base64Url("Public key as COSE_Key (RFC 9052).", required=True, allow_none=True)
    predecessors = ListOf(
        kid(), "Its predecessors, which rotations replaced, newest first; absent if there are none."
    )

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Dump a KeyAndEarlier; the COSE_Key is made from the JWK."""
        written = super().dump(obj.record, many=many)
        made = cose_key(obj.record.jwk)
        written["cose_key"] = None if made is None else b64url(made)
        if obj.predecessors:
            written["predecessors"] = obj.predecessors
        return written


class GeneratedKeys(Body):
    """The new keys, in order of creation."""

    keys = ListOf(Part(Key), required=True)


class PrivateJwk(Body):
    """A private key."""

    jwk = jwk("The private JWK (RFC 7517).", required=True)


class Association(Body):
    """An alias and its key."""

    alias = alias(required=True)
    kid = kid(required=True)


class Deletion(Body):
    """A deletion, done or scheduled."""

    message = Text(
        required=True, validate=validate.OneOf(("Key deleted", "Key deletion scheduled"))
    )
    kid = kid(required=True)
    deletes = Timestamp("Time at which the key is deleted, if that is scheduled.")
