"""Callers by roles: JWTs of issuers, and client certificates."""

import asyncio
import json
import ssl
import time
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, Gate, Provider, SigningKey, compact, good
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from http_answers import bearer
from problems import refused
from tls_certificates import Authority

from minikms.access import jwt
from minikms.access.identities import make_identities
from minikms.basics import clocks
from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.assembly import create_service
from minikms.serve.listener import read_certificates
from minikms.startup_errors import AccessError

CLUSTER, FORGE = "https://cluster.example", "https://forge.example"

ROLES = """
[issuers.cluster]
issuer = "https://cluster.example"
audience = "https://kms.example"
jwks = "CLUSTER"

[issuers.forge]
issuer = "https://forge.example"
audience = "https://kms.example"
jwks = "FORGE"

[roles.maker]
issuer = "cluster"
claims = { "/kubernetes.io/namespace" = ["pid"] }
scopes = ["keys:write", "keys:read"]
profiles = ["pid"]

[roles.signer]
issuer = "cluster"
claims = { "/kubernetes.io/namespace" = ["pid"], sub = ["system:*"] }
scopes = ["sign", "keys:read"]
profiles = ["pid", "wallet"]

[roles.reader]
issuer = "forge"
claims = { repository = ["acme/*"] }
scopes = ["keys:read"]
profiles = ["{/repository_owner}"]

[roles.mesh]
certificate = { uri = ["spiffe://example.org/ns/wallet/*"] }
scopes = ["keys:read"]
profiles = ["wallet"]
"""

POD = {
    "iss": CLUSTER,
    "aud": [AUDIENCE, "other"],
    "sub": "system:serviceaccount:pid:issuer",
    "kubernetes.io": {"namespace": "pid"},
}
JOB = {"iss": FORGE, "sub": "repo:acme/kms", "repository": "acme/kms", "repository_owner": "acme"}


@pytest.fixture
def keys(tmp_path):
    """The key of each issuer, and the files of their JWK Sets."""
    found = {"cluster": SigningKey("p256"), "forge": SigningKey(kid="two")}
    for name, key in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"keys": [key.jwk]}))
    return found


@pytest.fixture
def roles(tmp_path, keys):
    """Write the file of roles, changed by pairs of texts, and return its path."""

    def write(*pairs, text=ROLES):
        for name in keys:
            text = text.replace(f'"{name.upper()}"', json.dumps(str(tmp_path / f"{name}.json")))
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "roles.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def service(start, admin, tmp_path):
    """Start a service with these roles, its profiles, and an audit log."""

    async def run(file, tls=None, **options):
        log = str(tmp_path / "audit.log")
        client = await start(
            create_service(
                Config(
                    auth="token", admin_token_file=admin[1], roles=file, audit_log=log, **options
                )
            ),
            tls,
        )
        client.identities = client.app[GATE].access.identities
        return client

    return run


@pytest.fixture
async def ready(service, roles, admin):
    client = await service(roles())
    for name in ("pid", "wallet", "acme", "Acme"):
        answer = await client.post("/profile", json={"name": name}, headers=bearer(admin[0]))
        assert answer.status == 200
    return client


async def status(client, token, path="/keys", profile="pid"):
    headers = {**bearer(token), "X-Profile": profile}
    return (await client.get(path, headers=headers)).status


async def own_token(client, headers):
    async with client.get("/tokens/self", headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "audit.log").read_text().split("\n") if line]


async def test_a_workload_makes_a_key_and_signs(ready, keys, admin, tmp_path):
    token = keys["cluster"].token(POD)
    headers = {**bearer(token), "X-Profile": "pid"}
    for _ in range(2):  # the second time, the token is in the cache
        made = await ready.post("/key/generate", json={"alg": "ed25519"}, headers=headers)
        assert made.status == 200
        body = {"kid": (await made.json())["kid"], "data": "AA"}
        assert (await ready.post("/sign", json=body, headers=headers)).status == 200
    line = lines(tmp_path)[-1]
    assert (line["who"], line["roles"]) == (f"cluster:{POD['sub']}", ["maker", "signer"])
    assert (line["operation"], line["outcome"]) == ("sign", "success")
    assert token not in (tmp_path / "audit.log").read_text()
    searched = await ready.get("/audit?operation=sign", headers=bearer(admin[0]))
    [event, _] = await searched.json()
    assert event["roles"] == ["maker", "signer"]


