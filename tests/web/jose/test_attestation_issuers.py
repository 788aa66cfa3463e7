"""Key attestations as three issuers of OpenID4VCI check them.

Each function has the checks of one issuer in our own words; its docstring names their source. For
Credo's issuer, tests of integrations/credo run the issuer itself.
"""

import base64
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from base64url import raw
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from issued_certificates import pem
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS, InvalidJWSSignature

pytestmark = pytest.mark.shared_service

TYP = "key-attestation+jwt"
C_NONCE = "tZignsnFbp"
MODERATE, HIGH, BASIC = "iso_18045_moderate", "iso_18045_high", "iso_18045_basic"
ECDSA = ("ES256", "ES256K", "ES384", "ES512")
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
LEVELS = ("key_storage", "user_authentication")


class RefusedError(Exception):
    """An issuer does not take an attestation."""


def require(condition, what):
    if not condition:
        raise RefusedError(what)


@dataclass
class Asked:
    """The demands and trust of an issuer, at a time; `known` is a provider's key in settings."""

    roots: list
    algs: tuple = (*ECDSA, "EdDSA")
    levels: dict = field(default_factory=lambda: {name: [MODERATE] for name in LEVELS})
    nonce: str = C_NONCE
    known: dict | None = None
    now: float = field(default_factory=time.time)


class Attestation:
    """A parsed attestation."""

    def __init__(self, token):
        self.token = token
        self.header, self.claims = (json.loads(raw(part)) for part in token.split(".")[:2])
        given = map(base64.b64decode, self.header.get("x5c", ()))
        self.chain = [x509.load_der_x509_certificate(each) for each in given]
        self.keys = self.claims.get("attested_keys")

    def require_signature(self, key):
        try:
            JWS().deserialize(self.token, key)
        except InvalidJWSSignature:
            raise RefusedError("signature") from None

    @property
    def leaf(self):
        """The key of the first certificate."""
        subject_public_key = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.chain[0].public_key()
        return JWK.from_pem(public.public_bytes(serialization.Encoding.PEM, subject_public_key))

    def require_trust(self, asked):
        leads = any(self._leads_to(root, asked.now) for root in asked.roots if self.chain)
        require(leads, "trust")

    def _leads_to(self, root, now):
        """Tell whether each certificate is signed by the next, and the last one by the root."""
        path = self.chain if self.chain[-1] == root else [*self.chain, root]
        try:
            for certificate, issuer in pairwise(path):
                certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, TypeError, ValueError):
            return False
        moment = datetime.fromtimestamp(now, UTC)
        return all(each.not_valid_before_utc <= moment <= each.not_valid_after_utc for each in path)


def eudi(attestation, asked, proof):
    """EUDI's eudi-srv-pid-issuer at 7c8ac09, in src/main/kotlin/eu/europa/ec/eudi/pidissuer:
    domain/KeyAttestationJWT.kt, and in adapter/out/jose: VerifyKeyAttestation.kt,
    ValidateJwtProof.kt and ValidateAttestationProof.kt.
    """
    header, claims = attestation.header, attestation.claims
    require(header["alg"] in ECDSA and header["alg"] in asked.algs, "alg")
    require(header.get("typ") == TYP, "typ")
    # It resolves a kid that is a DID URL; kids of this service are none.
    require("kid" not in header and attestation.chain, "kid")
    attestation.require_signature(attestation.leaf)
    needed = {"iat", "attested_keys"} | ({"exp"} if proof == "jwt" else set())
    require(needed <= claims.keys(), "claims")
    require(claims.get("exp", asked.now) > asked.now - 30, "exp")
    require(attestation.keys, "attested_keys")
    for key in attestation.keys:
        require(key["kty"] in ("EC", "RSA", "OKP", "oct") and not PRIVATE & key.keys(), "keys")
    for name in LEVELS:
        stated = claims.get(name)
        require(stated is not None and set(stated) <= set(asked.levels[name]), name)
    attestation.require_trust(asked)
    nonce = claims.get("nonce")
    require(nonce == asked.nonce or (nonce is None and proof == "jwt"), "nonce")
    return attestation.keys


