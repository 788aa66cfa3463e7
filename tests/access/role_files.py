"""Files of roles, with an issuer whose key a test holds."""

import json

from access.jwt_issuer import AUDIENCE, ISSUER

from minikms.access.callers import SCOPES

SIGNER = """
[roles.signer]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["sign", "keys:read"]
profiles = ["default"]
"""
"""A role that fits the usual claims."""


def role_of(name, scopes, profiles):
    """A role for a JWT whose claim `roles` has this name."""
    members = {"issuer": "cluster", "scopes": list(scopes), "profiles": list(profiles)}
    lines = [f"{member} = {json.dumps(value)}" for member, value in members.items()]
    return "\n".join([f"[roles.{name}]", f'claims = {{ roles = ["{name}"] }}', *lines, ""])


def name_of(scope):
    """The name of the role of `ROLES_OF_SCOPES` that has this scope."""
    return scope.replace(":", "-")


ROLES_OF_SCOPES = "\n".join(role_of(name_of(scope), [scope], ["*"]) for scope in SCOPES)
"""A role for each scope, in all profiles."""


def write_roles(folder, key, roles=SIGNER):
    """Write a file of roles with the issuer `cluster`, and its JWK Set; returns the path."""
    jwks = folder / "cluster.json"
    jwks.write_text(json.dumps({"keys": [key.jwk]}))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(jwks)}
    members = "\n".join(f"{name} = {json.dumps(value)}" for name, value in issuer.items())
    path = folder / "roles.toml"
    path.write_text(f"[issuers.cluster]\n{members}\n{roles}")
    return str(path)
