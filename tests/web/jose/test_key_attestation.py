"""Key attestations (OpenID4VCI 1.0, appendix D.1): who signs them, about which keys."""

import base64
import hashlib
import json
import time
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from base64url import b64, jose, raw
from issued_certificates import MIDDLE, der, pem, public_key
from joserfc import jwt
from joserfc.jwk import import_key
from web.approvals.approvers import Signer, rule

from minikms.credentials.jose.attestation import Attestation
from minikms.credentials.service import Credentials
from minikms.errors import NotAttestable
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.keys.key_store import KeyStore

# RFC 8037 appendix A.1.
D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

pytestmark = pytest.mark.shared_service


def header_and_claims(token):
    return [json.loads(raw(part)) for part in token.split(".")[:2]]


@pytest.fixture
def signer(generate):
    async def make(alg="p256", **options):
        return await generate(alg, alias="provider", **options)

    return make


@pytest.mark.parametrize(
    ("alg", "name"), [("p256", "ES256"), ("ed25519", "EdDSA"), ("rsa2048", "RS256")]
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_joserfc_verifies_an_attestation(post, generate, signer, alg, name):
    by = await signer(alg)
    keys = [await generate("p256", alias="did:example:1#k"), await generate("ed25519")]
    claims = {
        "nonce": "tZignsnFbp",
        "key_storage": ["iso_18045_moderate"],
        "user_authentication": ["iso_18045_moderate", "iso_18045_high"],
        "certification": "https://example.com/certificate",
    }
    body = {"kid": by["kid"], "keys": ["did:example:1#k", keys[1]["kid"]], **claims}
    more = {"audience": "https://issuer.example", "expires_in": 60}
    before = int(time.time())
    token = (await post("/key-attestation", body | more))["jwt"]
    found = jwt.decode(token, import_key(by["jwk"]), algorithms=[name])
    assert found.header == {"alg": name, "kid": by["kid"], "typ": "key-attestation+jwt"}
    issued = found.claims["iat"]
    assert before <= issued <= time.time()
    assert found.claims == {
        "iat": issued,
        "exp": issued + 60,
        "aud": "https://issuer.example",
        "attested_keys": [{**key["jwk"], "kid": key["kid"]} for key in keys],
        **claims,
    }


# EUDI Wallet, TS3 1.5, section 3.1.
STATUS = {"status": {"status_list": {"idx": 7, "uri": "https://a.example/3"}}, "exp": 1544172124}


async def test_further_claims_are_signed_as_they_are(post, generate, signer):
    await signer()
    body = {"alias": "provider", "keys": [(await generate("p256"))["kid"]]}
    _, plain = header_and_claims((await post("/key-attestation", body))["jwt"])
    further = {"key_storage_status": STATUS, "eudi_wallet_info": {"a": None}, "é": [], "n": None}
    _, claims = header_and_claims(
        (await post("/key-attestation", body | {"claims": further}))["jwt"]
    )
    assert claims == {**plain, "iat": claims["iat"], "exp": claims["exp"], **further}


async def test_a_claim_that_the_service_writes_is_not_a_further_one(
    refuses, post, generate, signer
):
    """Every claim of an attestation that has all of them."""
    await signer()
    texts = {"key_storage": ["a"], "user_authentication": ["a"], "certification": "a"}
    about = {"nonce": "n", "audience": "a", **texts}
    body = {"alias": "provider", "keys": [(await generate("p256"))["kid"]]}
    _, claims = header_and_claims((await post("/key-attestation", body | about))["jwt"])
    assert len(claims) == 8
    for name in (*claims, "EXP", "attested_\0keys"):
        refused = await refuses(
            "/key-attestation", body | {"claims": {"a": 1, name: 1}}, 422, "validation-failed"
        )
        assert [each["pointer"] for each in refused["errors"]] == [f"#/claims/{name}"]


async def test_the_bound_of_further_claims(refuses, post, generate, signer):
    await signer()
    body = {"alias": "provider", "keys": [(await generate("p256"))["kid"]]}
    for text in ("a", "é", '"'):
        size = len(orjson.dumps({"a": text})) - len(orjson.dumps({"a": ""}))
        most = (16 * 1024 - len(orjson.dumps({"a": ""}))) // size
        await post("/key-attestation", body | {"claims": {"a": text * most}})
        long = body | {"claims": {"a": text * (most + 1)}}
        await refuses("/key-attestation", long, 422, "validation-failed")


async def test_rules_see_further_claims(refuses, post, generate):
    rules = {"jws": {"typ": ["key-attestation+jwt"], "claims": {"sub": ["a"]}, "max_lifetime": 60}}
    kid = (await generate("p256", rules=rules))["kid"]
    body = {"kid": kid, "keys": [kid], "expires_in": 60}
    await post("/key-attestation", body | {"claims": {"sub": "a", "big": 2**53 - 1}})
    for wrong in ({}, {"sub": "b"}, {"sub": "a", "Sub": "b"}, {"sub": "a", "big": 2**53}):
        await refuses("/key-attestation", body | {"claims": wrong}, 403, "rule-violated")


async def test_an_attestation_says_no_more_than_its_caller(post, generate, signer):
    by = await signer()
    key = await generate("p256")
    token = (await post("/key-attestation", {"alias": "provider", "keys": [key["kid"]]}))["jwt"]
    header, claims = header_and_claims(token)
    # The header does not name the alias: after a rotation, a JWK Set has another key under it.
    assert header["kid"] == by["kid"]
    assert claims.keys() == {"iat", "exp", "attested_keys"}
    assert claims["exp"] - claims["iat"] == 300
    assert claims["attested_keys"] == [{**key["jwk"], "kid": key["kid"]}]


async def test_the_certificate_of_the_signer(client, post, refuses, generate, signer):
    by, key = await signer(), await generate("p256")
    body = {"alias": "provider", "keys": [key["kid"]], "certificate_header": "x5c"}
    await refuses("/key-attestation", body, 422, "unsupported-option")
    leaf = MIDDLE.issue(public_key(by))
    path = f"/key/{by['kid']}/certificates"
    async with client.put(path, json={"certificates": pem(leaf)}) as response:
        assert response.status == 200
    header, _ = header_and_claims((await post("/key-attestation", body))["jwt"])
    x5c = [base64.b64encode(der(leaf)).decode()]
    assert header == {"alg": "ES256", "typ": "key-attestation+jwt", "x5c": x5c}  # and no kid
    body["certificate_header"] = "x5t#S256"
    header, _ = header_and_claims((await post("/key-attestation", body))["jwt"])
    assert header["x5t#S256"] == jose(hashlib.sha256(der(leaf)).digest())
    assert header["kid"] == by["kid"]


async def test_an_attestation_expires_before_its_keys(post, generate, signer):
    await signer()
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=100)
    expiries = [None, soon + timedelta(seconds=50), soon]
    keys = [
        (await generate("p256", **({} if each is None else {"expires": each.isoformat()})))["kid"]
        for each in expiries
    ]
    for seconds, capped in ((300, True), (20, False)):
        body = {"alias": "provider", "keys": keys, "expires_in": seconds}
        _, claims = header_and_claims((await post("/key-attestation", body))["jwt"])
        expected = int(soon.timestamp()) if capped else claims["iat"] + 20
        assert claims["exp"] == expected


