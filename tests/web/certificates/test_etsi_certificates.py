"""Certificates for the EU's wallets and for documents: their rules, and a linter of ETSI's."""

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from issued_certificates import CA, certificate_of
from web.certificates.linters import lint
from web.certificates.test_issuing import facts, pem, read, usages

pytestmark = pytest.mark.shared_service

ISSUER = "CN=Example CA,O=Example,C=DE,organizationIdentifier=VATDE-987654321"
LEGAL = "CN=Example Shop,O=Example GmbH,C=DE,organizationIdentifier=VATDE-123456789"
NATURAL = "CN=Ada Lovelace,givenName=Ada,SN=Lovelace,serialNumber=TINDE-12345,C=DE"
SUBJECTS = {"LEGAL": LEGAL, "NATURAL": NATURAL}
# ETSI TS 119 411-8 clause 5.3: ncp-l-eudiwrp; and an issuer's own.
POLICIES = ["0.4.0.194118.1.2", "1.3.6.1.4.1.99999.1"]
CRL, CPS = "http://pki.example.com/crl", "https://pki.example.com/cps"
CA_URL = "http://pki.example.com/ca.cer"
URIS = {"crl": CRL, "policies": POLICIES, "issuer_url": CA_URL}
SUPPORT = ["email:help@example.com", "URI:https://shop.example.com/help"]
NEEDS = {
    "access": {**URIS, "cps": CPS, "alternative_names": [*SUPPORT, "DNS:shop.example.com"]},
    "pid-provider": URIS,
    "document": {},
}
DOCUMENTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
QC_STATEMENTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")


@pytest.fixture
def issue(post, generate, authority):
    """Issue a certificate of a profile by a CA that ETSI would accept."""

    async def make(profile, subject=LEGAL, issuer=ISSUER, alg="p256", **members):
        kid, _ = await authority(subject=issuer)
        body = {"kid": kid, "profile": profile, "subject": subject, "days": 90}
        body["key"] = (await generate(alg))["kid"]
        body |= NEEDS.get(profile, {}) | members
        return read(await post("/certificate", body))

    return make


def oids(certificate):
    return {each.oid.dotted_string: each.critical for each in certificate.extensions}


def sequence_of(oid):
    """A SEQUENCE OF OBJECT IDENTIFIER with one, as pyca/cryptography writes it."""
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid)]).public_bytes()


async def test_an_access_certificate_has_all_that_ts_119_411_8_asks_for(issue):
    made = await issue("access")
    found = facts(made)
    assert {name: critical for name, (_, critical) in found.items()} == {
        **dict.fromkeys(("subjectKeyIdentifier", "authorityKeyIdentifier"), False),
        "keyUsage": True,
        **dict.fromkeys(("subjectAltName", "cRLDistributionPoints"), False),
        **dict.fromkeys(("certificatePolicies", "authorityInfoAccess"), False),
    }
    assert usages(found["keyUsage"][0]) == {"digital_signature"}
    policies = found["certificatePolicies"][0]
    assert [each.policy_identifier.dotted_string for each in policies] == POLICIES
    assert [each.policy_qualifiers for each in policies] == [[CPS], [CPS]]
    [access] = found["authorityInfoAccess"][0]
    assert access.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    assert access.access_location.value == CA_URL
    [point] = found["cRLDistributionPoints"][0]
    assert [each.value for each in point.full_name] == [CRL]
    names = found["subjectAltName"][0]
    assert names.get_values_for_type(x509.RFC822Name) == ["help@example.com"]
    assert names.get_values_for_type(x509.DNSName) == ["shop.example.com"]


async def test_the_certificate_of_a_pid_provider_says_so(issue):
    """ETSI TS 119 412-6 clause 4.5."""
    made = await issue("pid-provider")
    assert oids(made) == {
        **dict.fromkeys(("2.5.29.14", "2.5.29.35", "2.5.29.31", "2.5.29.32"), False),
        **{"2.5.29.15": True, "1.3.6.1.5.5.7.1.1": False, QC_STATEMENTS.dotted_string: False},
    }
    assert usages(facts(made)["keyUsage"][0]) == {"digital_signature"}
    value = made.extensions.get_extension_for_oid(QC_STATEMENTS).value.value
    kind, pid = sequence_of("0.4.0.1862.1.6"), sequence_of("0.4.0.194126.1.1")
    statement = kind[2:] + pid  # QCStatement of ETSI EN 319 412-5: a statementId, and a QcType
    assert value == b"\x30" + bytes([len(statement) + 2, 0x30, len(statement)]) + statement
    [policy, _] = facts(made)["certificatePolicies"][0]
    assert policy.policy_qualifiers is None


