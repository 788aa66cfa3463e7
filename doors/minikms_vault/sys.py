"""Calls under `sys/`: clients check the server, its mounts and their token's capabilities."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from minikms.doors import ANY_TOKEN, LOGIN, OPEN, DoorCaller, DoorRoute, errors
from minikms_vault.body import Body
from minikms_vault.errors import VaultError, invalid
from minikms_vault.operation import (
    LEASE,
    MOUNT,
    Answer,
    VaultAnswer,
    VaultCall,
    VaultOperation,
    operation,
)

_VERSION: Final = "2.7.2"
"""The version of OpenBao whose Transit engine the door follows."""
_CLUSTER: Final = "minikms"

_KIND: Final = "default-service"
_TUNED: Final = {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0}


def _described(kind: str, description: str) -> dict[str, Any]:
    """Describe the mount of an engine or of a login."""
    return {
        "accessor": f"{kind}_{_CLUSTER}",
        "config": _TUNED,
        "description": description,
        "external_entropy_access": False,
        "local": False,
        "options": {},
        "plugin_version": "",
        "running_plugin_version": f"v{_VERSION}",
        "running_sha256": "",
        "seal_wrap": False,
        "type": kind,
        "uuid": "",
    }


_MOUNT: Final[Mapping[str, Any]] = {
    **_described("transit", "the keys of Mini KMS"),
    "deprecation_status": "supported",
}
_MOUNTS: Final = {f"{MOUNT}/": _MOUNT}
# The logins in auth.py; all but `cert` work at any mount.
_LOGINS: Final = {
    f"{kind}/": {
        **_described(kind, "tokens of Mini KMS"),
        "config": {**_TUNED, "token_type": _KIND},
    }
    for kind in ("approle", "cert", "jwt", "kubernetes", "token", "userpass")
}

# The capability that each method needs, in Vault's terms.
_CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "GET": ("read",),
    "LIST": ("list",),
    "POST": ("create", "update"),
    "DELETE": ("delete",),
}
_NO_SCOPE: Final = (OPEN, LOGIN, ANY_TOKEN)


@operation("health", OPEN, "GET /sys/health", "HEAD /sys/health")
async def health(call: VaultCall, body: Body) -> Answer:
    """Check the store; if it is unavailable, answer like a sealed Vault."""
    is_away = await _is_away(call)
    return VaultAnswer(
        {
            "initialized": True,
            "sealed": is_away,
            "standby": is_away,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": int(time.time()),
            "version": _VERSION,
            "cluster_name": _CLUSTER,
            "cluster_id": "",
        },
        status=503 if is_away else 200,
        bare=True,
    )


@operation("sealStatus", OPEN, "GET /sys/seal-status")
async def seal_status(call: VaultCall, body: Body) -> Answer:
    """Check the store like `health`, but always with status 200."""
    return VaultAnswer(
        {
            "type": "shamir",
            "initialized": True,
            "sealed": await _is_away(call),
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "recovery_seal": False,
            "version": _VERSION,
            "migration": False,
            "cluster_name": _CLUSTER,
            "cluster_id": "",
            "storage_type": _CLUSTER,
        },
        bare=True,
    )


@operation("init", OPEN, "GET /sys/init")
async def init(call: VaultCall, body: Body) -> Answer:
    """Report that the store is initialized."""
    return VaultAnswer({"initialized": True}, bare=True)


@operation("leader", OPEN, "GET /sys/leader")
async def leader(call: VaultCall, body: Body) -> Answer:
    """Report that there is no leader: each service of a store answers calls itself."""
    return VaultAnswer({"ha_enabled": False}, bare=True)


@operation("listMounts", ANY_TOKEN, "GET /sys/mounts")
async def list_mounts(call: VaultCall, body: Body) -> Answer:
    """List the only mount."""
    return VaultAnswer(_MOUNTS, doubled=True)


@operation("readMount", ANY_TOKEN, "GET /sys/mounts/{path...}")
async def read_mount(call: VaultCall, body: Body) -> Answer:
    """Describe the only mount."""
    path = _mount_path(body)
    if path != f"{MOUNT}/":
        raise invalid(f"No secret engine mount at {path}")
    return VaultAnswer(_MOUNT, doubled=True)


@operation("readTuning", ANY_TOKEN, f"GET /sys/mounts/{MOUNT}/tune")
async def read_tuning(call: VaultCall, body: Body) -> Answer:
    """Describe the settings of the only mount; its lease times are those of logins."""
    leases = {"default_lease_ttl": LEASE, "max_lease_ttl": LEASE}
    return VaultAnswer({**_TUNED, **leases, "description": _MOUNT["description"]}, doubled=True)


@operation("tune", ANY_TOKEN, f"POST /sys/mounts/{MOUNT}/tune")
async def tune(call: VaultCall, body: Body) -> Answer:
    """Refuse to change the mount."""
    raise invalid("the mount cannot be tuned")


@operation("listLogins", ANY_TOKEN, "GET /sys/auth")
async def list_logins(call: VaultCall, body: Body) -> Answer:
    """List the kinds of logins, formatted like OpenBao's auth methods."""
    return VaultAnswer(_LOGINS, doubled=True)


