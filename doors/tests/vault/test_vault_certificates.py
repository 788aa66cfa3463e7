"""Certificates of keys at the Vault door: requests, chains, and their versions."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID
from vault_calls.judge import public_of

from minikms_vault import description, exports

pytestmark = pytest.mark.shared_service

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
CA = ec.generate_private_key(ec.SECP256R1())


def certified(public, subject=NAME):
    """A certificate of a key by a CA, and the CA's own, in PEM."""
    now = datetime.now(UTC)

    def certificate(name, key):
        builder = x509.CertificateBuilder(CA_NAME, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=2))
        return builder.sign(CA, hashes.SHA256()).public_bytes(ser.Encoding.PEM).decode()

    return certificate(subject, public) + certificate(CA_NAME, CA.public_key())


def template(*extensions, names=("a.example",)):
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    found = [x509.Extension(each.oid, False, each) for each in (names, *extensions)]
    builder = x509.CertificateSigningRequestBuilder(NAME, found)
    csr = builder.sign(CA, hashes.SHA256())
    return csr.public_bytes(ser.Encoding.PEM).decode()


async def refused(vault, path, body=None):
    status, answer = await vault.call("POST", f"transit/keys/{path}", body or {})
    assert status == 400
    (sentence,) = answer["errors"]
    return sentence


def shown(data, version):
    return public_of(data["keys"][version]["public_key"])


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "mldsa-44"])
async def test_a_request_has_the_names_of_its_template(vault, kind):
    made = await vault.data("POST", "transit/keys/k", {"type": kind})
    answer = await vault.data("POST", "transit/keys/k/csr", {"csr": template()})
    assert (answer["name"], answer["type"]) == ("k", made["type"])
    csr = x509.load_pem_x509_csr(answer["csr"].encode())
    assert csr.is_signature_valid
    assert csr.subject == NAME
    assert [each.value for each in csr.extensions[0].value] == ["a.example"]
    assert csr.public_key() == shown(made, "1")


async def test_a_request_without_a_template_is_empty(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})
    csr = x509.load_pem_x509_csr((await vault.data("POST", "transit/keys/k/csr"))["csr"].encode())
    assert csr.is_signature_valid
    assert (list(csr.subject), list(csr.extensions)) == ([], [])


@pytest.mark.parametrize("length", [255, 256])
async def test_names_of_a_template_have_the_bounds_of_rfc_5280(vault, length):
    await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    email = "a" * (length - 10) + "@b.example"
    subjects = (
        x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, email)]),
        x509.Name([x509.NameAttribute(NameOID.LOCALITY_NAME, "a" * (length - 127))]),
    )
    builders = [x509.CertificateSigningRequestBuilder(subject) for subject in subjects]
    names = x509.SubjectAlternativeName([x509.RFC822Name(email)])
    builders.append(x509.CertificateSigningRequestBuilder(NAME).add_extension(names, False))
    for builder in builders:
        csr = builder.sign(CA, hashes.SHA256()).public_bytes(ser.Encoding.PEM).decode()
        if length == 255:
            await vault.data("POST", "transit/keys/k/csr", {"csr": csr})
        else:
            assert await refused(vault, "k/csr", {"csr": csr}) == "could not decode PEM CSR"


