"""Calls that clients make first: about the server, its mounts, and their token."""

from vault_calls.call import Call

_MOUNT = {
    name: "its own"
    for each in ("description", "running_plugin_version", "uuid")
    for name in (each, f"data.{each}")
}
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
        get("sys/mounts/transit/", differs=_MOUNT),
        get("sys/mounts/"),
        get("sys/mounts/nothing"),
        get("sys/mounts/transit/tune", differs=_MOUNT),
        get("sys/mounts/nothing/tune"),
        post("sys/mounts/transit/tune", {}, ours=(400, "it cannot be tuned")),
        get("sys/auth", differs={"*/": "other logins", "data.*": "other logins", "token*": ""}),
    ],
    "tokens": [
        get("auth/token/lookup-self", differs={"data.*": "its own"}),
        Call("POST", "auth/token/lookup-self", {}, differs={"data.*": "its own"}),
        get("auth/token/lookup", differs={"data.*": "its own"}),
        *(
            post("auth/token/lookup", body, differs={"data.*": "its own"})
            for body in ({}, {"token": ""})
        ),
        post("auth/token/lookup", {"token": "nobody"}, says="bad token"),
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
    "slashes": [
        post("transit/keys/sl", {"type": "ed25519"}),
        *(
            Call(method, path, body, differs={"": "no body"})
            for method, path, body in (
                ("POST", "transit//sign/sl", {"input": "aGVsbG8="}),
                ("POST", "transit/sign//sl", {"input": "aGVsbG8="}),
                ("POST", "/transit/random", {}),
                ("DELETE", "transit/./keys/sl", None),
                ("LIST", "transit/../transit/keys", None),
                ("LIST", "transit/keys//", None),
            )
        ),
        post("transit/sign/sl/", {"input": "aGVsbG8="}, says="path ending in '/'"),
        get("transit/keys/sl/"),
        get("transit/keys/"),
        Call("DELETE", "transit/keys/sl/"),
        get("sys/health/"),
        get("auth/token/lookup-self/"),
        get("transit/keys/sl?help=1", ours=(405, "it has no help")),
    ],
}