@operation("mount", ANY_TOKEN, "POST /sys/mounts/{path...}")
async def mount(call: VaultCall, body: Body) -> Answer:
    """Refuse to mount an engine; a program continues if the mount that it needs exists."""
    path = _mount_path(body)
    if path == f"{MOUNT}/":
        raise invalid(f"path is already in use at {path}")
    raise invalid(f"no engine can be mounted at {path}: the only mount here is {MOUNT}/")


@operation("listVisibleMounts", ANY_TOKEN, "GET /sys/internal/ui/mounts")
async def list_visible_mounts(call: VaultCall, body: Body) -> Answer:
    """List the only mount, in the format for the CLI."""
    return {"auth": {}, "secret": _MOUNTS}


@operation("readVisibleMount", ANY_TOKEN, "GET /sys/internal/ui/mounts/{path...}")
async def read_visible_mount(call: VaultCall, body: Body) -> Answer:
    """Describe the mount of a path; the CLI calls it first."""
    path = _mount_path(body)
    if not path.startswith(f"{MOUNT}/"):
        raise VaultError(
            403,
            "preflight capability check returned 403, please ensure client's policies grant access"
            f' to path "{path}"',
        )
    return {**_MOUNT, "path": f"{MOUNT}/"}


def capabilities_of(
    routes_at: Callable[[str], Mapping[str, DoorRoute]], either: Mapping[str, tuple[str, ...]]
) -> VaultOperation:
    """Make the operation that reports a caller's capabilities on the routes of a path.

    `either` maps an operation's name to scopes; the operation needs one of them.
    """

    def may(route: DoorRoute, caller: DoorCaller) -> bool:
        needed = {route.scope, *route.also}.difference(_NO_SCOPE)
        one = either.get(route.operation)
        return all(map(caller.may, needed)) and (one is None or any(map(caller.may, one)))

    @operation("capabilitiesSelf", ANY_TOKEN, "POST /sys/capabilities-self")
    async def capabilities_self(call: VaultCall, body: Body) -> Answer:
        paths = body.texts("paths") or body.texts("path")
        if not paths:
            raise invalid("paths must be supplied")
        caller = call.door.caller
        found: dict[str, Any] = {
            path: sorted(
                capability
                for method, route in routes_at(path).items()
                if may(route, caller)
                for capability in _CAPABILITIES.get(method, ())
            )
            or ["deny"]
            for path in paths
        }
        if len(paths) == 1:
            found["capabilities"] = found[paths[0]]
        return VaultAnswer(found, doubled=True)

    return capabilities_self


async def _is_away(call: VaultCall) -> bool:
    """Tell whether the store is unavailable."""
    try:
        await call.service.ping()
    except errors.StoreUnavailable:
        return True
    return False


def _mount_path(body: Body) -> str:
    """Return the path named in a call, with a trailing slash."""
    return body.text("path").rstrip("/") + "/"
