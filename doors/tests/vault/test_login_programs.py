"""Programs and libraries that log in to Vault by a JWT or a certificate, as they are published."""

import base64
import contextlib
import json
import os
import re
import subprocess
import time

import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, SigningKey
from access.role_files import write_roles
from cryptography import x509
from minikms_processes import end_group
from node import install
from openbao import BAO, needs_openbao, openbao
from tls_certificates import Authority
from vault import Vault
from waiting import LONG, wait_until

from minikms.doors.public_keys import spki_of

hvac = pytest.importorskip("hvac", reason="hvac is missing: pip install -e '.[test-all]'")

pytestmark = pytest.mark.process

NO_ROLE = "error validating claims"
WALLET = "spiffe://example.org/wallet"
ROLES = """
[roles.maker]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["keys:write", "keys:read", "sign"]
profiles = ["default"]

[roles.reader]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["keys:read"]
profiles = ["default"]

[roles.mesh]
certificate = { uri = ["spiffe://example.org/wallet"] }
scopes = ["keys:write", "keys:read"]
profiles = ["default"]
"""


@pytest.fixture
def key():
    return SigningKey("p256")


@pytest.fixture
def start(serve, tmp_path, key):
    """Start a service with roles, and no token in its store; gives the URL of its Vault door."""

    def run(*options):
        file = write_roles(tmp_path, key, ROLES)
        ports = ("--port", "0", "--vault-port", "0")
        service = serve(*ports, "--auth", "token", "--roles", file, *options, wait=False)
        (url,) = re.findall(r"https?://\S+", service.read_until("Vault"))
        return url

    return run


@pytest.fixture
def door(start):
    return start()


def environment(url, folder, **more):
    return {
        "VAULT_ADDR": url,
        "BAO_ADDR": url,
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        **more,
    }


def test_hvac_logs_in_by_a_jwt(door, key):
    for login in (
        lambda client, **given: client.auth.kubernetes.login(**given),
        lambda client, **given: client.auth.jwt.jwt_login(**given),
    ):
        client = hvac.Client(door)
        auth = login(client, role="maker", jwt=key.token())["auth"]
        assert client.token == auth["client_token"]
        assert client.is_authenticated()
        client.secrets.transit.create_key("issuer", key_type="ed25519")
        assert client.lookup_token()["data"]["policies"] == ["maker"]
        with pytest.raises(hvac.exceptions.InvalidRequest, match="not renewable"):
            client.auth.token.renew_self()
        login(client, role="reader", jwt=key.token())
        with pytest.raises(hvac.exceptions.Forbidden):
            client.secrets.transit.sign_data("issuer", "")
        with pytest.raises(hvac.exceptions.InvalidRequest, match="does not have the role"):
            login(client, role="mesh", jwt=key.token())


@pytest.fixture
def mesh(start, tmp_path):
    """A door that asks for certificates: its URL, its CA, and a client's certificate and key."""
    authority = Authority(tmp_path, "mesh")
    cert, private = authority.issue("kms")
    files = ("--tls-cert", cert, "--tls-key", private, "--tls-client-ca", authority.file)
    names = [x509.UniformResourceIdentifier(WALLET)]
    return start(*files), authority.file, authority.issue("wallet", names=names)


def test_hvac_logs_in_by_a_certificate(mesh):
    url, ca, pair = mesh
    client = hvac.Client(url, verify=ca, cert=pair)
    for name in ("mesh", ""):
        auth = client.auth.cert.login(name, False, *pair)["auth"]
        assert (auth["policies"], client.token) == (["mesh"], auth["client_token"])
        assert client.secrets.transit.create_key("issuer")["data"]["name"] == "issuer"
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid certificate"):
        client.auth.cert.login("maker", False, *pair)


