"""Handlers of what is done with a key, and of randomness."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from marshmallow import Schema

from minikms.encodings import b64url_decode
from minikms.errors import KmsError, ValidationFailed
from minikms.keys.operations import Signed
from minikms.keys.service import KeyService
from minikms.plugin.protocol import Sealed
from minikms.web.callers import Presence
from minikms.web.http.direct import Direct
from minikms.web.http.problems import problem
from minikms.web.messages import answer, load, load_now, profile, service, write
from minikms.web.schemas import operations as schemas

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


def _at_once(
    request_schema: Schema,
    answer_schema: Schema,
    call: Callable[[KeyService, str, dict[str, Any]], Any],
) -> Direct:
    """What answers by `call`, which gives None where any of it has to be waited for."""

    def at_once(request: web.Request) -> bytes | None:
        body = load_now(request, request_schema)
        if body is None:
            return None
        done = call(service(request), profile(request), body)
        return None if done is None else write(answer_schema, done)

    return at_once


async def sign(request: web.Request) -> web.Response:
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
    body = await load(request, _SIGN)
    signed = await service(request).sign(
        profile(request), body["ref"], body["data"], body["options"]
    )
    return answer(_SIGNATURE, signed)


def _sign_now(keys: KeyService, profile: str, body: dict[str, Any]) -> Signed | None:
    return keys.sign_now(profile, body["ref"], body["data"], body["options"])


sign_now = _at_once(_SIGN, _SIGNATURE, _sign_now)


async def verify(request: web.Request) -> web.Response:
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
    body = await load(request, _VERIFY)
    valid = await service(request).verify(
        profile(request), body["by"], body["data"], body["sig"], body["options"]
    )
    return answer(_VERIFICATION, {"valid": valid})


def _verify_now(keys: KeyService, profile: str, body: dict[str, Any]) -> dict[str, bool] | None:
    valid = keys.verify_now(profile, body["by"], body["data"], body["sig"], body["options"])
    return None if valid is None else {"valid": valid}


verify_now = _at_once(_VERIFY, _VERIFICATION, _verify_now)


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
    done = await service(request).sign_batch(
        profile(request), body["ref"], messages, body["options"], Presence(request)
    )
    results = [
        {"problem": problem(one)} if isinstance(one, KmsError) else {"sig": one.sig} for one in done
    ]
    return answer(_BATCH_SIGNATURE, {"results": results})


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
    done = await service(request).verify_batch(
        profile(request), body["by"], pairs, body["options"], Presence(request)
    )
    results = [
        {"problem": problem(one)} if isinstance(one, KmsError) else {"valid": one} for one in done
    ]
    return answer(_BATCH_VERIFICATION, {"results": results})


async def encrypt(request: web.Request) -> web.Response:
    """Encrypt bytes with a key, under a nonce made here.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: EncryptRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: What decrypt needs., x-answer: Ciphertext}
    """
    body = await load(request, _ENCRYPT)
    sealed = await service(request).encrypt(
        profile(request), body["ref"], body["plaintext"], body["aad"]
    )
    return answer(_CIPHERTEXT, sealed)


def _encrypt_now(keys: KeyService, profile: str, body: dict[str, Any]) -> Sealed | None:
    return keys.encrypt_now(profile, body["ref"], body["plaintext"], body["aad"])


encrypt_now = _at_once(_ENCRYPT, _CIPHERTEXT, _encrypt_now)


async def decrypt(request: web.Request) -> web.Response:
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
    body = await load(request, _DECRYPT)
    plaintext = await service(request).decrypt(
        profile(request), body["ref"], _sealed(body), body["aad"]
    )
    return answer(_PLAINTEXT, {"plaintext": plaintext})


def _decrypt_now(keys: KeyService, profile: str, body: dict[str, Any]) -> dict[str, bytes] | None:
    plaintext = keys.decrypt_now(profile, body["ref"], _sealed(body), body["aad"])
    return None if plaintext is None else {"plaintext": plaintext}


decrypt_now = _at_once(_DECRYPT, _PLAINTEXT, _decrypt_now)


async def wrap(request: web.Request) -> web.Response:
    """Wrap secret bytes with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: WrapRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation, invalid-key]
    responses:
      "200": {description: The wrapped bytes., x-answer: WrappedKey}
    """
    body = await load(request, _WRAP)
    wrapped = await service(request).wrap(profile(request), body["ref"], body["key"])
    return answer(_WRAPPED, {"wrapped": wrapped})


async def unwrap(request: web.Request) -> web.Response:
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
    body = await load(request, _UNWRAP)
    key = await service(request).unwrap(profile(request), body["ref"], body["wrapped"])
    return answer(_UNWRAPPED, {"key": key})


async def derive(request: web.Request) -> web.Response:
    """Agree on a raw shared secret with a peer; apply a key derivation function to it.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: DeriveRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation, invalid-key]
    responses:
      "200": {description: The raw shared secret., x-answer: SharedSecret}
    """
    body = await load(request, _DERIVE)
    secret = await service(request).derive(profile(request), body["ref"], body["peer"])
    return answer(_SECRET, {"secret": secret})


async def mac(request: web.Request) -> web.Response:
    """Make an authentication code with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: MacRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: The code., x-answer: AuthenticationCode}
    """
    body = await load(request, _MAC)
    code = await service(request).mac(profile(request), body["ref"], body["data"])
    return answer(_CODE, {"mac": code})


async def verify_mac(request: web.Request) -> web.Response:
    """Verify an authentication code with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: VerifyMacRequest
    x-problems: [key-not-found, alias-not-found, key-not-usable, unsupported-operation]
    responses:
      "200": {description: Whether the code is good., x-answer: Verification}
    """
    body = await load(request, _VERIFY_MAC)
    valid = await service(request).verify_mac(
        profile(request), body["ref"], body["data"], body["mac"]
    )
    return answer(_VERIFICATION, {"valid": valid})


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


def _sealed(body: dict[str, Any]) -> Sealed:
    return Sealed(body["ciphertext"], body["nonce"], body["tag"])