async def test_a_caller_learns_its_roles(ready, keys):
    maker = {"name": "maker", "scopes": ["keys:read", "keys:write"], "profiles": ["pid"]}
    signer = {"name": "signer", "scopes": ["keys:read", "sign"], "profiles": ["pid", "wallet"]}
    claims = good(POD)
    found = await own_token(ready, bearer(keys["cluster"].token(claims)))
    assert datetime.fromisoformat(found.pop("expires")).timestamp() == claims["exp"]
    assert found == {
        "id": None,
        "name": f"cluster:{POD['sub']}",
        "issuer": "cluster",
        "subject": POD["sub"],
        "roles": [maker, signer],
        "scopes": ["keys:read", "keys:write", "sign"],
        "profiles": ["pid", "wallet"],
    }
    found = await own_token(ready, bearer(keys["forge"].token(JOB)))
    [reader] = found["roles"]
    assert reader == {"name": "reader", "scopes": ["keys:read"], "profiles": ["acme"]}
    assert (found["scopes"], found["profiles"]) == (reader["scopes"], reader["profiles"])


async def test_a_role_does_not_hold_in_the_profiles_of_another(ready, keys):
    headers = {**bearer(keys["cluster"].token(POD)), "X-Profile": "wallet"}
    for _ in range(2):
        made = await ready.post("/key/generate", json={"alg": "ed25519"}, headers=headers)
        await refused(made, 404, "profile-not-found")
    assert (await ready.get("/keys", headers=headers)).status == 200
    listed = await ready.get("/profiles", headers=headers)
    await refused(listed, 403, "forbidden")


async def test_a_claim_names_the_profile(ready, keys):
    forge = keys["forge"]
    assert await status(ready, forge.token(JOB), profile="acme") == 200
    for profile in ("pid", "Acme", "ACME", "default"):
        assert await status(ready, forge.token(JOB), profile=profile) == 404
    other = forge.token({**JOB, "repository_owner": "Acme"})
    assert await status(ready, other, profile="Acme") == 200
    assert await status(ready, other, profile="acme") == 404
    for owner in ("*", "not a name", ["acme"], None, 7):
        answered = await status(
            ready, forge.token({**JOB, "repository_owner": owner}), profile="acme"
        )
        assert answered in (403, 404)


async def test_no_role_fits(ready, keys, tmp_path, caplog):
    caplog.set_level("DEBUG")
    stranger = {**POD, "kubernetes.io": {"namespace": "secret-place"}}
    for path in ("/keys", "/tokens/self"):
        for _ in range(2):
            answer = await ready.get(
                path, headers={**bearer(keys["cluster"].token(stranger)), "X-Profile": "pid"}
            )
            problem = await refused(answer, 403, "forbidden")
            assert problem["detail"] == "No role fits the caller."
    line = lines(tmp_path)[-1]
    assert (line["who"], line["outcome"]) == (f"cluster:{POD['sub']}", "forbidden")
    assert "roles" not in line
    assert "The role does not allow the value of /kubernetes.io/namespace." in caplog.text
    assert "secret-place" not in caplog.text


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": FORGE},
        {"iss": f"{CLUSTER}/"},
        {"iss": CLUSTER.upper()},
        {"iss": [CLUSTER]},
        {"iss": None},
        {"iss": ISSUER},
        {"aud": ["other"]},
        {"aud": f"{AUDIENCE}/"},
        {"exp": 1},
        {"nbf": 10**11},
        {"iat": 10**11},
        {"sub": None},
        {"sub": 7},
        {"cnf": {"jkt": "x"}},
        {"padding": "x" * 17_000},
    ],
)
async def test_tokens_that_are_refused(ready, keys, claims):
    assert await status(ready, keys["cluster"].token(POD)) == 200
    assert await status(ready, keys["cluster"].token({**POD, **claims})) == 401


