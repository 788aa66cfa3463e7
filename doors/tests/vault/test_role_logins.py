"""Logins for a role: by a JWT, and by a client certificate."""

import contextlib
import json
import logging
import ssl

import pytest
from access.jwt_issuer import SigningKey
from access.role_files import write_roles
from aiohttp import ClientSession, TCPConnector
from cryptography import x509
from tls_certificates import Authority
from vault_client import Vault

from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.listener import read_certificates

ROLES = """
[roles.signer]
issuer = "cluster"
claims = { sub = ["system:serviceaccount:pid:issuer"] }
scopes = ["sign"]
profiles = ["default"]

[roles.maker]
issuer = "cluster"
claims = { sub = ["system:serviceaccount:pid:*"] }
scopes = ["keys:write", "keys:read"]
profiles = ["default", "alice"]

[roles.other]
issuer = "cluster"
claims = { sub = ["somebody else"] }
scopes = ["keys:read"]
profiles = ["default"]

[roles.mesh]
certificate = { uri = ["spiffe://example.org/wallet"] }
scopes = ["keys:write", "keys:read"]
profiles = ["default"]

[roles.mesh-reader]
certificate = { uri = ["spiffe://example.org/*"] }
scopes = ["keys:read"]
profiles = ["default"]
"""
POD = {"sub": "system:serviceaccount:pid:issuer"}
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
LACKS = (400, {"errors": ["error validating claims: the token does not have the role"]})
WRONG = (400, {"errors": ["error validating token"]})
NO_CERTIFICATE = (400, {"errors": ["invalid certificate or no client certificate supplied"]})


@pytest.fixture
def key():
    return SigningKey("p256")


@pytest.fixture
async def vault(start_vault, admin, tmp_path, key):
    """A service with roles and an audit log, and the profile `alice`."""
    token, file = admin
    vault = await start_vault(
        auth="token",
        admin_token_file=file,
        audit_log=str(tmp_path / "audit.log"),
        roles=write_roles(tmp_path, key, ROLES),
    )
    headers = {"Authorization": f"Bearer {token}"}
    async with vault.rest.post("/profile", json={"name": "alice"}, headers=headers) as made:
        assert made.status == 200
    return vault


async def log_in(vault, jwt, role, mount="kubernetes", **headers):
    """Log in, and give `auth` of the answer."""
    body = {"role": role, "jwt": jwt}
    status, answer = await vault.call("POST", f"auth/{mount}/login", body, **headers)
    assert (status, answer["data"]) == (200, None), answer
    return answer["auth"]


