"""Handlers of operations on keys, each made from a function that turns a body into an operation.

Calls that use several keys, or none, have handlers of their own (several_keys.py).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from minikms.credentials.cose.operations import CoseHeader, SignCose, SignSigStructure, VerifyCose
from minikms.credentials.didcomm import PackAnonymously, PackFrom, Unpack
from minikms.credentials.jose.jwe_decryption import DecryptJwe
from minikms.credentials.jose.jws import SignJws, SignSigningInput, VerifyJws
from minikms.credentials.x509.requests import MakeCsr
from minikms.encodings import b64url_decode
from minikms.errors import KmsError, ValidationFailed
from minikms.events import set_batch
from minikms.http.answers import Answer
from minikms.http.gate import CallHandler, GatedCall
from minikms.http.presence import presence
from minikms.http.problems import problem
from minikms.keys.encryption import (
    Decapsulate,
    Decrypt,
    Derive,
    Encapsulate,
    Encrypt,
    Encrypted,
    MakeBox,
    OpenBox,
    OpenHpke,
    OpenSealedBox,
    SealBox,
    SealHpke,
    Unwrap,
    Wrap,
)
from minikms.keys.operation import BatchOperation, Operation
from minikms.keys.signing import (
    ComputeMac,
    Sign,
    SignBatch,
    SignOptions,
    Verify,
    VerifyBatch,
    VerifyMac,
)
from minikms.web.messages import load, service
from minikms.web.schemas import cose_bodies, jose_bodies, operation_bodies
from minikms.web.schemas.base import Body as BodySchema
from minikms.web.schemas.base import Either, Request
from minikms.web.state import SERVICE

_SIGNATURE = operation_bodies.Signature()
_JWS_REQUEST = Either(
    jose_bodies.SignJwsRequest(), jose_bodies.SignSigningInputRequest(), "signing_input"
)
_JWS = jose_bodies.JwsSignature()
_COSE_REQUEST = Either(
    cose_bodies.SignCoseRequest(), cose_bodies.SignSigStructureRequest(), "sig_structure"
)
_COSE = cose_bodies.CoseMessage()

Body: TypeAlias = dict[str, Any]
# Makes an operation from a body that its schema loaded.
Build: TypeAlias = Callable[[Body], Operation[Any, Any]]
# Makes a batch operation and its items; an item that cannot be read is an error.
BuildBatch: TypeAlias = Callable[
    [Body], tuple[BatchOperation[Any, Any, Any], Sequence[Any | KmsError]]
]


def operation(
    build: Build, request_schema: type[Request], answer_schema: type[BodySchema]
) -> CallHandler:
    """The handler of the operation that `build` makes from a body; its `by` names the key.

    The answer is the result, or an object with the result as its only member.
    """
    to_load, to_dump = request_schema(), answer_schema()
    member, *others = to_dump.fields

    async def handle(call: GatedCall) -> Answer:
        body = load(call, to_load)
        perform = call.request.app[SERVICE].operations.perform
        result = await perform(call.profile, body["by"], build(body))
        return to_dump.encode(result if others else {member: result})

    handle.__doc__ = build.__doc__
    return handle


def batch_operation(
    build: BuildBatch,
    request_schema: type[Request],
    answer_schema: type[BodySchema],
    *,
    member: str,
) -> CallHandler:
    """The handler of a batch: the answer has each result as `member`, or its problem.

    It always waits, since batches run in their own threads.
    """
    to_load, to_dump = request_schema(), answer_schema()

    async def handle(call: GatedCall) -> Answer:
        body = load(call, to_load)
        batch, items = build(body)
        results = await service(call).batches.perform(
            call.profile, body["by"], batch, items, presence(call.request)
        )
        set_batch(results)
        shown = [
            {"problem": problem(result)} if isinstance(result, KmsError) else {member: result}
            for result in results
        ]
        return to_dump.encode({"results": shown})

    handle.__doc__ = build.__doc__
    return handle


def sign(body: Body) -> Sign:
    """Sign bytes with a key."""
    return Sign(body["data"], _options(body))


def verify(body: Body) -> Verify:
    """Verify a signature with a key or a public JWK."""
    return Verify(body["data"], body["sig"], _options(body))


def sign_batch(body: Body) -> tuple[SignBatch, list[bytes | KmsError]]:
    """Sign many messages with one key."""
    items = body["items"]
    try:
        messages: list[bytes | KmsError] = [b64url_decode(item["data"]) for item in items]
    except ValueError:
        messages = [_decode(item, "data") for item in items]
    return SignBatch(_options(body)), messages


def verify_batch(body: Body) -> tuple[VerifyBatch, list[tuple[bytes, bytes] | KmsError]]:
    """Verify many signatures with one key or public JWK."""
    return VerifyBatch(_options(body)), [_decode_pair(item) for item in body["items"]]


def encrypt(body: Body) -> Encrypt:
    """Encrypt bytes with a secret key, under a random nonce, or to a public key."""
    return Encrypt(body["plaintext"], body.get("aad"))


def decrypt(body: Body) -> Decrypt:
    """Decrypt bytes with a key."""
    encrypted = Encrypted(body["ciphertext"], body.get("nonce"), body.get("tag"))
    return Decrypt(encrypted, body.get("aad"))


def wrap(body: Body) -> Wrap:
    """Wrap secret bytes with a key."""
    return Wrap(body["key"])


def unwrap(body: Body) -> Unwrap:
    """Unwrap secret bytes with a key."""
    return Unwrap(body["wrapped"])


def derive(body: Body) -> Derive:
    """Agree on a raw shared secret with a peer."""
    return Derive(body["peer"])


def mac(body: Body) -> ComputeMac:
    """Make an authentication code with a key."""
    return ComputeMac(body["data"])


def verify_mac(body: Body) -> VerifyMac:
    """Verify an authentication code with a key."""
    return VerifyMac(body["data"], body["mac"])


def make_box(body: Body) -> MakeBox:
    """Encrypt bytes from a key to a peer's public key, as a NaCl box."""
    return MakeBox(body["to"], body["plaintext"])


