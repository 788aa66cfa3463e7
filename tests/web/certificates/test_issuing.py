"""Issued certificates: each profile, its rules, and checks by other libraries."""

import datetime
import shutil
import subprocess
from datetime import UTC, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from issued_certificates import CA, certificate_of
from jwcrypto.jwk import JWK
from web.certificates.linters import lint
from web.certificates.test_csr import IDENTIFIERS, NAMES

pytestmark = pytest.mark.shared_service

OPENSSL = pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl is missing: apt-get install openssl"
)
COUNTRY = "CN=Example IACA,O=Example,ST=Berlin,C=DE"
SIGNER = "CN=Example Signer,O=Example,ST=Berlin,C=DE"
CONTACT = "https://iaca.example/contact"
CRL = "https://iaca.example/crl"
IACA = {
    "profile": "iaca",
    "subject": COUNTRY,
    "days": 3650,
    "issuer_alternative_names": [f"URI:{CONTACT}"],
    "crl": CRL,
}
USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign"),
)
ONLY = ("encipher_only", "decipher_only")


def read(answer):
    return x509.load_pem_x509_certificate(answer["certificate"].encode())


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def facts(certificate):
    """The extensions of a certificate: the value of each, and whether it is critical."""
    return {each.value.oid._name: (each.value, each.critical) for each in certificate.extensions}


def usages(value):
    return {name for name in USAGES if getattr(value, name)}


def life(certificate):
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def uris(value):
    return [name.value for name in value]


# ISO/IEC 18013-5 (second edition) Annex B, tables of B.1.2, B.1.4 and B.1.7, as two open projects
# have them: walt.id's identity library (id.walt.certificate.x509.profile) and isomdl
# (src/definitions/x509/validation). Each extension, and whether it is critical.
ISO = {
    "iaca": {
        "subjectKeyIdentifier": False,
        "keyUsage": True,
        "issuerAltName": False,
        "basicConstraints": True,
        "cRLDistributionPoints": False,
    },
    "document-signer": {
        "authorityKeyIdentifier": False,
        "subjectKeyIdentifier": False,
        "keyUsage": True,
        "issuerAltName": False,
        "cRLDistributionPoints": False,
        "extendedKeyUsage": True,
    },
    "reader": {
        "authorityKeyIdentifier": False,
        "subjectKeyIdentifier": False,
        "keyUsage": True,
        "issuerAltName": False,
        "cRLDistributionPoints": False,
        "extendedKeyUsage": True,
    },
}
PURPOSES = {"document-signer": "1.0.18013.5.1.2", "reader": "1.0.18013.5.1.6"}
MOST_DAYS = {"iaca": 7300, "document-signer": 457, "reader": 1187}


def check_iso(profile, certificate, issuer, public):
    """Compare a certificate with the tables, field by field."""
    found = facts(certificate)
    assert {name: critical for name, (_, critical) in found.items()} == ISO[profile]
    assert certificate.version is x509.Version.v3
    # B.1.1: at least 63 bits of randomness, at most 20 octets, positive.
    assert 0 < certificate.serial_number < 1 << 159
    assert certificate.serial_number.bit_length() > 100
    assert certificate.signature_algorithm_oid.dotted_string.startswith("1.2.840.10045.4.3.")
    assert certificate.issuer.public_bytes() == issuer.subject.public_bytes()
    certificate.verify_directly_issued_by(issuer)
    assert timedelta(0) < life(certificate) <= timedelta(days=MOST_DAYS[profile])
    uncompressed = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert uncompressed == public
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert found["subjectKeyIdentifier"][0] == own
    assert uris(found["issuerAltName"][0]) == [CONTACT]
    [point] = found["cRLDistributionPoints"][0]
    assert uris(point.full_name) == [CRL]
    assert (point.reasons, point.crl_issuer, point.relative_name) == (None, None, None)
    usage = found["keyUsage"][0]
    if profile == "iaca":
        assert usages(usage) == {"key_cert_sign", "crl_sign"}
        assert found["basicConstraints"][0] == x509.BasicConstraints(ca=True, path_length=0)
        assert certificate.issuer.public_bytes() == certificate.subject.public_bytes()
        return
    assert usages(usage) == {"digital_signature"}
    assert [each.dotted_string for each in found["extendedKeyUsage"][0]] == [PURPOSES[profile]]
    above = facts(issuer)["subjectKeyIdentifier"][0].digest
    assert found["authorityKeyIdentifier"][0].key_identifier == above