@pytest.mark.parametrize(
    ("claim", "within", "beyond"), [("exp", -29, -30), ("nbf", 30, 31), ("iat", 30, 31)]
)
async def test_clocks_may_differ_by_half_a_minute(ready, keys, monkeypatch, claim, within, beyond):
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now)
    for _ in range(2):
        assert await status(ready, keys["cluster"].token({**POD, claim: now + within})) == 200
        assert await status(ready, keys["cluster"].token({**POD, claim: now + beyond})) == 401


async def test_a_token_of_almost_16_kib(ready, keys):
    token = keys["cluster"].token({**POD, "padding": "x" * 11_800})
    assert 16_000 < len(token) < 16 * 1024
    assert await status(ready, token) == 200


async def test_an_issuer_cannot_speak_for_another(ready, keys):
    """The `iss` decides which keys are tried, whatever the header says."""
    forge = keys["forge"]
    assert await status(ready, forge.token(JOB), profile="acme") == 200
    for kid in ("one", "two", None):
        assert await status(ready, forge.token(POD, kid=kid)) == 401
    claims = good(POD)
    unsigned = compact({"alg": "none"}, claims, lambda _: b"")
    secret = orjson.dumps(keys["cluster"].jwk)
    keyed = compact({"alg": "HS256", "kid": "one"}, claims, lambda _: secret[:32])
    for token in (unsigned, keyed):
        assert await status(ready, token) == 401
    twice = orjson.dumps(claims)[:-1] + b',"iss":"https://forge.example"}'
    forged = compact({"alg": forge.alg, "kid": "two"}, twice, forge.signer())
    assert await status(ready, forged) == 403  # forge's token, to whom no role fits


async def test_a_subject_with_controls_does_not_break_a_line(ready, keys, tmp_path, caplog):
    caplog.set_level("DEBUG")
    evil = 'system:a\n{"who":"admin"}\r\x1b[2J\x7f\x9b2J\u2028'
    assert await status(ready, keys["cluster"].token({**POD, "sub": evil})) == 200
    line = lines(tmp_path)[-1]
    assert line["who"] == f"cluster:{evil}"
    written = (tmp_path / "audit.log").read_text()
    assert not [each for each in written if unicodedata.category(each) == "Cc" and each != "\n"]
    assert "\x1b" not in caplog.text
    assert '\n{"who":"admin"}' not in caplog.text


async def test_a_cached_token_is_not_verified_again(ready, keys, monkeypatch):
    verified = []
    verify = jwt.JwtVerifier.verify

    async def counting(self, token, address=""):
        verified.append(token)
        return await verify(self, token, address)

    monkeypatch.setattr(jwt.JwtVerifier, "verify", counting)
    token = keys["forge"].token(JOB)
    for _ in range(5):
        assert await status(ready, token, profile="acme") == 200
    assert len(verified) == 1


async def test_a_cached_token_ends_with_its_life(ready, keys, clock):
    token = keys["forge"].token(JOB)
    assert await status(ready, token, profile="acme") == 200
    clock(61)
    assert ready.app[GATE].access.authenticate_cached(f"Bearer {token}") is None


async def test_max_age_ends_a_role(service, roles, keys, admin):
    client = await service(roles(('profiles = ["pid"]', 'profiles = ["pid"]\nmax_age = 100')))
    await client.post("/profile", json={"name": "pid"}, headers=bearer(admin[0]))
    now = good()["iat"]

    async def made(age):
        claims = {**POD, "iat": now - age, "exp": now + 1000}
        headers = {**bearer(keys["cluster"].token(claims)), "X-Profile": "pid"}
        body = {"alg": "ed25519"}
        return (await client.post("/key/generate", json=body, headers=headers)).status

    assert await made(0) == await made(120) == 200
    assert await made(140) == 403


async def test_a_file_that_is_read_again(ready, roles, keys):
    token = keys["cluster"].token(POD)
    assert await status(ready, token) == 200
    await ready.identities.renew(roles(('namespace" = ["pid"]', 'namespace" = ["x"]')))
    assert await status(ready, token) == 403
    await ready.identities.renew(roles())
    assert await status(ready, token) == 200


async def test_a_wrong_file_changes_nothing(ready, roles, keys, caplog):
    token = keys["cluster"].token(POD)
    await ready.identities.renew(roles(('scopes = ["sign"', 'scopes = ["sing"')))
    assert "There is no scope sing. The roles stay as they were." in caplog.text
    assert await status(ready, token) == 200
    await ready.identities.renew(roles((".json", ".none")))
    assert "cluster: " in caplog.text
    assert "cannot be read" in caplog.text
    assert await status(ready, token) == 200


