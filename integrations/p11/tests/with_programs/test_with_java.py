"""Java: its KeyStore, a server of TLS 1.3, keytool and jarsigner."""

import re
import socket
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import Shell, missing, need, public_pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from issued_certificates import CA, certificate_of

SOURCES = sorted((Path(__file__).parent / "java").glob("*.java"))
DATA = b"what a program signs"
HASHES = {
    "SHA1": hashes.SHA1(),
    "SHA224": hashes.SHA224(),
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
JVMS = sorted(path.parent.parent for path in Path("/usr/lib/jvm").glob("[!.]*/bin/java"))
JVMS = sorted({path.resolve() for path in JVMS})


@pytest.fixture(params=JVMS or [None], ids=lambda path: path and path.name)
def java(request):
    """The folder of each installed Java."""
    if request.param is None:
        missing("Java is missing: apt-get install default-jdk-headless")
    return request.param


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The programs, compiled."""
    folder = tmp_path_factory.mktemp("classes")
    compiler = need("javac", "default-jdk-headless")
    subprocess.run([compiler, "--release", "17", "-d", folder, *SOURCES], check=True, timeout=60)
    return folder


@pytest.fixture
def config(shell, module):
    """The file of SunPKCS11's options; key pairs stay without C_CopyObject."""
    return shell.write(
        "pkcs11.cfg",
        f"""name = minikms
library = {module}
slotListIndex = 0
attributes(generate, CKO_PRIVATE_KEY, *) = {{
  CKA_TOKEN = true
}}
""",
    )


@pytest.fixture
def begin(shell, java, classes, config):
    """Start one of the programs, until the end of the test."""
    begun = []

    def start(name, pin="no-login"):
        command = java / "bin/java", "-cp", classes, name, config, pin
        program = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=shell.environment,
        )
        begun.append(program)
        return program

    yield start
    for program in begun:
        program.kill()
        program.communicate()