def spki(key):
    loaded = serialization.load_pem_public_key(JWK(**key["jwk"]).export_to_pem())
    return loaded.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("alg", ["p256", "p384", "p521"])
async def test_an_iaca_by_the_tables(get, authority, alg):
    kid, root = await authority(alg, **IACA)
    check_iso("iaca", root, root, spki(await get(f"/key/{kid}")))
    assert root.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)[0].value == "DE"


@pytest.mark.parametrize("profile", ["document-signer", "reader"])
@pytest.mark.parametrize("alg", ["p256", "p384", "p521", "ed25519", "ed448"])
@pytest.mark.parametrize("by", ["kid", "alias", "csr"])
async def test_a_leaf_of_an_iaca_by_the_tables(post, generate, authority, profile, alg, by):
    kid, root = await authority(**IACA)
    key = await generate(alg, alias="leaf")
    body = {"kid": kid, "profile": profile, "days": MOST_DAYS[profile], "subject": SIGNER}
    if by == "csr":
        subject = body.pop("subject")
        body |= await post("/csr", {"kid": key["kid"], "subject": subject})
    else:
        body["key"] = key["kid"] if by == "kid" else "leaf"
    leaf = read(await post("/certificate", body))
    check_iso(profile, leaf, root, spki(key))
    assert leaf.subject == x509.Name.from_rfc4514_string(SIGNER)


async def test_a_document_signer_with_its_own_contact_and_crl(post, generate, authority):
    kid, _ = await authority(**IACA)
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "document-signer", "subject": SIGNER, "days": 90, "key": key}
    own = {"issuer_alternative_names": ["email:a@b.example"], "crl": "https://other.example/crl"}
    found = facts(read(await post("/certificate", body | own)))
    assert uris(found["issuerAltName"][0]) == ["a@b.example"]
    [point] = found["cRLDistributionPoints"][0]
    assert uris(point.full_name) == ["https://other.example/crl"]


@pytest.mark.parametrize("profile", ["document-signer", "reader"])
async def test_a_leaf_copies_only_what_the_tables_have(post, generate, certified, profile):
    """Reasons, CRL issuers, and names that are neither an email nor a URI stay behind (B.1.4)."""
    name = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=other"))
    uri = x509.UniformResourceIdentifier
    reasons = frozenset([x509.ReasonFlags.key_compromise])
    points = [
        x509.DistributionPoint([uri(CRL), name], None, reasons, [name]),
        x509.DistributionPoint([name], None, None, None),
        x509.DistributionPoint(None, x509.Name.from_rfc4514_string("CN=a").rdns[0], None, [name]),
    ]
    root = certificate_of(
        COUNTRY,
        x509.BasicConstraints(ca=True, path_length=0),
        x509.IssuerAlternativeName([x509.DNSName("a.example"), uri(CONTACT), name]),
        x509.CRLDistributionPoints(points),
        x509.SubjectKeyIdentifier(bytes(20)),
    )
    kid, key = await certified(*root), await generate("p256")
    body = {"kid": kid, "profile": profile, "subject": SIGNER, "days": 9, "key": key["kid"]}
    check_iso(profile, read(await post("/certificate", body)), root[1], spki(key))