async def test_an_issuer_that_is_left_out(ready, roles, keys):
    assert await status(ready, keys["forge"].token(JOB), profile="acme") == 200
    text = ROLES.split("[issuers.forge]")[0] + "[roles.mesh]" + ROLES.split("[roles.mesh]")[1]
    await ready.identities.renew(roles(text=text))
    assert await status(ready, keys["forge"].token(JOB), profile="acme") == 401


async def test_issuers_beside_the_one_of_the_options(service, roles, keys, tmp_path):
    own = SigningKey("p384")
    (tmp_path / "own.json").write_text(json.dumps({"keys": [own.jwk]}))
    options = {
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": str(tmp_path / "own.json"),
    }
    client = await service(roles(), **options)
    may = {"scope": "keys:read", "minikms_profiles": ["default"]}
    assert await status(client, own.token(may), profile="default") == 200
    # The claims of Mini KMS mean nothing in the tokens of other issuers.
    other = keys["cluster"].token({**POD, **may, "kubernetes.io": {}})
    assert await status(client, other, profile="default") == 403
    text = ROLES.replace(CLUSTER, ISSUER)
    with pytest.raises(AccessError, match="The issuer cluster is the one of --jwt-issuer"):
        make_identities(roles(text=text), *options.values())


# Issuers at URLs


async def test_keys_by_discovery_with_the_ca_and_the_token_of_the_file(
    service, roles, admin, tmp_path
):
    """As a cluster's own issuer: HTTPS by its own CA, for callers with a token."""
    authority = Authority(tmp_path, "cluster-ca")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("api"))
    secret, key, sent = tmp_path / "token", SigningKey("rsa2048"), []
    secret.write_text("first\n")
    async with Provider().serving(tls) as api:
        url = api.url.removesuffix("/jwks.json")

        async def answer(request):
            sent.append((request.path, request.headers.get("Authorization")))
            if request.path == "/.well-known/openid-configuration":
                return web.json_response({"issuer": url, "jwks_uri": f"{url}/openid/v1/jwks"})
            return web.json_response({"keys": [key.jwk]})

        api.answer = answer
        text = ROLES.replace(CLUSTER, url).replace('jwks = "CLUSTER"', "discovery = true\nCA")
        more = f'ca = "{authority.file}"\ntoken_file = "{secret}"'
        client = await service(roles(("CA", more), text=text))
        await client.post("/profile", json={"name": "pid"}, headers=bearer(admin[0]))
        assert sent == [
            ("/.well-known/openid-configuration", "Bearer first"),
            ("/openid/v1/jwks", "Bearer first"),
        ]
        assert await status(client, key.token({**POD, "iss": url})) == 200
        secret.write_text("second")
        task = client.identities._by_url[url].verifier.keys._read()
        await task
        assert sent[-1] == ("/openid/v1/jwks", "Bearer second")


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        ({"issuer": "https://other.example"}, "names another issuer"),
        ({"jwks_uri": "http://jwks.example"}, "must be https"),
        ({"jwks_uri": None}, "The jwks_uri"),
        ([], "names another issuer"),
    ],
)
async def test_a_configuration_that_is_refused(service, roles, configuration, why, caplog):
    async with Provider().serving() as provider:
        url = provider.url.removesuffix("/jwks.json")

        async def answer(request):
            good = {"issuer": url, "jwks_uri": provider.url}
            return web.json_response(configuration and {**good, **configuration})

        provider.answer = answer
        text = ROLES.replace(CLUSTER, url).replace('jwks = "CLUSTER"', "discovery = true")
        await service(roles(text=text))
        assert f"--roles, issuer cluster: The {'jwks' if 'jwks' in why else ''}" in caplog.text
        assert why in caplog.text


