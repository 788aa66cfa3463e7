"""Makes `store-VERSION.db.gz` and `expected-VERSION.json.gz`, by the service of that version.

`python tests/layouts/make.py FOLDER VERSION`, where FOLDER has that version. The second file has
the answers of that service, and the key that opens the store.
"""

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).parent
DATA = "aGVsbG8="
SLOW = ("rsa3072", "rsa4096")  # like rsa2048, and larger


def main(version, number):
    with tempfile.TemporaryDirectory() as folder:
        url, options = f"sqlite://{folder}/keys.db", os.environ | {"MINIKMS_SHUTDOWN_GRACE": "0"}
        options |= {"MINIKMS_STORE": url, "MINIKMS_STORE_KEY_FILE": f"{folder}/key"}
        options |= {"MINIKMS_AUDIT_LOG": f"{folder}/audit.log"}
        options |= {"MINIKMS_ADMIN_TOKEN_FILE": f"{folder}/token"}
        run = [sys.executable, "-m", "minikms"]
        for command in (["store", "init", "--generate-key"], ["token", "generate"]):
            done = subprocess.run(
                run + command, cwd=version, env=options, check=True, capture_output=True, text=True
            )
        token = Path(folder, "token")
        token.touch(0o600)
        token.write_text(done.stdout)
        serve = [*run, "serve", "--port", "0"]
        with subprocess.Popen(
            serve, cwd=version, env=options, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                lines = iter(process.stderr.readline, "")
                found = (re.search(r"listening on http://(\S+),", line) for line in lines)
                address = next(filter(None, found))[1]
                expected = fill(address, done.stdout.strip())
            finally:
                process.terminate()
        expected["store_key"] = Path(folder, "key").read_text().strip()
        with sqlite3.connect(f"{folder}/keys.db") as file:
            file.execute("PRAGMA journal_mode = DELETE")
        store = Path(folder, "keys.db").read_bytes()
    (HERE / f"store-{number}.db.gz").write_bytes(gzip.compress(store, mtime=0))
    written = gzip.compress(json.dumps(expected).encode(), mtime=0)
    (HERE / f"expected-{number}.json.gz").write_bytes(written)


def fill(address, token):
    """Make one of everything; return the answers of the service."""

    def call(method, path, body=None, profile="default"):
        headers = {"Authorization": f"Bearer {token}", "X-Profile": profile}
        connection = HTTPConnection(address)
        connection.request(method, path, body and json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read() or "null")
        assert response.status in (200, 201, 204), (method, path, answer)
        return answer

    def make(**options):
        return call("POST", "/key/generate", options)["kid"]

    def use(operation, kid, **body):
        answer = call("POST", f"/{operation}", {"kid": kid, **body})
        return {"operation": operation, "body": {"kid": kid, **body}, "answer": answer}

    for profile in ("empty", "t", "published"):
        call("POST", "/profile", {"name": profile})
    call("PATCH", "/profile/published", {"jwks": "public"})
    used = []
    algorithms = [each["name"] for each in call("GET", "/algorithms")]
    for alg in algorithms:
        if alg in SLOW:
            continue
        kid = make(alg=alg, alias=f"did:x#{alg}", labels={"alg": alg, "é": "ü"}, exportable=True)
        key = call("GET", f"/key/{kid}")
        can = key["operations"]
        if "sign" in can:
            used.append(use("sign", kid, data=DATA))
        if "mac" in can:
            used.append(use("mac", kid, data=DATA))
        if "encrypt" in can:
            used.append(use("encrypt", kid, plaintext=DATA))
        if "wrap" in can:
            used.append(use("wrap", kid, key="AAECAwQFBgcICQoLDA0ODw=="))
        if "derive" in can:
            used.append(use("derive", kid, peer=key["jwk"]))
        if key["jwk"]:
            call("POST", "/key/import", {"jwk": key["jwk"]}, "t")  # the public key alone
    make(alg="ed25519", operations=["verify"])
    make(alg="p256", expires="2199-01-01T00:00:00Z")
    call("PATCH", f"/key/{make(alg='p256')}", {"state": "disabled"})
    call("PATCH", f"/key/{make(alg='k256')}", {"state": "verify-only"})
    rotated = make(alg="ed25519", alias="rotated")
    for _ in range(2):
        rotated = call("POST", f"/key/{rotated}/rotate")["kid"]
    call("DELETE", f"/key/{make(alg='x25519', alias='deleted later')}?after=365d")
    call("DELETE", f"/key/{make(alg='ed25519')}")
    for kid in ("moved from", "moved to"):
        call("POST", f"/key/{make(alg='hs256', labels={'is': kid})}/associate", {"alias": "moved"})
    call("POST", "/key/generate", {"alg": "p384", "alias": "of t"}, "t")
    call("POST", "/key/generate", {"alg": "p384"}, "published")
    made = call("POST", "/tokens", {"name": "signer", "scopes": ["sign"], "profiles": ["default"]})
    profiles = call("GET", "/profiles")
    names = profiles["profiles"] if isinstance(profiles, dict) else profiles
    return {
        "profiles": {name: call("GET", "/keys?limit=1000", profile=name) for name in names},
        "exported": {
            key["kid"]: call("GET", f"/key/{key['kid']}/export")
            for key in call("GET", "/keys?limit=1000")
            if key["exportable"]
        },
        "used": used,
        "admin_token": token,
        "token": made["token"],
        "jwks": call("GET", "/jwks.json?profile=published"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
