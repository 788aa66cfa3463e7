"""Calls that clients make first: about the server, its mounts, and their token."""

from vault_calls.call import Call

_CLUSTER = {"cluster_name": "no cluster", "cluster_id": "no cluster", "version": "its own"}


def get(path, **options):
    """A GET of the system."""
    return Call("GET", path, **options)


def post(path, body=None, **options):
    """A POST to the system."""
    return Call("POST", path, {} if body is None else body, **options)


_NOBODY = {"X-Vault-Token": "nobody"}

GROUPS = {
    "health": [
        get("sys/health", differs=_CLUSTER),
        get("sys/health", headers={"X-Vault-Token": ""}, differs=_CLUSTER),
        get("sys/health?standbyok=true", differs=_CLUSTER),
        get("sys/seal-status", differs=_CLUSTER | {"*": "a seal"}),
        get("sys/leader", differs={"*": "a cluster"}),
    ],
    "mounts": [
        get("sys/mounts", differs={"*": "other mounts", "data.*": "other mounts"}),
        post("sys/mounts/transit", {"type": "transit"}, says="path is already in use"),
        get("sys/internal/ui/mounts/transit/keys/a", differs={"data.*": "its own"}),
    ],
    "tokens": [
        get("auth/token/lookup-self", differs={"data.*": "its own"}),
        Call("POST", "auth/token/lookup-self", {}, differs={"data.*": "its own"}),
        get("auth/token/lookup-self", headers=_NOBODY, says="permission denied"),
        get("transit/keys/a", headers=_NOBODY, says="permission denied"),
        get("transit/keys/a", headers={"X-Vault-Token": ""}, says="permission denied"),
        Call("LIST", "transit/keys", headers=_NOBODY, says="permission denied"),
        post("transit/sign/a", {"input": "aGVsbG8="}, headers=_NOBODY, says="permission denied"),
        post(
            "sys/capabilities-self", {"paths": ["transit/keys/a"]}, differs={"*": "", "data.*": ""}
        ),
    ],
    "nowhere": [
        get("kv/data/x"),
        get("nothing"),
    ],
}
