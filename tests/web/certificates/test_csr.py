"""Certificate requests, by every algorithm whose signatures X.509 has."""

import ipaddress
import shutil
import subprocess

import pytest
from algorithm_facts import FACTS
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from jwcrypto.jwk import JWK
from problems import refused

from minikms.plugin.protocol import Signer
from minikms.plugin.registry import AlgorithmRegistry

pytestmark = pytest.mark.shared_service

NAMES = [
    *("DNS:a.example", "DNS:*.b.example", "URI:https://a.example/x?y=1#z", "URI:did:example:123"),
    *("email:a@b.example", "IP:192.0.2.1", "IP:2001:db8::1"),
]
# The identifier of each JOSE name: RFC 5758 section 3.2, RFC 4055 section 5, RFC 8410, RFC 9881.
RSA, PSS, EDWARDS, ML_DSA = (
    "1.2.840.113549.1.1.",
    "1.2.840.113549.1.1.10",
    "1.3.101.",
    "2.16.840.1.101.3.4.3.",
)
IDENTIFIERS = {
    ("p256", "ES256"): "1.2.840.10045.4.3.2",
    ("k256", "ES256K"): "1.2.840.10045.4.3.2",
    ("p384", "ES384"): "1.2.840.10045.4.3.3",
    ("p521", "ES512"): "1.2.840.10045.4.3.4",
    ("ed25519", "EdDSA"): EDWARDS + "112",
    ("ed25519", "Ed25519"): EDWARDS + "112",
    ("ed448", "Ed448"): EDWARDS + "113",
    ("ed448", "EdDSA"): EDWARDS + "113",
    ("rsa2048", "RS256"): RSA + "11",
    ("rsa2048", "RS384"): RSA + "12",
    ("rsa2048", "RS512"): RSA + "13",
    ("rsa2048", "PS256"): PSS,
    ("rsa2048", "PS384"): PSS,
    ("rsa2048", "PS512"): PSS,
    ("mldsa44", "ML-DSA-44"): ML_DSA + "17",
    ("mldsa65", "ML-DSA-65"): ML_DSA + "18",
    ("mldsa87", "ML-DSA-87"): ML_DSA + "19",
}
SALTS = {"PS256": 32, "PS384": 48, "PS512": 64}


def read(answer):
    return x509.load_pem_x509_csr(answer["csr"].encode())


def test_the_table_has_every_algorithm_that_signs():
    registry = AlgorithmRegistry.from_installed()
    signers = {
        (algorithm.name, alg)
        for algorithm in (listed.algorithm for listed in registry)
        if isinstance(algorithm, Signer) and algorithm.name not in ("rsa3072", "rsa4096")
        for alg in algorithm.signing_algs
    }
    assert signers == IDENTIFIERS.keys()