@pytest.fixture
async def published(service, roles, admin, monkeypatch):
    """A service whose issuer `cluster` has a provider, and a function that lets seconds pass."""
    monkeypatch.setattr("minikms.access.issuer_keys._TIMEOUT", 60)  # also on a slow machine
    async with Provider().serving() as provider:
        provider.keys = [SigningKey()]
        text = ROLES.replace('"CLUSTER"', json.dumps(provider.url))
        client = await service(roles(text=text), max_wrong_tokens=10**6)
        for name in ("pid", "acme"):
            await client.post("/profile", json={"name": name}, headers=bearer(admin[0]))
        keys_of_issuer = client.identities._by_url[CLUSTER].verifier.keys
        passed = 0

        def wait(seconds):
            nonlocal passed
            passed += seconds

        keys_of_issuer._clock = lambda: clocks.now() + passed
        yield client, provider, keys_of_issuer, wait


async def test_the_keys_of_an_issuer_change_under_load(published):
    client, provider, keys_of_issuer, wait = published
    [first], second = provider.keys, SigningKey(kid="two")
    before, after = (
        [key.token({**POD, "jti": str(number)}) for number in range(8)] for key in (first, second)
    )

    async def statuses(tokens):
        return set(await asyncio.gather(*(status(client, token) for token in tokens * 4)))

    assert await statuses(before) == {200}
    provider.keys = [first, second]
    wait(60)
    assert await asyncio.gather(statuses(before), statuses(after)) == [{200}, {200}]
    provider.keys = [second]
    wait(300)
    old, new = await asyncio.gather(statuses(before), statuses(after))
    assert old <= {200, 401}  # some were answered before the keys were read
    assert new == {200}
    await asyncio.wait([keys_of_issuer._read_task])
    assert await asyncio.gather(statuses(before), statuses(after)) == [{401}, {200}]
    assert provider.asked == 3


async def test_no_call_waits_for_the_network_if_the_keys_of_its_issuer_are_known(published, keys):
    client, provider, _, wait = published
    [key], unknown = provider.keys, SigningKey(kid="two")
    cached = key.token(POD)
    assert await status(client, cached) == 200
    provider.answer = gate = Gate(provider.publish)
    wait(60)
    waiting = asyncio.create_task(status(client, unknown.token(POD)))
    await gate.reached.wait()
    for passed in (0, 600):  # after this time, the keys are to be read again
        wait(passed)
        assert await status(client, cached) == 200
        assert await status(client, key.token({**POD, "jti": str(passed)})) == 200
        assert await status(client, key.token({**POD, "jti": str(passed)}, kid=None)) == 200
        assert await status(client, keys["forge"].token(JOB), profile="acme") == 200
    assert not waiting.done()
    gate.opened.set()
    assert await waiting == 401


async def test_an_issuer_that_answers_with_100_mb(published, keys):
    client, provider, keys_of_issuer, wait = published
    sent = 0

    async def answer(request):
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(100 * 1024 * 1024)})
        await response.prepare(request)
        for _ in range(1600):
            await response.write(b" " * 65536)
            sent += 65536
        return response

    provider.answer = answer
    wait(60)
    assert await status(client, SigningKey(kid="two").token(POD)) == 401
    assert keys_of_issuer.failed_reads == 1
    assert sent < 50 * 1024 * 1024  # what the buffers of both sides take
    assert await status(client, provider.keys[0].token(POD)) == 200
    assert await status(client, keys["forge"].token(JOB), profile="acme") == 200


async def test_an_issuer_that_does_not_answer_disturbs_no_other(
    service, roles, keys, admin, monkeypatch
):
    monkeypatch.setattr("minikms.access.issuer_keys._TIMEOUT", 0.5)
    async with Provider().serving() as provider:
        opened = asyncio.Event()

        async def wait(request):
            await opened.wait()
            return await provider.publish(request)

        provider.answer, provider.keys = wait, [keys["cluster"]]
        text = ROLES.replace('"CLUSTER"', json.dumps(provider.url))
        client = await service(roles(text=text))
        await client.post("/profile", json={"name": "acme"}, headers=bearer(admin[0]))
        assert await status(client, keys["forge"].token(JOB), profile="acme") == 200
        assert await status(client, keys["cluster"].token(POD)) == 401
        opened.set()


# Client certificates


