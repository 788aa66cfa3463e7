"""Revocation lists: their members, their refusals, and the judgement of other implementations."""

import datetime
import json
import shutil
import subprocess
from datetime import UTC, timedelta
from io import BytesIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from issued_certificates import CA, certificate_of
from problems import refused
from web.certificates.linters import lint
from web.certificates.test_issuing import IACA, ONLY, USAGES, pem, read

from minikms.web.schemas.fields import MAX_FAULTS

pytestmark = pytest.mark.shared_service

DATE = "2026-01-30T08:15:00Z"
CRL = {"number": 7, "days": 30, "revoked": [{"serial": "3A1f", "date": DATE}]}
# ISO/IEC 18013-5 Table B.10: the extensions of the list, and whether each is critical.
ISO = {"authorityKeyIdentifier": False, "cRLNumber": False}
ALGS = ["p256", "p384", "p521", "k256", "ed25519", "ed448", "rsa2048", "mldsa44"]


def read_crl(answer):
    return x509.load_pem_x509_crl(answer["crl"].encode())


@pytest.mark.parametrize("alg", ["p256", "p384", "p521"])
async def test_a_list_by_the_table(post, authority, alg):
    kid, root = await authority(alg, **IACA)
    before = datetime.datetime.now(UTC).replace(microsecond=0)
    made = read_crl(await post("/crl", {"kid": kid, **CRL}))
    assert made.is_signature_valid(root.public_key())
    assert made.issuer.public_bytes() == root.subject.public_bytes()
    assert before <= made.last_update_utc <= datetime.datetime.now(UTC)
    assert made.next_update_utc - made.last_update_utc == timedelta(days=30)
    assert {each.oid._name: each.critical for each in made.extensions} == ISO
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    above = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert (above.key_identifier, above.authority_cert_issuer) == (own, None)
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    [entry] = made
    date = datetime.datetime(2026, 1, 30, 8, 15, tzinfo=UTC)
    assert (entry.serial_number, entry.revocation_date_utc) == (0x3A1F, date)
    assert list(entry.extensions) == []


async def test_a_list_names_the_key_as_the_certificate_does(post, certified):
    """RFC 5280 sections 4.2.1.1 and 5.2.1."""
    kid = await certified(*certificate_of("CN=root", CA, x509.SubjectKeyIdentifier(b"own")))
    made = read_crl(await post("/crl", {"kid": kid, **CRL}))
    above = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == b"own"


async def test_an_empty_list_has_no_revoked_certificates(post, authority):
    """RFC 5280 section 5.1.2.6 requires to leave the member out."""
    kid, _ = await authority()
    one = read_crl(await post("/crl", {"kid": kid, **CRL}))
    none = read_crl(await post("/crl", {"kid": kid, **CRL, "revoked": [], "number": 0}))
    assert (len(none), len(one)) == (0, 1)
    [serial] = [each.serial_number for each in one]
    assert one.get_revoked_certificate_by_serial_number(serial) is not None
    assert none.get_revoked_certificate_by_serial_number(serial) is None
    assert len(none.tbs_certlist_bytes) < len(one.tbs_certlist_bytes) - 19


async def test_a_key_that_signs_no_raw_bytes_makes_lists(client, post, refuses, authority):
    kid, _ = await authority()
    async with client.patch(f"/key/{kid}", json={"rules": {"raw": False}}) as response:
        assert response.status == 200
    await post("/crl", {"kid": kid, **CRL})
    await refuses("/sign", {"kid": kid, "data": "aGk"}, 403, "rule-violated")


@pytest.mark.parametrize(
    ("usages", "fits"),
    [
        (("crl_sign",), True),
        (("key_cert_sign", "digital_signature"), False),
    ],
)
async def test_a_list_needs_the_usage_of_lists(post, refuses, certified, usages, fits):
    usage = x509.KeyUsage(**{name: name in usages for name in (*USAGES, *ONLY)})
    kid = await certified(*certificate_of("CN=a", CA, usage))
    if fits:
        await post("/crl", {"kid": kid, **CRL})
    else:
        await refuses("/crl", {"kid": kid, **CRL}, 422, "invalid-certificate")


