"""Bodies of the calls that use a key: each request, followed by its answer."""

from typing import ClassVar, Final

from marshmallow import validate

from minikms.web.schemas.base import Body, ByKey, ByKeyOrJwk, Request
from minikms.web.schemas.fields import (
    BYTES,
    Base64Url,
    BoundedList,
    Flag,
    ListOf,
    Part,
    Text,
    number,
)
from minikms.web.schemas.named_fields import jose_alg, jwk, kid
from minikms.web.schemas.system_bodies import Problem


class _SignatureOptions(Request):
    alg = jose_alg()
    encoding = Text(
        "Form of an ECDSA signature: r‖s (raw) or DER.",
        component="SignatureEncoding",
        load_default="raw",
        validate=validate.OneOf(("raw", "der")),
    )
    prehashed = Flag("Whether data is the digest of the message.", load_default=False)


class SignRequest(ByKey, _SignatureOptions):
    """Bytes to sign."""

    data = Base64Url("The message, or its digest.", required=True)


class Signature(Body):
    """A signature, with its key and its JOSE name."""

    sig = Base64Url("The signature.", required=True)
    alg = Text("JOSE name of the signature; null if it has none.", required=True, allow_none=True)
    kid = kid(required=True)


class VerifyRequest(ByKeyOrJwk, _SignatureOptions):
    """Bytes and a signature to verify."""

    data = Base64Url("The message, or its digest.", required=True)
    sig = Base64Url("The signature.", required=True)


class Verification(Body):
    """The result of a verification."""

    valid = Flag(required=True)


MAX_BATCH: Final = 1000
MAX_RANDOM: Final = 65536  # bytes


def _batch_text(description: str) -> Text:
    return Text(
        f"{description} Base64url; a malformed item gets its own problem.",
        required=True,
        metadata=BYTES,
    )


class BatchSignItem(Request):
    """One message of a batch."""

    data = _batch_text("The message, or its digest.")


class BatchSignRequest(ByKey, _SignatureOptions):
    """Messages to sign."""

    items = BoundedList(Part(BatchSignItem), 1, MAX_BATCH, required=True)


class SignResult(Body):
    """A signature, or the problem of its message."""

    sig = Base64Url("The signature.")
    problem = Part(Problem)


class BatchSignature(Body):
    """The results, in the order of the messages."""

    results = ListOf(Part(SignResult), required=True)


class BatchVerifyItem(BatchSignItem):
    """One message of a batch, with its signature."""

    sig = _batch_text("The signature.")


class BatchVerifyRequest(ByKeyOrJwk, _SignatureOptions):
    """Messages and their signatures to verify."""

    items = BoundedList(Part(BatchVerifyItem), 1, MAX_BATCH, required=True)


class VerifyResult(Body):
    """The result of a verification, or the problem of its message."""

    valid = Flag()
    problem = Part(Problem)


class BatchVerification(Body):
    """The results, in the order of the messages."""

    results = ListOf(Part(VerifyResult), required=True)


class EncryptRequest(ByKeyOrJwk):
    """Bytes to encrypt."""

    plaintext = Base64Url("The plaintext.", required=True)
    aad = Base64Url("Data that is authenticated but not encrypted; not for RSA.")


class EncryptedData(Body):
    """Encrypted data."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce; null for RSA.", required=True, allow_none=True)
    tag = Base64Url("The authentication tag; null for RSA.", required=True, allow_none=True)


class DecryptRequest(ByKey):
    """Encrypted data to decrypt."""

    ciphertext = Base64Url("The ciphertext.", required=True)
    nonce = Base64Url("The nonce; not for RSA.", allow_none=True)
    tag = Base64Url("The authentication tag; not for RSA.", allow_none=True)
    aad = Base64Url("The data that is authenticated but not encrypted; not for RSA.")


class DecryptedData(Body):
    """Decrypted data."""

    plaintext = Base64Url("The plaintext.", required=True)


class WrapRequest(ByKey):
    """A key to wrap."""

    key = Base64Url("The secret bytes; at least 16.", required=True)


class WrappedKey(Body):
    """A wrapped key."""

    wrapped = Base64Url("The wrapped secret bytes.", required=True)


class UnwrapRequest(ByKey):
    """A wrapped key to unwrap."""

    wrapped = Base64Url("The wrapped secret bytes.", required=True)


class UnwrappedKey(Body):
    """An unwrapped key."""

    key = Base64Url("The secret bytes.", required=True)


class DeriveRequest(ByKey):
    """A peer to agree on a secret with."""

    max_size: ClassVar[int | None] = Request.max_size
    peer = jwk("The peer's public JWK, on the key's own curve.", required=True)


class SharedSecret(Body):
    """The raw ECDH secret; derive a key from it by a key derivation function."""

    secret = Base64Url("The shared secret.", required=True)


class MacRequest(ByKey):
    """Bytes to authenticate."""

    data = Base64Url("The message.", required=True)


class AuthenticationCode(Body):
    """An authentication code."""

    mac = Base64Url("The authentication code.", required=True)


class VerifyMacRequest(MacRequest):
    """Bytes and an authentication code to verify."""

    mac = Base64Url("The authentication code.", required=True)


class RandomRequest(Request):
    """Random bytes to make."""

    length = number("Number of bytes.", MAX_RANDOM)


class RandomBytes(Body):
    """Random bytes."""

    bytes = Base64Url("The bytes.", required=True)
