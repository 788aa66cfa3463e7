"""The body of a failure."""

from marshmallow import Schema, fields, validate


class ProblemDetail(Schema):
    """What is wrong at one place of the request."""

    pointer = fields.String(
        required=True, metadata={"description": "JSON pointer to the field or parameter."}
    )
    detail = fields.String(required=True)


class Problem(Schema):
    """A failure (RFC 9457)."""

    type = fields.String(
        required=True, metadata={"example": "urn:minikms:problem:validation-failed"}
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(ProblemDetail))
    outcome = fields.String(
        validate=validate.OneOf(["unknown"]),
        metadata={
            "description": "`unknown` if the change may have been made; absent if nothing was "
            "changed."
        },
    )