@pytest.mark.parametrize("missing", ["issuer_alternative_names", "crl"])
async def test_a_document_signer_of_an_iaca_without_them(
    post, refuses, generate, certified, missing
):
    name = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=other"))
    kid = await certified(
        *certificate_of(
            COUNTRY,
            x509.BasicConstraints(ca=True, path_length=0),
            x509.IssuerAlternativeName([name]),
            x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)]),
        )
    )
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "document-signer", "subject": SIGNER, "days": 9, "key": key}
    body |= {name: IACA[name] for name in ("issuer_alternative_names", "crl")}
    await post("/certificate", body)
    del body[missing]
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize(
    "change",
    [
        {"days": 7301},
        {"subject": "CN=Example"},
        {"subject": "C=DE"},
        {"subject": "CN=a,CN=b,C=DE"},
        {"subject": ""},
        {"issuer_alternative_names": ["DNS:iaca.example"]},
        {"issuer_alternative_names": ["URI:no"]},
        {"crl": "no"},
        {"subject": "CN=a,C=Germany"},
        {"issuer_alternative_names": None},
        {"crl": None},
    ],
)
async def test_an_iaca_that_is_not_by_the_tables(refuses, generate, change):
    key = await generate("p256")
    body = {**IACA, "kid": key["kid"], **change}
    body = {name: value for name, value in body.items() if value is not None}
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize("alg", ["ed25519", "k256", "rsa2048", "mldsa44"])
async def test_an_iaca_of_an_algorithm_that_the_standard_does_not_have(refuses, generate, alg):
    body = {**IACA, "kid": (await generate(alg))["kid"]}
    await refuses("/certificate", body, 422, "unsupported-option")


@pytest.mark.parametrize(
    "change",
    [
        {"days": 458},
        {"subject": "CN=a,ST=Berlin,C=AT"},
        {"subject": "CN=a,C=DE"},
        {"subject": "CN=a,ST=Bremen,C=DE"},
        {"subject": "ST=Berlin,C=DE"},
        {"issuer_alternative_names": ["IP:192.0.2.1"]},
    ],
)
async def test_a_document_signer_that_is_not_by_the_tables(refuses, generate, authority, change):
    kid, _ = await authority(**IACA)
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "document-signer", "subject": SIGNER, "days": 90, "key": key}
    await refuses("/certificate", body | change, 422, "invalid-certificate")
    for alg in ("rsa2048", "k256"):
        other = (await generate(alg))["kid"]
        await refuses("/certificate", body | {"key": other}, 422, "unsupported-option")


@pytest.mark.parametrize("profile", MOST_DAYS)
async def test_a_certificate_has_no_more_days_than_the_tables(
    post, refuses, generate, authority, profile
):
    kid, _ = await authority(**IACA | {"days": MOST_DAYS["iaca"]})
    body = {**IACA, "kid": kid, "profile": profile, "subject": SIGNER, "days": MOST_DAYS[profile]}
    if profile != "iaca":
        body["key"] = (await generate("p256"))["kid"]
    await post("/certificate", body)
    body["days"] += 1
    await refuses("/certificate", body, 422, "invalid-certificate")


async def test_a_document_signer_needs_an_iaca(post, refuses, generate, certified):
    key = (await generate("p256"))["kid"]
    body = {"profile": "document-signer", "subject": SIGNER, "days": 9, "key": key, "crl": CRL}
    body["issuer_alternative_names"] = [f"URI:{CONTACT}"]
    for subject, length in (
        ("CN=a,C=DE", None),
        ("CN=a,C=DE", 1),
        ("CN=a", 0),
        ("C=DE,CN=a,C=AT", 0),
    ):
        constraints = x509.BasicConstraints(ca=True, path_length=length)
        kid = await certified(*certificate_of(subject, constraints))
        await refuses("/certificate", body | {"kid": kid}, 422, "invalid-certificate")
        await post("/certificate", body | {"kid": kid, "profile": "reader"})


async def test_a_certificate_does_not_begin_before_its_issuer(post, generate, certified):
    begin = datetime.datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    kid = await certified(*certificate_of("CN=a", CA, begin=begin))
    body = {"kid": kid, "profile": "client", "subject": "CN=b", "days": 1}
    body["key"] = (await generate("p256"))["kid"]
    assert read(await post("/certificate", body)).not_valid_before_utc == begin


async def test_a_certificate_does_not_outlive_its_issuer(post, refuses, generate, authority):
    key = (await generate("p256"))["kid"]
    for issuer, profile in (({**IACA, "days": 30}, "document-signer"), ({"days": 30}, "client")):
        kid, _ = await authority(**issuer)
        body = {"kid": kid, "profile": profile, "subject": SIGNER, "key": key}
        await refuses("/certificate", body | {"days": 31}, 422, "invalid-certificate")
        await post("/certificate", body | {"days": 29})


