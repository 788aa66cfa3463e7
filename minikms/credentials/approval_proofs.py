"""Verifies the proofs of approvers: a JWS (RFC 7515), or an assertion of a passkey (WebAuthn).

Nothing here reads the store, so that the audit log alone is enough to verify its proofs.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fido2.webauthn import AuthenticationResponse, CollectedClientData

from minikms.approval_rule import Approver
from minikms.credentials.jose.jws_forms import read_signing_input
from minikms.encodings import b64url_decode, decode_canonical
from minikms.errors import InvalidApproval, KmsError
from minikms.keys.approvers import signer_of
from minikms.plugin.protocol import EcdsaSigner, SignatureOptions
from minikms.plugin.registry import AlgorithmRegistry

TYP: Final = "approval+jwt"

MAX_PROOF: Final = 48 * 1024
"""The bytes of a proof, in base64url."""

# The members of an assertion that prove it; the others are not kept.
_OF_RESPONSE: Final = ("clientDataJSON", "authenticatorData", "signature")

# What the parser of assertions raises for data of any form.
_UNREADABLE: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(RecursionError, OverflowError, struct.error),
)


def check_jws(
    registry: AlgorithmRegistry, approvers: Iterable[Approver], jws: str, document: bytes
) -> Approver:
    """Return the approver who signed a document as a compact JWS; raises InvalidApproval.

    The keys of passkeys sign no JWS.
    """
    signed, _, last = jws.rpartition(".")
    try:
        header, payload = read_signing_input(signed)
        signature = decode_canonical(last)
    except ValueError:
        raise InvalidApproval("The JWS is not a compact one that can be read.") from None
    if header.get("typ") != TYP:
        raise InvalidApproval(f"The typ of the JWS must be {TYP}.")
    if payload != document:
        raise InvalidApproval("The payload of the JWS is not the document of this approval.")
    alg = header.get("alg")
    for approver in approvers:
        if approver.passkey is None:
            algorithm, own = signer_of(registry, approver)
            if alg in algorithm.jws_algs and (alg == own or "alg" not in approver.jwk):
                public, options = algorithm.load_public(approver.jwk), SignatureOptions(str(alg))
                if algorithm.verify(public, signed.encode(), signature, options):
                    return approver
    raise InvalidApproval("No approver of the key has signed the JWS.")


def check_webauthn(
    registry: AlgorithmRegistry,
    approvers: Iterable[Approver],
    assertion: Mapping[str, Any],
    document: bytes,
) -> Approver:
    """Return the approver whose passkey made an assertion; raises InvalidApproval.

    `assertion` is an AuthenticationResponseJSON (Web Authentication Level 3, section 5.1).
    """
    try:
        name = decode_canonical(assertion["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidApproval("The assertion has no id.") from None
    for approver in approvers:
        if approver.passkey is not None and b64url_decode(approver.passkey.id) == name:
            check_assertion(registry, approver, proof_of(assertion), document)
            return approver
    raise InvalidApproval("The assertion is not of a passkey of an approver.")


def proof_of(assertion: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of an assertion that prove it: no identifier; raises InvalidApproval."""
    response = assertion.get("response")
    if not isinstance(response, dict) or assertion.get("type") != "public-key":
        raise InvalidApproval("The assertion has no response, or is of another type.")
    proof = {name: response.get(name) for name in _OF_RESPONSE}
    if not all(isinstance(value, str) for value in proof.values()):
        raise InvalidApproval(f"The response must have: {', '.join(_OF_RESPONSE)}.")
    return {name: str(value) for name, value in proof.items()}


def check_assertion(
    registry: AlgorithmRegistry, approver: Approver, proof: Mapping[str, str], document: bytes
) -> None:
    """Verify an assertion of an approver's passkey for a document; raises InvalidApproval."""
    passkey = approver.passkey
    if passkey is None:
        raise InvalidApproval("The approver has no passkey.")
    try:
        decoded = {name: decode_canonical(proof[name]) for name in _OF_RESPONSE}
        found = AuthenticationResponse.from_dict(
            {"id": "", "rawId": "", "type": "public-key", "response": dict(proof)}
        )
        client, authenticator = found.response.client_data, found.response.authenticator_data
        kind, challenge, origin = client.type, client.challenge, client.origin
        of_party = authenticator.rp_id_hash
    except _UNREADABLE:
        raise InvalidApproval("The assertion cannot be read.") from None
    if kind != CollectedClientData.TYPE.GET:
        raise InvalidApproval("The assertion was not made to authenticate.")
    if challenge != hashlib.sha256(document).digest():
        raise InvalidApproval("The assertion is of another challenge than that of this approval.")
    if origin not in passkey.origins or client.cross_origin is not False:
        raise InvalidApproval("The assertion was made on a page of another origin.")
    if of_party != hashlib.sha256(passkey.rp_id.encode()).digest():
        raise InvalidApproval("The assertion was made for another relying party.")
    if not (authenticator.is_user_present() and authenticator.is_user_verified()):
        raise InvalidApproval("The authenticator did not verify its user.")
    algorithm, alg = signer_of(registry, approver)
    signature = decoded["signature"]
    signed = decoded["authenticatorData"] + hashlib.sha256(decoded["clientDataJSON"]).digest()
    try:
        if isinstance(algorithm, EcdsaSigner):
            signature = algorithm.from_der(signature)
    except ValueError:
        raise InvalidApproval("The signature of the assertion is not valid.") from None
    public = algorithm.load_public(approver.jwk)
    if not algorithm.verify(public, signed, signature, SignatureOptions(alg)):
        raise InvalidApproval("The signature of the assertion is not valid.")


def names_in(
    registry: AlgorithmRegistry,
    approvers: Sequence[Approver],
    document: bytes,
    proofs: Iterable[Mapping[str, Any]],
) -> list[str]:
    """List the names of the approvers who have signed a document, in the order of the proofs.

    A proof of somebody who is no approver any more does not count, nor does a name twice.
    """
    names: dict[str, None] = {}
    for proof in proofs:
        try:
            if "jws" in proof:
                approver = check_jws(registry, approvers, proof["jws"], document)
            else:
                approver = check_webauthn(registry, approvers, proof["webauthn"], document)
        except KmsError:
            continue
        names[approver.name] = None
    return list(names)
