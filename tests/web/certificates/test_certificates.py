"""The certificates of a key: given, checked, shown, and removed."""

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from issued_certificates import LATER, MIDDLE, NOW, ROOT, Issuer, der, pem, public_key, x5t
from joserfc import jws
from joserfc.jwk import ECKey
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from problems import refused

from minikms.encodings import b64url_decode
from minikms.key_bounds import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES

pytestmark = pytest.mark.shared_service


@pytest.fixture
def put(client):
    def call(kid, certificates):
        return client.put(f"/key/{kid}/certificates", json={"certificates": certificates})

    return call


@pytest.mark.each_store
@pytest.mark.parametrize("alg", ["p256", "ed25519", "rsa2048"])
async def test_a_chain_is_kept_shown_and_removed(client, get, put, generate, alg):
    key = await generate(alg, alias="a")
    path = f"/key/{key['kid']}"
    leaf = MIDDLE.issue(public_key(key))
    chain = [leaf, MIDDLE.certificate, ROOT.certificate]
    certified = key | {
        "certificates": [base64.b64encode(der(each)).decode() for each in chain],
        "x5t#S256": x5t(leaf),
    }
    async with put(key["kid"], pem(*chain)) as response:
        assert await response.json() == certified
    found = [await get(path), await get("/key?alias=a")]
    assert found[0].pop("cose_key") == found[1].pop("cose_key")
    assert [*found, *await get("/keys")] == [certified] * 3
    async with client.delete(f"{path}/certificates") as response:
        assert await response.json() == key
    found = await get(path)
    assert found == key | {"cose_key": found["cose_key"]}
    async with client.delete(f"{path}/certificates") as response:
        assert response.status == 200


@pytest.mark.parametrize("length", [1, 2])
async def test_a_chain_may_end_before_its_root(put, generate, length):
    key = await generate("p256")
    chain = [MIDDLE.issue(public_key(key)), MIDDLE.certificate][:length]
    async with put(key["kid"], pem(*chain)) as response:
        assert len((await response.json())["certificates"]) == length


async def test_a_chain_that_does_not_fit_is_refused(put, get, generate):
    key, other = await generate("p256"), await generate("p256")
    leaf = MIDDLE.issue(public_key(key))
    forged = Issuer("middle", ROOT)  # of the same name
    for chain in (
        pem(MIDDLE.issue(public_key(other)), MIDDLE.certificate),
        pem(MIDDLE.certificate),
        pem(leaf, ROOT.certificate),
        pem(leaf, forged.certificate),
        pem(MIDDLE.certificate, leaf),
        pem(leaf, MIDDLE.certificate, leaf),
        ["".join(pem(leaf, MIDDLE.certificate))],
        [pem(leaf)[0][:-40]],
        [pem(leaf)[0].replace("CERTIFICATE", "PRIVATE KEY")],
        [base64.b64encode(der(leaf)).decode()],
        [""],
        ["é\ud83d\ude00"],
    ):
        await refused(await put(key["kid"], chain), 422, "invalid-certificate")
    found = await get(f"/key/{key['kid']}")
    assert found == key | {"cose_key": found["cose_key"]}


async def test_bounds_of_a_chain(put, generate):
    key = await generate("p256")
    leaf = pem(MIDDLE.issue(public_key(key)))[0]
    await refused(await put(key["kid"], []), 422, "validation-failed")
    many = [leaf] * (MAX_CERTIFICATES + 1)
    await refused(await put(key["kid"], many), 422, "validation-failed")
    size = MAX_CERTIFICATE_BYTES - len(der(MIDDLE.issue(public_key(key), size=20_000))) + 20_000
    for more, status in ((80, 422), (-80, 200)):
        large = MIDDLE.issue(public_key(key), size=size + more)
        async with put(key["kid"], pem(large)) as response:
            assert response.status == status
            if status == 422:
                assert (await response.json())["type"].endswith(":too-large-record")
            else:
                kept = base64.b64decode((await response.json())["certificates"][0])
                assert MAX_CERTIFICATE_BYTES - 200 < len(kept) <= MAX_CERTIFICATE_BYTES


async def test_only_a_key_that_signs_has_certificates(client, put, generate, post):
    chain = pem(ROOT.certificate)
    for alg in ("x25519", "hs256", "bls12381g1"):
        key = await generate(alg)
        await refused(await put(key["kid"], chain), 422, "unsupported-operation")
    key = await generate("p256", operations=["verify"])
    chain = pem(MIDDLE.issue(public_key(key)))
    await refused(await put(key["kid"], chain), 422, "unsupported-operation")
    key = await generate("p256")
    async with client.delete(f"/key/{key['kid']}?after=7d") as response:
        assert response.status == 200
    chain = pem(MIDDLE.issue(public_key(key)))
    await refused(await put(key["kid"], chain), 409, "key-not-usable")
    await refused(await put("unknown", chain), 404, "key-not-found")
    path = "/key/unknown/certificates"
    await refused(await client.delete(path), 404, "key-not-found")


async def test_a_rotation_leaves_the_chain_with_the_old_key(client, put, get, generate):
    key = await generate("p256", alias="a")
    async with put(key["kid"], pem(MIDDLE.issue(public_key(key)))) as response:
        certified = await response.json()
    async with client.post(f"/key/{key['kid']}/rotate") as response:
        assert "certificates" not in await response.json()
    old = await get(f"/key/{key['kid']}")
    assert old["certificates"] == certified["certificates"]
    assert old["x5t#S256"] == certified["x5t#S256"]