@pytest.mark.parametrize("days", [(-9, -1), (1, 9)])
async def test_an_issuer_whose_certificate_is_not_valid_now(refuses, generate, certified, days):
    now = datetime.datetime.now(UTC)
    begin, end = [now + timedelta(days=each) for each in days]
    kid = await certified(*certificate_of("CN=a", CA, begin=begin, end=end))
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "CN=b", "key": key, "days": 1}
    await refuses("/certificate", body, 422, "invalid-certificate")


async def test_an_issuer_needs_the_certificate_of_a_ca(client, post, refuses, generate, authority):
    leaf, other = [(await generate("p256"))["kid"] for _ in range(2)]
    body = {"kid": leaf, "profile": "client", "subject": "CN=a", "key": other, "days": 1}
    await refuses("/certificate", body, 422, "invalid-certificate")
    kid, _ = await authority()
    certificate = await post("/certificate", body | {"kid": kid, "key": leaf, "days": 9})
    chain = {"certificates": [certificate["certificate"]]}
    async with client.put(f"/key/{leaf}/certificates", json=chain) as response:
        assert response.status == 200
    await refuses("/certificate", body, 422, "invalid-certificate")


async def test_an_issuer_needs_the_usage_of_a_ca(post, refuses, generate, certified):
    """CA:TRUE is not enough (RFC 5280 section 4.2.1.3)."""
    key = (await generate("p256"))["kid"]
    for usages, fits in ((("key_cert_sign",), True), (("crl_sign", "digital_signature"), False)):
        usage = x509.KeyUsage(**{name: name in usages for name in (*USAGES, *ONLY)})
        kid = await certified(*certificate_of("CN=a", CA, usage))
        body = {"kid": kid, "profile": "client", "subject": "CN=b", "key": key, "days": 1}
        if fits:
            await post("/certificate", body)
        else:
            await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize("profile", ["document-signer", "reader", "client"])
async def test_a_leaf_needs_a_key(refuses, authority, profile):
    kid, _ = await authority()
    body = {"kid": kid, "profile": profile, "subject": "CN=a", "days": 1}
    await refuses("/certificate", body, 422, "validation-failed")


async def test_a_self_signed_certificate_is_by_the_key_that_signs(post, refuses, generate):
    key, other = await generate("p256", alias="a"), await generate("p256")
    body = {"kid": key["kid"], "profile": "self-signed", "subject": "CN=a", "days": 1}
    for own in ({}, {"key": key["kid"]}, {"key": "a"}):
        certificate = read(await post("/certificate", body | own))
        certificate.verify_directly_issued_by(certificate)
    await refuses("/certificate", body | {"key": other["kid"]}, 422, "invalid-certificate")
    csr = (await post("/csr", {"kid": other["kid"], "subject": "CN=a"}))["csr"]
    await refuses("/certificate", body | {"csr": csr}, 422, "invalid-certificate")
    del body["subject"]
    await refuses("/certificate", body, 422, "validation-failed")
    await refuses("/certificate", body | {"subject": ""}, 422, "invalid-certificate")


async def test_a_self_signed_certificate_is_one_as_openssl_makes_it(post, generate):
    key = await generate("p256")
    csr = await post("/csr", {"kid": key["kid"], "subject": "CN=a,O=b", "alternative_names": NAMES})
    body = {"kid": key["kid"], "profile": "self-signed", "days": 30, **csr}
    certificate = read(await post("/certificate", body))
    found = facts(certificate)
    assert found["basicConstraints"] == (x509.BasicConstraints(ca=True, path_length=None), True)
    assert usages(found["keyUsage"][0]) == {"digital_signature", "key_cert_sign", "crl_sign"}
    assert found["keyUsage"][1]
    own = found["subjectKeyIdentifier"][0].digest
    assert found["authorityKeyIdentifier"][0].key_identifier == own
    assert len(list(found["subjectAltName"][0])) == len(NAMES)
    assert found.keys() == {
        *("basicConstraints", "keyUsage", "subjectKeyIdentifier", "authorityKeyIdentifier"),
        "subjectAltName",
    }
    assert certificate.subject == certificate.issuer == x509.Name.from_rfc4514_string("CN=a,O=b")
    assert life(certificate) == timedelta(days=30)
    age = datetime.datetime.now(UTC) - certificate.not_valid_before_utc
    assert timedelta(minutes=5) <= age < timedelta(minutes=6)


