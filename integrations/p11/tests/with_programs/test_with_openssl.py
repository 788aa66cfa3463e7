"""OpenSSL 3 with the provider `pkcs11`."""

import pytest
from commands import Shell, openssl_config, public_pem

DATA = "what a program signs"


@pytest.fixture
def shell(tmp_path, sidecar, module):
    return Shell(tmp_path, sidecar, OPENSSL_CONF=openssl_config(tmp_path, module))


def uri(key):
    """The URI of a private key: its alias."""
    return f"pkcs11:token=minikms;object={key['aliases'][0]};type=private"


@pytest.mark.parametrize("alg", ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"])
def test_each_key_signs_with_each_hash(profile, shell, alg):
    key = profile.generate(alg, alias="key")
    public = shell.write("public.pem", public_pem(profile, key))
    data, sig = shell.write("data", DATA), shell.folder / "sig"
    for name in ("sha256", "sha384", "sha512"):
        shell.run("openssl", "dgst", f"-{name}", "-sign", uri(key), "-out", sig, data)
        shell.run("openssl", "dgst", f"-{name}", "-verify", public, "-signature", sig, data)
        if alg.startswith("rsa"):
            pss = "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"
            shell.run("openssl", "dgst", f"-{name}", *pss, "-sign", uri(key), "-out", sig, data)
            shell.run(
                "openssl", "dgst", f"-{name}", *pss, "-verify", public, "-signature", sig, data
            )


def test_a_salt_of_pss_is_as_long_as_the_hash(profile, shell):
    key = profile.generate("rsa2048", alias="key")
    data = shell.write("data", DATA)
    sign = "openssl", "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sign", uri(key)
    shell.run(*sign, "-out", "sig", data)
    shell.refused(*sign, "-sigopt", "rsa_pss_saltlen:max", "-out", "sig", data)


def test_a_request_and_a_signed_message(profile, shell):
    key = profile.generate("p256", alias="key")
    request = shell.run("openssl", "req", "-new", "-key", uri(key), "-subj", "/CN=web")
    assert "verify OK" in shell.run("openssl", "req", "-verify", "-noout", content=request)

    trusted = shell.write("trusted.pem", profile.certify(key))
    data, message = shell.write("data", DATA), shell.folder / "message"
    shell.run(
        *("openssl", "cms", "-sign", "-signer", trusted, "-inkey", uri(key)),
        *("-in", data, "-out", message),
    )
    said = shell.run(
        *("openssl", "cms", "-verify", "-in", message, "-CAfile", trusted, "-purpose", "any")
    )
    assert DATA in said


def test_oaep_and_ecdh(profile, shell):
    rsa = profile.generate("rsa2048", alias="rsa", operations=["decrypt"])
    public = shell.write("public.pem", public_pem(profile, rsa))
    data, encrypted = shell.write("data", DATA), shell.folder / "encrypted"
    options = "rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"
    options = [text for option in options for text in ("-pkeyopt", option)]
    shell.run(
        *("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", public, *options),
        *("-in", data, "-out", encrypted),
    )
    decrypt = "openssl", "pkeyutl", "-decrypt", "-inkey", uri(rsa), *options, "-in", encrypted
    assert shell.run(*decrypt) == DATA

    ec = profile.generate("p256", alias="ec", operations=["derive"])
    public = shell.write("ec.pem", public_pem(profile, ec))
    shell.run(
        "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "other.key"
    )
    shell.run("openssl", "pkey", "-in", "other.key", "-pubout", "-out", "other.pem")
    for name, ours, peer in (("a", uri(ec), "other.pem"), ("b", "other.key", public)):
        shell.run("openssl", "pkeyutl", "-derive", "-inkey", ours, "-peerkey", peer, "-out", name)
    assert (shell.folder / "a").read_bytes() == (shell.folder / "b").read_bytes() != b""


def test_a_pin_from_a_file(kms, profile, start, slot, tmp_path, module):
    """OpenSSL reads at most 31 characters, and a token is longer: a PIN of --pins stands for it."""
    key = profile.generate("p256", alias="key")
    token, _ = kms.token(profile.name)
    (tmp_path / "token").write_text(token)
    pins = tmp_path / "pins"
    pins.write_text(f"a-pin-of-31-characters-at-most {tmp_path}/token\n")
    pins.chmod(0o600)
    sidecar = start("--slot", slot, "--pins", str(pins))
    shell = Shell(tmp_path, sidecar, OPENSSL_CONF=openssl_config(tmp_path, module))
    sign = "openssl", "dgst", "-sha256", "-out", "sig", "-sign"
    data = shell.write("data", DATA)
    for content, run in ((token, shell.refused), ("a-pin-of-31-characters-at-most", shell.run)):
        pin = shell.write("pin", content)
        run(*sign, f"{uri(key)}?pin-source=file:{pin}", data)