class Signer:
    """The program that signs with the keys of a KeyStore."""

    def __init__(self, process):
        self.process = process
        self.aliases = process.stdout.readline().split()

    def sign(self, alias, algorithm):
        """A signature, or the text of an exception."""
        self.process.stdin.write(f"{alias} {algorithm}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        return bytes.fromhex(answer) if re.fullmatch(r"[0-9a-f]+", answer) else answer


def test_each_key_signs_by_each_algorithm(begin, profile):
    algs = "p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"
    keys = {alg: profile.generate(alg, alias=alg) for alg in algs}
    profile.generate("p256", alias="invisible to Java, since it has no certificate")
    for alg in algs:
        profile.certify(keys[alg])
    signer = Signer(begin("Signer"))
    assert sorted(signer.aliases) == sorted(algs)
    for alg in algs:
        public = load_pem_public_key(public_pem(profile, keys[alg]))
        for name, algorithm in HASHES.items():
            if not alg.startswith("rsa"):
                public.verify(signer.sign(alg, f"{name}withECDSA"), DATA, ec.ECDSA(algorithm))
            elif name not in ("SHA1", "SHA224"):  # the service does not make such signatures
                pkcs1 = signer.sign(alg, f"{name}withRSA")
                public.verify(pkcs1, DATA, padding.PKCS1v15(), algorithm)
                pss = signer.sign(alg, f"{name}withRSASSA-PSS")
                form = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
                public.verify(pss, DATA, form, algorithm)


def test_a_server_of_tls_1_3(begin, profile, shell, sidecar):
    key = profile.generate("p256", alias="web")
    trusted = profile.certify(key, "CN=localhost", alternative_names=["DNS:localhost"])
    server = begin("TlsServer")
    port = int(server.stdout.readline())
    context = ssl.create_default_context(cadata=trusted)

    def answer():
        with (
            socket.create_connection(("localhost", port), timeout=30) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as tls,
        ):
            return tls.recv(100)

    for _ in range(3):
        assert answer() == b"hello over TLSv1.3\n"
        assert server.stdout.readline() == "answered\n"
        sidecar.restart()


def test_an_issuer_opens_it_as_a_keystore_of_any_type(
    kms, profile, start, slot, tmp_path_factory, java, classes, config
):
    """The provider is in the security properties, and the password is a token."""
    key = profile.generate("p256", alias="issuer")
    profile.certify(key)
    token, _ = kms.token(profile.name, ["keys:read", "sign"])
    shell = Shell(tmp_path_factory.mktemp("issuer"), start("--slot", slot))
    properties = shell.write("pkcs11.security", f"security.provider.13=SunPKCS11 {config}\n")
    given = f"-Djava.security.properties={properties}"
    issuer = java / "bin/java", given, "-cp", classes, "Issuer"
    length, made = shell.run(*issuer, token, "issuer").splitlines()
    assert length == "1"
    public = load_pem_public_key(public_pem(profile, key))
    public.verify(bytes.fromhex(made), DATA, ec.ECDSA(hashes.SHA256()))
    assert "CKR_PIN_INCORRECT" in shell.refused(*issuer, "wrong", "issuer")


def test_after_a_kill_of_the_sidecar_java_needs_a_restart(begin, profile, replace):
    profile.certify(profile.generate("p256", alias="key"))
    signer = Signer(begin("Signer"))
    assert isinstance(signer.sign("key", "SHA256withECDSA"), bytes)
    replace()
    assert "CKR_" in signer.sign("key", "SHA256withECDSA")
    assert "CKR_" in signer.sign("key", "SHA256withECDSA")
    assert isinstance(Signer(begin("Signer")).sign("key", "SHA256withECDSA"), bytes)


def test_java_signs_on_after_the_token_of_its_pin_is_replaced(
    begin, profile, slot, start, kms, shell, tmp_path
):
    """Also if the token was refused before its file had another one."""
    profile.certify(profile.generate("p256", alias="key"))
    file, pins = tmp_path / "token", tmp_path / "pins"
    token, token_id = kms.token(profile.name)
    file.write_text(token)
    pins.write_text("1234 token\n")
    pins.chmod(0o600)
    sidecar = start("--pins", str(pins), "--slot", slot)
    shell.environment["P11_KIT_SERVER_ADDRESS"] = f"unix:path={sidecar.path}"
    signer = Signer(begin("Signer", "1234"))
    assert isinstance(signer.sign("key", "SHA256withECDSA"), bytes)
    kms.revoke(token_id)
    for _ in range(2):
        assert isinstance(signer.sign("key", "SHA256withECDSA"), str)
    file.write_text(kms.token(profile.name)[0])
    assert isinstance(signer.sign("key", "SHA256withECDSA"), bytes)


@pytest.fixture
def keytool(shell, java, config):
    """Run keytool, or another tool, with the keystore."""
    store = (
        *("-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "no-login"),
        *("-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", config),
    )

    def use(*options, run=shell.run, **more):
        return run(java / "bin/keytool", *options, *store, **more)

    return use


def test_keytool_makes_a_key_pair_certifies_it_and_deletes_it(keytool, profile, shell):
    wish = "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=made"
    keytool(*wish, "-alias", "made")
    (key,) = profile.call("GET", "/keys")
    assert (key["alg"], key["labels"]["pkcs11.label"]) == ("p256", "made")
    own = key["certificates"]

    request = keytool("-certreq", "-alias", "made")
    assert "verify OK" in shell.run("openssl", "req", "-verify", "-noout", content=request)
    request = x509.load_pem_x509_csr(request.encode())
    root = certificate_of("CN=root", CA)
    holder = SimpleNamespace(public_key=request.public_key)
    leaf = certificate_of("CN=made", key=holder, issuer=root)
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for _, certificate in (leaf, root))
    reply = shell.write("reply.pem", chain)
    keytool("-importcert", "-noprompt", "-alias", "made", "-file", reply)
    key = profile.key(key["kid"])
    assert len(key["certificates"]) == 2
    assert own[0] not in key["certificates"]
    assert "made, PrivateKeyEntry" in keytool("-list")

    keytool("-delete", "-alias", "made")
    assert profile.call("GET", "/keys") == []


def test_keytool_makes_an_rsa_key_here_if_its_provider_is_named(keytool, profile, shell):
    """Otherwise it makes one of its own, which it cannot import."""
    wish = "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=made"
    keytool(*wish, "-alias", "theirs", run=shell.refused)
    assert profile.call("GET", "/keys") == []
    keytool(*wish, "-alias", "ours", "-providerName", "SunPKCS11-minikms")
    (key,) = profile.call("GET", "/keys")
    assert key["labels"]["pkcs11.label"] == "ours"


def test_keytool_gives_an_entry_another_alias(keytool, profile):
    """keytool writes the new entry, and deletes the entry with the old alias."""
    wish = "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=made"
    keytool(*wish, "-alias", "before")
    (key,) = profile.call("GET", "/keys")
    keytool("-changealias", "-alias", "before", "-destalias", "after")
    (changed,) = profile.call("GET", "/keys")
    assert (changed["kid"], changed["certificates"]) == (key["kid"], key["certificates"])
    assert "after, PrivateKeyEntry" in keytool("-list")


def test_keytool_does_not_change_an_alias_of_the_service(keytool, profile, shell):
    key = profile.generate("p256", alias="issuer")
    profile.certify(key)
    rename = "-changealias", "-alias", "issuer", "-destalias", "other"
    assert "CKR_ATTRIBUTE_VALUE_INVALID" in keytool(*rename, run=shell.refused)
    assert profile.key(key["kid"])["aliases"] == ["issuer"]
