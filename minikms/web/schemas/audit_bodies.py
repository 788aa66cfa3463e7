"""The body of the call on the audit log."""

from marshmallow import fields

from minikms.web.schemas.base import Body
from minikms.web.schemas.fields import Flag, ListOf, Part, Text


class IssuedIdentity(Body):
    """A certificate that a call issued."""

    serial = Text("Serial number, hexadecimal.", required=True)
    subject = Text("Subject (RFC 4514).", required=True)
    profile = Text("Profile of the certificate.", required=True)


class SignedCrl(Body):
    """A revocation list that a call made."""

    number = fields.Integer(required=True, metadata={"description": "Number of the list."})
    count = fields.Integer(required=True, metadata={"description": "Number of its entries."})


class FailedItems(Body):
    """The numbers of a batch with failed items."""

    items = fields.Integer(required=True, metadata={"description": "Number of its items."})
    failed = fields.Integer(required=True, metadata={"description": "Number of failed items."})


class AuditEvent(Body):
    """A call in the audit log."""

    time = Text("Time of the call, in UTC.", required=True, metadata={"format": "date-time"})
    request_id = Text("The `X-Request-Id` of the answer.", required=True)
    who = Text("Name of the caller; empty if unknown.", required=True)
    address = Text("Address of the caller.", required=True)
    subject = Text("Subject of the caller's TLS certificate.", required=True, allow_none=True)
    profile = Text("Profile of the call.", required=True, allow_none=True)
    kid = Text("Key of the call.", required=True, allow_none=True)
    alg = Text("Algorithm of the key.", required=True, allow_none=True)
    token = Text("Id of a token that was made or revoked.", required=True, allow_none=True)
    operation = Text("operationId of the call.", required=True)
    outcome = Text("`success`, or the slug of the problem.", required=True)
    roles = ListOf(Text(), "Roles of the caller.")
    alias = Text("Alias by which a refused call requested its key.")
    new_kid = Text("Key that replaced the key of the call in a rotation, or its next key.")
    certificate = Part(IssuedIdentity)
    crl = Part(SignedCrl)
    batch = Part(FailedItems)
    rule = Text("Rule of the key or the profile that refused the call or an item of its batch.")
    provider = Text("Provider that the call used.")
    object_id = Text("Identifier of the object that was destroyed at its provider, hexadecimal.")
    profile_id = Text("Id of the profile; it tells the profile from earlier ones with its name.")
    admitted = Flag("True if the caller of a refused call may use the profile.")
