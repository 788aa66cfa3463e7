"""Bodies of what the service says of itself."""

from minikms.web.schemas.base import Body
from minikms.web.schemas.fields import ListOf, Text


class Algorithm(Body):
    """An algorithm and what it can do."""

    name = Text(required=True, attribute="algorithm.name")
    aliases = ListOf(Text(), required=True, attribute="algorithm.aliases")
    kty = Text(required=True, attribute="algorithm.kty", metadata={"description": "JWK key type."})
    jose_algs = ListOf(
        Text(), required=True, metadata={"description": "JOSE names it has a use for."}
    )
    operations = ListOf(Text(), required=True, attribute="algorithm.operations")
    opt_in = ListOf(
        Text(),
        required=True,
        metadata={"description": "Those that a key has only where they were named for it."},
    )
    source = Text(required=True, metadata={"description": "Package whose entry point it is."})


class Health(Body):
    """How the service is."""

    status = Text(required=True)
