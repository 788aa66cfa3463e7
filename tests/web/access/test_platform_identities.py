"""Workloads call with what their platforms give them: each platform as it really answers."""

import base64
import hashlib
import json
import ssl
import subprocess
import time

import pytest
from access.jwt_issuer import AUDIENCE, Provider, SigningKey, compact
from access.spiffe_documents import TrustDomain
from aiohttp import ClientError, ClientSession, web
from base64url import jose
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from http_answers import bearer
from node import install
from problems import refused
from tls_certificates import Authority

from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.assembly import create_service
from minikms.serve.listener import read_certificates

ROLE = """
[roles.caller]
{who}
scopes = ["keys:write", "sign", "keys:read"]
profiles = ["default"]
"""


@pytest.fixture
def service(start, admin, tmp_path):
    """Start a service with these issuers and a role for one kind of caller."""

    async def run(issuers, who, tls=None, **options):
        (tmp_path / "roles.toml").write_text(issuers + ROLE.format(who=who))
        config = Config(
            auth="token", admin_token_file=admin[1], roles=str(tmp_path / "roles.toml"), **options
        )
        return await start(create_service(config), tls)

    return run


async def signs(client, token):
    """Make a key and sign with it."""
    made = await client.post("/key/generate", json={"alg": "ed25519"}, headers=bearer(token))
    assert made.status == 200, await made.text()
    body = {"kid": (await made.json())["kid"], "data": "AA"}
    return (await client.post("/sign", json=body, headers=bearer(token))).status == 200


# A real OpenID provider

OIDC_PROVIDER = "oidc-provider@9.13.3"
SERVER = """
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = privateKey.export({ format: "jwk" });
const client = (id) => ({
  client_id: id,
  client_secret: `secret of ${id}`,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...jwk, use: "sig", alg: "RS256", kid: "one" }] },
    clients: [client("issuer"), client("other")],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({
          scope: "sign",
          audience,
          accessTokenFormat: "jwt",
          accessTokenTTL: 300,
        }),
      },
    },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
"""


@pytest.fixture
def openid_provider(tmp_path_factory):
    """The URL of an OpenID provider with two clients."""
    folder = install(tmp_path_factory.mktemp("npm"), OIDC_PROVIDER)
    (folder / "run.mjs").write_text(SERVER)
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["node", "run.mjs"], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        yield process.stdout.readline().strip()
        process.kill()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)  # npm installs packages
