"""The answers of the service, as frozen dataclasses.

An answer may have more members than its class, since later services may add some. The file is over
300 lines, since it has every answer.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from minikms_client.errors import ProblemError, problem
from minikms_client.shapes import (
    each,
    flag,
    members,
    moment,
    number,
    optional,
    seconds,
    text,
    texts,
)
from minikms_client.wire import decode


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without its private part.

    `jwk` is its public JWK, `b58` the public key in base58, `multikey` its Multikey and `did` its
    did:key; each is None if the key has no such form, like a symmetric key. `certificates` are in
    DER, the key's own first, and `x5t_s256` is the thumbprint of the first; a key may have none.
    `imported` is true if its private part or secret was imported. `provider` names the provider,
    such as an HSM, that has its private part; None if the service has it. `rules` are the rules of
    the key, as a JSON object; None if it has none. The service rotates it every `rotate_every`, the
    next time at `rotates`; both are None without a schedule. `next` is the kid of its next key,
    which is made `publish_ahead` before a scheduled rotation, has the `state` "next", and `follows`
    this key. A replaced key is disabled at `retires`, which is `retire_after` later than its
    rotation. All five are None if they do not apply. `deletes` is the time of its deletion, None if
    that is not scheduled; until then it is disabled, unless it was made with `delete_after`.
    `last_used` is the time of its last use, accurate to five minutes, None if unknown. `cose_key`
    is its COSE_Key, and `predecessors` are the kids of keys that it replaced in rotations, newest
    first; only `get_key` and `find_key` return both.
    """

    kid: str
    alg: str
    kty: str
    jwk: Mapping[str, Any] | None
    b58: str | None
    multikey: str | None
    did: str | None
    aliases: tuple[str, ...]
    labels: Mapping[str, str]
    operations: tuple[str, ...]
    exportable: bool
    state: str
    created: datetime
    expires: datetime | None
    deletes: datetime | None
    installed: bool = True
    imported: bool = False
    provider: str | None = None
    rotate_every: timedelta | None = None
    rotates: datetime | None = None
    publish_ahead: timedelta | None = None
    retire_after: timedelta | None = None
    retires: datetime | None = None
    next: str | None = None
    follows: str | None = None
    last_used: datetime | None = field(default=None, compare=False)
    certificates: tuple[bytes, ...] = ()
    x5t_s256: str | None = None
    rules: Mapping[str, Any] | None = None
    cose_key: bytes | None = field(default=None, compare=False)
    predecessors: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Key":
        """The key of a key object."""
        return cls(
            kid=text(data["kid"]),
            alg=text(data["alg"]),
            kty=text(data["kty"]),
            jwk=optional(members, data["jwk"]),
            b58=optional(text, data["b58"]),
            multikey=optional(text, data["multikey"]),
            did=optional(text, data["did"]),
            aliases=texts(data["aliases"]),
            labels={name: text(value) for name, value in members(data["labels"]).items()},
            operations=texts(data["operations"]),
            exportable=flag(data["exportable"]),
            state=text(data["state"]),
            created=moment(data["created"]),
            expires=optional(moment, data["expires"]),
            deletes=optional(moment, data["deletes"]),
            installed=flag(data.get("installed", True)),
            imported=flag(data.get("imported", False)),
            provider=optional(text, data.get("provider")),
            rotate_every=optional(seconds, data.get("rotate_every")),
            rotates=optional(moment, data.get("rotates")),
            publish_ahead=optional(seconds, data.get("publish_ahead")),
            retire_after=optional(seconds, data.get("retire_after")),
            retires=optional(moment, data.get("retires")),
            next=optional(text, data.get("next")),
            follows=optional(text, data.get("follows")),
            last_used=optional(moment, data.get("last_used")),
            certificates=each(_der, data.get("certificates", [])),
            x5t_s256=optional(text, data.get("x5t#S256")),
            rules=optional(members, data.get("rules")),
            cose_key=optional(decode, data.get("cose_key")),
            predecessors=texts(data.get("predecessors", [])),
        )