async def test_a_key_is_attested_once(post, generate, signer):
    await signer()
    key = await generate("p256", alias="a")
    other = await generate("ed25519")
    names = [key["kid"], "a", other["kid"], key["kid"]]
    token = (await post("/key-attestation", {"alias": "provider", "keys": names}))["jwt"]
    _, claims = header_and_claims(token)
    assert claims["attested_keys"] == [{**each["jwk"], "kid": each["kid"]} for each in (key, other)]


async def test_a_key_without_its_algorithm_is_not_attested():
    async with KeyStore.open_memory() as store:
        service = KeyService(AlgorithmRegistry.from_installed(), store)
        by, key = [
            await service.creation.generate(DEFAULT_PROFILE, alg, KeyPolicy())
            for alg in ("p256", "ed25519")
        ]
        about = Attestation((KeyRef(kid=key.kid),), 60)
        await Credentials(service).attestations.attest(DEFAULT_PROFILE, KeyRef(kid=by.kid), about)
        without = KeyService(AlgorithmRegistry.from_installed({"ed25519"}), store)
        with pytest.raises(NotAttestable):
            await Credentials(without).attestations.attest(
                DEFAULT_PROFILE, KeyRef(kid=by.kid), about
            )


async def test_keys_that_are_not_attested(client, post, refuses, generate, signer):
    await signer()
    good = (await generate("p256"))["kid"]
    states = {}
    for state in ("disabled", "verify-only"):
        states[state] = (await generate("p256"))["kid"]
        async with client.patch(f"/key/{states[state]}", json={"state": state}) as response:
            assert response.status == 200
    expired = (await generate("p256", expires="2001-01-01T00:00:00Z"))["kid"]
    exportable = (await generate("p256", exportable=True, alias="exportable"))["kid"]
    secret = (await generate("hs256"))["kid"]
    public = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    without_private = (await post("/key/import", {"jwk": public}))["kid"]
    scheduled = (await generate("p256"))["kid"]
    async with client.delete(f"/key/{scheduled}?after=7d") as response:
        assert response.status == 200
    bad = [*states.values(), expired, exportable, "exportable", secret, without_private, scheduled]
    for name in (*bad, "unknown", "A" * 43):
        for keys in ([name], [good, name]):
            body = {"alias": "provider", "keys": keys}
            refused = await refuses("/key-attestation", body, 422, "not-attestable")
            (fault,) = refused["errors"]
            assert fault["pointer"] == f"#/keys/{len(keys) - 1}"
    await post("/key-attestation", {"alias": "provider", "keys": [good]})


