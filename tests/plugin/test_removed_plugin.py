"""A plugin that is removed or left out: its keys stay, and work once it is back."""

import contextlib
import json
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from packages import leave_package

from minikms.encodings import b64url
from minikms.plugin.registry import GROUP

pytestmark = pytest.mark.process

SAMPLE = Path(__file__).parents[1] / "sample_plugin_bip340"
DATA = b64url(b"hello")
ALIAS = "did:example:1#schnorr"


@pytest.fixture(params=["uninstalled", "left out"])
def plugin(request, options, tmp_path, monkeypatch):
    """Return a function that installs the sample plugin, and takes it away from later processes."""
    folder = tmp_path / "packages"
    leave_package(folder, "minikms-bip340", GROUP, bip340="minikms_bip340:Bip340")
    shutil.copy(SAMPLE / "minikms_bip340.py", folder)

    def install(there):
        options.pop("without_algorithm", None)
        if there or request.param == "left out":
            monkeypatch.setenv("PYTHONPATH", str(folder))
            if not there:
                options["without_algorithm"] = "minikms-bip340:bip340"
        else:
            monkeypatch.delenv("PYTHONPATH", raising=False)

    return install


@pytest.fixture
def options(run, tmp_path):
    key = tmp_path / "store.key"
    options = {"store": f"sqlite://{tmp_path}/keys.db", "store_key_file": str(key)}
    made = run("store", "init", "--generate-key", **options)
    assert made.returncode == 0, made.stderr
    return options


@pytest.fixture
def started(serve, options):
    """A service without access control, and a function that calls it: status and body."""

    def start():
        service = serve("--port", "0", "--auth", "none", **options)

        def call(method, path, body=None, **headers):
            with contextlib.closing(service.connect()) as connection:
                connection.request(method, path, body and json.dumps(body), headers)
                with connection.getresponse() as response:
                    text = response.read().decode()
                    if response.headers["Content-Type"] == "application/x-ndjson":
                        return response.status, [json.loads(line) for line in text.splitlines()]
                    return response.status, json.loads(text)

        return service, call

    return start


def slug(answer):
    status, body = answer
    return status, body["type"].rpartition(":")[2]


def ok(answer):
    status, body = answer
    assert status == 200, body
    return body


NOT_USABLE = (409, "key-not-usable")


def test_keys_of_a_plugin_that_was_removed(plugin, started, run, options, tmp_path):
    plugin(True)
    service, call = started()
    made = {"alg": "bip340", "exportable": True}
    other = ok(call("POST", "/key/generate", {"alg": "ed25519"}))
    first, kept = (ok(call("POST", "/key/generate", made | {"alias": a})) for a in (ALIAS, "kept"))
    assert "installed" not in first
    rotated = ok(call("POST", f"/key/{kept['kid']}/rotate"))
    by = {"kid": first["kid"], "data": DATA}
    sig = ok(call("POST", "/sign", by))["sig"]
    assert service.stop()[0] == 0

    plugin(False)
    service, call = started()
    path, by_alias = f"/key/{first['kid']}", f"/key?alias={quote(ALIAS)}"
    assert "bip340" not in {row["name"] for row in ok(call("GET", "/algorithms"))}
    read = ok(call("GET", path))
    assert ok(call("GET", by_alias)) == read
    orphan = first | {"installed": False, "last_used": read["last_used"]}
    assert read["last_used"] is not None
    assert read == orphan | {"cose_key": None}  # a listing has no `cose_key`
    for listed in (
        ok(call("GET", "/keys")),
        ok(call("GET", "/keys", Accept="application/x-ndjson")),
    ):
        assert listed[:2] == [other, orphan]
        assert [key.get("installed", True) for key in listed] == [True, False, False, False]
    assert ok(call("GET", f"/keys?alias={quote(ALIAS)}")) == [orphan]
    # Other keys are served as before.
    assert [key["kid"] for key in ok(call("GET", "/jwks.json"))["keys"]] == [other["kid"]]

    # Calls with the orphaned key are refused, and the answer says why.
    for route, body in {
        "/sign": by,
        "/verify": by | {"sig": sig},
        "/sign/batch": {"kid": by["kid"], "items": [{"data": DATA}]},
        "/verify/batch": {"kid": by["kid"], "items": [{"data": DATA, "sig": sig}]},
        "/encrypt": {"kid": by["kid"], "plaintext": DATA},
        "/mac": by,
        "/jws/sign": {"kid": by["kid"], "payload": DATA},
        "/jws/verify": {"kid": by["kid"], "jws": "e30.."},
        f"{path}/rotate": None,
    }.items():
        for _ in range(2):  # the second time its record is in memory
            answer = call("POST", route, body)
            assert slug(answer) == NOT_USABLE, route
            assert "bip340" in answer[1]["detail"]
    assert slug(call("GET", f"{path}/export")) == NOT_USABLE
    assert slug(call("POST", "/verify", {"jwk": first["jwk"], "data": DATA, "sig": sig})) == (
        422,
        "invalid-key",
    )
    assert slug(call("POST", "/key/generate", made)) == (422, "unsupported-algorithm")

    # It can be managed like any other key.
    assert ok(call("PATCH", path, {"labels": {"a": "b"}})) == orphan | {"labels": {"a": "b"}}
    assert ok(call("POST", f"{path}/associate", {"alias": "too"}))["kid"] == first["kid"]
    assert ok(call("DELETE", f"{path}?after=1d"))["kid"] == first["kid"]
    assert ok(call("POST", f"{path}/restore"))["installed"] is False
    assert ok(call("DELETE", f"/key/{rotated['kid']}"))["kid"] == rotated["kid"]
    assert service.stop()[0] == 0

    # Tools name keys without an algorithm, and copy them.
    assert "not installed 2" in run("store", "info", **options).stdout
    verified = run("store", "verify", **options)
    assert verified.returncode == 1
    missing = f"default {first['kid']} its algorithm bip340 is not installed"
    assert missing in verified.stdout.splitlines()
    copy = f"sqlite://{tmp_path}/copy.db"
    assert run("store", "copy", "--to", copy, **options).returncode == 0

    plugin(True)
    options["store"] = copy
    assert run("store", "verify", **options).returncode == 0
    service, call = started()
    again = orphan | {"labels": {"a": "b"}, "aliases": [ALIAS, "too"]}
    del again["installed"]
    assert ok(call("GET", path)) == again | {"cose_key": None}
    assert ok(call("POST", "/verify", by | {"sig": sig})) == {"valid": True}
    assert ok(call("POST", "/sign", by))["alg"] is None
    assert ok(call("GET", f"{path}/export"))["jwk"].items() > first["jwk"].items()
    assert service.stop()[0] == 0
