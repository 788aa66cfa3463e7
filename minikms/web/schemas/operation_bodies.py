"""Bodies of the calls that use a key: each request, followed by its answer."""

from typing import Any, ClassVar, Final

from marshmallow import fields, post_load, validate

from minikms.keys.signing import SignOptions
from minikms.web.schemas.base import Body, ByKey, ByKeyOrJwk, Request
from minikms.web.schemas.fields import (
    Base64Url,
    BoundedList,
    Flag,
    ListOf,
    Part,
    Text,
    jose_alg,
    jwk,
    kid,
)
from minikms.web.schemas.problem_body import Problem

_OPTIONS: Final = frozenset(("alg", "encoding", "prehashed"))
_NO_OPTIONS: Final = SignOptions()


class _SignatureOptions(Request):
    alg = jose_alg()
    encoding = Text(
        validate=validate.OneOf(("raw", "der")),
        metadata={
            "description": "Form of the signature: ECDSA's r‖s, or its DER.",
            "x-component": "SignatureEncoding",
        },
    )
    prehashed = Flag(metadata={"description": "Whether the data is the digest already."})

    @post_load
    def _to_options(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if _OPTIONS.isdisjoint(data):
            data["options"] = _NO_OPTIONS
        else:
            given = {name: data.pop(name) for name in _OPTIONS if name in data}
            data["options"] = SignOptions(**given)
        return data


class SignRequest(ByKey, _SignatureOptions):
    """Bytes to sign."""

    data = Base64Url("The message, or its digest.", required=True)


class Signature(Body):
    """A signature, the JOSE name it is for, null where it has none, and the key that made it."""

    sig = Base64Url("The signature.", required=True)
    alg = Text(required=True, allow_none=True, metadata={"description": "JOSE name it is for."})
    kid = kid(required=True)


class VerifyRequest(ByKeyOrJwk, _SignatureOptions):
    """Bytes and their signature."""

    data = Base64Url("The message, or its digest.", required=True)
    sig = Base64Url("The signature.", required=True)


class Verification(Body):
    """Whether it is good."""

    valid = Flag(required=True)


MAX_BATCH: Final = 1000
MAX_RANDOM: Final = 65536  # bytes


def _batch_text(description: str) -> Text:
    return Text(
        required=True,
        metadata={"description": f"{description} In base64url; what is not, is its own problem."},
    )


class BatchSignItem(Request):
    """One message of a batch."""

    data = _batch_text("The message, or its digest.")


class BatchSignRequest(ByKey, _SignatureOptions):
    """Messages to sign, in order."""

    items = BoundedList(Part(BatchSignItem), 1, MAX_BATCH, required=True)


class SignResult(Body):
    """A signature, or the problem of its message."""

    sig = Base64Url("The signature.")
    problem = Part(Problem)


class BatchSignature(Body):
    """What became of each message, in order."""

    results = ListOf(Part(SignResult), required=True)


class BatchVerifyItem(BatchSignItem):
    """One message of a batch, and its signature."""

    sig = _batch_text("The signature.")


class BatchVerifyRequest(ByKeyOrJwk, _SignatureOptions):
    """Messages and their signatures, in order."""

    items = BoundedList(Part(BatchVerifyItem), 1, MAX_BATCH, required=True)


class VerifyResult(Body):
    """Whether it is good, or the problem of its message."""

    valid = Flag()
    problem = Part(Problem)


class BatchVerification(Body):
    """What became of each message, in order."""

    results = ListOf(Part(VerifyResult), required=True)


class EncryptRequest(ByKeyOrJwk):
    """Bytes to encrypt."""

    plaintext = Base64Url("The plaintext.", required=True)
    aad = Base64Url("Data that is bound to it and not encrypted; not for RSA.")


class EncryptedData(Body):
    """What decrypt needs."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce, null for RSA.", required=True, allow_none=True)
    tag = Base64Url("The authentication tag, null for RSA.", required=True, allow_none=True)


class DecryptRequest(ByKey):
    """What encrypt gave."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce; not for RSA.", allow_none=True)
    tag = Base64Url("The authentication tag; not for RSA.", allow_none=True)
    aad = Base64Url("The data that is bound to it; not for RSA.")


class DecryptedData(Body):
    """What was encrypted."""

    plaintext = Base64Url("The plaintext.", required=True)


class WrapRequest(ByKey):
    """A key to wrap."""

    key = Base64Url("The secret bytes, 16 at least.", required=True)


class WrappedKey(Body):
    """A wrapped key."""

    wrapped = Base64Url("The wrapped secret bytes.", required=True)


class UnwrapRequest(ByKey):
    """A wrapped key."""

    wrapped = Base64Url("What wrap gave.", required=True)


class UnwrappedKey(Body):
    """What was wrapped."""

    key = Base64Url("The secret bytes.", required=True)


class DeriveRequest(ByKey):
    """A peer to agree with."""

    max_size: ClassVar[int | None] = Request.max_size
    peer = jwk("The peer's public JWK, on the key's own curve.", required=True)


class SharedSecret(Body):
    """The raw ECDH secret, which needs a key derivation function before it is a key."""

    secret = Base64Url("The shared secret.", required=True)


class MacRequest(ByKey):
    """Bytes to authenticate."""

    data = Base64Url("The message.", required=True)


class AuthenticationCode(Body):
    """An authentication code."""

    mac = Base64Url("The authentication code.", required=True)


class VerifyMacRequest(MacRequest):
    """Bytes and their authentication code."""

    mac = Base64Url("The authentication code.", required=True)


class RandomRequest(Request):
    """Random bytes to make."""

    length = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, MAX_RANDOM),
        metadata={"description": "How many bytes."},
    )


class RandomBytes(Body):
    """Random bytes."""

    bytes = Base64Url("The bytes.", required=True)