@pytest.mark.parametrize("way", ["jwk", "secret", "wrapped", "seed"])
async def test_an_imported_key_is_attested_if_the_caller_allows_it(
    post, get, refuses, generate, signer, way
):
    await signer()
    secret = b64(bytes(range(32)))
    kek = await generate("a256kw")
    wrap = {"kid": kek["kid"], "key": secret}
    source = {
        "jwk": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": X, "d": D}},
        "secret": {"alg": "p256", "secret": secret},
        "wrapped": {"alg": "p256", "unwrap_kid": kek["kid"]},
        "seed": {"alg": "ed25519", "seed": secret},
    }[way]
    if way == "wrapped":
        source["wrapped"] = (await post("/wrap", wrap))["wrapped"]
    key = await post("/key/import", source)
    assert key["imported"] is True
    assert (await get(f"/key/{key['kid']}"))["imported"] is True
    body = {"alias": "provider", "keys": [key["kid"]]}
    found = await refuses("/key-attestation", body, 422, "not-attestable")
    assert found["errors"][0]["pointer"] == "#/keys/0"
    for given in (False, None, "true"):
        slug = "not-attestable" if given is False else "validation-failed"
        await refuses("/key-attestation", body | {"allow_imported": given}, 422, slug)
    token = (await post("/key-attestation", body | {"allow_imported": True}))["jwt"]
    assert header_and_claims(token)[1]["attested_keys"] == [{**key["jwk"], "kid": key["kid"]}]