@pytest.mark.parametrize(("alg", "jose"), IDENTIFIERS)
async def test_a_request_of_each_algorithm(post, generate, alg, jose):
    key = await generate(alg)
    body = {"kid": key["kid"], "subject": "CN=example,O=Läden,C=DE", "alternative_names": NAMES}
    csr = read(await post("/csr", {**body, "alg": jose}))
    assert csr.is_signature_valid
    assert csr.signature_algorithm_oid.dotted_string == IDENTIFIERS[alg, jose]
    if jose in SALTS:
        parameters = csr.signature_algorithm_parameters
        assert parameters._salt_length == SALTS[jose]
        assert parameters.mgf._algorithm.name == csr.signature_hash_algorithm.name
    [names] = csr.extensions
    assert not names.critical
    assert list(names.value) == [
        x509.DNSName("a.example"),
        x509.DNSName("*.b.example"),
        x509.UniformResourceIdentifier("https://a.example/x?y=1#z"),
        x509.UniformResourceIdentifier("did:example:123"),
        x509.RFC822Name("a@b.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    ]
    # The text is the reverse of the sequence (RFC 4514 section 2.1).
    attributes = [(each.oid, each.value) for each in csr.subject]
    assert attributes == [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Läden"),
        (NameOID.COMMON_NAME, "example"),
    ]
    facts = FACTS[alg]
    if "jwcrypto" in facts.libraries and facts.kty != "AKP":  # it writes no PEM of ML-DSA
        public = csr.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert public == JWK(**key["jwk"]).export_to_pem()


@pytest.mark.process
@pytest.mark.skipif(
    not shutil.which("openssl"), reason="this needs openssl: apt-get install openssl"
)
@pytest.mark.parametrize(("alg", "jose"), IDENTIFIERS)
async def test_openssl_verifies_a_request(post, generate, alg, jose):
    key = await generate(alg)
    body = {"kid": key["kid"], "subject": "CN=example,C=DE", "alternative_names": NAMES}
    csr = (await post("/csr", {**body, "alg": jose}))["csr"]
    command = ["openssl", "req", "-verify", "-noout", "-subject", "-nameopt", "RFC2253"]
    done = subprocess.run(command, input=csr, capture_output=True, text=True, check=False)
    if alg.startswith("mldsa") and "unsupported" in done.stderr:
        pytest.skip("this needs ML-DSA of OpenSSL 3.5")
    assert done.returncode == 0, done.stderr
    assert "verify OK" in done.stdout + done.stderr
    assert "subject=CN=example,C=DE\n" in done.stdout


async def test_a_request_without_a_subject(post, refuses, generate):
    kid = (await generate())["kid"]
    csr = read(await post("/csr", {"kid": kid, "subject": "", "alternative_names": NAMES[:1]}))
    assert list(csr.subject) == []
    [names] = csr.extensions
    assert names.critical
    await refuses("/csr", {"kid": kid, "subject": ""}, 422, "invalid-certificate")


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("CN=a\\,b\\=c", [(NameOID.COMMON_NAME, "a,b=c")]),
        ("cn=a,dc=example", [(NameOID.DOMAIN_COMPONENT, "example"), (NameOID.COMMON_NAME, "a")]),
        ("Cn=a,oU=b", [(NameOID.ORGANIZATIONAL_UNIT_NAME, "b"), (NameOID.COMMON_NAME, "a")]),
        ("serialNumber=12", [(NameOID.SERIAL_NUMBER, "12")]),
        ("2.5.4.97=LEIXG-1", [(NameOID.ORGANIZATION_IDENTIFIER, "LEIXG-1")]),
        ("CN=a+UID=b", [(NameOID.COMMON_NAME, "a"), (NameOID.USER_ID, "b")]),
    ],
)
async def test_a_subject_of_other_attributes(post, generate, text, attributes):
    key = await generate()
    csr = read(await post("/csr", {"kid": key["kid"], "subject": text}))
    assert [(each.oid, each.value) for each in csr.subject] == attributes
    assert not list(csr.extensions)


async def test_an_email_of_the_subject_is_an_alternative_name(post, generate):
    """RFC 5280 section 4.1.2.6."""
    kid = (await generate())["kid"]
    subject = "emailAddress=a@b.example,CN=a,emailAddress=c@b.example+O=b,emailAddress=a@b.example"
    for names in ([], ["email:c@b.example", "DNS:b.example"]):
        body = {"kid": kid, "subject": subject, **({"alternative_names": names} if names else {})}
        csr = read(await post("/csr", body))
        issued = await post("/certificate", {**body, "profile": "self-signed", "days": 1})
        certificate = x509.load_pem_x509_certificate(issued["certificate"].encode())
        found = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert found.value == certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value  # fmt: skip
        assert sorted(found.value.get_values_for_type(x509.RFC822Name)) == (
            ["a@b.example", "c@b.example"]
        )
        assert len(csr.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)) == 3
        assert not found.critical


@pytest.mark.parametrize("email", ["a@b@c", "a", "a@", "a(b@c.example", "a@b..c"])
async def test_an_email_of_the_subject_that_is_none(post, refuses, generate, email):
    kid = (await generate())["kid"]
    body = {"kid": kid, "subject": f"emailAddress={email}"}
    await refuses("/csr", body, 422, "invalid-certificate")
    body |= {"profile": "self-signed", "days": 1}
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize(
    "subject",
    [
        *(
            "example",
            "CN",
            "CN=",
            "=a",
            "/CN=a",
            "XX=a",
            "CN=a;O=b",
            "CN=a,",
            ",",
            "CN=" + "a" * 65,
        ),
        *("C=Germany", "C=de", "C=Ä1", "serialNumber=a_b", "serialNumber=ä", "emailAddress=ä@b"),
        *("DC=a b", "emailAddress=a b@c", "2.5.4.46=a_b"),
        *("CN=a\\00b", "CN=a\tb", "O=a\nb", "CN=#00", "CN=#zz", "1.2=", "9.9.9=a", "1.2.3.=a"),
        *("CN=\U0001f511\x7f", ",".join(["O=a"] * 33)),
    ],
)
async def test_a_text_that_is_not_a_name(refuses, generate, subject):
    key = await generate()
    await refuses("/csr", {"kid": key["kid"], "subject": subject}, 422, "invalid-certificate")


