"""Bodies about the service itself, and the body of a failure."""

from marshmallow import fields, validate

from minikms.web.schemas.approval_bodies import Approval
from minikms.web.schemas.base import Body
from minikms.web.schemas.fields import ListOf, Part, Text


class Algorithm(Body):
    """An algorithm and its operations."""

    name = Text(required=True, attribute="algorithm.name")
    aliases = ListOf(Text(), required=True, attribute="algorithm.aliases")
    kty = Text("JWK key type.", required=True, attribute="algorithm.kty")
    jose_algs = ListOf(
        Text(),
        required=True,
        description="JOSE names of its signatures, key agreements and encryptions.",
    )
    operations = ListOf(Text(), required=True, attribute="algorithm.operations")
    opt_in = ListOf(
        Text(),
        required=True,
        description="Operations that a key has only if they were requested for it.",
    )
    source = Text("Package that provides it.", required=True)
    providers = ListOf(Text(), description="Providers that support it; absent if there are none.")


class Health(Body):
    """The state of the service."""

    status = Text(required=True)
    away = ListOf(Text(), description="Providers that do not answer; absent if all answer.")


class ProblemDetail(Body):
    """A fault at one place of the request."""

    pointer = Text("JSON pointer to the field or parameter.", required=True)
    detail = Text(required=True)


class Problem(Body):
    """A failure (RFC 9457)."""

    type = Text("The kind of failure.", component="ProblemType", required=True)
    title = Text(required=True)
    status = fields.Integer(required=True)
    detail = Text(required=True)
    errors = ListOf(Part(ProblemDetail))
    outcome = Text(
        "`unknown` if the change may have been applied; absent if nothing was changed.",
        validate=validate.OneOf(["unknown"]),
    )
    approval = Part(Approval, metadata={"description": "The approval that the call waits for."})
