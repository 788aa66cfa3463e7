"""Bodies of what the service says of itself."""

from marshmallow import Schema, fields


class Algorithm(Schema):
    """An algorithm and what it can do."""

    name = fields.String(required=True, attribute="algorithm.name")
    aliases = fields.List(fields.String(), required=True, attribute="algorithm.aliases")
    kty = fields.String(
        required=True, attribute="algorithm.kty", metadata={"description": "JWK key type."}
    )
    jose_algs = fields.List(
        fields.String(), required=True, metadata={"description": "JOSE names it has a use for."}
    )
    operations = fields.List(fields.String(), required=True, attribute="algorithm.operations")
    opt_in = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Those that a key has only where they were named for it."},
    )
    source = fields.String(
        required=True, metadata={"description": "Package whose entry point it is."}
    )


class Health(Schema):
    """How the service is."""

    status = fields.String(required=True)