def walt_id(attestation, asked, proof):
    """walt.id's waltid-identity at 9c94be2, in waltid-libraries/protocols/waltid-openid4vci,
    proofs/attestation: KeyAttestationVerifier.kt, and KeyAttestationTrust.kt at 59ca902.
    """
    header, claims = attestation.header, attestation.claims
    require(header.get("typ") == TYP, "typ")
    require(not {"trust_chain", "jwk"} & header.keys(), "header")
    require(header["alg"] in asked.algs, "alg")
    if asked.known is None:
        attestation.require_trust(asked)
        attestation.require_signature(attestation.leaf)
    else:
        attestation.require_signature(JWK(**asked.known))
    issued, expires = claims["iat"], claims["exp"]
    require(type(issued) is type(expires) is int, "claims")
    require(issued <= asked.now + 60 and expires > max(asked.now - 60, issued), "exp")
    require(claims.get("nonce") == asked.nonce, "nonce")
    require(claims.get("certification", "none"), "certification")
    for name in LEVELS:
        require(set(claims.get(name, ())) & set(asked.levels[name]), name)
    require(attestation.keys, "attested_keys")
    for key in attestation.keys:
        require(not PRIVATE & key.keys(), "keys")
        require(not {"use", "key_ops"} & key.keys(), "use")  # of ours, none has them
        signs = key["kty"] in ("EC", "RSA") or key.get("crv") in ("Ed25519", "Ed448")
        require(signs, "keys")
    return attestation.keys


def eudiplo(attestation, asked, proof):
    """EUDIPLO at 7351f13, in apps/backend/src/issuer/issuance/oid4vci:
    domain/key-attestation-requirements.ts, and attestation-proof-trust.util.ts at 1d84521. Its
    library is oid4vc-ts at 130a8c3, packages/openid4vci/src/key-attestation.
    """
    header, claims = attestation.header, attestation.claims
    require(header.get("typ") == TYP, "typ")
    require(not {"kid", "jwk"} <= header.keys(), "header")
    require(attestation.chain, "x5c")  # also for its trust lists
    attestation.require_signature(attestation.leaf)
    require(type(claims["iat"]) is int and type(claims["attested_keys"]) is list, "claims")
    require(claims.get("certification", "https:").partition(":")[1], "certification")
    require("exp" in claims or proof == "attestation", "exp")
    require(claims.get("exp", asked.now) >= asked.now, "exp")
    require(claims.get("nonce") == asked.nonce or proof == "jwt", "nonce")
    attestation.require_trust(asked)
    # It compares the keys to which it binds credentials by the members of these kinds.
    require(all(key["kty"] in ("EC", "OKP", "RSA") for key in attestation.keys), "keys")
    for name in LEVELS:
        require(set(claims.get(name, ())) & set(asked.levels[name]), name)
    return attestation.keys


ISSUERS = {"EUDI": eudi, "walt.id": walt_id, "EUDIPLO": eudiplo}


@pytest.fixture
def provider(client, post, generate, authority):
    """Make the key `provider`, certified by a CA; gives the key and the certificate of the CA."""

    async def make(alg="p256"):
        issuer, root = await authority()
        key = await generate(alg, alias="provider")
        body = {"kid": issuer, "profile": "client", "subject": "CN=Provider", "key": key["kid"]}
        leaf = (await post("/certificate", body | {"days": 30}))["certificate"]
        chain = {"certificates": [leaf, *pem(root)]}
        async with client.put(f"/key/{key['kid']}/certificates", json=chain) as response:
            assert response.status == 200
        return key, root

    return make


