"""OpenBao's PKI and Transit sign with keys of the door, which are its external keys."""

import json
import re
from datetime import UTC, datetime
from urllib.request import Request, urlopen

import pytest
from cryptography import x509
from minikms_processes import services
from openbao import needs_openbao, openbao
from vault import Vault

from minikms.access.token_record import Token

pytestmark = [pytest.mark.process, pytest.mark.timeout(120), needs_openbao]

# The types that docs/vault.md lists.
TYPES = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519", "mldsa-44")
HELLO = "aGVsbG8="
CONFIG = "sys/external-keys/configs"


@pytest.fixture(scope="module")
def bao(tmp_path_factory):
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        assert server.ask("POST", "sys/mounts/pki", {"type": "pki"}).status == 204
        yield server


@pytest.fixture(scope="module")
def issue(tmp_path_factory):
    """Give a client of a door with a token of these scopes."""
    file = tmp_path_factory.mktemp("door") / "admin.token"
    token = Token.new().reveal()
    file.touch(0o600)
    file.write_text(token)
    options = ("--auth", "token", "--admin-token-file", str(file))
    with services() as start:
        service = start("--port", "0", "--vault-port", "0", *options)
        (url,) = re.findall(r"https?://\S+", service.read_until("Vault"))

        def run(*scopes):
            if not scopes:
                return Vault(url, token)
            body = {"name": "openbao", "scopes": scopes, "profiles": ["default"]}
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            asked = Request(
                f"http://127.0.0.1:{service.port}/tokens", json.dumps(body).encode(), headers
            )
            with urlopen(asked, timeout=20) as answer:
                return Vault(url, json.load(answer)["token"])

        yield run


def connect(bao, config, door, *names):
    """Let the mounts of OpenBao use keys of the door."""
    body = {
        "plugin": "transit",
        "address": door.url,
        "mount_path": "transit",
        "token": door.token,
    }
    answers = [bao.ask("POST", f"{CONFIG}/{config}", body)]
    for name in names:
        key = f"{CONFIG}/{config}/keys/{name}"
        answers.append(bao.ask("POST", key, {"name": name, "version": 1}))
        answers += [bao.ask("POST", f"{key}/grants/{mount}", {}) for mount in ("pki", "transit")]
    assert {answer.status for answer in answers} == {204}


def test_a_ca_of_each_type_needs_sign_and_keys_read_alone(bao, issue):
    names = [f"ca-{kind}" for kind in TYPES]
    for name, kind in zip(names, TYPES, strict=True):
        assert issue().ask("POST", f"transit/keys/{name}", {"type": kind}).status == 200
    door = issue("sign", "keys:read")
    connect(bao, "ca", door, *names)
    for name in names:
        body = {"external_key_ref": f"ca:{name}", "common_name": name, "issuer_name": name}
        made = bao.ask("POST", "pki/root/generate/kms", {**body, "key_name": name}).data
        ca = x509.load_pem_x509_certificate(made["certificate"].encode())
        ca.verify_directly_issued_by(ca)
        role = {"allow_any_name": True, "issuer_ref": name, "ttl": "1h"}
        assert bao.ask("POST", f"pki/roles/{name}", role).status in (200, 204)
        issued = bao.ask("POST", f"pki/issue/{name}", {"common_name": "www.example"}).data
        leaf = x509.load_pem_x509_certificate(issued["certificate"].encode())
        leaf.verify_directly_issued_by(ca)
        assert leaf.not_valid_after_utc > datetime.now(UTC)
    assert door.ask("GET", f"transit/export/signing-key/{names[0]}").status == 403


def test_transit_of_openbao_uses_each_key(bao, issue):
    names = [f"t-{kind}" for kind in (*TYPES, "aes256-gcm96")]
    for name in names:
        body = {"type": name.removeprefix("t-")}
        assert issue().ask("POST", f"transit/keys/{name}", body).status == 200
    door = issue("sign", "verify", "encrypt", "decrypt", "keys:read")
    connect(bao, "transit", door, *names)
    for name in names:
        body = {"type": "external-key", "external_key_ref": f"transit:{name}"}
        assert bao.ask("POST", f"transit/keys/own-{name}", body).status == 200, name
        if name == "t-aes256-gcm96":
            sealed = bao.ask("POST", f"transit/encrypt/own-{name}", {"plaintext": HELLO}).data
            body = {"ciphertext": sealed["ciphertext"]}
            opened = bao.ask("POST", f"transit/decrypt/own-{name}", body).data
            assert opened["plaintext"] == HELLO
            continue
        signed = bao.ask("POST", f"transit/sign/own-{name}", {"input": HELLO}).data["signature"]
        body = {"input": HELLO, "signature": signed}
        # The door made the signature, so both servers verify it.
        for server, path in ((bao, f"own-{name}"), (door, name)):
            answer = server.ask("POST", f"transit/verify/{path}", body)
            assert answer.data["valid"] is True, (name, answer)