async def test_a_chain_stays_with_its_version(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    data = await vault.data("POST", "transit/keys/k/rotate")
    chain = certified(shown(data, "1"))
    body = {"certificate_chain": chain, "version": 1}
    answer = await vault.data("POST", "transit/keys/k/set-certificate", body)
    assert answer == {"name": "k", "type": "ecdsa-p256", "certificate_chain": chain}
    data = await vault.data("GET", "transit/keys/k")
    assert data["keys"]["1"]["certificate_chain"] == chain.strip()
    assert data["keys"]["2"]["certificate_chain"] == ""
    exported = await vault.data("GET", "transit/export/certificate-chain/k/1")
    assert exported["keys"] == {"1": chain.strip()}
    latest = certified(shown(data, "2"))
    await vault.data("POST", "transit/keys/k/set-certificate", {"certificate_chain": latest})
    exported = await vault.data("GET", "transit/export/certificate-chain/k")
    assert exported["keys"] == {"1": chain.strip(), "2": latest.strip()}


async def test_certificates_that_are_refused(vault):
    made = await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    await vault.data("POST", "transit/keys/a")
    chain = certified(shown(made, "1"))
    leaf, ca = (f"{each}-----END CERTIFICATE-----\n" for each in chain.split("-----END")[:2])
    for path, sentence in (
        ("none", "key with provided name 'none' not found"),
        ("a", "key type 'aes256-gcm96' does not support signing"),
    ):
        assert await refused(vault, f"{path}/csr") == sentence
        assert await refused(vault, f"{path}/set-certificate") == sentence
    damaged = template().replace("MI", "AA", 1)
    for csr in ("x", damaged, ca):
        assert await refused(vault, "k/csr", {"csr": csr}) == "could not decode PEM CSR"
    for version in (0, -1, 2):
        found = await refused(vault, "k/csr", {"version": version})
        assert found == "could not create the csr: no such key version"
        body = {"version": version, "certificate_chain": chain}
        found = await refused(vault, "k/set-certificate", body)
        assert found == "failed to persist certificate chain: no such key version"
    for text, sentence in (
        ("", "provided certificate chain did not contain any valid PEM encoded certificate"),
        ("x", "could not decode a PEM block in the certificate chain"),
        (certified(CA.public_key()), "The first certificate is not one of this key."),
    ):
        body = {"certificate_chain": text}
        assert await refused(vault, "k/set-certificate", body) == sentence
    assert await refused(vault, "k/set-certificate", {"certificate_chain": leaf + leaf})
    assert (await vault.data("GET", "transit/keys/k")) == made


async def test_the_older_label_and_text_between_certificates(vault):
    made = await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    chain = certified(shown(made, "1"))
    text = chain.replace("CERTIFICATE-", "X509 CERTIFICATE-")
    text = f"a: 1\n{text}-----BEGIN CERTIFICATE-----"
    await vault.data("POST", "transit/keys/k/set-certificate", {"certificate_chain": text})
    exported = await vault.data("GET", "transit/export/certificate-chain/k")
    assert exported["keys"] == {"1": chain.strip()}


async def test_a_chain_is_bounded_before_it_is_read(vault):
    made = await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    for count, sentence in (
        (2_000, "provided certificate chain did not contain any valid PEM encoded certificate"),
        (36_000, "a certificate chain has at most 65,536 characters"),
    ):
        body = {"certificate_chain": "-----BEGIN CERTIFICATE-----" * count}
        assert await refused(vault, "k/set-certificate", body) == sentence
    many = {"certificate_chain": certified(shown(made, "1")) * 5}
    sentence = "A key has at most 8 certificates."
    assert await refused(vault, "k/set-certificate", many) == sentence


async def test_a_template_is_bounded(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})

    def filler(count, size=1):
        return [
            x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{n}"), bytes(size))
            for n in range(count)
        ]

    body = {"csr": template(*filler(63))}
    csr = (await vault.data("POST", "transit/keys/k/csr", body))["csr"]
    assert len(x509.load_pem_x509_csr(csr.encode()).extensions) == 64
    await vault.data("POST", "transit/keys/k/csr", {"csr": template(names=["a.example"] * 64)})
    for text in (
        template(*filler(64)),
        template(*filler(1, 49_000)),
        template(names=["a.example"] * 65),
        template(names=["a" * 1025]),
    ):
        assert await refused(vault, "k/csr", {"csr": text}) == "could not decode PEM CSR"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
async def test_a_template_whose_extension_cannot_be_written(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})
    value = bytes.fromhex("3012800161a10aa00806022a03a0020500820180")  # a negative serial number
    unknown = x509.UnrecognizedExtension(ExtensionOID.AUTHORITY_KEY_IDENTIFIER, value)
    assert await refused(vault, "k/csr", {"csr": template(unknown)}) == "could not decode PEM CSR"


async def test_answers_with_certificates_are_bounded(vault, monkeypatch):
    data = await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    await vault.data("POST", "transit/keys/k/rotate")
    data = await vault.data("POST", "transit/keys/k/rotate")
    chains = {version: certified(shown(data, version)).strip() for version in data["keys"]}
    for version, chain in chains.items():
        body = {"certificate_chain": chain, "version": version}
        await vault.data("POST", "transit/keys/k/set-certificate", body)
    for module in (description, exports):
        monkeypatch.setattr(module, "MAX_CHAINS", 2 * len(chains["1"]))
    status, answer = await vault.call("GET", "transit/keys/k")
    found = {version: each["certificate_chain"] for version, each in answer["data"]["keys"].items()}
    assert (status, found) == (200, {"1": "", "2": chains["2"], "3": chains["3"]})
    assert list(found) == ["1", "2", "3"]
    [warning] = answer["warnings"]
    assert "oldest versions" in warning
    status, answer = await vault.call("GET", "transit/export/certificate-chain/k")
    assert (status, len(answer["errors"])) == (400, 1)
    for version, chain in chains.items():
        exported = await vault.data("GET", f"transit/export/certificate-chain/k/{version}")
        assert exported["keys"] == {version: chain}


async def test_versions_are_read_in_pages(vault, monkeypatch):
    monkeypatch.setattr(description, "_PAGE", 2)
    await vault.data("POST", "transit/keys/k", {"type": "ecdsa-p256"})
    for _ in range(4):
        data = await vault.data("POST", "transit/keys/k/rotate")
    assert list(data["keys"]) == ["1", "2", "3", "4", "5"]
    exported = await vault.data("GET", "transit/export/public-key/k")
    assert list(exported["keys"]) == ["1", "2", "3", "4", "5"]