@pytest.fixture
def attest(post, generate):
    """Attest two new keys by `provider`; gives the attestation, and the keys that it lists."""
    asked = {name: [MODERATE] for name in LEVELS}

    async def make(alg="p256", **options):
        keys = [await generate(each) for each in ("p256", alg)]
        body = {"alias": "provider", "keys": [key["kid"] for key in keys], "nonce": C_NONCE}
        body |= {"certificate_header": "x5c", **asked, **options}
        given = {name: value for name, value in body.items() if value is not None}
        token = (await post("/key-attestation", given))["jwt"]
        return Attestation(token), [{**key["jwk"], "kid": key["kid"]} for key in keys]

    return make


@pytest.mark.parametrize("proof", ["attestation", "jwt"])
@pytest.mark.parametrize("issuer", ISSUERS.values(), ids=ISSUERS)
@pytest.mark.parametrize("alg", ["p256", "p384"])
async def test_an_issuer_takes_an_attestation(provider, attest, issuer, proof, alg):
    _, root = await provider(alg)
    attestation, keys = await attest()
    assert issuer(attestation, Asked([root]), proof) == keys


EVERY = {*ISSUERS}
CHANGES = {
    "without the certificate": ({"certificate_header": None}, EVERY),
    "with its thumbprint alone": ({"certificate_header": "x5t#S256"}, EVERY),
    "without a level": ({"key_storage": None}, EVERY),
    "of another level": ({"user_authentication": [BASIC]}, EVERY),
    "of a level more": ({"key_storage": [MODERATE, HIGH]}, {"EUDI"}),
    "with another nonce": ({"nonce": "another"}, EVERY),
    "without a nonce": ({"nonce": None}, EVERY),
    "with a certification that is not a URL": ({"certification": "none"}, {"EUDIPLO"}),
    "with a certification": ({"certification": "https://example.com/certificate"}, set()),
    "for an audience": ({"audience": "https://issuer.example"}, set()),
    "of an Ed25519 key": ({"alg": "ed25519"}, set()),
    "of an X25519 key": ({"alg": "x25519"}, {"walt.id"}),
    "of an ML-DSA key": ({"alg": "mldsa44"}, EVERY),
}


def refusals(attestation, asked):
    """The issuers that do not take an attestation as the proof itself."""
    refused = set()
    for name, issuer in ISSUERS.items():
        try:
            issuer(attestation, asked, "attestation")
        except RefusedError:
            refused.add(name)
    return refused


@pytest.mark.parametrize("change", CHANGES)
async def test_an_attestation_that_some_issuers_refuse(provider, attest, change):
    _, root = await provider()
    options, refused = CHANGES[change]
    attestation, _ = await attest(**options)
    assert refusals(attestation, Asked([root])) == refused


@pytest.mark.parametrize(("alg", "refused"), [("ed25519", {"EUDI"}), ("k256", set())])
async def test_the_algorithm_of_the_provider(provider, attest, alg, refused):
    _, root = await provider(alg)
    attestation, _ = await attest()
    assert refusals(attestation, Asked([root])) == refused
    assert refusals(attestation, Asked([root], algs=("ES512",))) >= {"EUDI", "walt.id"}


async def test_an_issuer_trusts_the_root_and_the_certificate_alone(provider, attest, authority):
    _, root = await provider()
    attestation, _ = await attest()
    _, other = await authority()  # of the same name
    assert refusals(attestation, Asked([other])) == EVERY
    assert refusals(attestation, Asked([other, root])) == set()
    keys = attestation.keys  # EUDIPLO also takes the certificate of the provider itself
    assert eudiplo(attestation, Asked(attestation.chain), "attestation") == keys


async def test_an_attestation_expires(provider, attest):
    _, root = await provider()
    attestation, _ = await attest(expires_in=300)
    assert refusals(attestation, Asked([root], now=time.time() + 250)) == set()
    assert refusals(attestation, Asked([root], now=time.time() + 400)) == EVERY


async def test_walt_id_may_have_the_key_of_the_provider_in_its_settings(provider, attest):
    key, _ = await provider()
    attestation, keys = await attest(certificate_header=None)
    assert walt_id(attestation, Asked([], known=key["jwk"]), "attestation") == keys
