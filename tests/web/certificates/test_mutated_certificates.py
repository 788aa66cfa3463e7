"""Certificates and requests with changed bytes: refused, or taken, and never a failure."""

import base64
import datetime
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from problems import slug_of
from web.certificates.test_certificates import MIDDLE, NOW, ROOT, der, public_key
from web.certificates.test_csr import NAMES

pytestmark = [
    pytest.mark.shared_service,
    # Warnings of negative serial numbers, for example.
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]

ROUNDS = 200
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def mutated(data, chance):
    """The bytes with up to three changes: a byte, some that are left out, doubled, or new."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(found))
        end = place + chance.choice([1, 1, 2, 5, 20])
        way = chance.randrange(8)
        if way < 5:
            found[place] = chance.choice([found[place] ^ 1 << chance.randrange(8), 0, 255, 128])
        elif way == 5:
            del found[place:end]
        elif way == 6:
            found[place:place] = found[place:end]
        else:
            found[place:place] = chance.randbytes(end - place)
    return mutated(data, chance) if found == data else bytes(found) or b"\0"


def signed(data, key):
    """The DER of a certificate, or a request, with these bytes: its signature is right."""
    signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    bits = b"\x03" + bytes([len(signature) + 1, 0]) + signature
    body = data + ECDSA_SHA256 + bits
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def text(data, label):
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


async def slugs(client, method, path, body):
    async with client.request(method, path, json=body) as response:
        return await slug_of(response)


async def test_mutated_certificates(client, generate):
    key = await generate("p256")
    chance, seen = random.Random(7), set()
    leaf = der(MIDDLE.issue(public_key(key)))
    for _ in range(ROUNDS):
        chain = [leaf, der(MIDDLE.certificate), der(ROOT.certificate)]
        place = chance.randrange(2)  # nothing signs the last one
        chain[place] = mutated(chain[place], chance)
        body = {"certificates": [text(each, "CERTIFICATE") for each in chain]}
        seen.add(await slugs(client, "PUT", f"/key/{key['kid']}/certificates", body))
    # Some changes have no effect, such as in the parameters of the signature.
    assert "invalid-certificate" in seen
    assert seen <= {"", "invalid-certificate"}


async def test_mutated_certificates_with_a_right_signature(client, generate, get):
    """Accepted certificates can be shown, sent in a JWS, and read as an issuer's."""
    key, other = await generate("p256"), await generate("p256")
    there, chance, seen = f"/key/{key['kid']}", random.Random(7), set()
    body = {"kid": key["kid"], "profile": "self-signed", "subject": "CN=a,C=DE", "days": 9}
    body |= {"crl": "https://a.example", "issuer_alternative_names": NAMES}
    made = [MIDDLE.issue(public_key(key)).tbs_certificate_bytes]
    async with client.post("/certificate", json=body) as response:
        own = (await response.json())["certificate"]
    made.append(x509.load_pem_x509_certificate(own.encode()).tbs_certificate_bytes)
    for _ in range(ROUNDS):
        data = signed(mutated(chance.choice(made), chance), MIDDLE.key)
        body = {"certificates": [text(data, "CERTIFICATE")]}
        slug = await slugs(client, "PUT", f"{there}/certificates", body)
        seen.add(slug)
        if slug:
            continue
        assert base64.b64decode((await get(there))["certificates"][0]) == data
        jws = {"kid": key["kid"], "payload": "", "certificate_header": "x5c"}
        assert await slugs(client, "POST", "/jws/sign", jws) == ""
        body = {"kid": key["kid"], "key": other["kid"], "subject": "CN=b,C=DE", "days": 1}
        for profile in ("client", "document-signer", "reader", "access", "pid-provider"):
            slug = await slugs(client, "POST", "/certificate", {**body, "profile": profile})
            assert slug in ("", "invalid-certificate")
        crl = {"kid": key["kid"], "number": 1, "days": 1, "revoked": []}
        assert await slugs(client, "POST", "/crl", crl) in ("", "invalid-certificate")
    assert seen == {"", "invalid-certificate"}


async def test_mutated_requests(client, generate, post):
    key = await generate("p256")
    body = {"kid": key["kid"], "subject": "CN=a,O=b", "alternative_names": NAMES}
    csr = x509.load_pem_x509_csr((await post("/csr", body))["csr"].encode())
    chance, seen = random.Random(7), set()
    body = {"kid": key["kid"], "profile": "self-signed", "days": 1}
    for _ in range(ROUNDS):
        request = text(mutated(der(csr), chance), "CERTIFICATE REQUEST")
        seen.add(await slugs(client, "POST", "/certificate", {**body, "csr": request}))
    # Some changes have no effect, such as in the parameters of the signature.
    assert "invalid-certificate" in seen
    assert seen <= {"", "invalid-certificate"}


async def test_mutated_requests_with_a_right_signature(client, post, generate, authority):
    kid, _ = await authority()
    private = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.RFC822Name("a@b.example")])
    builder = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string("CN=a,C=DE"))
    csr = builder.add_extension(names, critical=False).sign(private, hashes.SHA256())
    chance, seen = random.Random(7), set()
    body = {"kid": kid, "profile": "client", "days": 1}
    for _ in range(ROUNDS):
        data = signed(mutated(csr.tbs_certrequest_bytes, chance), private)
        request = text(data, "CERTIFICATE REQUEST")
        seen.add(await slugs(client, "POST", "/certificate", {**body, "csr": request}))
    assert seen == {"", "invalid-certificate"}


# A time of the year 0, and a TLS feature that has no name (RFC 7633).
LATE = datetime.datetime(2060, 1, 1, tzinfo=datetime.UTC)
UNREADABLE_PARTS = {
    "time": (lambda data: data.replace(b"20600101000000Z", b"00000101000000Z"), None),
    "extension": (lambda data: data, bytes.fromhex("3003020115")),
}


@pytest.mark.parametrize("part", UNREADABLE_PARTS)
async def test_parts_that_are_read_late(client, generate, part):
    key = await generate("p256")
    change, extension = UNREADABLE_PARTS[part]
    name = x509.Name.from_rfc4514_string("CN=a")
    builder = x509.CertificateBuilder(MIDDLE.name, name, public_key(key), 1, NOW, LATE)
    if extension:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), extension)
        builder = builder.add_extension(unknown, critical=False)
    data = change(builder.sign(MIDDLE.key, hashes.SHA256()).tbs_certificate_bytes)
    body = {"certificates": [text(signed(data, MIDDLE.key), "CERTIFICATE")]}
    found = await slugs(client, "PUT", f"/key/{key['kid']}/certificates", body)
    assert found == "invalid-certificate"
