"""Programs and libraries that use Vault's Transit, as they are published, at the door."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from node import install
from openbao import BAO, needs_openbao
from vault import Vault

hvac = pytest.importorskip("hvac", reason="hvac is missing: pip install -e '.[test-all]'")

pytestmark = pytest.mark.process

INSTALL = "pip install -e '.[test-all]'"
SOPS = shutil.which("sops", path=str(Path(sys.executable).parent))
HELLO = base64.b64encode(b"hello").decode()


@pytest.fixture
def door(serve, admin):
    """A service that needs a token, and the address of its Vault door."""
    token, file = admin
    service = serve(
        "--port", "0", "--vault-port", "0", "--auth", "token", "--admin-token-file", file
    )
    (url,) = re.findall(r"https?://\S+", service.read_until("Vault"))
    return Vault(url, token)


@pytest.fixture
def run(door, tmp_path):
    """Run a program that finds the door by its environment, and return its output."""

    def start(*command, given=None, fails=False, **variables):
        environment = {
            "VAULT_ADDR": door.url,
            "VAULT_TOKEN": door.token,
            "BAO_ADDR": door.url,
            "BAO_TOKEN": door.token,
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            **variables,
        }
        done = subprocess.run(
            [str(each) for each in command],
            env={name: value for name, value in environment.items() if value},
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return start


@pytest.fixture
def client(door):
    """A client of hvac."""
    return hvac.Client(door.url, token=door.token)


def test_hvac_uses_each_method_of_transit(client):
    transit = client.secrets.transit
    made = transit.create_key("issuer", key_type="ecdsa-p256")
    assert made["data"]["type"] == "ecdsa-p256"
    assert transit.read_key("issuer")["data"]["latest_version"] == 1
    transit.create_key("box", exportable=True)
    assert transit.list_keys()["data"]["keys"] == ["box", "issuer"]

    signed = transit.sign_data("issuer", HELLO, marshaling_algorithm="jws")["data"]["signature"]
    verified = transit.verify_signed_data(
        "issuer", HELLO, signature=signed, marshaling_algorithm="jws"
    )
    assert verified["data"]["valid"] is True
    transit.rotate_key("issuer")
    assert transit.read_key("issuer")["data"]["latest_version"] == 2
    assert transit.sign_data("issuer", HELLO)["data"]["signature"].startswith("vault:v2:")

    sealed = transit.encrypt_data("box", HELLO)["data"]["ciphertext"]
    assert transit.decrypt_data("box", sealed)["data"]["plaintext"] == HELLO
    transit.rotate_key("box")
    again = transit.rewrap_data("box", sealed)["data"]["ciphertext"]
    assert again.startswith("vault:v2:")
    batch = transit.encrypt_data("box", batch_input=[{"plaintext": HELLO}, {"plaintext": ""}])
    assert len(batch["data"]["batch_results"]) == 2
    key = transit.generate_data_key("box", "plaintext")["data"]
    assert transit.decrypt_data("box", key["ciphertext"])["data"]["plaintext"] == key["plaintext"]
    mac = transit.generate_hmac("box", HELLO, algorithm="sha2-512")["data"]["hmac"]
    verified = transit.verify_signed_data("box", HELLO, hmac=mac, hash_algorithm="sha2-512")
    assert verified["data"]["valid"] is True
    assert set(transit.export_key("box", "encryption-key")["data"]["keys"]) == {"1", "2"}
    random = transit.generate_random_bytes(12)["data"]["random_bytes"]
    assert len(base64.b64decode(random)) == 12
    hashed = transit.hash_data(HELLO, algorithm="sha2-256")["data"]["sum"]
    assert len(hashed) == 64

    # hvac takes no equal versions in one call.
    transit.update_key_configuration("box", min_encryption_version=2)
    transit.update_key_configuration("box", min_decryption_version=2)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="too old"):
        transit.decrypt_data("box", sealed)
    transit.trim_key("box", 2)
    assert set(transit.read_key("box")["data"]["keys"]) == {"2"}
    with pytest.raises(hvac.exceptions.InvalidRequest, match="deletion is not allowed"):
        transit.delete_key("box")
    transit.update_key_configuration("box", deletion_allowed=True)
    transit.delete_key("box")
    with pytest.raises(hvac.exceptions.InvalidPath):
        transit.read_key("box")
    with pytest.raises(hvac.exceptions.InvalidRequest):
        transit.backup_key("issuer")


def test_hvac_asks_about_the_server_and_its_token(client):
    assert client.is_authenticated()
    assert client.sys.is_initialized()
    assert not client.sys.is_sealed()
    assert client.sys.read_health_status(method="GET")["initialized"] is True
    assert client.sys.read_health_status().status_code == 200  # by HEAD
    assert client.sys.read_leader_status()["ha_enabled"] is False
    assert "transit/" in client.sys.list_mounted_secrets_engines()["data"]
    allowed = client.sys.get_capabilities(["transit/keys/issuer"])["data"]
    assert "update" in allowed["transit/keys/issuer"] or "root" in allowed["transit/keys/issuer"]
    assert client.auth.token.renew_self()["auth"]["lease_duration"] > 0
    with pytest.raises(hvac.exceptions.InvalidRequest, match="already in use"):
        client.sys.enable_secrets_engine("transit")
    client.token = "another"
    assert not client.is_authenticated()


def test_hvac_logs_in(door):
    client = hvac.Client(door.url)
    client.auth.approle.login("any", door.token)
    assert client.is_authenticated()
    client = hvac.Client(door.url)
    client.auth.userpass.login("any", door.token)
    assert client.is_authenticated()
    with pytest.raises((hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden)):
        client.auth.userpass.login("any", "wrong")


def test_vault_signer_of_securesystemslib_signs(client, door, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        signers = pytest.importorskip(
            "securesystemslib.signer", reason=f"securesystemslib is missing: {INSTALL}"
        )
        from securesystemslib.exceptions import UnverifiedSignatureError
    monkeypatch.setenv("VAULT_ADDR", door.url)
    monkeypatch.setenv("VAULT_TOKEN", door.token)
    client.secrets.transit.create_key("test-key-ed25519", key_type="ed25519")
    client.secrets.transit.rotate_key("test-key-ed25519")
    uri, public = signers.VaultSigner.import_("test-key-ed25519")
    assert uri == "hv:test-key-ed25519/2"
    signature = signers.Signer.from_priv_key_uri(uri, public).sign(b"DATA")
    public.verify_signature(signature, b"DATA")
    with pytest.raises(UnverifiedSignatureError):
        public.verify_signature(signature, b"NOT DATA")


@needs_openbao
@pytest.mark.timeout(120)  # bao takes a second for each command
def test_bao_manages_and_uses_keys(run):
    def bao(*args, **options):
        return run(BAO, *args, **options)

    def data(*args):
        return json.loads(bao(args[0], "-format=json", *args[1:]))["data"]

    bao("write", "transit/keys/issuer", "type=ed25519", "exportable=true")
    bao("write", "-f", "transit/keys/box")
    assert bao("list", "transit/keys").split() == ["Keys", "----", "box", "issuer"]
    assert json.loads(bao("list", "-format=json", "transit/keys")) == ["box", "issuer"]
    bao("write", "-f", "transit/keys/issuer/rotate")
    assert data("read", "transit/keys/issuer")["latest_version"] == 2
    sig = bao("write", "-field=signature", "transit/sign/issuer", f"input={HELLO}").strip()
    checked = data("write", "transit/verify/issuer", f"input={HELLO}", f"signature={sig}")
    assert checked == {"valid": True}
    sealed = data("write", "transit/encrypt/box", f"plaintext={HELLO}")["ciphertext"]
    assert data("write", "transit/decrypt/box", f"ciphertext={sealed}") == {"plaintext": HELLO}
    assert len(data("read", "transit/export/signing-key/issuer/2")["keys"]) == 1
    assert "deletion is not allowed" in bao("delete", "transit/keys/box", fails=True)
    bao("write", "transit/keys/box/config", "deletion_allowed=true")
    bao("delete", "transit/keys/box")
    assert "No value found" in bao("read", "transit/keys/box", fails=True)


@needs_openbao
@pytest.mark.timeout(120)
def test_bao_asks_about_the_server_and_its_token(run, door):
    def bao(*args, **options):
        return run(BAO, *args, **options)

    assert re.search(r"^Sealed +false$", bao("status"), re.MULTILINE)
    assert re.search(r"^transit/ +transit ", bao("secrets", "list"), re.MULTILINE)
    assert bao("token", "capabilities", "transit/keys/a").strip()
    assert re.search(r"^userpass/ +userpass ", bao("auth", "list"), re.MULTILINE)
    assert re.search(r"^max_lease_ttl +768h$", bao("read", "sys/mounts/transit/tune"), re.MULTILINE)
    for absent in (("policy", "list"), ("path-help", "transit"), ("path-help", "transit/keys/a")):
        assert "unsupported" in bao(*absent, fails=True)  # docs/vault.md says so
    assert re.search(r"^policies +\[", bao("token", "lookup", door.token), re.MULTILINE)
    looked_up = bao("token", "lookup")
    assert door.token not in looked_up
    assert "permission denied" in bao("token", "lookup", BAO_TOKEN="another", fails=True)
    # This login leaves the token in the home folder, where other commands find it.
    none = {"BAO_TOKEN": "", "VAULT_TOKEN": ""}
    login = ("login", "-no-print", "-method=userpass", "username=any", "password=-")
    bao(*login, given=door.token, **none)
    bao("token", "lookup", **none)


@needs_openbao
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256", "aes256-gcm96", "mldsa-65"])
def test_bao_imports_a_key(run, client, kind):
    if kind == "aes256-gcm96":
        material = os.urandom(32)
    else:
        made = {
            "ed25519": ed25519.Ed25519PrivateKey.generate,
            "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "mldsa-65": mldsa.MLDSA65PrivateKey.generate,
        }[kind]()
        material = made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    given = base64.b64encode(material).decode()
    run(BAO, "transit", "import", "transit/keys/mine", given, f"type={kind}", "exportable=true")
    data = client.secrets.transit.read_key("mine")["data"]
    assert (data["type"], data["imported_key"]) == (kind, True)
    if kind == "aes256-gcm96":
        exported = client.secrets.transit.export_key("mine", "encryption-key")["data"]["keys"]["1"]
        assert base64.b64decode(exported) == material


@pytest.mark.skipif(SOPS is None, reason=f"sops is missing: {INSTALL}")
def test_sops_encrypts_a_file(run, client, door, tmp_path):
    client.secrets.transit.create_key("sops")
    (tmp_path / "secrets.yaml").write_text("password: correct horse\n")

    def sops(*args, **options):
        return run(SOPS, "--disable-version-check", *args, **options)

    key = f"{door.url}/v1/transit/keys/sops"
    encrypted = sops("encrypt", "--hc-vault-transit", key, "secrets.yaml")
    assert "horse" not in encrypted
    (tmp_path / "encrypted.yaml").write_text(encrypted)
    assert sops("decrypt", "encrypted.yaml") == "password: correct horse\n"
    client.secrets.transit.rotate_key("sops")
    assert sops("decrypt", "encrypted.yaml") == "password: correct horse\n"
    assert "403" in sops("decrypt", "encrypted.yaml", VAULT_TOKEN="another", fails=True)


NODE_VAULT = "node-vault@0.12.0"
SCRIPT = """
const vault = require("node-vault")();
(async () => {
  await vault.transitCreateKey({ name: "issuer", type: "ecdsa-p256" });
  await vault.transitCreateKey({ name: "box" });
  const { keys } = (await vault.transitListKeys()).data;
  const read = await vault.transitReadKey({ name: "issuer" });
  const input = Buffer.from("hello").toString("base64");
  const { signature } = (await vault.write("transit/sign/issuer", { input })).data;
  const { valid } = (await vault.write("transit/verify/issuer", { input, signature })).data;
  const sealed = await vault.encryptData({ name: "box", plaintext: input });
  const opened = await vault.decryptData({ name: "box", ciphertext: sealed.data.ciphertext });
  const again = await vault.rewrapData({ name: "box", ciphertext: sealed.data.ciphertext });
  let refused = "";
  await vault.transitDeleteKey({ name: "box" }).catch((error) => { refused = error.message; });
  await vault.write("transit/keys/box/config", { deletion_allowed: true });
  await vault.transitDeleteKey({ name: "box" });
  const self = await vault.tokenLookupSelf();
  const left = (await vault.list("transit/keys")).data.keys;
  const health = await vault.health();
  console.log(JSON.stringify({
    keys, valid, refused, left, type: read.data.type, plaintext: opened.data.plaintext,
    again: again.data.ciphertext.slice(0, 9), self: "policies" in self.data, sealed: health.sealed,
  }));
})();
"""


@pytest.mark.slow  # npm installs a package
@pytest.mark.timeout(180)
def test_node_vault_manages_and_uses_keys(run, tmp_path):
    install(tmp_path, NODE_VAULT)
    (tmp_path / "run.js").write_text(SCRIPT)
    found = json.loads(run("node", "run.js"))
    assert "deletion is not allowed" in found.pop("refused")
    assert found == {
        "keys": ["box", "issuer"],
        "valid": True,
        "left": ["issuer"],
        "type": "ecdsa-p256",
        "plaintext": HELLO,
        "again": "vault:v1:",
        "self": True,
        "sealed": False,
    }