def _der(value: object) -> bytes:
    """A certificate in base64 (RFC 7517 section 4.7)."""
    return base64.b64decode(text(value), validate=True)


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A page of a listing; `after` is the start of the next page, None on the last."""

    keys: tuple[Key, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Association:
    """An alias and the key that it names."""

    alias: str
    kid: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Association":
        """The association of an answer."""
        return cls(text(data["alias"]), text(data["kid"]))


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of a key; `deletes` is its time, None if the key is already deleted."""

    kid: str
    deletes: datetime | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Deletion":
        """The deletion of an answer."""
        return cls(text(data["kid"]), optional(moment, data.get("deletes")))


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, its JOSE `alg` (None if JOSE has no name for it), and the kid of its key."""

    sig: bytes
    alg: str | None
    kid: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Signature":
        """The signature of an answer."""
        return cls(decode(data["sig"]), optional(text, data["alg"]), text(data["kid"]))


@dataclass(frozen=True, slots=True)
class SignResult:
    """The result of one item of a batch: a signature, or the problem of the item."""

    sig: bytes | None
    problem: ProblemError | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SignResult":
        """The result of an answer."""
        return cls(optional(decode, data.get("sig")), _problem(data))


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of one item of a batch: its validity, or the problem of the item."""

    valid: bool | None
    problem: ProblemError | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "VerifyResult":
        """The result of an answer."""
        return cls(optional(flag, data.get("valid")), _problem(data))


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A ciphertext; `nonce` and `tag` are None for an algorithm without them, such as RSA-OAEP."""

    ciphertext: bytes
    nonce: bytes | None
    tag: bytes | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Ciphertext":
        """The ciphertext of an answer."""
        nonce, tag = optional(decode, data["nonce"]), optional(decode, data["tag"])
        return cls(decode(data["ciphertext"]), nonce, tag)


@dataclass(frozen=True, slots=True)
class Box:
    """A box, and the nonce that opening it needs."""

    ciphertext: bytes
    nonce: bytes

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Box":
        """The box of an answer."""
        return cls(decode(data["ciphertext"]), decode(data["nonce"]))


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A DIDComm v1 message, with the recipient's verkey and the sender's, None if anonymous."""

    message: bytes
    to: str
    from_: str | None
    kid: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Unpacked":
        """The message of an answer."""
        sender = optional(text, data["from"])
        return cls(decode(data["message"]), text(data["to"]), sender, text(data["kid"]))


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """A secret, and its ciphertext for the holder of the key."""

    ciphertext: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Encapsulated":
        """The secret of an answer."""
        return cls(decode(data["ciphertext"]), decode(data["secret"]))


@dataclass(frozen=True, slots=True)
class HpkeSealed:
    """An HPKE message: the encapsulated key and the ciphertext."""

    enc: bytes
    ciphertext: bytes

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "HpkeSealed":
        """The message of an answer."""
        return cls(decode(data["enc"]), decode(data["ciphertext"]))


@dataclass(frozen=True, slots=True)
class DecryptedJwe:
    """The plaintext of a JWE, and its header, which is authenticated."""

    plaintext: bytes
    header: Mapping[str, Any]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DecryptedJwe":
        """The message of an answer."""
        return cls(decode(data["plaintext"]), members(data["header"]))


@dataclass(frozen=True, slots=True)
class CoseVerification:
    """The result of verifying a COSE message; `payload` is None if it is not valid.

    `protected` and `unprotected` are the header maps in CBOR.
    """

    valid: bool
    payload: bytes | None
    protected: bytes
    unprotected: bytes

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CoseVerification":
        """The result of an answer."""
        return cls(
            flag(data["valid"]),
            optional(decode, data["payload"]),
            decode(data["protected"]),
            decode(data["unprotected"]),
        )