async def test_a_client_of_another_program(post, authority):
    """The client makes its key and its request itself; the request names the client."""
    kid, root = await authority()
    private = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker")])
    request = x509.CertificateSigningRequestBuilder(name)
    names = x509.SubjectAlternativeName([x509.DNSName("worker.example")])
    request = request.add_extension(names, critical=False)
    request = request.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    csr = request.sign(private, hashes.SHA384())
    text = csr.public_bytes(serialization.Encoding.PEM).decode()
    body = {"kid": kid, "profile": "client", "csr": text, "days": 7}
    leaf = read(await post("/certificate", body))
    found = facts(leaf)
    assert leaf.subject == name
    assert found["basicConstraints"] == (x509.BasicConstraints(ca=False, path_length=None), True)
    assert [each.dotted_string for each in found["extendedKeyUsage"][0]] == ["1.3.6.1.5.5.7.3.2"]
    assert not found["extendedKeyUsage"][1]
    assert found["subjectAltName"][0] == names
    store = verification.Store([root])
    verifier = verification.PolicyBuilder().store(store).build_client_verifier()
    verified = verifier.verify(leaf, [])
    assert verified.chain == [leaf, root]
    assert verified.subjects == [x509.DNSName("worker.example")]
    renamed = read(await post("/certificate", body | {"subject": "CN=other"}))
    assert renamed.subject == x509.Name.from_rfc4514_string("CN=other")


async def test_a_request_that_is_not_valid(post, refuses, generate, authority):
    kid, root = await authority()
    csr = (await post("/csr", {"kid": kid, "subject": "CN=a"}))["csr"]
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=a")
    other = x509.SubjectAlternativeName([x509.DirectoryName(name)])
    foreign = x509.CertificateSigningRequestBuilder(name).add_extension(other, critical=False)
    foreign = foreign.sign(private, hashes.SHA256())
    forged = bytearray(foreign.public_bytes(serialization.Encoding.DER))
    forged[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(forged))
    for text in (
        *("", "a", csr[:-60], csr.replace("REQUEST", "REQUESTS"), pem(root)),
        *(each.public_bytes(serialization.Encoding.PEM).decode() for each in (foreign, forged)),
    ):
        body = {"kid": kid, "profile": "client", "csr": text, "days": 1}
        await refuses("/certificate", body, 422, "invalid-certificate")


async def test_a_request_whose_signature_alone_is_wrong(post, refuses, authority):
    """The request could have the public key of somebody else (RFC 2986 section 3)."""
    kid, _ = await authority()
    name = x509.Name.from_rfc4514_string("CN=a")
    private, victim = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    request = x509.CertificateSigningRequestBuilder(name).sign(private, hashes.SHA256())
    der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    stolen = request.public_bytes(serialization.Encoding.DER).replace(
        private.public_key().public_bytes(*der), victim.public_key().public_bytes(*der)
    )
    assert x509.load_der_x509_csr(stolen).public_key() == victim.public_key()
    body = {"kid": kid, "profile": "client", "csr": pem(request), "days": 1}
    await post("/certificate", body)
    body["csr"] = pem(x509.load_der_x509_csr(stolen))
    await refuses("/certificate", body, 422, "invalid-certificate")


def large_rsa_key():
    """A key of 4,484 bits, of two primes of Mersenne."""
    p, q = 2**2281 - 1, 2**2203 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    )
    return numbers.private_key()


WEAK = {
    "RSA of 4,484 bits": large_rsa_key,
    "RSA of 1,024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "RSA with 3": lambda: rsa.generate_private_key(3, 2048),
    "DSA": lambda: dsa.generate_private_key(2048),
    "P-192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("kind", WEAK)
async def test_a_subject_with_a_key_that_is_not_certified(refuses, authority, kind):
    kid, _ = await authority()
    request = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string("CN=a"))
    text = pem(request.sign(WEAK[kind](), hashes.SHA256()))
    body = {"kid": kid, "profile": "client", "csr": text, "days": 1}
    await refuses("/certificate", body, 422, "unsupported-option")


