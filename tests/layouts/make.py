"""Makes `store-3.0.db.gz` and `expected-3.0.json.gz`, by a service of layout 3.0.

`PYTHON tests/layouts/make.py`, where PYTHON has that service installed. The second file has calls
with the answers of that service, the token that they need, and the key that opens the store.
"""

import gzip
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from layouts.layout_calls import send  # noqa: E402

DATA = "aGVsbG8="
SLOW = ("rsa3072", "rsa4096")  # like rsa2048, and larger
INVERSE = {"sign": "verify", "mac": "mac/verify", "encrypt": "decrypt", "wrap": "unwrap"}
LONG = "é" * 2000


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return str(opened.getsockname()[1])


def main():
    with tempfile.TemporaryDirectory() as folder:
        doors = {"aws": free_port(), "vault": free_port()}
        options = os.environ | {"MINIKMS_SHUTDOWN_GRACE": "0"}
        options |= {"MINIKMS_STORE": f"sqlite://{folder}/keys.db"}
        options |= {"MINIKMS_STORE_KEY_FILE": f"{folder}/key"}
        options |= {"MINIKMS_AUDIT_LOG": f"{folder}/audit.log"}
        run = [sys.executable, "-m", "minikms"]
        init = [*run, "store", "init", "--generate-key", "--admin-token-file", f"{folder}/token"]
        subprocess.run(init, cwd=folder, env=options, check=True, capture_output=True)
        token = Path(folder, "token").read_text().strip()
        serve = [*run, "serve", "--port", "0", "--auth", "token"]
        serve += [each for name, port in doors.items() for each in (f"--{name}-port", port)]
        with subprocess.Popen(
            serve, cwd=folder, env=options, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                lines = iter(process.stderr.readline, "")
                found = (re.search(r"listening on http://(\S+),", line) for line in lines)
                service = {name: f"127.0.0.1:{port}" for name, port in doors.items()}
                service |= {"token": token, "rest": next(filter(None, found))[1]}
                calls = fill(service)
                answers = [[call, send(service, call)] for call in calls]
            finally:
                process.terminate()
        expected = {"token": token, "calls": answers}
        expected["store_key"] = Path(folder, "key").read_text().strip()
        with sqlite3.connect(f"{folder}/keys.db") as file:
            file.execute("PRAGMA journal_mode = DELETE")
        store = Path(folder, "keys.db").read_bytes()
    (HERE / "store-3.0.db.gz").write_bytes(gzip.compress(store, mtime=0))
    written = gzip.compress(json.dumps(expected).encode(), mtime=0)
    (HERE / "expected-3.0.json.gz").write_bytes(written)


def fill(service):
    """Make keys of every kind, and change their aliases; return calls that only read."""
    reads = []

    def call(port, method, path, body=None, profile="default"):
        status, answer = send(service, [port, method, path, body, profile])
        assert status in (200, 201, 204), (port, method, path, answer)
        return answer

    def read(port, method, path, body=None, profile="default"):
        reads.append([port, method, path, body, profile])

    def rest(path, body=None, profile="default"):
        return call("rest", "POST", path, body, profile)

    def make(alg, profile="default", **options):
        return rest("/key/generate", {"alg": alg, **options}, profile)["kid"]

    def rotate(kid, times=1):
        for _ in range(times):
            kid = rest(f"/key/{kid}/rotate")["kid"]
        return kid

    def bind(kid, alias):
        rest(f"/key/{kid}/associate", {"alias": alias})

    def signed(alias):
        """Verify a signature of the present key by the alias."""
        signature = rest("/sign", {"alias": alias, "data": DATA})["sig"]
        read("rest", "POST", "/verify", {"alias": alias, "data": DATA, "sig": signature})

    for profile in ("empty", "t", "published"):
        rest("/profile", {"name": profile})
    call("rest", "PATCH", "/profile/published", {"jwks": "public"})
    for each in call("rest", "GET", "/algorithms"):
        if each["name"] not in SLOW:
            used(make, call, read, each["name"])
    make("ed25519", operations=["verify"])
    make("p256", expires="2199-01-01T00:00:00Z", rules={"raw": False})
    make("p384", "published")
    make("ed25519", rotate_every=3650 * 86_400, alias="scheduled")
    call("rest", "PATCH", f"/key/{make('p256')}", {"state": "disabled"})

    # Aliases that rotations took along, or that moved.
    for alias, times in (("rotated", 2), ("often", 20), (LONG, 3)):
        kid = make("ed25519", alias=alias)
        signed(alias)
        kid = rotate(kid, times)
        signed(alias)
    moved = make("ed25519", alias="moved")
    signed("moved")
    bind(rotate(moved), "beside")
    bind(make("ed25519"), "moved")
    signed("moved")
    rotate(call("rest", "GET", "/key?alias=moved")["kid"], 2)
    old = make("k256", alias="older")
    signed("older")
    old = rotate(old, 2)
    bind(old, "younger")
    signed("younger")
    old = rotate(old)
    bind(old, "youngest")
    off = rotate(make("hs256", alias="disabled"))
    call("rest", "PATCH", f"/key/{off}", {"state": "disabled"})
    alone = make("a256gcm", alias="removed")
    bind(rotate(alone), "stays")
    kept = call("rest", "GET", "/key?alias=stays")["kid"]
    call("rest", "DELETE", f"/key/{kept}/associate?alias=removed")
    make("p384", "t", alias="rotated")
    names_at_vault(call, read)
    keys_at_aws(call, read)

    for profile in ("default", "empty", "t", "published"):
        read("rest", "GET", "/keys?limit=1000", None, profile)
        for key in call("rest", "GET", "/keys?limit=1000", None, profile):
            read("rest", "GET", f"/key/{key['kid']}", None, profile)
            for alias in key["aliases"]:
                read("rest", "GET", f"/key?alias={quote(alias)}", None, profile)
            if key["exportable"]:
                read("rest", "GET", f"/key/{key['kid']}/export", None, profile)
    read("rest", "GET", "/jwks.json?profile=published")
    return reads


def used(make, call, read, alg):
    """Make a key of an algorithm, and check the key."""
    kid = make(alg, alias=f"did:x#{alg}", labels={"alg": alg, "é": "ü"}, exportable=True)
    can = call("rest", "GET", f"/key/{kid}")["operations"]
    for operation, given in (
        ("sign", {"data": DATA}),
        ("mac", {"data": DATA}),
        ("encrypt", {"plaintext": DATA}),
        ("wrap", {"key": "AAECAwQFBgcICQoLDA0ODw=="}),
    ):
        if operation not in can:
            continue
        answer = call("rest", "POST", f"/{operation}", {"kid": kid, **given})
        body = {name: answer[name] for name in answer if name not in ("kid", "alg")}
        if "data" in given:
            body["data"] = DATA
        read("rest", "POST", f"/{INVERSE[operation]}", {"kid": kid, **body})


def names_at_vault(call, read):
    """Make names at the Vault door with every setting, and read all their versions."""

    def vault(path, body=None, method="POST"):
        return (call("vault", method, f"/v1/transit/{path}", body or {}) or {}).get("data")

    def encrypted(name):
        text = vault(f"encrypt/{name}", {"plaintext": DATA})["ciphertext"]
        read("vault", "POST", f"/v1/transit/decrypt/{name}", {"ciphertext": text})

    for name, times in (("plain", 0), ("turned", 3), ("configured", 3), ("trimmed", 4)):
        vault(f"keys/{name}", {"exportable": True})
        encrypted(name)
        for _ in range(times):
            vault(f"keys/{name}/rotate")
            encrypted(name)
    vault("keys/configured/config", {"min_decryption_version": 2, "deletion_allowed": True})
    least = {"min_decryption_version": 3, "min_encryption_version": 4}
    vault("keys/trimmed/config", least)
    vault("keys/trimmed/trim", {"min_available_version": 3})
    vault("keys/hidden")
    vault("keys/hidden/rotate")
    vault("keys/hidden/soft-delete", method="DELETE")
    vault("keys/yearly", {"auto_rotate_period": "87600h"})
    vault("keys/signer", {"type": "ed25519"})
    for _ in range(2):
        signature = vault("sign/signer", {"input": DATA})["signature"]
        body = {"input": DATA, "signature": signature}
        read("vault", "POST", "/v1/transit/verify/signer", body)
        vault("keys/signer/rotate")
    read("vault", "LIST", "/v1/transit/keys")
    names = ("plain", "turned", "configured", "trimmed", "hidden", "yearly", "signer")
    for name in (*names, "rotated", "often", "older", "moved", "stays"):
        read("vault", "GET", f"/v1/transit/keys/{name}")
        read("vault", "GET", f"/v1/transit/export/encryption-key/{name}")


def keys_at_aws(call, read):
    """Make keys at the AWS door, rotate them, and read what their callers see."""

    def aws(operation, **members):
        return call("aws", "POST", operation, members)

    def read_aws(operation, **members):
        read("aws", "POST", operation, members)

    for times in range(4):
        key_id = aws("CreateKey")["KeyMetadata"]["KeyId"]
        aws("CreateAlias", AliasName=f"alias/rotated-{times}", TargetKeyId=key_id)
        names = key_id, f"alias/rotated-{times}"
        for turn in range(times + 1):
            if turn:
                aws("RotateKeyOnDemand", KeyId=key_id)
            text = aws("Encrypt", KeyId=key_id, Plaintext=DATA)["CiphertextBlob"]
            for name in names:
                read_aws("Decrypt", KeyId=name, CiphertextBlob=text)
            read_aws("Decrypt", CiphertextBlob=text)
        read_aws("DescribeKey", KeyId=key_id)
        read_aws("ListKeyRotations", KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")
        read_aws("ListKeyRotations", KeyId=key_id)
    aws("EnableKeyRotation", KeyId=key_id, RotationPeriodInDays=2560)
    read_aws("GetKeyRotationStatus", KeyId=key_id)
    made = aws("CreateKey", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    signing = {"KeyId": made, "Message": DATA, "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = aws("Sign", **signing)["Signature"]
    read_aws("Verify", **signing, Signature=signature)
    read_aws("GetPublicKey", KeyId=made)
    read_aws("ListAliases")
    read_aws("ListKeys")


if __name__ == "__main__":
    main()