@dataclass(frozen=True, slots=True)
class JwsVerification:
    """The validity of a JWS, its header, and its payload if it is valid.

    `header` is None for a string that is not a JWS. Trust it only if the JWS is valid.
    """

    valid: bool
    header: Mapping[str, Any] | None
    payload: bytes | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "JwsVerification":
        """The verification of an answer."""
        header, payload = optional(members, data["header"]), optional(decode, data["payload"])
        return cls(flag(data["valid"]), header, payload)


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The public keys of a profile (RFC 7517 section 5), and the set's `etag`."""

    keys: tuple[Mapping[str, Any], ...]
    etag: str | None


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """The settings of a profile; None for no bound.

    `min_deletion_delay` and `jwks_max_age` are in seconds. `jwks` is "public" if everyone may read
    its JWK Set, else "private".
    """

    max_keys: int | None = None
    min_deletion_delay: int | None = None
    calls_per_second: int | None = None
    delete_scope: bool = False
    jwks: str = "private"
    frozen: bool = False
    jwks_max_age: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ProfileSettings":
        """The settings of an answer."""
        return cls(
            max_keys=optional(number, data.get("max_keys")),
            min_deletion_delay=optional(number, data.get("min_deletion_delay")),
            calls_per_second=optional(number, data.get("calls_per_second")),
            delete_scope=flag(data.get("delete_scope", False)),
            jwks=text(data.get("jwks", "private")),  # an older service does not say
            frozen=flag(data.get("frozen", False)),
            jwks_max_age=optional(number, data.get("jwks_max_age")),
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with its settings, as in ProfileSettings.

    `jwks` is "public" if everyone may read its JWK Set, or else "private".
    """

    name: str
    jwks: str
    max_keys: int | None = None
    min_deletion_delay: int | None = None
    calls_per_second: int | None = None
    delete_scope: bool = False
    frozen: bool = False
    jwks_max_age: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Profile":
        """The profile of an answer."""
        settings = ProfileSettings.from_json(data)
        return cls(
            text(data["name"]),
            text(data["jwks"]),
            settings.max_keys,
            settings.min_deletion_delay,
            settings.calls_per_second,
            settings.delete_scope,
            settings.frozen,
            settings.jwks_max_age,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """The record of a token; `profiles` is None if it is valid in all.

    `last_used` is the time of its last use, accurate to five minutes, None if unknown.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None = field(default=None, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Token":
        """The token of a record."""
        return cls(
            id=text(data["id"]),
            name=text(data["name"]),
            scopes=texts(data["scopes"]),
            profiles=optional(texts, data["profiles"]),
            created=moment(data["created"]),
            expires=optional(moment, data["expires"]),
            last_used=optional(moment, data.get("last_used")),
        )


class TokenPage(tuple[Token, ...]):
    """Tokens; `after` is the start of the next page, None on the last."""

    after: str | None

    @classmethod
    def of(cls, tokens: Iterable[Token], after: str | None) -> "TokenPage":
        """Make a page of these tokens."""
        page = cls(tokens)
        page.after = after
        return page


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A role of a caller; `profiles` is None if it is valid in all."""

    name: str
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "OwnRole":
        """The role of an answer."""
        return cls(text(data["name"]), texts(data["scopes"]), optional(texts, data["profiles"]))


@dataclass(frozen=True, slots=True)
class OwnToken:
    """The permissions of a caller.

    `id` is None unless the token is in the store; `name` is None if callers need no token.
    `profiles` is None if the token is valid in all. A caller with `roles` is the `subject` of an
    `issuer`, and has the scopes of each role in the profiles of this role alone.
    """

    id: str | None
    name: str | None
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None
    expires: datetime | None
    issuer: str | None = None
    subject: str | None = None
    roles: tuple[OwnRole, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "OwnToken":
        """The token of an answer."""
        return cls(
            id=optional(text, data["id"]),
            name=optional(text, data["name"]),
            scopes=texts(data["scopes"]),
            profiles=optional(texts, data["profiles"]),
            expires=optional(moment, data["expires"]),
            issuer=optional(text, data.get("issuer")),
            subject=optional(text, data.get("subject")),
            roles=each(OwnRole.from_json, data.get("roles", [])),  # an older service does not say
        )


@dataclass(frozen=True, slots=True)
class ApproverOfUse:
    """Somebody who may approve; `passkey` and `rp_id` are None for a key that signs a JWS."""

    name: str
    passkey: str | None
    rp_id: str | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ApproverOfUse":
        """The approver of an answer."""
        return cls(
            text(data["name"]), optional(text, data["passkey"]), optional(text, data["rp_id"])
        )


@dataclass(frozen=True, slots=True)
class Approval:
    """A use of a key that waits for approvals, or has them.

    Its `state` is "pending" or "approved". Approvers sign `document`, whose SHA-256 is `challenge`.
    `data` has the bytes that the key will sign; it is empty if they are long, or not known yet.
    """

    id: str
    kid: str
    state: str
    threshold: int
    approved_by: tuple[str, ...]
    approvers: tuple[ApproverOfUse, ...]
    expires: datetime
    document: bytes
    challenge: bytes
    data: tuple[bytes, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Approval":
        """The approval of an answer."""
        return cls(
            id=text(data["id"]),
            kid=text(data["kid"]),
            state=text(data["state"]),
            threshold=number(data["threshold"]),
            approved_by=texts(data["approved_by"]),
            approvers=each(ApproverOfUse.from_json, data["approvers"]),
            expires=datetime.fromtimestamp(number(data["expires"]), UTC),
            document=decode(data["document"]),
            challenge=decode(data["challenge"]),
            data=each(decode, data["data"]),
        )


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token. `token` is the secret; no later answer contains it."""

    token: str = field(repr=False)
    record: Token

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NewToken":
        """The token of an answer."""
        return cls(text(data["token"]), Token.from_json(data["record"]))


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A call in the audit log.

    `who` is empty if the caller is unknown. `alias` is the alias by which a failed call requested
    its key, and `admitted` is true if the caller of a failed call may use the profile. `new_kid` is
    the key that replaced `kid` in a rotation, or its next key. `certificate` has the serial number,
    the subject and the profile of a certificate that the call issued, and `crl` the number of a
    revocation list that it made, with the count of its entries. `batch` has the number of items of
    a batch, and of its failed items, if there are any. `rule` is the rule of the key that refused
    the call, and `provider` the provider that the call used. `object_id` is the identifier of an
    object that was destroyed there. `profile_id` is the id of the profile; it tells the profile
    from earlier ones with its name. `roles` are those of the caller.
    """

    time: datetime
    request_id: str
    who: str
    address: str
    subject: str | None
    profile: str | None
    kid: str | None
    alg: str | None
    token: str | None
    operation: str
    outcome: str
    alias: str | None = None
    new_kid: str | None = None
    certificate: Mapping[str, Any] | None = None
    crl: Mapping[str, Any] | None = None
    rule: str | None = None
    provider: str | None = None
    object_id: str | None = None
    admitted: bool = False
    profile_id: str | None = None
    batch: Mapping[str, Any] | None = None
    roles: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AuditEvent":
        """The event of an answer."""
        return cls(
            time=moment(data["time"]),
            request_id=text(data["request_id"]),
            who=text(data["who"]),
            address=text(data["address"]),
            subject=optional(text, data["subject"]),
            profile=optional(text, data["profile"]),
            kid=optional(text, data["kid"]),
            alg=optional(text, data["alg"]),
            token=optional(text, data["token"]),
            operation=text(data["operation"]),
            outcome=text(data["outcome"]),
            alias=optional(text, data.get("alias")),
            new_kid=optional(text, data.get("new_kid")),
            certificate=optional(members, data.get("certificate")),
            crl=optional(members, data.get("crl")),
            rule=optional(text, data.get("rule")),
            provider=optional(text, data.get("provider")),
            object_id=optional(text, data.get("object_id")),
            admitted=flag(data.get("admitted", False)),
            profile_id=optional(text, data.get("profile_id")),
            batch=optional(members, data.get("batch")),
            roles=texts(data.get("roles", [])),
        )


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of the audit log; `after` is the start of the next page, None on the last."""

    events: tuple[AuditEvent, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm of the service.

    A key has an operation in `opt_in` only if it was requested for the key. `source` is the Python
    package that provides the algorithm. `providers` are the providers that support it.
    """

    name: str
    aliases: tuple[str, ...]
    kty: str
    jose_algs: tuple[str, ...]
    operations: tuple[str, ...]
    opt_in: tuple[str, ...]
    source: str
    providers: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Algorithm":
        """The algorithm of an answer."""
        return cls(
            name=text(data["name"]),
            aliases=texts(data["aliases"]),
            kty=text(data["kty"]),
            jose_algs=texts(data["jose_algs"]),
            operations=texts(data["operations"]),
            opt_in=texts(data["opt_in"]),
            source=text(data["source"]),
            providers=texts(data.get("providers", [])),
        )


def _problem(data: Mapping[str, Any]) -> ProblemError | None:
    """Return the problem of an item, if it has one."""
    return problem(data["problem"]) if "problem" in data else None