def open_box(body: Body) -> OpenBox:
    """Open a box from a peer."""
    return OpenBox(body["sender"], body["boxed"])


def seal_box(body: Body) -> SealBox:
    """Encrypt bytes to a public key, as a sealed box without a sender."""
    return SealBox(body["plaintext"])


def open_sealed_box(body: Body) -> OpenSealedBox:
    """Open a sealed box."""
    return OpenSealedBox(body["ciphertext"])


def pack(body: Body) -> PackFrom | PackAnonymously:
    """Pack a DIDComm v1 message for its recipients."""
    kind = PackAnonymously if body["is_anonymous"] else PackFrom
    return kind(body["to"], body["message"])


def unpack(body: Body) -> Unpack:
    """Unpack a DIDComm v1 message with the key of a recipient."""
    return Unpack(body["packed"])


def encapsulate(_: Body) -> Encapsulate:
    """Encapsulate a new secret to a public key."""
    return Encapsulate()


def decapsulate(body: Body) -> Decapsulate:
    """Decapsulate the secret of a ciphertext."""
    return Decapsulate(body["ciphertext"])


def seal_hpke(body: Body) -> SealHpke:
    """Encrypt bytes to a public key by HPKE."""
    return SealHpke(body["plaintext"], body["options"])


def open_hpke(body: Body) -> OpenHpke:
    """Decrypt bytes with a key by HPKE."""
    return OpenHpke(body["sealed"], body["options"])


async def sign_jws(call: GatedCall) -> Answer:
    """Sign a payload as JWS."""
    body = load(call, _JWS_REQUEST)
    perform = service(call).operations.perform
    if "signing_input" in body:
        signing = SignSigningInput(body["signing_input"], body["disclosures"])
        return _SIGNATURE.encode(await perform(call.profile, body["by"], signing))
    names = ("payload", "header", "alg", "detached", "kid_header")
    options = (body[name] for name in ("certificate_header", "serialization", "disclosures"))
    made = SignJws(*(body[name] for name in names), *options)
    return _JWS.encode({"jws": await perform(call.profile, body["by"], made)})


def verify_jws(body: Body) -> VerifyJws:
    """Verify a JWS with a key or a public JWK."""
    return VerifyJws(body["jws"], body["payload"])


async def sign_cose(call: GatedCall) -> Answer:
    """Sign a payload as COSE_Sign1."""
    body = load(call, _COSE_REQUEST)
    perform = service(call).operations.perform
    if "sig_structure" in body:
        signing = SignSigStructure(body["sig_structure"])
        return _SIGNATURE.encode(await perform(call.profile, body["by"], signing))
    names = ("protected", "unprotected", "content_type", "typ", "kid_header", "certificate_header")
    header = CoseHeader(*(body[name] for name in names))
    options = (body[name] for name in ("alg", "external_aad", "detached", "tagged"))
    made = SignCose(body["payload"], header, *options)
    return _COSE.encode({"cose": await perform(call.profile, body["by"], made)})


def verify_cose(body: Body) -> VerifyCose:
    """Verify a COSE_Sign1 with a key or a public JWK."""
    return VerifyCose(body["cose"], body["payload"], body["external_aad"])


def decrypt_jwe(body: Body) -> DecryptJwe:
    """Decrypt a JWE with a key."""
    return DecryptJwe(body["jwe"], body["sender"])


def make_csr(body: Body) -> MakeCsr:
    """Make a certificate request for a key."""
    return MakeCsr(body["subject"], body["alternative_names"], body["alg"])


def _options(body: Body) -> SignOptions:
    return SignOptions(body.get("alg"), body["encoding"], body["prehashed"])


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
