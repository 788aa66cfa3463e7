"""Handlers of what is done with a key, and of randomness."""

from collections.abc import Sequence
from typing import Any, TypeVar

from aiohttp import web
from marshmallow import Schema

from minikms.encodings import b64url_decode
from minikms.errors import KmsError, ValidationFailed
from minikms.keys.encryption import Decrypt, Derive, Encrypt, Unwrap, Wrap
from minikms.keys.mac import ComputeMac, VerifyMac
from minikms.keys.operation import BatchOperation
from minikms.keys.signing import Sign, SignBatch, Verify, VerifyBatch
from minikms.plugin.protocol import Sealed
from minikms.web.callers import Presence
from minikms.web.handlers.operation import operation
from minikms.web.http.problems import problem
from minikms.web.messages import answer, load, profile, service
from minikms.web.schemas import operations as schemas

ItemT = TypeVar("ItemT")

_SIGN = schemas.SignRequest()
_VERIFY = schemas.VerifyRequest()
_BATCH_SIGN = schemas.BatchSignRequest()
_BATCH_VERIFY = schemas.BatchVerifyRequest()
_ENCRYPT = schemas.EncryptRequest()
_DECRYPT = schemas.DecryptRequest()
_WRAP = schemas.WrapRequest()
_UNWRAP = schemas.UnwrapRequest()
_DERIVE = schemas.DeriveRequest()
_MAC = schemas.MacRequest()
_VERIFY_MAC = schemas.VerifyMacRequest()
_RANDOM = schemas.RandomRequest()

_SIGNATURE = schemas.Signature()
_VERIFICATION = schemas.Verification()
_BATCH_SIGNATURE = schemas.BatchSignature()
_BATCH_VERIFICATION = schemas.BatchVerification()
_CIPHERTEXT = schemas.Ciphertext()
_PLAINTEXT = schemas.Plaintext()
_WRAPPED = schemas.WrappedKey()
_UNWRAPPED = schemas.UnwrappedKey()
_SECRET = schemas.SharedSecret()
_CODE = schemas.AuthenticationCode()
_BYTES = schemas.RandomBytes()


@operation(_SIGN, _SIGNATURE)
def sign(body: dict[str, Any]) -> Sign:
    """Sign bytes with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: SignRequest
    x-problems:
      [key-not-found, alias-not-found, key-not-usable, unsupported-operation, unsupported-option]
    responses:
      "200": {description: The signature., x-answer: Signature}
    """
    return Sign(body["data"], body["options"])


@operation(_VERIFY, _VERIFICATION, "valid")
def verify(body: dict[str, Any]) -> Verify:
    """Verify a signature with a key or a public JWK.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: VerifyRequest
    x-problems:
      - key-not-found
      - alias-not-found
      - key-not-usable
      - unsupported-operation
      - unsupported-option
      - invalid-key
    responses:
      "200": {description: Whether the signature is good., x-answer: Verification}
    """
    return Verify(body["data"], body["sig"], body["options"])


async def sign_batch(request: web.Request) -> web.Response:
    """Sign many messages with one key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: BatchSignRequest
    x-problems:
      [key-not-found, alias-not-found, key-not-usable, unsupported-operation, unsupported-option]
    responses:
      "200": {description: "A signature or a problem for each, in order.", x-answer: BatchSignature}
    """
    body = await load(request, _BATCH_SIGN)
    messages = [_decode(item, "data") for item in body["items"]]
    return await _perform_batch(
        request, body, SignBatch(body["options"]), messages, "sig", _BATCH_SIGNATURE
    )


async def verify_batch(request: web.Request) -> web.Response:
    """Verify many signatures with one key or public JWK.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: BatchVerifyRequest
    x-problems:
      - key-not-found
      - alias-not-found
      - key-not-usable
      - unsupported-operation
      - unsupported-option
      - invalid-key
    responses:
      "200":
        description: Whether each is good, or its problem, in order.
        x-answer: BatchVerification
    """
    body = await load(request, _BATCH_VERIFY)
    pairs = [_decode_pair(item) for item in body["items"]]
    return await _perform_batch(
        request, body, VerifyBatch(body["options"]), pairs, "valid", _BATCH_VERIFICATION
    )