async def test_a_list_needs_the_certificate_of_a_ca_that_is_valid_now(
    post, refuses, generate, certified
):
    bare = (await generate("p256"))["kid"]
    await refuses("/crl", {"kid": bare, **CRL}, 422, "invalid-certificate")
    leaf = await certified(*certificate_of("CN=a", x509.BasicConstraints(False, None)))
    await refuses("/crl", {"kid": leaf, **CRL}, 422, "invalid-certificate")
    now = datetime.datetime.now(UTC)
    for days in ((-9, -1), (1, 9)):
        begin, end = [now + timedelta(days=each) for each in days]
        kid = await certified(*certificate_of("CN=a", CA, begin=begin, end=end))
        await refuses("/crl", {"kid": kid, **CRL}, 422, "invalid-certificate")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"days": 0}, "#/days"),
        ({"days": 367}, "#/days"),
        ({"number": -1}, "#/number"),
        ({"number": 2**53}, "#/number"),
        ({"number": "7"}, "#/number"),
        ({"revoked": None}, "#/revoked"),
        ({"revoked": {}}, "#/revoked"),
        ({"reason": 1}, "#/reason"),
        ({"revoked": ["3a1f"]}, "#/revoked/0"),
        ({"revoked": [{"serial": "3a1f"}]}, "#/revoked/0/date"),
        ({"revoked": [{"date": DATE}]}, "#/revoked/0/serial"),
        ({"revoked": [{"serial": "1", "date": DATE, "reason": 1}]}, "#/revoked/0/reason"),
        ({"revoked": [*CRL["revoked"], {"serial": "0x1", "date": DATE}]}, "#/revoked/1/serial"),
        ({"revoked": [{"serial": "0", "date": DATE}]}, "#/revoked/0/serial"),
        ({"revoked": [{"serial": "a" * 41, "date": DATE}]}, "#/revoked/0/serial"),
        ({"revoked": [{"serial": f"{1 << 159:x}", "date": DATE}]}, "#/revoked/0/serial"),
        ({"revoked": [{"serial": "1", "date": "2026-01-30"}]}, "#/revoked/0/date"),
        ({"revoked": [*CRL["revoked"], {"serial": "3a1F", "date": DATE}]}, "#/revoked/1/serial"),
        ({"revoked": [*CRL["revoked"], {"serial": "03a1f", "date": DATE}]}, "#/revoked/1/serial"),
    ],
)
async def test_members_of_a_list_that_are_not_valid(refuses, authority, change, pointer):
    kid, _ = await authority()
    problem = await refuses("/crl", {"kid": kid, **CRL, **change}, 422, "validation-failed")
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


async def test_the_bounds_of_members(post, authority):
    kid, _ = await authority()
    largest = {"serial": f"{(1 << 159) - 1:x}", "date": "2199-12-31T23:59:59Z"}
    body = {"kid": kid, "number": 2**53 - 1, "days": 366, "revoked": [largest]}
    made = read_crl(await post("/crl", body))
    [entry] = made
    assert entry.serial_number == (1 << 159) - 1
    assert entry.revocation_date_utc.year == 2199


def entries(number):
    """Make `number` entries, with members as long as in real lists."""
    return [{"serial": f"{n + (1 << 158):x}", "date": DATE} for n in range(1, number + 1)]


def large(kid, revoked):
    """The arguments of a request with a large body, in a file: aiohttp warns of large bytes."""
    body = json.dumps({"kid": kid, **CRL, "revoked": revoked}).encode()
    return {"data": BytesIO(body), "headers": {"Content-Type": "application/json"}}


async def test_twenty_thousand_entries_are_signed(client, authority):
    kid, root = await authority()
    async with client.post("/crl", **large(kid, entries(20_000))) as response:
        crl = read_crl(await response.json())
    assert len(crl) == 20_000
    assert crl.is_signature_valid(root.public_key())
    assert crl.get_revoked_certificate_by_serial_number((1 << 158) + 20_000) is not None
    response = await client.post("/crl", **large(kid, entries(20_001)))
    await refused(response, 422, "validation-failed")


async def test_an_entry_that_is_not_valid_is_found_among_many(client, authority):
    kid, _ = await authority()
    many = [*entries(19_999), {"serial": "no", "date": DATE}]
    problem = await refused(await client.post("/crl", **large(kid, many)), 422, "validation-failed")
    assert [each["pointer"] for each in problem["errors"]] == ["#/revoked/19999/serial"]
    many = [{"serial": "no", "date": "no"}] * 20_000
    problem = await refused(await client.post("/crl", **large(kid, many)), 422, "validation-failed")
    assert len(problem["errors"]) == MAX_FAULTS


