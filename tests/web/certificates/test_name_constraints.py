"""The name constraints of a CA bound its certificates (RFC 5280 section 4.2.1.10)."""

import ipaddress
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from issued_certificates import CA, certificate_of

from minikms.credentials.x509.names import read_alternative_names

pytestmark = pytest.mark.shared_service

KINDS = {
    "DNS": x509.DNSName,
    "URI": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
    "IP": lambda text: x509.IPAddress(ipaddress.ip_network(text)),
    "dirName": lambda text: x509.DirectoryName(x509.Name.from_rfc4514_string(text)),
}
# Permitted or excluded subtrees, the subject and the other names of a leaf, and whether it fits.
CASES = [
    ("+DNS:a.example", "CN=a", ["DNS:a.example", "DNS:A.B.a.EXAMPLE", "DNS:*.a.example"], True),
    ("+DNS:a.example", "CN=a", ["DNS:a.example", "DNS:b.example"], False),
    ("+DNS:a.example", "CN=a", ["DNS:ba.example"], False),
    ("+DNS:a.example", "CN=a", ["DNS:*.example"], False),
    ("+DNS:a.example", "CN=a", ["email:a@b.example"], True),
    ("+DNS:a.example +DNS:b.example", "CN=a", ["DNS:b.example"], True),
    ("-DNS:a.example", "CN=a", ["DNS:b.example", "DNS:ba.example"], True),
    ("-DNS:a.example", "CN=a", ["DNS:b.example", "DNS:x.A.example"], False),
    ("+DNS:example -DNS:a.example", "CN=a", ["DNS:a.example"], False),
    ("+URI:a.example", "CN=a", ["URI:https://a.example/x", "URI:https://A.example:80"], True),
    ("+URI:a.example", "CN=a", ["URI:https://b.a.example/"], False),
    ("+URI:.a.example", "CN=a", ["URI:https://b.a.example/"], True),
    ("+URI:.a.example", "CN=a", ["URI:https://a.example/"], False),
    ("+URI:a.example", "CN=a", ["URI:did:example:123"], False),
    ("+URI:a.example", "CN=a", ["URI:https://192.0.2.1/"], False),
    ("-URI:a.example", "CN=a", ["URI:https://b.example/"], True),
    ("-URI:a.example", "CN=a", ["URI:https://a.example/"], False),
    ("-URI:a.example", "CN=a", ["URI:did:example:123"], False),
    ("+email:a.example", "CN=a", ["email:x@a.example"], True),
    ("+email:a.example", "CN=a", ["email:x@b.a.example"], False),
    ("+email:.a.example", "CN=a", ["email:x@b.a.example"], True),
    ("+email:x@a.example", "CN=a", ["email:x@A.example"], True),
    ("+email:x@a.example", "CN=a", ["email:y@a.example"], False),
    ("-email:a.example", "CN=a", ["email:x@a.example"], False),
    ("+email:a.example", "emailAddress=x@b.example,CN=a", [], False),
    ("-email:a.example", "emailAddress=x@a.example,CN=a", [], False),
    ("+email:a.example", "emailAddress=x@a.example,CN=a", [], True),
    ("+IP:192.0.2.0/24", "CN=a", ["IP:192.0.2.9"], True),
    ("+IP:192.0.2.0/24", "CN=a", ["IP:192.0.3.9"], False),
    ("+IP:192.0.2.0/24", "CN=a", ["IP:2001:db8::1"], False),
    ("-IP:2001:db8::/32", "CN=a", ["IP:192.0.2.9", "IP:2001:db9::1"], True),
    ("-IP:2001:db8::/32", "CN=a", ["IP:2001:db8::1"], False),
    ("+dirName:O=x,C=DE", "CN=a,O=X,C=DE", [], True),
    ("+dirName:O=x  y,C=DE", "CN=a,O=X y,C=DE", [], True),
    ("+dirName:O=x,C=DE", "CN=a,C=DE", [], False),
    ("+dirName:O=x,C=DE", "O=x,CN=a,C=DE", [], False),
    ("+dirName:O=x,C=DE", "", ["DNS:a.example"], True),
    ("-dirName:O=x,C=DE", "CN=a,O=X,C=DE", [], False),
    ("-dirName:O=x,C=DE", "CN=a,O=xy,C=DE", [], True),
]
# OpenSSL lets these pass.
STRICTER = [
    ("-DNS:a.b.example", "CN=a", ["DNS:*.b.example"], False),
    ("-DNS:A.B.example", "CN=a", ["DNS:*.b.EXAMPLE"], False),
    ("-URI:a.example", "CN=a", ["URI:https://a.example./"], False),
]


def constraints(text):
    """The extension of a text such as `+DNS:a.example -IP:192.0.2.0/24`."""
    subtrees = {"+": [], "-": []}
    for each in text.replace(" +", "\n+").replace(" -", "\n-").split("\n"):
        kind, _, value = each[1:].partition(":")
        subtrees[each[0]].append(KINDS[kind](value))
    return x509.NameConstraints(subtrees["+"] or None, subtrees["-"] or None)


@pytest.mark.parametrize(("text", "subject", "names", "fits"), [*CASES, *STRICTER])
@pytest.mark.parametrize("place", ["issuer", "above"])
async def test_a_ca_issues_only_within_its_constraints(
    post, refuses, generate, certified, text, subject, names, fits, place
):
    root = certificate_of("CN=root", CA, constraints(text))
    if place == "issuer":
        kid = await certified(*root)
    else:
        below = certificate_of("CN=below", CA, issuer=root)
        kid = await certified(*below, root[1])
    key = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": subject, "key": key, "days": 1}
    if names:
        body["alternative_names"] = names
    if fits:
        await post("/certificate", body)
    else:
        await refuses("/certificate", body, 422, "invalid-certificate")


async def test_the_names_of_a_request_count(refuses, generate, post, certified):
    kid = await certified(*certificate_of("CN=root", CA, constraints("+DNS:a.example")))
    names = {"alternative_names": ["DNS:b.example"]}
    csr = await post("/csr", {"kid": (await generate())["kid"], "subject": "CN=a"} | names)
    body = {"kid": kid, "profile": "client", "days": 1, **csr}
    await refuses("/certificate", body, 422, "invalid-certificate")


@pytest.mark.process
@pytest.mark.skipif(
    not shutil.which("openssl"), reason="this needs openssl: apt-get install openssl"
)
def test_openssl_judges_alike(tmp_path):
    for text, subject, names, fits in CASES:
        root = certificate_of("CN=root", CA, constraints(text))
        extensions = [x509.SubjectAlternativeName(read_alternative_names(names, ""))]
        leaf = certificate_of(subject, *(extensions if names else ()), issuer=root)
        for name, (_, certificate) in (("root", root), ("leaf", leaf)):
            (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "root", "leaf"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == fits, (text, subject, names, done.stderr)