async def test_the_service_states_that_uses_need_approvals(post, refuses, generate, signer):
    await signer()
    guarded = (await generate("p256", rules=rule(Signer())))["kid"]
    free = (await generate("p256"))["kid"]
    body = {"alias": "provider", "keys": [guarded], "approval": True}
    token = (await post("/key-attestation", body))["jwt"]
    assert header_and_claims(token)[1]["user_authentication"] == ["approval"]
    more = body | {"user_authentication": ["iso_18045_basic"]}
    token = (await post("/key-attestation", more))["jwt"]
    stated = header_and_claims(token)[1]["user_authentication"]
    assert stated == ["approval", "iso_18045_basic"]
    for keys, place in (([free], 0), ([guarded, free], 1)):
        found = await refuses("/key-attestation", body | {"keys": keys}, 422, "not-attestable")
        assert found["errors"][0]["pointer"] == f"#/keys/{place}"
    for approval in (False, True):
        stated = {"user_authentication": ["a", "approval"], "approval": approval}
        found = await refuses("/key-attestation", body | stated, 422, "validation-failed")
        assert found["errors"][0]["pointer"] == "#/user_authentication/1"
    token = (await post("/key-attestation", body | {"approval": False}))["jwt"]
    assert "user_authentication" not in header_and_claims(token)[1]


async def test_the_approvers_of_the_provider_see_what_is_stated(post, refuses, generate):
    await generate("p256", alias="provider", rules=rule(ann := Signer()))
    kid = (await generate("p256", rules=rule(ann)))["kid"]
    body = {"alias": "provider", "keys": [kid], "approval": True}
    found = await refuses("/key-attestation", body, 403, "approval-required")
    [what] = json.loads(raw(found["approval"]["document"]))["what"]
    assert what["user_authentication"] == ["approval"]


async def test_the_successor_of_an_imported_key_is_attested(client, post, signer):
    await signer()
    source = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": X, "d": D}, "alias": "a"}
    kid = (await post("/key/import", source))["kid"]
    async with client.post(f"/key/{kid}/rotate") as response:
        assert "imported" not in await response.json()
    await post("/key-attestation", {"alias": "provider", "keys": ["a"]})


async def test_the_key_of_another_tenant_is_not_attested(client, post, refuses, generate, signer):
    await signer()
    await client.post("/profile", json={"name": "other"})
    kid = (await generate("p256", profile="other"))["kid"]
    body = {"alias": "provider", "keys": [kid]}
    theirs = await refuses("/key-attestation", body, 422, "not-attestable")
    unknown = await refuses("/key-attestation", body | {"keys": ["x"]}, 422, "not-attestable")
    assert theirs["detail"] == unknown["detail"]
    assert theirs["errors"] == unknown["errors"]


async def test_a_key_that_may_not_sign_attests_nothing(client, refuses, generate):
    key = (await generate("p256"))["kid"]
    mac = (await generate("hs256"))["kid"]
    body = {"kid": mac, "keys": [key]}
    await refuses("/key-attestation", body, 422, "unsupported-operation")
    other = (await generate("p256", operations=["derive"]))["kid"]
    await refuses("/key-attestation", body | {"kid": other}, 422, "unsupported-operation")
    for state in ("verify-only", "disabled"):
        signer = (await generate("p256"))["kid"]
        async with client.patch(f"/key/{signer}", json={"state": state}) as response:
            assert response.status == 200
        await refuses("/key-attestation", body | {"kid": signer}, 409, "key-not-usable")
    await refuses("/key-attestation", body | {"kid": "unknown"}, 404, "key-not-found")


@pytest.mark.parametrize(
    "change",
    [
        *({"keys": []}, {"keys": ["a"] * 101}, {"keys": "a"}, {"keys": [1]}, {"keys": [""]}),
        *({"expires_in": 0}, {"expires_in": 1.5}, {"expires_in": 10**9}, {"expires_in": None}),
        *({"key_storage": []}, {"key_storage": [""]}, {"user_authentication": "iso_18045_high"}),
        *(
            {"nonce": ""},
            {"nonce": 1},
            {"certification": ""},
            {"audience": ["a"]},
            {"alg": "ES256"},
            *({"claims": []}, {"claims": None}, {"claims": "{}"}),
        ),
    ],
)
async def test_malformed_claims_are_refused(refuses, generate, change):
    key = (await generate("p256"))["kid"]
    body = {"kid": key, "keys": [key], **change}
    await refuses("/key-attestation", body, 422, "validation-failed")