# Other implementations. @peculiar/x509 is in the tests of the client for TypeScript.


@pytest.fixture
def judged(post, authority, tmp_path):
    """Make files of a revocation list, a revoked and a valid certificate, and their CA."""

    async def make(alg):
        kid, root = await authority(alg, subject="CN=Example CA,O=Example,C=DE")
        key = (await post("/key/generate", {"alg": "p256"}))["kid"]
        body = {"kid": kid, "profile": "client", "key": key, "days": 9}
        old, new = [
            read(await post("/certificate", {**body, "subject": f"CN={name}"}))
            for name in ("old", "new")
        ]
        now = datetime.datetime.now(UTC).isoformat(timespec="seconds")
        revoked = [{"serial": f"{old.serial_number:x}", "date": now}]
        crl = await post("/crl", {"kid": kid, **CRL, "revoked": revoked})
        for name, certificate in (("root", root), ("old", old), ("new", new)):
            (tmp_path / f"{name}.pem").write_text(pem(certificate))
        (tmp_path / "crl.pem").write_text(crl["crl"])
        return tmp_path

    return make


def run(folder, *command):
    if not shutil.which(command[0]):
        package = {"certtool": "gnutls-bin"}.get(command[0], command[0])
        pytest.skip(f"{command[0]} is missing: apt-get install {package}")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize("alg", ALGS)
async def test_openssl_refuses_the_revoked_certificate(judged, alg):
    folder = await judged(alg)
    show = ("openssl", "crl", "-in", "crl.pem", "-CAfile", "root.pem", "-noout", "-text")
    shown = run(folder, *show)
    assert "verify OK" in shown.stderr
    assert "Version 2 (0x1)" in shown.stdout
    check = ("openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", "crl.pem")
    for name, fault in (("old", "certificate revoked"), ("new", "")):
        done = run(folder, *check, "-CAfile", "root.pem", f"{name}.pem")
        assert (done.returncode == 0) == (not fault)
        assert fault in done.stderr


@pytest.mark.process
@pytest.mark.parametrize("alg", ["p256", "p384", "ed25519", "rsa2048"])
async def test_gnutls_refuses_the_revoked_certificate(judged, alg):
    folder = await judged(alg)
    check = ("certtool", "--verify-crl", "--load-ca-certificate", "root.pem", "--infile", "crl.pem")
    assert "Verified" in run(folder, *check).stdout
    check = ("certtool", "--verify", "--load-ca-certificate", "root.pem")
    for name, word in (("old", "revoked"), ("new", "The certificate is trusted.")):
        done = run(folder, *check, "--load-crl", "crl.pem", "--infile", f"{name}.pem")
        assert (done.returncode == 0) == (name == "new")
        assert word in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["p256", "ed25519", "rsa2048"])
async def test_a_linter_finds_nothing_in_a_list(judged, alg):
    folder = await judged(alg)
    assert lint("lint_crl", "-t CRL -p PKIX -s NOTICE", folder / "crl.pem") == [[]]


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["p256", "p384", "rsa2048"])
async def test_pyhanko_certvalidator_refuses_the_revoked_certificate(judged, alg):
    pytest.importorskip("pyhanko_certvalidator", reason="pip install -e '.[test-all]'")
    from asn1crypto import crl, x509
    from pyhanko_certvalidator import CertificateValidator, ValidationContext
    from pyhanko_certvalidator.errors import RevokedError

    folder = await judged(alg)

    def der(name):
        loaded = (folder / f"{name}.pem").read_bytes()
        if name == "crl":
            return crl.CertificateList.load(read_pem(loaded))
        return x509.Certificate.load(read_pem(loaded))

    def validator(name):
        context = ValidationContext(
            trust_roots=[der("root")], crls=[der("crl")], revocation_mode="require"
        )
        return CertificateValidator(der(name), validation_context=context)

    assert await validator("new").async_validate_usage({"digital_signature"})
    with pytest.raises(RevokedError):
        await validator("old").async_validate_usage({"digital_signature"})


def read_pem(text):
    if b"CRL" in text:
        return x509.load_pem_x509_crl(text).public_bytes(serialization.Encoding.DER)
    return x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER)