@pytest.mark.parametrize("mount", ["kubernetes", "jwt", "team-a"])
async def test_a_login_gives_a_token_for_one_role(vault, key, mount, audit_lines, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    jwt = key.token(POD)
    auth = await log_in(vault, f"{jwt}\n", "maker", mount)
    token = auth["client_token"]
    assert auth["policies"] == auth["token_policies"] == ["maker"]
    assert auth["metadata"] == {"role": "maker"}
    assert (auth["renewable"], auth["token_type"]) == (False, "service")
    assert 1 <= auth["lease_duration"] <= 60
    (line,) = audit_lines()
    assert (line["operation"], line["outcome"]) == ("vault:login", "success")
    assert (line["who"], line["roles"]) == (f"cluster:{POD['sub']}", ["maker"])

    for _ in range(2):  # the second time, the token is in the cache
        made = await vault.call("POST", "transit/keys/k", {"type": "ed25519"}, token=token)
        assert made[0] == 200
        signed = await vault.call("POST", "transit/sign/k", {"input": ""}, token=token)
        assert signed == (403, DENIED)
    assert audit_lines()[-1]["roles"] == ["maker"]
    signed = await vault.call("POST", "transit/sign/k", {"input": ""}, token=jwt)
    assert signed[0] == 200  # the JWT alone has all its roles
    written = caplog.text + (tmp_path / "audit.log").read_text()
    assert jwt.split(".")[2] not in written


async def test_what_clients_call_with_the_token(vault, key):
    token = (await log_in(vault, key.token(POD), "signer"))["client_token"]
    facts = await vault.data("GET", "auth/token/lookup-self", token=token)
    assert (facts["policies"], facts["renewable"]) == (["signer"], False)
    assert facts["display_name"] == f"cluster:{POD['sub']}"
    assert 1 <= facts["ttl"] <= 60
    assert token not in json.dumps(facts)
    renewed = await vault.call("POST", "auth/token/renew-self", {}, token=token)
    assert renewed == (400, {"errors": ["lease is not renewable"]})
    assert (await vault.call("POST", "auth/token/revoke-self", {}, token=token))[0] == 400
    found = await vault.data("POST", "auth/token/lookup", {"token": token})
    assert found["policies"] == ["signer"]


async def test_a_role_that_the_jwt_does_not_have(vault, key, audit_lines):
    """The answer is the same whether the role exists."""
    for role in ("other", "mesh", "none", "Signer", "signer ", 7):
        body = {"role": role, "jwt": key.token(POD)}
        assert await vault.call("POST", "auth/kubernetes/login", body) == LACKS
    line = audit_lines()[-1]
    assert (line["who"], line["outcome"]) == (f"cluster:{POD['sub']}", "forbidden")
    assert "roles" not in line


async def test_a_jwt_that_is_refused(vault, key, audit_lines):
    other = SigningKey("p256")
    tokens = [
        other.token(POD),
        key.token({**POD, "iss": "https://other.example"}),
        key.token({**POD, "aud": "other"}),
        key.token({**POD, "exp": 1}),
        key.token({**POD, "padding": "x" * 17_000}),
        f"maker.{key.token(POD)}",
        "mesh.certificate",
        "wrong",
        "x" * 60_000,
    ]
    for jwt in tokens:
        body = {"role": "signer", "jwt": jwt}
        assert await vault.call("POST", "auth/jwt/login", body) == WRONG
        assert audit_lines()[-1]["outcome"] == "unauthenticated"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"role": ""}, "missing role"),
        ({}, "missing role"),
        ({"jwt": "", "role": "a"}, "missing jwt"),
    ],
)
async def test_a_login_without_a_role_or_a_jwt(vault, key, members, sentence):
    body = {"jwt": key.token(POD), **members}
    refused = await vault.call("POST", "auth/kubernetes/login", body)
    assert refused == (400, {"errors": [sentence]})


async def test_a_large_jwt_logs_in_and_is_used(vault, key):
    jwt = key.token({**POD, "padding": "x" * 11_000})
    token = (await log_in(vault, jwt, "signer"))["client_token"]
    assert 15_000 < len(jwt) < 16 * 1024
    assert (await vault.call("GET", "auth/token/lookup-self", token=token))[0] == 200


async def test_a_role_holds_in_its_profiles(vault, key):
    alice = {"X-Vault-Namespace": "alice"}
    token = (await log_in(vault, key.token(POD), "maker", **alice))["client_token"]
    assert (await vault.call("GET", "auth/token/lookup-self", token=token, **alice))[0] == 200
    body = {"role": "signer", "jwt": key.token(POD)}
    refused = await vault.call("POST", "auth/kubernetes/login", body, **alice)
    assert refused == (404, {"errors": ["namespace not found"]})


async def test_the_file_of_roles_holds_for_tokens_that_were_given_out(vault, key, tmp_path):
    token = (await log_in(vault, key.token(POD), "maker"))["client_token"]
    identities = vault.rest.app[GATE].access.identities
    without = ROLES.replace("[roles.maker]", "[roles.former]")
    narrower = ROLES.replace('"keys:write", "keys:read"', '"keys:read"')
    for roles, status in ((ROLES, 200), (without, 403), (narrower, 403), (ROLES, 200)):
        await identities.renew(write_roles(tmp_path, key, roles))
        made = await vault.call("POST", "transit/keys/k", {"type": "ed25519"}, token=token)
        assert made[0] == status