async def test_bounds_of_the_names_of_a_request(post, refuses, authority):
    kid, _ = await authority()
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string("CN=a")
    for names, fits in (
        ([x509.DNSName("a.example")] * 64, True),
        ([x509.DNSName("a.example")] * 65, False),
        ([x509.UniformResourceIdentifier("did:" + "a" * 1020)], True),
        ([x509.UniformResourceIdentifier("did:" + "a" * 1021)], False),
    ):
        request = x509.CertificateSigningRequestBuilder(subject)
        request = request.add_extension(x509.SubjectAlternativeName(names), critical=False)
        text = pem(request.sign(private, hashes.SHA256()))
        body = {"kid": kid, "profile": "client", "csr": text, "days": 1}
        if fits:
            await post("/certificate", body)
        else:
            await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize("profile", ["document-signer", "reader", "client", "self-signed"])
async def test_other_names_of_a_subject_without_a_request(post, generate, authority, profile):
    kid, _ = await authority(**IACA)
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": profile, "subject": SIGNER, "days": 9}
    if profile != "self-signed":
        body["key"] = key
    leaf = read(await post("/certificate", body | {"alternative_names": NAMES}))
    value, critical = facts(leaf)["subjectAltName"]
    csr = await post("/csr", {"kid": key, "subject": "CN=a", "alternative_names": NAMES})
    [asked] = x509.load_pem_x509_csr(csr["csr"].encode()).extensions
    assert (value, critical) == (asked.value, False)
    assert "subjectAltName" not in facts(read(await post("/certificate", body)))


async def test_other_names_replace_those_of_a_request(post, generate, authority):
    kid, _ = await authority()
    key = (await generate("p256"))["kid"]
    csr = await post("/csr", {"kid": key, "subject": "CN=a", "alternative_names": NAMES})
    body = {"kid": kid, "profile": "client", "days": 9, "alternative_names": ["DNS:b.example"]}
    leaf = read(await post("/certificate", body | csr))
    assert list(facts(leaf)["subjectAltName"][0]) == [x509.DNSName("b.example")]


async def test_a_certificate_without_a_subject_has_other_names(post, refuses, generate, authority):
    kid, _ = await authority()
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "", "days": 9, "key": key}
    names = {"alternative_names": ["URI:did:example:123"]}
    assert facts(read(await post("/certificate", body | names)))["subjectAltName"][1]
    await refuses("/certificate", body, 422, "invalid-certificate")
    await refuses("/certificate", body | names | {"profile": "reader"}, 422, "invalid-certificate")
    request = x509.CertificateSigningRequestBuilder(x509.Name([]))
    del body["subject"], body["key"]
    body["csr"] = pem(request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))
    await post("/certificate", body | names)
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize("name", ["a.example", "DNS:-", "email:a", "URI:no", "IP:1.2.3"])
async def test_a_text_that_is_not_another_name(refuses, generate, name):
    body = {"kid": (await generate("p256"))["kid"], "profile": "self-signed", "days": 1}
    body |= {"subject": "CN=a", "alternative_names": ["DNS:a.example", name]}
    problem = await refuses("/certificate", body, 422, "invalid-certificate")
    assert [each["pointer"] for each in problem["errors"]] == ["#/alternative_names/1"]


async def test_bounds_of_a_certificate(refuses, generate):
    kid = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": 1}
    for change in (
        {"days": 0},
        {"days": 36_526},
        {"profile": "server"},
        {"issuer_alternative_names": ["DNS:a.example"] * 65},
        {"alternative_names": ["DNS:a.example"] * 65},
        {"alternative_names": []},
        {"crl": "https:" + "a" * 1024},
        {"key": "a", "csr": "a"},
        {"key": ""},
    ):
        await refuses("/certificate", body | change, 422, "validation-failed")
    await refuses("/certificate", body | {"csr": "a" * 65_536}, 413, "body-too-large")