async def test_the_purposes_of_a_certificate_for_documents(issue):
    for asked, more in ((None, []), (False, []), (True, [DOCUMENTS])):
        given = {} if asked is None else {"document_signing": asked}
        found = facts(await issue("document", **given))
        purposes, critical = found["extendedKeyUsage"]
        assert (list(purposes), critical) == ([ExtendedKeyUsageOID.EMAIL_PROTECTION, *more], False)
        assert usages(found["keyUsage"][0]) == {"digital_signature", "content_commitment"}
        assert "certificatePolicies" not in found


@pytest.mark.parametrize("profile", ["self-signed", "iaca", "document-signer", "reader", "client"])
async def test_any_certificate_may_have_policies_and_the_url_of_its_issuer(
    post, generate, authority, profile
):
    iaca = {"issuer_alternative_names": ["URI:https://a.example"], "crl": CRL, "days": 90}
    kid, _ = await authority(**iaca, profile="iaca", subject="CN=a,C=DE")
    body = {"kid": kid, "profile": profile, "subject": "CN=b,C=DE", **iaca, **URIS, "cps": CPS}
    if profile not in ("self-signed", "iaca"):
        body |= {"key": (await generate("p256"))["kid"], "days": 9}
    found = facts(read(await post("/certificate", body)))
    assert len(list(found["certificatePolicies"][0])) == 2
    assert found["authorityInfoAccess"][0][0].access_location.value == CA_URL


@pytest.mark.parametrize(
    ("profile", "change"),
    [
        *(("pid-provider", {name: None}) for name in URIS),
        *(("access", {name: None}) for name in ("crl", "issuer_url", "cps")),
        ("access", {"policies": None, "cps": None}),
        ("access", {"alternative_names": None}),
        ("access", {"alternative_names": ["DNS:shop.example.com"]}),
        ("access", {"subject": LEGAL.replace("VATDE-123456789", "123456789")}),
        ("access", {"subject": LEGAL.replace(",organizationIdentifier=VATDE-123456789", "")}),
        *(
            (profile, {"subject": subject})
            for profile in ("access", "pid-provider")
            for subject in (
                LEGAL.replace(",C=DE", ""),
                LEGAL.replace("O=Example GmbH,", ""),
                f"CN=b,{LEGAL}",
                NATURAL.replace("serialNumber=TINDE-12345,", ""),
                NATURAL.replace("givenName=Ada,SN=Lovelace,", ""),
                "CN=a",
            )
        ),
        ("access", {"issuer": "CN=Example CA,C=DE"}),
        ("pid-provider", {"issuer": "CN=Example CA,O=Example"}),
        ("client", {"policies": ["1.2.3", "1.2.3"]}),
        ("client", {"policies": ["no"]}),
        ("client", {"policies": ["3.1"]}),
        ("client", {"policies": ["1." + "9" * 120]}),
        ("client", {"policies": ["1.2"], "cps": "no"}),
        ("client", {"issuer_url": "no"}),
    ],
)
async def test_what_a_profile_needs_must_be_there(refuses, generate, authority, profile, change):
    change = dict(change)
    kid, _ = await authority(subject=change.pop("issuer", ISSUER))
    body = {"kid": kid, "profile": profile, "subject": LEGAL, "days": 90}
    body |= {"key": (await generate("p256"))["kid"]} | NEEDS.get(profile, {}) | change
    body = {name: value for name, value in body.items() if value is not None}
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"cps": CPS}, "#/cps"),
        ({"policies": []}, "#/policies"),
        ({"policies": [f"1.2.{n}" for n in range(17)]}, "#/policies"),
        ({"policies": ["1." + "2" * 127]}, "#/policies/0"),
        ({"policies": "1.2.3"}, "#/policies"),
        ({"issuer_url": "http:" + "a" * 1020}, "#/issuer_url"),
        ({"document_signing": True}, "#/document_signing"),
        ({"document_signing": 1}, "#/document_signing"),
    ],
)
async def test_members_that_are_not_valid(refuses, authority, generate, change, pointer):
    kid, _ = await authority()
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "CN=a", "days": 9, "key": key}
    problem = await refuses("/certificate", body | change, 422, "validation-failed")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


