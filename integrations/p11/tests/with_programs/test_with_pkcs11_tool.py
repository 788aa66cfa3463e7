"""OpenSC's pkcs11-tool: each mechanism, with its signatures verified by OpenSSL."""

import base64
import hashlib
import os
import re
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from commands import Shell, need, public_pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from issued_certificates import CA, certificate_of
from minikms_processes import services
from sidecars import sidecars
from tls_certificates import Authority

HASHES = ["sha1", "sha224", "sha256", "sha384", "sha512"]
JOSE_HASHES = HASHES[2:]
DATA = b"what a program signs"
# The start of a DigestInfo (RFC 8017 section 9.2, note 1).
DIGEST_INFOS = {
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}


def of(key):
    """The options that name a key: its CKA_ID."""
    return "--id", key["kid"].encode().hex()


def base64url(data):
    return base64.urlsafe_b64encode(data).decode()


@pytest.fixture
def slot(profile):
    return f"minikms={profile.name},alg=p256+p384+p521+k256+rsa2048+rsa3072+rsa4096+hs256"


@pytest.fixture
def tool(shell, module):
    """Run pkcs11-tool with a file of data."""
    program = need("pkcs11-tool", "opensc")

    def use(*options, **more):
        return shell.run(program, "--module", module, *options, **more)

    return use


@pytest.fixture
def signed(tool, shell, profile):
    """Sign with a key and a mechanism; the arguments of OpenSSL's check."""

    def sign(key, mechanism, content, *options):
        data = shell.write("data", content)
        sig = shell.folder / "sig"
        tool(
            *("--sign", "--mechanism", mechanism, *of(key)),
            *("--signature-format", "openssl", "-i", data, "-o", sig, *options),
        )
        public = shell.write("public.pem", public_pem(profile, key))
        return data, sig, public

    return sign


