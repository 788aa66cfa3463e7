"""Bodies about the service itself."""

from minikms.web.schemas.base import Body
from minikms.web.schemas.fields import ListOf, Text


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
        description="Operations that a key has only if they were named for it.",
    )
    source = Text("Package that brings it.", required=True)


class Health(Body):
    """The state of the service."""

    status = Text(required=True)