async def test_access_tokens_of_an_openid_provider(service, openid_provider):
    issuer = f"""
[issuers.idp]
issuer = "{openid_provider}"
audience = "{AUDIENCE}"
discovery = true
"""

    async def token(client_id, resource=AUDIENCE):
        secret = f"secret of {client_id}"
        basic = base64.b64encode(f"{client_id}:{secret.replace(' ', '+')}".encode()).decode()
        body = {"grant_type": "client_credentials", "resource": resource, "scope": "sign"}
        async with (
            ClientSession() as session,
            session.post(
                f"{openid_provider}/token", data=body, headers={"Authorization": f"Basic {basic}"}
            ) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return (await answer.json())["access_token"]

    client = await service(issuer, 'issuer = "idp"\nclaims = { client_id = ["issuer"] }')
    assert await signs(client, await token("issuer"))
    other = await client.get("/keys", headers=bearer(await token("other")))
    await refused(other, 403, "forbidden")
    elsewhere = await token("issuer", "https://other.example")
    await refused(await client.get("/keys", headers=bearer(elsewhere)), 401, "unauthenticated")


# The API server of a Kubernetes cluster

CLUSTER = "https://kubernetes.default.svc.cluster.local"


def account_key():
    """A key of service accounts: its kid is the digest of the key, as the API server names it."""
    key = SigningKey("rsa2048", use="sig", alg="RS256")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.key.public_key().public_bytes(serialization.Encoding.DER, form)
    key.jwk["kid"] = jose(hashlib.sha256(public).digest())
    return key


class ApiServer(Provider):
    """Publishes the keys of service accounts to callers with its token alone, by HTTPS.

    Its configuration names the address at which it listens, not the host of the issuer.
    """

    def __init__(self, folder):
        super().__init__()
        authority = Authority(folder, "cluster-ca")
        self.ca, self.token = authority.file, folder / "api.token"
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*authority.issue("api"))
        self.keys, self.issuer, self.answer = [account_key()], CLUSTER, self.publish
        self.renew_token("first")

    def serving(self):
        return super().serving(self._tls)

    def renew_token(self, token):
        """Accept another token from now on, which the kubelet writes."""
        self.token.write_text(token)
        self._accepted = f"Bearer {token}"

    @property
    def base(self):
        return self.url.removesuffix("/jwks.json")

    async def publish(self, request):
        if request.headers.get("Authorization") != self._accepted:
            return web.json_response({"kind": "Status", "reason": "Unauthorized"}, status=401)
        if request.path == "/.well-known/openid-configuration":
            listens = self.base.replace("localhost", "127.0.0.1")
            return web.json_response(
                {
                    "issuer": self.issuer,
                    "jwks_uri": f"{listens}/openid/v1/jwks",
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        assert request.path == "/openid/v1/jwks"
        keys = {"keys": [key.jwk for key in self.keys]}
        return web.json_response(keys, content_type="application/jwk-set+json")

    def entry(self, place):
        return f"""
[issuers.cluster]
issuer = "{self.issuer}"
audience = "{AUDIENCE}"
{place}
ca = "{self.ca}"
token_file = "{self.token}"
"""


def account_token(key, account, issuer=CLUSTER, audience=(AUDIENCE,)):
    """A token that is projected into a pod of an account, such as `pid:issuer`."""
    namespace, name = account.split(":")
    now = int(time.time())
    claims = {
        "aud": list(audience),
        "exp": now + 3600,
        "iat": now,
        "iss": issuer,
        "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": f"{name}-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": name, "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
        "nbf": now,
        "sub": f"system:serviceaccount:{account}",
    }
    header = {"alg": "RS256", "kid": key.jwk["kid"]}
    return compact(header, claims, key.signer("RS256"))


ISSUER_POD = 'issuer = "cluster"\nclaims = { sub = ["system:serviceaccount:pid:issuer"] }'


def keys_of(client, issuer):
    return client.app[GATE].access.identities._by_url[issuer].verifier.keys


async def test_tokens_of_service_accounts(service, tmp_path):
    async with ApiServer(tmp_path).serving() as api:
        client = await service(api.entry(f'jwks = "{api.base}/openid/v1/jwks"'), ISSUER_POD)
        (key,) = api.keys
        assert await signs(client, account_token(key, "pid:issuer"))
        for stranger in ("pid:default", "mallory:issuer"):
            answer = await client.get("/keys", headers=bearer(account_token(key, stranger)))
            await refused(answer, 403, "forbidden")
        for wrong in (
            account_token(key, "pid:issuer", audience=[CLUSTER]),
            account_token(account_key(), "pid:issuer"),
        ):
            await refused(await client.get("/keys", headers=bearer(wrong)), 401, "unauthenticated")
        api.keys = [account_key(), key]  # it signs by the first
        api.renew_token("second")
        await keys_of(client, CLUSTER).load()
        for each in api.keys:
            assert await signs(client, account_token(each, "pid:issuer"))


async def test_the_address_in_the_configuration_gets_no_token(service, tmp_path, caplog):
    """So the document names the URL of the keys."""
    async with ApiServer(tmp_path).serving() as api:
        api.issuer = api.base.replace("127.0.0.1", "localhost")
        client = await service(api.entry("discovery = true"), ISSUER_POD)
        assert "issuer cluster: The provider answered 401." in caplog.text
        token = account_token(api.keys[0], "pid:issuer", api.issuer)
        await refused(await client.get("/keys", headers=bearer(token)), 401, "unauthenticated")


# SPIRE

WORKLOAD = "/ns/wallet/sa/backend"
SVID = f'claims = {{ sub = ["spiffe://example.org{WORKLOAD}"] }}'


def spire(issuer, place):
    return f"""
[issuers.spire]
issuer = "{issuer}"
audience = "{AUDIENCE}"
{place}
"""


async def test_jwt_svids_by_the_discovery_provider(service, tmp_path):
    domain = TrustDomain(tmp_path)
    async with Provider().serving() as provider:
        url = provider.url.removesuffix("/jwks.json")

        async def answer(request):
            if request.path == "/keys":
                return web.json_response({"keys": [domain.jwt_key.jwk]})
            return web.json_response({"issuer": url, "jwks_uri": f"{url}/keys"})

        provider.answer = answer
        client = await service(spire(url, "discovery = true"), f'issuer = "spire"\n{SVID}')
        assert await signs(client, domain.jwt_svid(WORKLOAD, AUDIENCE, iss=url))
        other = domain.jwt_svid("/ns/wallet/sa/backends", AUDIENCE, iss=url)
        await refused(await client.get("/keys", headers=bearer(other)), 403, "forbidden")


async def test_jwt_svids_by_a_bundle_that_is_renewed(service, tmp_path):
    domain, url = TrustDomain(tmp_path), "https://oidc.example.org"
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(domain.bundle))
    issuer = spire(url, f"jwks = {json.dumps(str(bundle))}")
    client = await service(issuer, f'issuer = "spire"\n{SVID}')
    before = domain.jwt_svid(WORKLOAD, AUDIENCE, iss=url)
    assert await signs(client, before)
    without_issuer = domain.jwt_svid(WORKLOAD, AUDIENCE)
    answer = await client.get("/keys", headers=bearer(without_issuer))
    await refused(answer, 401, "unauthenticated")
    domain.jwt_key = SigningKey("p256", kid="next")
    bundle.write_text(json.dumps(domain.bundle))
    await keys_of(client, url).load()
    assert await signs(client, domain.jwt_svid(WORKLOAD, AUDIENCE, iss=url))
    await refused(await client.get("/keys", headers=bearer(before)), 401, "unauthenticated")


async def test_x509_svids(service, tmp_path):
    domain, authority = TrustDomain(tmp_path), Authority(tmp_path, "kms-ca")
    cert, key = authority.issue("kms")
    files = {"tls_cert": cert, "tls_key": key, "tls_client_ca": domain.file}
    role = f'certificate = {{ uri = ["spiffe://example.org{WORKLOAD}"] }}'
    client = await service("", role, read_certificates(Config(**files)), **files)

    async def call(domain, *paths, **options):
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(*domain.x509_svid(*paths, **options))
        return await client.get("/keys", ssl=context)

    subject = [x509.NameAttribute(NameOID.COUNTRY_NAME, "US")]
    for options in ({}, {"subject": subject}):
        assert (await call(domain, WORKLOAD, **options)).status == 200
    for paths in (["/ns/wallet"], [WORKLOAD, f"{WORKLOAD}/2"]):
        await refused(await call(domain, *paths), 401, "unauthenticated")
    (tmp_path / "other").mkdir()
    for wrong, options in (
        (domain, {"life": -5}),
        (domain, {"ca": True}),  # a CA is no workload
        (TrustDomain(tmp_path / "other"), {}),
    ):
        with pytest.raises(ClientError):
            await call(wrong, WORKLOAD, **options)