@pytest.mark.parametrize("alg", ["p256", "p384", "p521", "k256"])
def test_ecdsa_by_each_mechanism(profile, shell, signed, alg):
    key = profile.generate(alg)
    for name in HASHES:
        data, sig, public = signed(key, f"ECDSA-{name.upper()}", DATA)
        shell.run("openssl", "dgst", f"-{name}", "-verify", public, "-signature", sig, data)
        data, sig, public = signed(key, "ECDSA", hashlib.new(name, DATA).digest())
        shell.run(
            *("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public),
            *("-in", data, "-sigfile", sig),
        )


@pytest.mark.parametrize("alg", ["rsa2048", "rsa3072", "rsa4096"])
def test_rsa_by_each_mechanism(profile, shell, signed, alg):
    key = profile.generate(alg)
    for name in JOSE_HASHES:
        digest = hashlib.new(name, DATA).digest()
        check = "openssl", "dgst", f"-{name}", "-verify"
        pss = "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"

        data, sig, public = signed(key, f"{name.upper()}-RSA-PKCS", DATA)
        shell.run(*check, public, "-signature", sig, data)
        data, sig, public = signed(key, f"{name.upper()}-RSA-PKCS-PSS", DATA)
        shell.run(*check, public, *pss, "-signature", sig, data)

        _, sig, public = signed(key, "RSA-PKCS", bytes.fromhex(DIGEST_INFOS[name]) + digest)
        data = shell.write("data", DATA)
        shell.run(*check, public, "-signature", sig, data)
        options = "--hash-algorithm", name.upper(), "--mgf", f"MGF1-{name.upper()}"
        _, sig, public = signed(key, "RSA-PKCS-PSS", digest, *options)
        data = shell.write("data", DATA)
        shell.run(*check, public, *pss, "-signature", sig, data)


def test_a_signature_over_other_data_is_refused(profile, tool, signed, shell):
    key = profile.generate("rsa2048")
    data, sig, _ = signed(key, "SHA256-RSA-PKCS", DATA)
    check = "--verify", "--mechanism", "SHA256-RSA-PKCS", *of(key), "--signature-file", sig
    assert "Signature is valid" in tool(*check, "-i", data)
    data.write_bytes(b"other data")
    with pytest.raises(AssertionError, match="Invalid signature"):
        tool(*check, "-i", data)


def test_hmac(profile, shell, tool):
    key = profile.generate("hs256")
    data, mac = shell.write("data", DATA), shell.folder / "mac"
    tool("--sign", "--mechanism", "SHA256-HMAC", *of(key), "-i", data, "-o", mac)
    body = {"kid": key["kid"], "data": base64url(DATA), "mac": base64url(mac.read_bytes())}
    assert profile.call("POST", "/mac/verify", body)["valid"]


def test_oaep(profile, shell, tool):
    key = profile.generate("rsa2048", operations=["decrypt"])
    public = shell.write("public.pem", public_pem(profile, key))
    data, encrypted, found = (shell.folder / name for name in ("data", "encrypted", "found"))
    data.write_bytes(DATA)
    options = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256")
    shell.run(
        *("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", public, "-in", data),
        *("-out", encrypted, *(text for option in options for text in ("-pkeyopt", option))),
    )
    tool(
        *("--decrypt", "--mechanism", "RSA-PKCS-OAEP", *of(key), "-i", encrypted, "-o", found),
        *("--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"),
    )
    assert found.read_bytes() == DATA


@pytest.mark.parametrize(("alg", "curve"), [("p256", ec.SECP256R1()), ("p384", ec.SECP384R1())])
def test_ecdh(profile, shell, tool, alg, curve):
    key = profile.generate(alg, operations=["derive"])
    other = ec.generate_private_key(curve)
    public = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    peer, secret = shell.write("peer.der", public), shell.folder / "secret"
    tool("--derive", "--mechanism", "ECDH1-DERIVE", *of(key), "-i", peer, "-o", secret)
    ours = load_pem_public_key(public_pem(profile, key))
    assert secret.read_bytes() == other.exchange(ec.ECDH(), ours)


@pytest.mark.parametrize(("kind", "alg"), [("EC:secp384r1", "p384"), ("rsa:2048", "rsa2048")])
def test_it_makes_a_key_pair_and_deletes_it(profile, tool, kind, alg):
    of_key = "--id", "0102", "--label", "made"
    tool("--keypairgen", "--key-type", kind, *of_key, "--usage-sign")
    (key,) = profile.call("GET", "/keys")
    assert key["alg"] == alg
    assert key["labels"] == {"pkcs11.id": "0102", "pkcs11.label": "made"}
    assert key["operations"] == ["sign", "verify"]
    shown = tool("--list-objects", "--type", "privkey")
    assert re.search(r"label: +made\n +ID: +0102\n", shown)

    tool("--delete-object", "--type", "privkey", "--id", "0102")
    assert profile.call("GET", "/keys") == []


def test_random_bytes_are_the_service_s(kms, tool, shell):
    tool("--generate-random", "48", "-o", shell.folder / "random")
    assert len((shell.folder / "random").read_bytes()) == 48
    assert kms.events("random")


def test_a_chain_of_certificates(profile, tool, shell):
    """The key's own certificate has its CKA_ID; the certificates above have none."""
    key = profile.generate("p256", alias="web")
    root = certificate_of("CN=root", CA)
    middle = certificate_of("CN=middle", CA, issuer=root)
    public = load_pem_public_key(public_pem(profile, key))
    leaf = certificate_of("CN=leaf", key=SimpleNamespace(public_key=lambda: public), issuer=middle)
    for _, certificate in (leaf, middle, root):
        file = shell.write("certificate.der", certificate.public_bytes(Encoding.DER))
        tool("--write-object", file, "--type", "cert")
    stored = profile.key(key["kid"])["certificates"]
    assert [base64.b64decode(text) for text in stored] == [
        certificate.public_bytes(Encoding.DER) for _, certificate in (leaf, middle, root)
    ]

    shown = tool("--list-objects", "--type", "cert").split("Certificate Object")[1:]
    assert len(shown) == 3
    for text, name in zip(shown, ["leaf", "middle", "root"], strict=True):
        assert f"CN={name}" in text
        assert (key["kid"].encode().hex() in text) == (name == "leaf")
    assert "label:      web" in shown[0]

    tool("--delete-object", "--type", "cert", "--label", "middle")
    assert profile.key(key["kid"])["certificates"] == stored[:1]


def test_two_programs_with_two_profiles(kms, start, tmp_path_factory, module):
    """Each with a slot and a PIN of its own, at the same sidecar."""
    program = need("pkcs11-tool", "opensc")
    profiles = [kms.profile() for _ in range(2)]
    keys = [profile.generate("p256", alias="shared name") for profile in profiles]
    pins = [kms.token(profile.name)[0] for profile in profiles]
    slots = [f"slot-{number}={profile.name}" for number, profile in enumerate(profiles)]
    sidecar = start(*(text for slot in slots for text in ("--slot", slot)))
    for number in range(2):
        shell = Shell(tmp_path_factory.mktemp("program"), sidecar)
        use = program, "--module", module, "--token-label", f"slot-{number}"
        listed = shell.run(*use, "--login", "--pin", pins[number], "--list-objects")
        assert (
            re.findall(r"^  ID: +(\w+)$", listed, re.MULTILINE)
            == [keys[number]["kid"].encode().hex()] * 2
        )
        # The other profile's token is not a PIN of this slot, and without a PIN nothing is shown.
        shell.refused(*use, "--login", "--pin", pins[1 - number], "--list-objects")
        assert "ID" not in shell.run(*use, "--list-objects")


def test_the_service_is_known_by_a_ca_of_its_own(tmp_path, module):
    """The sidecar trusts the file of SSL_CERT_FILE, as OpenSSL does."""
    authority = Authority(tmp_path, "ca")
    certificate, private = authority.issue("127.0.0.1")
    tool = need("pkcs11-tool", "opensc"), "--module", module, "--generate-random", "8"
    with services() as start:
        tls = {"TLS_CERT": certificate, "TLS_KEY": private}
        service = start("--port", "0", "--auth", "none", **tls)
        kms = SimpleNamespace(url=f"https://127.0.0.1:{service.port}")
        for name, trusted in (("ours", authority.file), ("theirs", None)):
            folder = tmp_path / name
            folder.mkdir()
            variables = {"SSL_CERT_FILE": trusted} if trusted else {}
            with sidecars(None, kms) as begin:
                sidecar = begin(folder=folder, env={**os.environ, **variables})
                done = Shell(tmp_path, sidecar).done(*tool)
                assert (done.returncode == 0) == bool(trusted), done.stdout


def test_rules_states_and_a_revoked_token(kms, profile, start, slot, tmp_path, module):
    token, token_id = kms.token(profile.name)
    sidecar = start("--slot", slot, "--cache", "0")
    shell = Shell(tmp_path, sidecar)
    data = shell.write("data", DATA)
    use = need("pkcs11-tool", "opensc"), "--module", module, "--login", "--pin", token

    def sign(run, key):
        return run(*use, "--sign", "--mechanism", "ECDSA-SHA256", *of(key), "-i", data, "-o", "sig")

    free = profile.generate()
    sign(shell.run, free)
    envelopes = profile.generate(rules={"raw": False})
    assert "CKR_KEY_FUNCTION_NOT_PERMITTED" in sign(shell.refused, envelopes)
    rare = profile.generate(rules={"per_minute": 1})
    sign(shell.run, rare)
    assert "CKR_FUNCTION_FAILED" in sign(shell.refused, rare)
    profile.call("PATCH", f"/key/{free['kid']}", {"state": "verify-only"})
    assert "CKR_KEY_FUNCTION_NOT_PERMITTED" in sign(shell.refused, free)
    profile.call("PATCH", f"/key/{free['kid']}", {"state": "disabled"})
    assert "key not found" in sign(shell.refused, free)
    kms.revoke(token_id)
    assert "CKR_PIN_INCORRECT" in sign(shell.refused, envelopes)


def test_it_shows_the_version_of_the_package(tool):
    major_and_minor = version("minikms-p11").rpartition(".")[0]
    assert f"Library          Keys of Mini KMS (ver {major_and_minor})" in tool("--show-info")
