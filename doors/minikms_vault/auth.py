"""Calls under `auth/`: logins, and the facts of a token.

A login stores no token: it returns the token of Mini KMS that the caller sends as its secret, or a
token that carries the caller's JWT and the role of the login.
"""

import time
from datetime import UTC, datetime
from typing import Any, Final

from minikms.doors import ANY_TOKEN, LOGIN, DoorCaller, errors
from minikms_vault.body import Body
from minikms_vault.errors import VaultError, invalid
from minikms_vault.head import token_of
from minikms_vault.operation import LEASE, Answer, VaultAnswer, VaultCall, operation

_SECOND: Final = 1_000_000_000
# Vault's name for tokens that it stores.
_KIND: Final = "service"
# The end of the year 9999.
_LATEST: Final = 253_402_300_799
_JWT: Final = "error validating token"
_NO_ROLE: Final = "error validating claims: the token does not have the role"
_CERTIFICATE: Final = "invalid certificate or no client certificate supplied"
_APPROLE: Final = "invalid role or secret ID"
_USER: Final = "invalid username or password"


@operation("login", LOGIN, "POST /auth/{mount}/login")
async def login(call: VaultCall, body: Body) -> Answer:
    """Log in by the calls of AppRole, JWT and Kubernetes: by the `secret_id` or the `jwt`."""
    if jwt := body.text("jwt").strip():  # agents send a file as it is
        role = body.text("role")
        token = call.door.in_role(jwt, role)
        if token != jwt and not role:
            raise invalid("missing role")
        return await _logged_in(call, token, {"role": role}, _JWT)
    if secret := body.text("secret_id"):
        return await _logged_in(call, secret, {"role_name": body.text("role_id")}, _APPROLE)
    raise invalid("missing jwt" if "role" in body else "missing secret_id")


@operation("loginCertificate", LOGIN, "POST /auth/cert/login")
async def login_certificate(call: VaultCall, body: Body) -> Answer:
    """Log in by the client certificate, for the role `name`, else for the first that it has."""
    name = body.text("name")
    if not name:
        caller = await _authenticated(call, "", _CERTIFICATE)
        name = next(iter(caller.roles), "")
    token = call.door.in_role("", name)
    return await _logged_in(call, token, {"cert_name": name}, _CERTIFICATE)


@operation("loginUser", LOGIN, "POST /auth/{mount}/login/{username}")
async def login_user(call: VaultCall, body: Body) -> Answer:
    """Log in by the call of userpass: the token is the `password`."""
    if password := body.text("password"):
        return await _logged_in(call, password, {"username": body.text("username")}, _USER)
    raise invalid("missing password")


@operation("lookupSelf", ANY_TOKEN, "GET /auth/token/lookup-self", "POST /auth/token/lookup-self")
async def lookup_self(call: VaultCall, body: Body) -> Answer:
    """Describe the caller's token; the answer does not contain the token itself."""
    return _described(call.door.caller)


@operation("lookup", LOGIN, "GET /auth/token/lookup", "POST /auth/token/lookup")
async def lookup(call: VaultCall, body: Body) -> Answer:
    """Describe the token in the body, else the caller's token.

    The possession of a token already permits its use, so the caller needs no other token.
    """
    token = body.text("token")
    try:
        return _described(await call.door.authenticate(token or token_of(call.door.request)))
    except errors.Unauthenticated as exc:
        if not token:
            raise
        raise VaultError(403, "bad token", slug=exc.slug) from None


def _described(caller: DoorCaller) -> dict[str, Any]:
    created = caller.created
    lifetime = 0 if caller.expires is None else caller.expires - (created or caller.expires)
    lease, is_renewable = _lease(caller)
    return {
        "accessor": caller.token,
        "creation_time": (created or 0) // _SECOND,
        "creation_ttl": lifetime // _SECOND,
        "display_name": caller.name,
        "entity_id": "",
        "expire_time": _time(caller.expires),
        "explicit_max_ttl": 0,
        "id": "",
        "issue_time": _time(created),
        "meta": None,
        "num_uses": 0,
        "orphan": True,
        "path": "auth/token/create",
        "policies": _policies(caller),
        "renewable": is_renewable,
        "ttl": lease,
        "type": _KIND,
    }


@operation("renewSelf", ANY_TOKEN, "POST /auth/token/renew-self")
async def renew_self(call: VaultCall, body: Body) -> Answer:
    """Renew the lease of a token that has no expiry."""
    caller = call.door.caller
    _, is_renewable = _lease(caller)
    if not is_renewable:
        raise invalid("lease is not renewable")
    return VaultAnswer(auth=_auth(caller, token_of(call.door.request), {}))


@operation("revokeSelf", ANY_TOKEN, "POST /auth/token/revoke-self")
async def revoke_self(call: VaultCall, body: Body) -> Answer:
    """Refuse to revoke the caller's token: the caller logs in with it again at its next start."""
    raise invalid("a token cannot revoke itself here: it expires, or the operator revokes it")


async def _logged_in(
    call: VaultCall, token: str, metadata: dict[str, str], refusal: str
) -> VaultAnswer:
    """Answer a login with a token; raises VaultError with 400 and `refusal` if it is not valid."""
    caller = await _authenticated(call, token, refusal)
    return VaultAnswer(auth=_auth(caller, token, metadata))


async def _authenticated(call: VaultCall, token: str, refusal: str) -> DoorCaller:
    try:
        return await call.door.authenticate(token)
    except errors.Unauthenticated as exc:
        raise VaultError(400, refusal, slug=exc.slug) from None
    except errors.Forbidden as exc:
        raise VaultError(400, _NO_ROLE, slug=exc.slug) from None


def _auth(caller: DoorCaller, token: str, metadata: dict[str, str]) -> dict[str, Any]:
    lease, is_renewable = _lease(caller)
    policies = _policies(caller)
    return {
        "client_token": token,
        "accessor": caller.token,
        "policies": policies,
        "token_policies": policies,
        "metadata": metadata,
        "lease_duration": lease,
        "renewable": is_renewable,
        "entity_id": "",
        "token_type": _KIND,
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 0,
    }


def _policies(caller: DoorCaller) -> list[str]:
    return sorted(caller.roles or caller.scopes)


def _lease(caller: DoorCaller) -> tuple[int, bool]:
    """Return the seconds of a lease, at least one, and whether it can be renewed."""
    if caller.expires is None:
        return LEASE, True
    return max((caller.expires - time.time_ns()) // _SECOND, 1), False


def _time(nanoseconds: int | None) -> str | None:
    if nanoseconds is None:
        return None
    seconds = min(nanoseconds // _SECOND, _LATEST)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