@pytest.mark.parametrize(
    "name",
    [
        *("a.example", "DNS:", "DNS:ä.example", "DNS:a b", "DNS:-a.example", "DNS:a..example"),
        *("DNS:*", "DNS:a.*.example", "DNS:" + "a." * 127 + "a", "dns:a.example", "URI:a", "URI:"),
        *(
            "URI:https://ä.example",
            "URI:https://a b",
            "URI:1a:b",
            "email:a",
            "email:a@",
            "email:@b",
        ),
        *(
            "email:ä@b",
            "email:a@.",
            "email:a@b..c",
            "email:a@-b",
            "email:a@b.",
            "email:a@" + "b" * 64,
            "DNS:-",
            "DNS:a-",
            "DNS:a.example.",
            "DNS:" + "a" * 64,
            "DNS:a." + "b" * 64,
            "IP:fe80::1%eth0",
            "IP:1.2.3",
            "IP:1.2.3.4/8",
            "IP:::g",
            "RID:1.2.3",
            "otherName:a",
            ":",
            "DNS",
        ),
    ],
)
async def test_a_text_that_is_not_an_alternative_name(refuses, generate, name):
    body = {"kid": (await generate())["kid"], "subject": "CN=a"}
    body["alternative_names"] = ["DNS:a.example", name]
    problem = await refuses("/csr", body, 422, "invalid-certificate")
    assert [each["pointer"] for each in problem["errors"]] == ["#/alternative_names/1"]


async def test_bounds_of_a_request(refuses, generate):
    kid = (await generate())["kid"]
    for body in (
        {"subject": "CN=a," + "O=a," * 256},
        {"subject": "CN=a", "alternative_names": []},
        {"subject": "CN=a", "alternative_names": ["DNS:a.example"] * 65},
        {"subject": "CN=a", "alternative_names": ["URI:did:" + "a" * 1024]},
        {"subject": 1},
    ):
        await refuses("/csr", {"kid": kid, **body}, 422, "validation-failed")


# RFC 5280 appendix A.1.
BOUNDS = {
    **dict.fromkeys(("CN", "O", "OU", "serialNumber", "2.5.4.12"), 64),
    **dict.fromkeys(("L", "ST", "2.5.4.65"), 128),
    "emailAddress": 255,
}


@pytest.mark.parametrize("attribute", BOUNDS)
async def test_an_attribute_has_the_length_of_rfc_5280(post, refuses, generate, attribute):
    kid, most = (await generate())["kid"], BOUNDS[attribute]
    end = f"@{'.'.join(['b' * 50] * 4)}" if attribute == "emailAddress" else ""
    most -= len(end)
    await post("/csr", {"kid": kid, "subject": f"{attribute}={'a' * most}{end}"})
    subject = f"C=DE,{attribute}={'a' * (most + 1)}{end}"
    await refuses("/csr", {"kid": kid, "subject": subject}, 422, "invalid-certificate")
    body = {"kid": kid, "profile": "self-signed", "subject": subject, "days": 1}
    await refuses("/certificate", body, 422, "invalid-certificate")


async def test_an_email_among_other_names_has_a_bound(post, refuses, generate):
    body = {"kid": (await generate())["kid"], "subject": "CN=a"}
    host = ".".join(["b" * 50] * 4)
    await post("/csr", body | {"alternative_names": [f"email:{'a' * 50}@{host}"]})
    for length in (52, 64):
        names = [f"email:{'a' * length}@{host}"]
        await refuses("/csr", body | {"alternative_names": names}, 422, "invalid-certificate")


async def test_an_alg_of_another_key(refuses, generate):
    kid = (await generate("p256"))["kid"]
    for alg in ("ES384", "EdDSA", "RS256"):
        body = {"kid": kid, "subject": "CN=a", "alg": alg}
        await refuses("/csr", body, 422, "unsupported-option")


@pytest.mark.parametrize("state", ["disabled", "verify-only"])
async def test_a_key_that_is_out_of_use_signs_no_request(client, refuses, generate, state):
    kid = (await generate("p256"))["kid"]
    async with client.patch(f"/key/{kid}", json={"state": state}) as response:
        assert response.status == 200
    await refuses("/csr", {"kid": kid, "subject": "CN=a"}, 409, "key-not-usable")


async def test_a_public_key_alone_signs_no_request(client, refuses, generate, post):
    jwk = (await generate("p256"))["jwk"]
    async with client.post("/profile", json={"name": "other"}) as _:
        pass
    headers = {"X-Profile": "other"}
    async with client.post("/key/import", json={"jwk": jwk}, headers=headers) as response:
        kid = (await response.json())["kid"]
    answer = await client.post("/csr", json={"kid": kid, "subject": "CN=a"}, headers=headers)
    await refused(answer, 422, "unsupported-operation")
