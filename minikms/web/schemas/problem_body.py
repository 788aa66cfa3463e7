"""The body of a failure."""

from marshmallow import fields, validate

from minikms.web.schemas.base import Body
from minikms.web.schemas.fields import ListOf, Part, Text


class ProblemDetail(Body):
    """A fault at one place of the request."""

    pointer = Text("JSON pointer to the field or parameter.", required=True)
    detail = Text(required=True)


class Problem(Body):
    """A failure (RFC 9457)."""

    type = Text(required=True, metadata={"example": "urn:minikms:problem:validation-failed"})
    title = Text(required=True)
    status = fields.Integer(required=True)
    detail = Text(required=True)
    errors = ListOf(Part(ProblemDetail))
    outcome = Text(
        "`unknown` if the change may have been made; absent if nothing was changed.",
        validate=validate.OneOf(["unknown"]),
    )