@operation(_ENCRYPT, _CIPHERTEXT)
def encrypt(body: dict[str, Any]) -> Encrypt:
    """Encrypt bytes with a key, under a nonce made here.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: EncryptRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: What decrypt needs., x-answer: Ciphertext}
    """
    return Encrypt(body["plaintext"], body["aad"])


@operation(_DECRYPT, _PLAINTEXT, "plaintext")
def decrypt(body: dict[str, Any]) -> Decrypt:
    """Decrypt what was encrypted with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: DecryptRequest
    x-problems:
      [key-not-found, alias-not-found, key-not-usable, unsupported-operation, decryption-failed]
    responses:
      "200": {description: The plaintext., x-answer: Plaintext}
    """
    sealed = Sealed(body["ciphertext"], body["nonce"], body["tag"])
    return Decrypt(sealed, body["aad"])


@operation(_WRAP, _WRAPPED, "wrapped")
def wrap(body: dict[str, Any]) -> Wrap:
    """Wrap secret bytes with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: WrapRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation, invalid-key]
    responses:
      "200": {description: The wrapped bytes., x-answer: WrappedKey}
    """
    return Wrap(body["key"])


@operation(_UNWRAP, _UNWRAPPED, "key")
def unwrap(body: dict[str, Any]) -> Unwrap:
    """Unwrap secret bytes with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: UnwrapRequest
    x-problems:
      [key-not-found, alias-not-found, key-not-usable, unsupported-operation, decryption-failed]
    responses:
      "200": {description: The secret bytes., x-answer: UnwrappedKey}
    """
    return Unwrap(body["wrapped"])


@operation(_DERIVE, _SECRET, "secret")
def derive(body: dict[str, Any]) -> Derive:
    """Agree on a raw shared secret with a peer; apply a key derivation function to it.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: DeriveRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation, invalid-key]
    responses:
      "200": {description: The raw shared secret., x-answer: SharedSecret}
    """
    return Derive(body["peer"])


@operation(_MAC, _CODE, "mac")
def mac(body: dict[str, Any]) -> ComputeMac:
    """Make an authentication code with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: MacRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: The code., x-answer: AuthenticationCode}
    """
    return ComputeMac(body["data"])


@operation(_VERIFY_MAC, _VERIFICATION, "valid")
def verify_mac(body: dict[str, Any]) -> VerifyMac:
    """Verify an authentication code with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: VerifyMacRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: Whether the code is good., x-answer: Verification}
    """
    return VerifyMac(body["data"], body["mac"])


async def random(request: web.Request) -> web.Response:
    """Make random bytes.

    ---
    tags: [operations]
    x-body: RandomRequest
    responses:
      "200": {description: The bytes., x-answer: RandomBytes}
    """
    body = await load(request, _RANDOM)
    return answer(_BYTES, {"bytes": service(request).random(body["length"])})


async def _perform_batch(
    request: web.Request,
    body: dict[str, Any],
    batch: BatchOperation[Any, ItemT, Any],
    items: Sequence[ItemT | KmsError],
    member: str,
    answer_schema: Schema,
) -> web.Response:
    """The answer to a batch: of each item its result, as `member`, or its problem."""
    results = await service(request).perform_batch(
        profile(request), body["by"], batch, items, Presence(request)
    )
    shown = [
        {"problem": problem(result)} if isinstance(result, KmsError) else {member: result}
        for result in results
    ]
    return answer(answer_schema, {"results": shown})


def _decode(item: dict[str, Any], name: str) -> bytes | KmsError:
    try:
        return b64url_decode(item[name])
    except ValueError:
        return ValidationFailed(errors=[(f"#/{name}", "Not base64url.")])


def _decode_pair(item: dict[str, Any]) -> tuple[bytes, bytes] | KmsError:
    data, sig = _decode(item, "data"), _decode(item, "sig")
    if isinstance(data, KmsError):
        return data
    return sig if isinstance(sig, KmsError) else (data, sig)
