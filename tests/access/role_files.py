"""Files of roles, with an issuer whose key a test holds."""

import json

from access.jwt_issuer import AUDIENCE, ISSUER

SIGNER = """
[roles.signer]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["sign", "keys:read"]
profiles = ["default"]
"""
"""A role that fits the usual claims."""


def write_roles(folder, key, roles=SIGNER):
    """Write a file of roles with the issuer `cluster`, and its JWK Set; returns the path."""
    jwks = folder / "cluster.json"
    jwks.write_text(json.dumps({"keys": [key.jwk]}))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(jwks)}
    members = "\n".join(f"{name} = {json.dumps(value)}" for name, value in issuer.items())
    path = folder / "roles.toml"
    path.write_text(f"[issuers.cluster]\n{members}\n{roles}")
    return str(path)
