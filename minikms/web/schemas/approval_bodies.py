"""Bodies of the calls on approvals."""

from typing import ClassVar, Final

from marshmallow import fields, validate

from minikms.credentials.approval_proofs import MAX_PROOF
from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.fields import ListOf, Object, Part, Text
from minikms.web.schemas.named_fields import kid

APPROVAL_PATTERN: Final = r"^[A-Za-z0-9_-]{22}\Z"


class ApproverOfUse(Body):
    """Somebody who may approve, and how."""

    name = Text(required=True)
    passkey = Text(
        "Identifier of the passkey's credential; null for a key that signs a JWS.",
        required=True,
        allow_none=True,
    )
    rp_id = Text("Relying party of the passkey; likewise null.", required=True, allow_none=True)


class Approval(Body):
    """A use of a key that waits for approvals, or has them."""

    id = Text("The same call of the same caller always has the same id.", required=True)
    kid = kid(required=True)
    state = Text(
        component="ApprovalState", required=True, validate=validate.OneOf(("pending", "approved"))
    )
    threshold = fields.Integer(
        required=True, metadata={"description": "Number of names that must approve."}
    )
    approved_by = ListOf(Text(), "Names that have approved.", required=True)
    approvers = ListOf(Part(ApproverOfUse), required=True)
    expires = fields.Integer(required=True, metadata={"description": "Seconds since the epoch."})
    document = Text("What approvers sign, a JSON object. Base64url, unpadded.", required=True)
    challenge = Text(
        "SHA-256 of the document, the challenge for passkeys. Base64url, unpadded.", required=True
    )
    data = ListOf(
        Text(),
        "The bytes that the key will sign, each in base64url, unpadded; none if they are long, or "
        "not known yet.",
        required=True,
    )


class Approve(Request):
    """The signature of an approver: exactly one of its members."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("jws",), ("webauthn",))

    jws = Text(
        "The document as a compact JWS of type approval+jwt.",
        validate=validate.Length(1, MAX_PROOF),
    )
    webauthn = Object(
        "The assertion of a passkey, an AuthenticationResponseJSON, with the challenge.",
    )