async def test_a_jwk_set_has_the_chain_without_its_root(put, get, generate):
    key = await generate("p256", alias="a")
    leaf = MIDDLE.issue(public_key(key))
    async with put(key["kid"], pem(leaf, MIDDLE.certificate, ROOT.certificate)) as response:
        assert response.status == 200
    entries = {entry["kid"]: entry for entry in (await get("/jwks.json"))["keys"]}
    sent = [base64.b64encode(der(each)).decode() for each in (leaf, MIDDLE.certificate)]
    assert entries[key["kid"]] == {
        **key["jwk"],
        **{"kid": key["kid"], "use": "sig", "alg": "ES256", "x5c": sent, "x5t#S256": x5t(leaf)},
    }
    assert "x5c" not in entries["a"]
    assert entries["a"]["x5t#S256"] == x5t(leaf)


async def test_a_self_issued_certificate_of_another_key_is_sent(put, get, generate):
    """A CA that changed its key has such a certificate, which is not a root."""
    key = await generate("p256")
    new = Issuer("middle")
    leaf, link = new.issue(public_key(key)), MIDDLE.issue(new.key.public_key(), new.name)
    assert link.issuer == link.subject
    async with put(key["kid"], pem(leaf, link)) as response:
        assert response.status == 200
    [entry] = (await get("/jwks.json"))["keys"]
    assert entry["x5c"] == [base64.b64encode(der(each)).decode() for each in (leaf, link)]


async def test_a_self_signed_certificate_of_the_key_is_in_the_jwk_set(put, get, post):
    private = ec.generate_private_key(ec.SECP256R1())
    scalar = private.private_numbers().private_value.to_bytes(32, "big")
    secret = base64.urlsafe_b64encode(scalar).decode()
    key = await post("/key/import", {"alg": "p256", "secret": secret})
    name = x509.Name.from_rfc4514_string("CN=itself")
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, NOW, LATER)
    own = builder.sign(private, hashes.SHA256())
    async with put(key["kid"], pem(own)) as response:
        assert response.status == 200
    [entry] = (await get("/jwks.json"))["keys"]
    assert entry["x5c"] == [base64.b64encode(der(own)).decode()]


async def test_a_jws_with_the_chain_of_its_key(put, post, generate):
    """HAIP requires the chain without its root in an SD-JWT VC."""
    key = await generate("p256", alias="a")
    leaf = MIDDLE.issue(public_key(key))
    async with put(key["kid"], pem(leaf, MIDDLE.certificate, ROOT.certificate)) as response:
        assert response.status == 200
    body = {"alias": "a", "payload": "aGVsbG8", "header": {"typ": "dc+sd-jwt"}}
    made = await post("/jws/sign", body | {"certificate_header": "x5c"})
    # jwcrypto and joserfc do not check a chain; they take the key of the first certificate.
    token = made["jws"]
    header = json.loads(b64url_decode(token.partition(".")[0]))
    assert header == {
        **{"alg": "ES256", "kid": "a", "typ": "dc+sd-jwt"},
        "x5c": [base64.b64encode(der(each)).decode() for each in (leaf, MIDDLE.certificate)],
    }
    chain = [x509.load_der_x509_certificate(base64.b64decode(each)) for each in header["x5c"]]
    chain[0].verify_directly_issued_by(chain[1])
    chain[1].verify_directly_issued_by(ROOT.certificate)
    public = (
        chain[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = JWS()
    signed.deserialize(token, JWK.from_pem(public))
    assert signed.payload == b"hello"
    registry = jws.JWSRegistry(algorithms=["ES256"])
    registry.max_header_length = 65_536  # 512 by default
    verified = jws.deserialize_compact(token, ECKey.import_key(public), registry=registry)
    assert verified.payload == b"hello"
    assert (await post("/jws/verify", {"alias": "a", "jws": token}))["valid"]


async def test_a_jws_with_the_thumbprint_of_its_certificate(put, post, generate):
    key = await generate("ed25519")
    leaf = MIDDLE.issue(public_key(key))
    async with put(key["kid"], pem(leaf)) as response:
        assert response.status == 200
    body = {"kid": key["kid"], "payload": "", "certificate_header": "x5t#S256"}
    for detached in (False, True):
        token = (await post("/jws/sign", body | {"detached": detached}))["jws"]
        header = json.loads(b64url_decode(token.partition(".")[0]))
        assert header["x5t#S256"] == x5t(leaf)
        assert "x5c" not in header
    token = (await post("/jws/sign", body | {"certificate_header": "none"}))["jws"]
    assert json.loads(b64url_decode(token.partition(".")[0])).keys() == {"alg", "kid"}


async def test_a_jws_has_the_self_signed_certificate_of_its_key(put, post, generate):
    kid = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": 1}
    own = (await post("/certificate", body))["certificate"]
    async with put(kid, [own]) as response:
        assert response.status == 200
    body = {"kid": kid, "payload": "", "certificate_header": "x5c"}
    token = (await post("/jws/sign", body))["jws"]
    [text] = json.loads(b64url_decode(token.partition(".")[0]))["x5c"]
    assert pem(x509.load_der_x509_certificate(base64.b64decode(text))) == [own]


@pytest.mark.parametrize("member", ["x5c", "x5t#S256"])
async def test_a_jws_of_a_key_without_a_certificate(refuses, post, generate, member):
    for alg in ("p256", "hs256"):
        body = {"kid": (await generate(alg))["kid"], "payload": ""}
        wanted = body | {"certificate_header": member}
        await refuses("/jws/sign", wanted, 422, "unsupported-option")
        given = {"x5c": ["a"], "x5t#S256": "a"}
        for name in given:
            await post("/jws/sign", body | {"header": {name: given[name]}})
        twice = wanted | {"header": {member: given[member]}}
        await refuses("/jws/sign", twice, 422, "validation-failed")
        await refuses("/jws/sign", body | {"certificate_header": "x5u"}, 422, "validation-failed")