@pytest.fixture
async def mesh(service, roles, admin, tmp_path):
    """A service that asks for certificates, and a function that calls it with one."""
    authority = Authority(tmp_path, "mesh")
    cert, key = authority.issue("kms")
    files = {"tls_cert": cert, "tls_key": key, "tls_client_ca": authority.file}
    client = await service(roles(), read_certificates(Config(**files)), **files)

    async def call(*uris, path="/keys", profile="wallet", body=None, **headers):
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(*authority.issue("caller", names=names))
        headers = {"X-Profile": profile, **headers}
        method = "GET" if body is None else "POST"
        return await client.request(method, path, data=body, ssl=context, headers=headers)

    await call()
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(*authority.issue("admin"))
    made = await client.post(
        "/profile", json={"name": "wallet"}, headers=bearer(admin[0]), ssl=context
    )
    assert made.status == 200
    return call


BACKEND = "spiffe://example.org/ns/wallet/sa/backend"


async def test_a_certificate_has_a_role(mesh, tmp_path, clock):
    assert (await mesh(BACKEND)).status == 200
    line = lines(tmp_path)[-1]
    assert (line["who"], line["roles"]) == (f"certificate:{BACKEND}", ["mesh"])
    assert line["subject"] == r"CN=caller,O=Wallets\, Inc."
    await refused(await mesh(BACKEND, profile="pid"), 404, "profile-not-found")
    await refused(await mesh(BACKEND, path="/profiles"), 403, "forbidden")


async def test_a_caller_with_a_certificate_learns_its_role(mesh):
    async with await mesh(BACKEND, path="/tokens/self") as answer:
        found = await answer.json()
    assert datetime.fromisoformat(found.pop("expires")) > datetime.now(UTC)
    role = {"name": "mesh", "scopes": ["keys:read"], "profiles": ["wallet"]}
    assert found == {
        "id": None,
        "name": f"certificate:{BACKEND}",
        "issuer": "certificate",
        "subject": BACKEND,
        "roles": [role],
        "scopes": role["scopes"],
        "profiles": role["profiles"],
    }


async def test_a_refusal_before_the_certificate_is_read_names_its_caller(mesh, tmp_path):
    """As the line of a call whose token is known."""
    answer = await mesh(BACKEND, path="/sign", body=b"{}", Expect="nothing")
    await refused(answer, 400, "bad-request")
    line = lines(tmp_path)[-1]
    assert (line["who"], line["roles"]) == (f"certificate:{BACKEND}", ["mesh"])


async def test_certificates_without_a_role(mesh):
    for uris in ([], ["spiffe://example.org/ns/other"], [BACKEND, f"{BACKEND}/2"]):
        await refused(await mesh(*uris), 401, "unauthenticated")


def test_a_certificate_is_counted_once(roles, tmp_path):
    identities, authority = make_identities(roles()), Authority(tmp_path, "mesh")
    for uri, found in ((BACKEND, ("mesh",)), ("spiffe://example.org/ns/other", None)):
        file, _ = authority.issue("caller", names=[x509.UniformResourceIdentifier(uri)])
        certificate = x509.load_pem_x509_certificate(Path(file).read_bytes())
        for _ in range(3):
            caller = identities.of_certificate(certificate.public_bytes(Encoding.DER))
            assert (caller and caller.roles) == found
    numbers = identities.logins.numbers
    assert numbers["mesh", "success"] == numbers["none", "unauthenticated"] == 1
    assert numbers.total() == 2


async def test_a_token_counts_alone(mesh, keys):
    await refused(await mesh(BACKEND, Authorization="Bearer mkms_x"), 401, "unauthenticated")
    token = keys["cluster"].token({**POD, "kubernetes.io": {}})
    await refused(await mesh(BACKEND, **bearer(token)), 403, "forbidden")


async def test_a_token_names_a_role_of_the_certificate(mesh):
    assert (await mesh(BACKEND, **bearer("mesh.certificate"))).status == 200
    for token in ("maker.certificate", ".certificate", "mesh.other", "mesh", "certificate"):
        await refused(await mesh(BACKEND, **bearer(token)), 401, "unauthenticated")
    await refused(await mesh(**bearer("mesh.certificate")), 401, "unauthenticated")


async def test_a_certificate_that_ends_while_its_connection_is_open(mesh, clock):
    assert (await mesh(BACKEND)).status == 200
    clock(3601)
    await refused(await mesh(BACKEND), 401, "unauthenticated")