async def test_the_keys_of_a_certificate_must_be_usable(client, post, refuses, generate, authority):
    kid, _ = await authority()
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "CN=a", "key": key, "days": 1}
    await refuses("/certificate", body | {"key": "unknown"}, 404, "alias-not-found")
    for alg, operations in (("x25519", None), ("p256", ["verify"]), ("hs256", None)):
        options = {} if operations is None else {"operations": operations}
        other = (await generate(alg, **options))["kid"]
        await refuses("/certificate", body | {"key": other}, 422, "unsupported-operation")
    for state in ("disabled", "verify-only"):
        for each in (key, kid):
            async with client.patch(f"/key/{each}", json={"state": state}) as response:
                assert response.status == 200
            await refuses("/certificate", body, 409, "key-not-usable")
            async with client.patch(f"/key/{each}", json={"state": "enabled"}) as response:
                assert response.status == 200
    await post("/certificate", body)


async def test_serial_numbers_are_random(post, generate):
    kid = (await generate("ed25519"))["kid"]
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": 1}
    serials = {read(await post("/certificate", body)).serial_number for _ in range(64)}
    assert len({serial >> 95 for serial in serials}) == 64
    assert all(0 < serial < 1 << 159 for serial in serials)


@pytest.mark.process
@OPENSSL
@pytest.mark.parametrize(
    ("alg", "jose"), [each for each in IDENTIFIERS if each[1] not in ("Ed25519",)]
)
async def test_openssl_verifies_a_chain(post, generate, authority, tmp_path, alg, jose):
    kid, root = await authority(alg)
    key = (await generate(alg))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "CN=leaf", "key": key, "days": 7}
    leaf = read(await post("/certificate", body))
    verify(tmp_path, root, leaf, "-purpose", "sslclient")


@pytest.mark.process
@OPENSSL
@pytest.mark.parametrize("profile", ["document-signer", "reader"])
async def test_openssl_verifies_a_chain_of_an_iaca(post, generate, authority, tmp_path, profile):
    kid, root = await authority(**IACA)
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": profile, "subject": SIGNER, "key": key, "days": 7}
    # It does not know ISO's purposes, and reports a critical extension only by its purpose.
    verify(tmp_path, root, read(await post("/certificate", body)))


def verify(folder, root, leaf, *options):
    for name, certificate in (("root", root), ("leaf", leaf)):
        (folder / name).write_text(pem(certificate))
    command = ["openssl", "verify", "-x509_strict", *options, "-CAfile", "root", "leaf"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "leaf: OK\n"), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)  # a run of the linter takes seconds
@pytest.mark.parametrize("alg", ["p256", "k256", "ed25519", "rsa2048", "mldsa65"])
async def test_a_linter_of_rfc_5280_finds_nothing(post, generate, authority, tmp_path, alg):
    kid, root = await authority(alg)
    # The linter accepts neither wildcards nor DIDs.
    names = [name for name in NAMES if "*" not in name and "did:" not in name]
    csr = await post("/csr", {"kid": kid, "subject": "CN=leaf", "alternative_names": names})
    body = {"kid": kid, "profile": "client", "days": 7, **csr}
    lint_all(tmp_path, root, read(await post("/certificate", body)))


@pytest.mark.slow
@pytest.mark.timeout(120)  # as above
async def test_a_linter_of_rfc_5280_finds_nothing_in_an_iaca(post, generate, authority, tmp_path):
    kid, root = await authority(**IACA)
    key = (await generate("p256"))["kid"]
    made = [root]
    for profile in ("document-signer", "reader"):
        body = {"kid": kid, "profile": profile, "subject": SIGNER, "key": key, "days": 7}
        made.append(read(await post("/certificate", body)))
    lint_all(tmp_path, *made)


def lint_all(folder, *certificates):
    """Require that a linter finds nothing in certificates."""
    files = [folder / f"{number}.pem" for number in range(len(certificates))]
    for file, certificate in zip(files, certificates, strict=True):
        file.write_text(pem(certificate))
    assert not any(lint("lint_pkix_cert", "-s NOTICE", *files))