async def test_the_list_of_a_root_is_copied(post, refuses, generate, authority, certified):
    own = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(CRL)], None, None, None)]
    )
    root = certificate_of("CN=a,O=a,C=DE", CA, own)
    middle = certificate_of("CN=b,O=b,C=DE", CA, own, issuer=root)
    key = (await generate("p256"))["kid"]
    body = {"profile": "pid-provider", "subject": LEGAL, "days": 9, "key": key, **URIS}
    del body["crl"]
    found = facts(read(await post("/certificate", {**body, "kid": await certified(*root)})))
    [point] = found["cRLDistributionPoints"][0]
    assert [each.value for each in point.full_name] == [CRL]
    body["kid"] = await certified(*middle, root[1])
    await refuses("/certificate", body, 422, "invalid-certificate")


async def test_the_subject_of_an_access_certificate_may_be_a_person(issue):
    made = await issue("access", NATURAL)
    assert made.subject.get_attributes_for_oid(x509.oid.NameOID.SURNAME)[0].value == "Lovelace"
    await issue("access", "CN=a,pseudonym=a,serialNumber=1,C=DE")


async def test_the_csr_of_another_program_gives_the_names(post, authority, generate):
    kid, _ = await authority(subject=ISSUER)
    other = (await generate("p384"))["kid"]
    csr = await post("/csr", {"kid": other, "subject": LEGAL, "alternative_names": SUPPORT})
    body = {"kid": kid, "profile": "access", "days": 9, **URIS, "cps": CPS, **csr}
    found = facts(read(await post("/certificate", body)))
    assert len(list(found["subjectAltName"][0])) == 2


# Findings of the linter that are not errors: RFC 5280 section 4.2.1.4 advises against qualifiers,
# and ETSI EN 319 412-2 clause 4.3.2 against two key usages. PAdES and C2PA each need one of the
# two.
QUALIFIER = "pkix.certificate_policies_policy_has_qualifier"
TWO_USAGES = "etsi.en_319_412_2.nat-4.3.2-1.mixed_key_usage_setting"
# ISO/IEC 18013-5 Table B.7 requires what ETSI EN 319 412-2 clause 4.3.10 forbids.
CRITICAL = "etsi.en_319_412_2.gen-4.3.10-1.eku_extension_is_critical"
FOUND = {
    "access": {("NOTICE", QUALIFIER)},
    "pid-provider": set(),
    "client": set(),
    "document": {("WARNING", TWO_USAGES)},
    "reader": {("ERROR", CRITICAL)},
}


@pytest.mark.slow
@pytest.mark.timeout(90)  # RSA keys, and a run of the linter
@pytest.mark.parametrize("kind", SUBJECTS)
async def test_a_linter_of_etsi_finds_nothing_else(issue, tmp_path, kind):
    profiles, files = [], []
    for profile in FOUND:
        members = {**URIS, "document_signing": True} if profile == "document" else URIS
        issuer = {"issuer_alternative_names": ["URI:https://pki.example.com"]}
        more = issuer if profile == "reader" else {}
        for alg in ("p256",) if profile == "reader" else ("p256", "rsa3072"):
            made = await issue(profile, SUBJECTS[kind], alg=alg, **members, **more)
            files.append(tmp_path / f"{profile} {alg}")
            files[-1].write_text(pem(made))
            profiles.append(profile)
    options = f"-t NCP-{kind}-PERSON-CERTIFICATE -s NOTICE"
    found = {profile: set() for profile in FOUND}
    for profile, results in zip(profiles, lint("lint_etsi_cert", options, *files), strict=True):
        found[profile] |= {
            (each["severity"], each["code"])
            for result in results
            for each in result["finding_descriptions"]
        }
    assert found == FOUND