@needs_openbao
def test_bao_logs_in(mesh, door, key, tmp_path):
    url, ca, (cert, private) = mesh

    def bao(*command, **more):
        done = subprocess.run(
            [str(BAO), *command],
            env=environment(door, tmp_path, **more),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    path = ("write", "-format=json", "auth/kubernetes/login")
    written = json.loads(bao(*path, "role=maker", f"jwt={key.token()}"))
    assert written["auth"]["policies"] == ["maker"]
    files = {"BAO_CACERT": ca, "BAO_CLIENT_CERT": cert, "BAO_CLIENT_KEY": private}
    at_mesh = {"BAO_ADDR": url, "VAULT_ADDR": url, **files}
    assert "mesh" in bao("login", "-method=cert", "-no-store", "name=mesh", **at_mesh)


@needs_openbao
def test_a_login_is_answered_as_by_openbao(door, key, tmp_path):
    """The answers have the same members with values of the same types, and refusals are 400."""
    (tmp_path / "bao").mkdir()
    with openbao(tmp_path / "bao") as server:
        public = base64.b64encode(spki_of(key.jwk)).decode()
        pem = f"-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n"
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": AUDIENCE}
        for path, body in {
            "sys/auth/jwt": {"type": "jwt"},
            "auth/jwt/config": {"jwt_validation_pubkeys": pem, "bound_issuer": ISSUER},
            "auth/jwt/role/maker": {**role, "bound_claims": {"sub": "alice"}},
            "auth/jwt/role/other": {**role, "bound_claims": {"sub": "bob"}},
        }.items():
            assert server.ask("POST", path, body).status in (200, 204)
        anybody, ours = Vault(server.url), Vault(door)
        good = {"role": "maker", "jwt": key.token()}
        expected, found = (
            each.ask("POST", "auth/jwt/login", good).body["auth"] for each in (anybody, ours)
        )
        assert {name: type(value) for name, value in found.items()} == {
            name: type(value) for name, value in expected.items()
        }
        assert found["metadata"] == expected["metadata"] == {"role": "maker"}
        assert found["token_type"] == expected["token_type"]
        stranger = SigningKey("p256").token()
        for wrong in ({"role": ""}, {"role": "other"}, {"role": "none"}, {"jwt": stranger}):
            answers = [each.ask("POST", "auth/jwt/login", good | wrong) for each in (anybody, ours)]
            assert [answer.status for answer in answers] == [400, 400], wrong
            one, other = (answer.body["errors"][0].split(":")[0] for answer in answers)
            # The door does not tell which roles exist.
            assert other == (NO_ROLE if wrong == {"role": "none"} else one)


def config(method, url, folder):
    return f"""
vault {{ address = "{url}" }}
auto_auth {{
  method {method}
  sink "file" {{ config = {{ path = "{folder}/sink" }} }}
}}
"""


@contextlib.contextmanager
def agent(settings, url, folder):
    """Run bao's agent, and give a function that returns the token in its sink."""
    file = folder / "agent.hcl"
    file.write_text(settings)
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BAO), "agent", f"-config={file}"],
            env=environment(url, folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    sink = folder / "sink"
    try:
        yield lambda: sink.read_text() if sink.exists() else ""
    finally:
        end_group(process)


@needs_openbao
@pytest.mark.timeout(150)  # the agent logs in again after half the life of the first token
@pytest.mark.parametrize("kind", ["kubernetes", "jwt"])
def test_the_agent_logs_in_again_with_the_renewed_jwt(door, key, kind, tmp_path):
    given = tmp_path / "jwt"
    members = {
        "kubernetes": f'token_path = "{given}"',
        "jwt": f'path = "{given}", remove_jwt_after_reading = false, jwt_read_period = "1s"',
    }[kind]
    config_of = f'config = {{ role = "maker", {members} }}'
    method = f'"{kind}" {{\n  namespace = "default"\n  {config_of}\n}}'
    first, second = (key.token({"exp": int(time.time()) + life}) for life in (8, 3600))
    given.write_text(f"{first}\n")
    with agent(config(method, door, tmp_path), door, tmp_path) as token:
        wait_until("the first token", lambda: token() == f"maker.{first}", LONG)
        given.write_text(second)
        wait_until("the second token", lambda: token() == f"maker.{second}", LONG)
        client = hvac.Client(door, token=token())
        client.secrets.transit.create_key("issuer", key_type="ed25519")
        assert client.secrets.transit.sign_data("issuer", "")["data"]["signature"]


@needs_openbao
@pytest.mark.timeout(120)
def test_the_agent_logs_in_by_a_certificate(mesh, tmp_path):
    url, ca, (cert, private) = mesh
    files = f'ca_cert = "{ca}", client_cert = "{cert}", client_key = "{private}"'
    method = f'"cert" {{ config = {{ name = "mesh", {files} }} }}'
    settings = config(method, url, tmp_path).replace(f'"{url}"', f'"{url}", {files}', 1)
    with agent(settings, url, tmp_path) as token:
        wait_until("the token", lambda: token() == "mesh.certificate", LONG)


SCRIPT = """
const vault = require("node-vault")();
const jwt = process.env.JWT;
(async () => {
  const found = {};
  for (const [kind, login] of [["kubernetes", vault.kubernetesLogin], ["jwt", vault.jwtLogin]]) {
    const { auth } = await login({ mount_point: kind, role: "maker", jwt });
    found[kind] = [auth.policies, vault.token === auth.client_token];
    await vault.transitCreateKey({ name: kind, type: "ed25519" });
  }
  await vault.jwtLogin({ role: "mesh", jwt }).catch((e) => { found.refused = e.message; });
  found.keys = (await vault.transitListKeys()).data.keys;
  console.log(JSON.stringify(found));
})();
"""


@pytest.mark.slow  # npm installs a package
@pytest.mark.timeout(180)
def test_node_vault_logs_in_by_a_jwt(door, key, tmp_path):
    install(tmp_path, "node-vault@0.12.0")
    (tmp_path / "run.js").write_text(SCRIPT)
    variables = environment(door, tmp_path, JWT=key.token({"exp": int(time.time()) + 600}))
    command = ("node", "run.js")
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "does not have the role" in found.pop("refused")
    logged_in = [["maker"], True]
    assert found == {"kubernetes": logged_in, "jwt": logged_in, "keys": ["jwt", "kubernetes"]}