async def test_wrong_jwts_are_limited(start_vault, admin, key, tmp_path):
    vault = await start_vault(
        auth="token",
        admin_token_file=admin[1],
        max_wrong_tokens=3,
        roles=write_roles(tmp_path, key, ROLES),
    )
    bodies = [{"role": "signer", "jwt": key.token({**POD, "exp": n})} for n in range(5)]
    answers = [(await vault.call("POST", "auth/jwt/login", body))[0] for body in bodies]
    assert answers == [400, 400, 400, 429, 429]


# Client certificates

WALLET, NOBODY = "spiffe://example.org/wallet", "spiffe://elsewhere.example/wallet"


@pytest.fixture
async def mesh(start_with_doors, admin, tmp_path, key):
    """Start a service that asks for certificates; gives a client of its door for each name."""
    authority = Authority(tmp_path, "mesh")
    cert, private = authority.issue("kms")
    files = {"tls_cert": cert, "tls_key": private, "tls_client_ca": authority.file}
    _, urls = await start_with_doors(
        "vault",
        tls=read_certificates(Config(**files)),
        auth="token",
        admin_token_file=admin[1],
        audit_log=str(tmp_path / "audit.log"),
        roles=write_roles(tmp_path, key, ROLES),
        **files,
    )
    async with contextlib.AsyncExitStack() as sessions:

        async def client(*uris):
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            context = ssl.create_default_context(cafile=authority.file)
            context.load_cert_chain(*authority.issue("caller", names=names))
            session = ClientSession(connector=TCPConnector(ssl=context))
            return Vault(await sessions.enter_async_context(session), urls["vault"], None)

        yield client


@pytest.mark.parametrize(
    ("body", "role", "status"),
    [
        ({"name": "mesh"}, "mesh", 200),
        ({"name": "mesh-reader"}, "mesh-reader", 403),
        ({"name": ""}, "mesh", 200),
        (None, "mesh", 200),
    ],
)
async def test_a_certificate_logs_in(mesh, body, role, status, audit_lines):
    """Without a name, the first role that fits counts, as at OpenBao."""
    wallet = await mesh(WALLET)
    answered, answer = await wallet.call("POST", "auth/cert/login", body)
    assert answered == 200
    auth = answer["auth"]
    assert auth["policies"] == auth["token_policies"] == [role]
    assert auth["metadata"] == {"cert_name": role}
    assert 60 < auth["lease_duration"] <= 3600
    assert auth["renewable"] is False
    line = audit_lines()[-1]
    assert (line["operation"], line["outcome"]) == ("vault:loginCertificate", "success")
    assert (line["who"], line["roles"]) == (f"certificate:{WALLET}", [role])

    token = auth["client_token"]
    made = await wallet.call("POST", "transit/keys/k", {"type": "ed25519"}, token=token)
    assert made[0] == status
    facts = await wallet.data("GET", "auth/token/lookup-self", token=token)
    assert facts["policies"] == [role]
    # The token counts only beside the certificate.
    other = await mesh(NOBODY)
    assert (await other.call("GET", "auth/token/lookup-self", token=token))[0] == 403


async def require_no_login(client):
    for body in (None, {"name": "mesh"}):
        assert await client.call("POST", "auth/cert/login", body) == NO_CERTIFICATE
    found = await client.call("GET", "auth/token/lookup-self", token="mesh.certificate")
    assert found == (403, {"errors": ["permission denied"]})


async def test_a_certificate_without_the_role(mesh, audit_lines):
    reader = await mesh("spiffe://example.org/reader")
    for name in ("mesh", "signer", "none", "a.b"):
        body = {"name": name}
        assert await reader.call("POST", "auth/cert/login", body) == NO_CERTIFICATE
    await require_no_login(await mesh(NOBODY))
    assert {line["outcome"] for line in audit_lines()} == {"unauthenticated"}


async def test_without_a_client_certificate(vault):
    await require_no_login(vault)


async def test_a_certificate_with_a_jwt(mesh, key):
    """A login by a JWT is for the role of the JWT, whatever the certificate is."""
    wallet = await mesh(WALLET)
    assert (await log_in(wallet, key.token(POD), "signer"))["policies"] == ["signer"]
    body = {"role": "mesh", "jwt": key.token(POD)}
    assert await wallet.call("POST", "auth/jwt/login", body) == LACKS
