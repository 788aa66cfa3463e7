"""The seal of a store key by a key of a token."""

import os
import subprocess
import sys
from pathlib import Path

import pkcs11
import pytest
from minikms_processes import services
from tokens import PIN, SoftHsm

from minikms.seals import SealFault, SealUnavailable
from minikms_pkcs11.connection import Connection
from minikms_pkcs11.seal import Pkcs11Seal
from minikms_pkcs11.uri import TokenUri

SECRET, BOUND = b"the store key", b"minikms store key, envelope 1, x"
LABEL = "seal"


def uri_of(token, label=LABEL):
    return token.uri.replace("?", f";object={label}?")


def make_key(token, kind, label=LABEL):
    """Make a key that stays in the token."""
    connection = Connection(TokenUri.parse(token.uri))
    with connection.session() as session:
        if kind == "aes":
            session.raw.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True)
        else:
            session.raw.generate_keypair(pkcs11.KeyType.RSA, 2048, label=label, store=True)
    connection.close()


@pytest.fixture(params=["aes", "rsa"])
def kind(request):
    return request.param


@pytest.fixture
def seal(softhsm, kind):
    make_key(softhsm, kind)
    return Pkcs11Seal(uri_of(softhsm))


def test_a_token_seals_what_it_opens(seal):
    one, two = seal.seal(SECRET, BOUND), seal.seal(SECRET, BOUND)
    assert one != two
    assert SECRET not in one
    assert seal.unseal(one, BOUND) == seal.unseal(two, BOUND) == SECRET
    long = os.urandom(2048)
    assert seal.unseal(seal.seal(long, BOUND), BOUND) == long


def test_a_changed_byte_does_not_open(seal):
    ciphertext = seal.seal(SECRET, BOUND)
    for place in (0, 1, 5, len(ciphertext) // 2, len(ciphertext) - 20, len(ciphertext) - 1):
        changed = bytearray(ciphertext)
        changed[place] ^= 1
        with pytest.raises(SealUnavailable):
            seal.unseal(bytes(changed), BOUND)
    for other, bound in ((ciphertext, BOUND + b"x"), (ciphertext[:40], BOUND), (b"", BOUND)):
        with pytest.raises(SealUnavailable):
            seal.unseal(other, bound)
    assert seal.unseal(ciphertext, BOUND) == SECRET


def test_another_key_does_not_open(seal, softhsm, kind):
    make_key(softhsm, kind, "other")
    with pytest.raises(SealUnavailable):
        Pkcs11Seal(uri_of(softhsm, "other")).unseal(seal.seal(SECRET, BOUND), BOUND)


def test_a_token_that_is_away_opens_once_it_is_back(seal, softhsm):
    ciphertext = seal.seal(SECRET, BOUND)
    with softhsm.away():
        with pytest.raises(SealUnavailable) as error:
            seal.unseal(ciphertext, BOUND)
        assert not isinstance(error.value, SealFault)
    assert seal.unseal(ciphertext, BOUND) == SECRET


def test_a_label_names_one_key(softhsm):
    with pytest.raises(SealUnavailable, match="no AES or RSA key"):
        Pkcs11Seal(uri_of(softhsm)).seal(SECRET, BOUND)
    make_key(softhsm, "aes")
    make_key(softhsm, "rsa")
    with pytest.raises(SealUnavailable, match="several"):
        Pkcs11Seal(uri_of(softhsm)).seal(SECRET, BOUND)


def test_a_wrong_pin_is_a_fault(softhsm):
    """In a process of its own, which holds the lock of the file of a wrong PIN until it ends."""
    make_key(softhsm, "aes")
    softhsm.pin_file.write_text("00000000\n")
    program = """
import sys
from minikms.seals import SealFault
from minikms_pkcs11.connection import Connection
from minikms_pkcs11.seal import Pkcs11Seal
from minikms_pkcs11.uri import TokenUri
try:
    Pkcs11Seal(sys.argv[1]).seal(b"x", b"y")
except SealFault as exc:
    print(exc)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, uri_of(softhsm)],
        env={**os.environ, **softhsm.environment},
        capture_output=True,
        text=True,
    )
    assert "PinIncorrect" in done.stdout
    assert "00000000" not in done.stdout


def test_a_token_without_aes_gcm(tmp_path, monkeypatch):
    token = SoftHsm(
        tmp_path, mechanisms="CKM_AES_KEY_GEN,CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS_OAEP"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration))
    make_key(token, "aes")
    with pytest.raises(SealFault, match="RSA"):
        Pkcs11Seal(uri_of(token)).seal(SECRET, BOUND)
    make_key(token, "rsa", "other")
    seal = Pkcs11Seal(uri_of(token, "other"))
    assert seal.unseal(seal.seal(SECRET, BOUND), BOUND) == SECRET


def test_opencryptoki_seals_what_it_opens(opencryptoki, kind):
    make_key(opencryptoki, kind, kind)
    seal = Pkcs11Seal(uri_of(opencryptoki, kind))
    ciphertext = seal.seal(SECRET, BOUND)
    assert seal.unseal(ciphertext, BOUND) == SECRET
    with pytest.raises(SealUnavailable):
        seal.unseal(ciphertext, b"another envelope")


def minikms(*args, **more):
    command = os.environ.get("MINIKMS_COMMAND", str(Path(sys.executable).with_name("minikms")))
    return subprocess.run([command, *args], capture_output=True, text=True, timeout=60, **more)


def test_commands_on_a_store_whose_key_a_token_seals(softhsm, tmp_path):
    make_key(softhsm, "aes")
    file = str(tmp_path / "store.key")
    on_a_store = "--store", f"sqlite://{tmp_path}/keys.db", "--store-key-file", file
    assert minikms("store", "init", "--generate-key", *on_a_store).returncode == 0
    plain = Path(file).read_text().strip()
    done = minikms("store", "seal", "--by", uri_of(softhsm), "--store-key-file", file)
    assert done.returncode == 0, done.stderr
    written = Path(file).read_text()
    assert plain not in written
    assert PIN not in written
    assert minikms("store", "info", *on_a_store).returncode == 0
    assert minikms("store", "reseal", "--store-key-file", file).returncode == 0
    new = f"{file}.new"
    rekey = "store", "rekey", "--new-key-file", new, "--generate-key"
    assert minikms(*rekey, *on_a_store).returncode == 0
    Path(new).replace(file)
    provider = "--provider", f"hsm={softhsm.uri}"
    with services() as start:  # a seal and a provider of one process share the library
        service = start("--port", "0", *provider, "--auth", "none", *on_a_store)
        made = b'{"alg": "p256", "alias": "k", "provider": "hsm"}'
        assert service.status("POST", "/key/generate", made) == 200
        assert service.status("POST", "/sign", b'{"alias": "k", "data": "aGVsbG8"}') == 200
    softhsm.pin_file.write_text("00000000\n")
    done = minikms("serve", "--port", "0", "--seal-wait", "600", *on_a_store)  # is not tried again
    assert done.returncode == 3
    assert "PinIncorrect" in done.stderr
    assert "00000000" not in done.stderr
