"""Accepted and refused JWTs, most of them made by hand."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, LEFT_OUT, SigningKey, compact, good
from algorithm_facts import FACTS
from base64url import jose, part
from cryptography.hazmat.primitives import hashes, hmac, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from minikms.access.identities import make_identities
from minikms.access.issuer_keys import ALGORITHMS, IssuerKeys
from minikms.access.jwt import Claims, JwtVerifier, expiry_of, permissions_in
from minikms.access.key_source import KeySource
from minikms.errors import Unauthenticated
from minikms.startup_errors import JwtError


@pytest.fixture(scope="module")
def key():
    return SigningKey()


@pytest.fixture
def verifier_of(tmp_path):
    """A verifier that knows these keys, from a file."""

    def make(*keys):
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": [key.jwk for key in keys]}))
        return JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))

    return make


@pytest.fixture
def verifier(verifier_of, key):
    return verifier_of(key)


async def refused(verifier, token):
    with pytest.raises(Unauthenticated) as caught:
        permissions_in(await verifier.verify(token))
    error = caught.value
    assert error.headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    assert error.detail == "The token is not valid."
    assert error.__suppress_context__
    return True


SIGNERS = [
    (name, alg)
    for name in ("ed25519", "ed448", "k256", "p256", "p384", "p521", "rsa2048")
    for alg in FACTS[name].signing
]


@pytest.mark.parametrize(("name", "alg"), SIGNERS)
async def test_each_algorithm_verifies_and_a_changed_token_does_not(verifier_of, name, alg):
    key = SigningKey(name)
    assert (await verifier_of(key).verify(key.token(alg=alg)))["sub"] == "alice"
    header, _, signature = key.token(alg=alg).split(".")
    other = part(good({"sub": "mallory"}))
    assert await refused(verifier_of(key), f"{header}.{other}.{signature}")


def test_every_algorithm_is_tested():
    assert {alg for _, alg in SIGNERS} == ALGORITHMS


@pytest.mark.parametrize(
    ("claims", "scopes", "profiles"),
    [
        ({}, set(), set()),
        ({"scope": ""}, set(), set()),
        ({"scope": "sign keys:read unknown"}, {"sign", "keys:read", "unknown"}, set()),
        ({"scope": " sign  sign "}, {"sign"}, set()),
        ({"scope": "sign\u2003admin\tadmin"}, {"sign\u2003admin\tadmin"}, set()),
        ({"minikms_profiles": []}, set(), set()),
        ({"minikms_profiles": ["alice", "bob"]}, set(), {"alice", "bob"}),
        ({"minikms_profiles": ["alice", "*"]}, set(), None),
        ({"aud": ["https://other.example", AUDIENCE]}, set(), set()),
        ({"aud": [AUDIENCE], "iat": LEFT_OUT, "more": {"of": ["it"]}}, set(), set()),
        ({"exp": 2e9, "nbf": 1.5}, set(), set()),
    ],
)
async def test_claims_become_scopes_and_profiles(verifier, key, claims, scopes, profiles):
    found = permissions_in(await verifier.verify(key.token(claims)))
    assert found == Claims("alice", scopes, profiles, found.expires)
    assert found.expires / 10**9 == pytest.approx(good(claims)["exp"], abs=30)


@pytest.mark.parametrize("exp", [10**12, 10**20, 1e300])
async def test_a_token_expires_in_a_year_that_has_a_date(verifier, key, exp):
    expires = expiry_of(await verifier.verify(key.token({"exp": exp})))
    assert datetime.fromtimestamp(expires // 10**9, UTC).year == 9999


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "https://other.example"),
        ("iss", ISSUER + "/"),
        ("iss", [ISSUER]),
        ("aud", "https://other.example"),
        ("aud", AUDIENCE + "/"),
        ("aud", []),
        ("aud", ["https://other.example"]),
        ("aud", [AUDIENCE, 7]),
        ("aud", {AUDIENCE: AUDIENCE}),
        ("sub", ""),
        ("sub", 7),
        ("exp", "2000000000"),
        ("exp", True),
        ("exp", float("nan")),
        ("exp", float("inf")),
        ("exp", 0),
        ("nbf", "0"),
        ("iat", [0]),
        ("scope", ["sign"]),
        ("scope", None),
        ("minikms_profiles", "alice"),
        ("minikms_profiles", "*"),
        ("minikms_profiles", None),
        ("minikms_profiles", ["alice", 7]),
        ("minikms_profiles", {"*": True}),
        # Such a token is bound to a key, and the service checks no proof of possession.
        ("cnf", {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        ("cnf", {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        ("cnf", {}),
        ("cnf", None),
        *((name, value) for name in ("iss", "aud", "sub", "exp") for value in (LEFT_OUT, None)),
    ],
)
async def test_claims_that_are_refused(verifier, key, claim, value):
    assert await verifier.verify(key.token())
    assert await refused(verifier, key.token({claim: value}))


@pytest.mark.parametrize(
    ("claim", "within", "beyond"), [("exp", -29, -30), ("nbf", 30, 31), ("iat", 30, 31)]
)
async def test_leeway_is_half_a_minute(verifier, key, monkeypatch, claim, within, beyond):
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now)
    assert await verifier.verify(key.token({claim: now + within}))
    assert await refused(verifier, key.token({claim: now + beyond}))


async def test_a_signature_by_another_key(verifier):
    assert await refused(verifier, SigningKey().token())


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
async def test_a_token_without_a_signature_is_refused(verifier, key, alg):
    for kid in ({}, {"kid": "one"}):
        assert await refused(verifier, compact({"alg": alg, **kid}, good(), lambda _: b""))
        assert await refused(verifier, compact({"alg": alg, **kid}, good(), key.signer()))


@pytest.mark.parametrize("name", ["ed25519", "p256", "rsa2048"])
async def test_an_hmac_under_the_public_key_is_refused(verifier_of, name):
    key = SigningKey(name)
    verifier = verifier_of(key)
    public = verifier.keys._keys[0].public
    published = json.dumps({"keys": [key.jwk]}).encode()
    secrets = [public.as_pem(), public.as_der(), json.dumps(key.jwk).encode(), published]
    secrets += [public.as_pem().strip(), key.jwk.get("x", key.jwk.get("n")).encode()]
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    assert secrets[0] == public.public_key.public_bytes(serialization.Encoding.PEM, spki)
    for secret in secrets:

        def sign(message, secret=secret):
            code = hmac.HMAC(secret, hashes.SHA256())
            code.update(message)
            return code.finalize()

        for header in ({"alg": "HS256", "kid": "one"}, {"alg": "HS256"}):
            assert await refused(verifier, compact(header, good(), sign))


async def test_a_symmetric_key_in_the_set_verifies_nothing(verifier_of, key):
    secret = b"s" * 32
    symmetric = SigningKey(kid="two")
    symmetric.jwk = {"kty": "oct", "k": jose(secret), "kid": "two", "alg": "HS256"}

    def sign(message):
        code = hmac.HMAC(secret, hashes.SHA256())
        code.update(message)
        return code.finalize()

    verifier = verifier_of(key, symmetric)
    assert await refused(verifier, compact({"alg": "HS256", "kid": "two"}, good(), sign))
    assert await verifier.verify(key.token())


@pytest.mark.parametrize(
    ("name", "alg"),
    [
        ("p256", "ES384"),
        ("p256", "ES256K"),
        ("k256", "ES256"),
        ("ed25519", "Ed448"),
        ("ed25519", "ES256"),
        ("rsa2048", "ES256"),
        ("p256", "RS256"),
        ("rsa2048", "EdDSA"),
    ],
)
async def test_an_algorithm_of_another_kind_of_key(verifier_of, name, alg):
    key = SigningKey(name)
    for kid in ("one", None):
        header = {"alg": alg} | ({"kid": kid} if kid else {})
        assert await refused(verifier_of(key), compact(header, good(), key.signer()))


async def test_an_algorithm_other_than_the_key_is_published_for(verifier_of):
    key = SigningKey("rsa2048", alg="RS256")
    verifier = verifier_of(key)
    assert await verifier.verify(key.token(alg="RS256"))
    assert await refused(verifier, key.token(alg="PS256"))
    assert await refused(verifier, key.token(alg="RS512"))


async def test_keys_that_the_token_brings_are_not_looked_at(verifier, key):
    theirs = SigningKey(kid="theirs")
    url = "https://attacker.example/jwks.json"
    for kid in ("theirs", "one", None):
        for brought in ({"jwk": theirs.jwk}, {"jku": url}, {"x5u": url}, {"x5c": ["MIIB"]}):
            assert await refused(verifier, theirs.token(kid=kid, **brought))
            assert await verifier.verify(key.token(**brought))


async def test_headers_that_nobody_knows_are_ignored(verifier, key):
    assert await verifier.verify(key.token(cat="cl_B7d4PD", typ="at+jwt"))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": 7},
        {"crit": ["b64"], "b64": False},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"kid": 7},
        {"kid": ["one"]},
        {"alg": ["EdDSA"]},
        {"alg": {}},
        {"alg": None},
        {"typ": 7},
        {"x": "y" * 600},
    ],
)
async def test_headers_that_are_refused(verifier, key, header):
    crafted = {"alg": "EdDSA", "kid": "one", **header}
    assert await refused(verifier, compact(crafted, good(), key.signer()))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b'["alg","kid","b64","crit"]',
        b'"alg"',
        b"7",
        b"null",
        b"\xff\xfe{\x00}\x00",
        b'{"alg":"EdDSA","x":' + b"[" * 360,
        b'{"alg":"none","alg":"EdDSA","kid":"\\ud800"}',
    ],
)
async def test_headers_that_are_none(verifier, key, header):
    assert await refused(verifier, compact(header, good(), key.signer()))


@pytest.mark.parametrize(
    "claims", [b"", b"{", b"[]", b'"iss"', b"7", b"\xff", b"[" * 5000, b'{"sub":"\\ud800"}']
)
async def test_claims_that_are_none(verifier, key, claims):
    header = {"alg": "EdDSA", "kid": "one"}
    assert await refused(verifier, compact(header, claims, key.signer()))


async def test_texts_that_are_no_token(verifier, key):
    token = key.token()
    header, claims, signature = token.split(".")
    texts = ["", ".", "..", "....", "token", "é" + token, token + "\udce9", " " + token]
    texts += [f"{header}.{claims}", f"{header}.{claims}.", f"{header}..{signature}"]
    texts += [f"{token}.{signature}", f"{token}..", f"{token}=", f"{token}A", token[:-2]]
    texts += [f"{header}\n.{claims}.{signature}", token.replace(".", "\n.")]
    for text in texts:
        assert await refused(verifier, text)


async def test_a_token_has_a_limit(verifier, key):
    assert await verifier.verify(key.token({"groups": ["a" * 11_000]}))
    assert await refused(verifier, key.token({"groups": ["a" * 12_500]}))


async def test_without_kid_the_one_key_that_fits(verifier_of):
    first, second, rsa = SigningKey(), SigningKey(kid="two"), SigningKey("rsa2048", kid="three")
    verifier = verifier_of(first, rsa)
    assert await verifier.verify(first.token(kid=None))
    assert await verifier.verify(rsa.token(kid=None))
    assert await refused(verifier, second.token(kid=None))
    both = verifier_of(first, second, rsa)
    assert await refused(both, first.token(kid=None))
    assert await both.verify(first.token())
    assert await both.verify(rsa.token(kid=None))


async def test_keys_that_share_a_kid(verifier_of):
    first, second, curve = SigningKey(), SigningKey(), SigningKey("p256")
    verifier = verifier_of(first, second, curve)
    assert await verifier.verify(curve.token())
    assert await refused(verifier, first.token())


async def test_a_token_without_kid_finds_a_key_without_kid(verifier_of, key):
    nameless = SigningKey("p256")
    del nameless.jwk["kid"]
    verifier = verifier_of(key, nameless)
    assert await verifier.verify(compact({"alg": "ES256"}, good(), nameless.signer()))
    assert await refused(verifier, compact({"alg": "ES256", "kid": "n"}, good(), nameless.signer()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
HEADER = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("crit", "b64", "typ", "cty", "x5t", "x5c", "jku", "jwk"), JSON),
        "kid": st.just("one") | JSON,
        "alg": st.sampled_from([*ALGORITHMS, "HS256", "none"]) | JSON,
    },
)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    path = tmp_path_factory.mktemp("jwks") / "jwks.json"
    keys = [SigningKey(name, f"{name}-kid") for name in ("p384", "p256", "rsa2048", "k256")]
    path.write_text(json.dumps({"keys": [key.jwk for key in [SigningKey(), *keys]]}))
    return JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))


@settings(deadline=None)
@given(header=HEADER, claims=JSON | st.binary(max_size=50), signature=st.binary(max_size=300))
def test_nothing_else_is_ever_raised(known, header, claims, signature):
    token = compact(header, claims, lambda _: signature)
    assert asyncio.run(refused(known, token))


@settings(deadline=None)
@given(text=st.text(max_size=200) | st.text("abcA_-.=ey", max_size=200))
def test_no_text_is_a_token(known, text):
    assert asyncio.run(refused(known, text))


async def test_nothing_of_a_token_is_logged(verifier, key, caplog):
    caplog.set_level("DEBUG")
    claims = {"sub": "planted-subject", "scope": "planted-scope", "planted": "planted-claim"}
    token = key.token(claims, kid="planted-kid")
    assert await refused(verifier, token)
    assert await verifier.verify(key.token(claims))
    assert "planted" not in caplog.text
    for piece in token.split("."):
        assert piece not in caplog.text


@pytest.mark.parametrize("missing", ["issuer", "audience", "jwks"])
def test_the_three_go_together(missing):
    options = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "/dev/null", missing: ""}
    with pytest.raises(JwtError, match="together"):
        make_identities(**options)


def test_a_caller_without_a_token_gets_the_bare_challenge():
    assert Unauthenticated().headers == {"WWW-Authenticate": "Bearer"}
