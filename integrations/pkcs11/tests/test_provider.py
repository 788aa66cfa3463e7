"""The provider on tokens of SoftHSM and opencryptoki: keys, their protection, losses, and PINs."""

import ctypes
import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256

import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute
from tokens import SoftHsm

from minikms.plugin import (
    HASHES,
    KeyUnreadable,
    ProviderFault,
    ProviderUnavailable,
    Scheme,
    UnsupportedOption,
)
from minikms_pkcs11 import Pkcs11Provider, connection, functions, kinds, pin_file
from minikms_pkcs11 import provider as provider_module
from minikms_pkcs11.kinds import KINDS
from minikms_pkcs11.signing import verify

ECDSA = Scheme("ecdsa", "sha256")
DIGEST = sha256(b"hello").digest()
HASH_OF = {"p384": "sha384", "p521": "sha512"}
RSA_SCHEMES = [
    *(Scheme("rsa-pkcs1v15", name) for name in HASHES),
    Scheme("rsa-pkcs1v15"),
    *(Scheme("rsa-pss", name, salt) for name in ("sha1", "sha256", "sha512") for salt in (0, 20)),
]


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(connection, "_PAUSE", 0.0)
    monkeypatch.setattr(pin_file, "_WAIT", 0.05)


def made(provider, algorithm="p256"):
    return provider.make(algorithm, secrets.token_bytes(16))


def signs(provider, key, scheme=ECDSA, data=DIGEST):
    """Sign twice, with a new handle and a kept one, and verify both in software."""
    public = load_der_public_key(key.public)
    for _ in range(2):
        verify(public, data, scheme, provider.sign(key, data, scheme))
    return True


def patiently(call, *arguments):
    """Call until the token answers.

    SoftHSM fails at times if another thread destroys an object meanwhile.
    """
    until = time.monotonic() + 60
    while True:
        try:
            return call(*arguments)
        except ProviderUnavailable:
            assert time.monotonic() < until
            time.sleep(0.01)


def digest_of(scheme):
    return b"x" * HASHES[scheme.hash].digest_size if scheme.hash else b"x" * 40


@pytest.mark.parametrize("algorithm", ["p256", "p384", "p521", "k256", "ed25519", "rsa2048"])
def test_keys_and_their_signatures(provider, algorithm):
    if algorithm not in provider.algorithms():
        pytest.skip("the token has no such keys")
    key = made(provider, algorithm)
    assert key.key_id in provider.find()
    if algorithm == "ed25519":
        schemes = [Scheme("eddsa")]
    elif algorithm == "rsa2048":
        schemes = RSA_SCHEMES
    else:
        schemes = [Scheme("ecdsa", HASH_OF.get(algorithm, "sha256"))]
    for scheme in schemes:
        assert signs(provider, key, scheme, digest_of(scheme))
    provider.destroy(key.key_id)
    assert key.key_id not in provider.find()
    with pytest.raises(KeyUnreadable):
        provider.sign(key, DIGEST, schemes[0])
    provider.destroy(key.key_id)


@pytest.mark.parametrize("algorithm", ["rsa3072", "rsa4096"])
def test_large_rsa_keys(softhsm, connect, algorithm):
    provider = connect(softhsm)
    assert signs(provider, made(provider, algorithm), RSA_SCHEMES[2])


def test_the_algorithms_of_each_token(softhsm, opencryptoki, connect):
    assert connect(softhsm).algorithms() == KINDS.keys()
    assert connect(opencryptoki).algorithms() == KINDS.keys() - {"ed25519"}


def test_a_private_key_stays_in_the_token(provider):
    key = made(provider)
    with provider._connection.session() as session:
        (private,) = session.raw.get_objects({Attribute.ID: key.key_id, Attribute.SIGN: True})
        assert private[Attribute.SENSITIVE]
        assert private[Attribute.PRIVATE]
        assert private[Attribute.TOKEN]
        assert not private[Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.PKCS11Error):
            private[Attribute.VALUE]


@pytest.mark.parametrize(
    "template",
    [{Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}, {Attribute.TOKEN: False}],
    ids=str,
)
def test_a_key_that_could_be_extracted_or_would_be_lost_is_destroyed(
    provider, monkeypatch, template
):
    # The token does as it is told here, and other tokens by themselves.
    monkeypatch.setattr(kinds, "PROTECTED", {**kinds.PROTECTED, **template})
    before = set(provider.find())
    with pytest.raises(UnsupportedOption, match="extracted"):
        made(provider)
    assert set(provider.find()) == before
    with provider._connection.session() as session:
        assert len(list(session.raw.get_objects())) == 2 * len(before)


def test_what_a_token_refuses_is_tried_twice(softhsm, connect, monkeypatch):
    """SoftHSM refuses a template at times, beside other threads."""
    provider, kind, refusals = connect(softhsm), KINDS["p256"], []
    make = kind.make

    def refuse(session, key_id):
        if refusals:
            raise refusals.pop()
        return make(session, key_id)

    monkeypatch.setattr(kind, "make", refuse)
    refusals[:] = [pkcs11.TemplateInconsistent()]
    assert signs(provider, made(provider))
    refusals[:] = [pkcs11.DomainParamsInvalid()] * 2
    with pytest.raises(UnsupportedOption):
        made(provider)
    assert not refusals
    assert len(provider.find()) == 1


def test_a_pair_without_its_protection_is_made_once_more(softhsm, connect, monkeypatch):
    """SoftHSM stores a private key without CKA_TOKEN at times, beside other threads."""
    provider, kind, lost = connect(softhsm), KINDS["p256"], [Attribute.TOKEN]
    make = kind.make

    def lose(session, key_id):
        with monkeypatch.context() as patch:
            template = {**kinds.PROTECTED, **dict.fromkeys(lost, False)}
            patch.setattr(kinds, "PROTECTED", template)
            lost.clear()
            return make(session, key_id)

    monkeypatch.setattr(kind, "make", lose)
    key = made(provider)
    assert signs(provider, key)
    with provider._connection.session() as session:
        assert len(list(session.raw.get_objects())) == 2


def test_a_token_without_mechanisms(tmp_path, monkeypatch, softhsm, connect):
    folder = tmp_path / "less"
    folder.mkdir()
    less = SoftHsm(folder, "CKM_EC_KEY_PAIR_GEN,CKM_ECDSA")
    monkeypatch.setenv("SOFTHSM2_CONF", str(less.configuration))
    provider = connect(less)
    assert provider.algorithms() == {"p256", "p384", "p521", "k256"}
    key = made(provider)
    with pytest.raises(UnsupportedOption):
        provider.sign(key, DIGEST, Scheme("rsa-pss", "sha256", 32))


def test_another_key_in_its_place(provider):
    first, second = made(provider), made(provider)
    with pytest.raises(KeyUnreadable, match="another key"):
        provider.sign(type(first)(first.token, first.key_id, second.public), DIGEST, ECDSA)
    assert signs(provider, first)


def test_a_handle_that_the_token_gave_to_another_key(provider):
    """opencryptoki does so after the key was destroyed."""
    first, second = made(provider), made(provider)
    assert signs(provider, first)
    assert signs(provider, second)
    with provider._connection.session() as session:
        session.keys[first.key_id] = session.keys[second.key_id]
    assert signs(provider, first)


def test_keys_of_other_programs_are_neither_found_nor_destroyed(softhsm, connect, monkeypatch):
    provider = connect(softhsm)
    own = made(provider)
    provider.make("p256", b"of eight")
    with monkeypatch.context() as patch:
        patch.setattr(kinds, "LABEL", "other")
        other = made(provider)
    assert set(provider.find()) == {own.key_id}
    provider.destroy(other.key_id)
    with provider._connection.session() as session:
        assert len(list(session.raw.get_objects())) == 6


def test_a_key_that_is_half_destroyed_is_still_found(softhsm, connect, monkeypatch):
    provider, search = connect(softhsm), provider_module._objects
    key, searches = made(provider), []

    def fail(session, half, key_id=None):
        if searches:
            raise pkcs11.DeviceError
        searches.append(half)
        return search(session, half, key_id)

    with monkeypatch.context() as patch:
        patch.setattr(provider_module, "_objects", fail)
        with pytest.raises(ProviderUnavailable):
            provider.destroy(key.key_id)
    assert set(provider.find()) == {key.key_id}
    provider.destroy(key.key_id)
    assert set(provider.find()) == set()


def test_a_session_keeps_few_handles(softhsm, connect, monkeypatch):
    monkeypatch.setattr("minikms_pkcs11.provider._MOST_HANDLES", 2)
    provider = connect(softhsm)
    keys = [made(provider) for _ in range(3)]
    for _ in range(2):
        assert all(signs(provider, key) for key in keys)
    with provider._connection.session() as session:
        assert len(session.keys) == 2


@pytest.mark.parametrize("room", [0, 1, 63])
@pytest.mark.parametrize("algorithm", ["p256", "rsa2048"])
def test_a_signature_that_needs_more_room(provider, monkeypatch, algorithm, room):
    """No operation stays active in the session, and the handle is kept."""
    key = made(provider, algorithm)
    scheme = ECDSA if algorithm == "p256" else RSA_SCHEMES[1]
    data = digest_of(scheme)
    assert signs(provider, key, scheme, data)
    monkeypatch.setattr(functions, "_ROOM", room)
    monkeypatch.setattr(functions, "_Signature", ctypes.c_char * room)
    with provider._connection.session() as session:
        known = session.keys[key.key_id]
    for _ in range(3):
        assert signs(provider, key, scheme, data)
    monkeypatch.undo()
    assert signs(provider, key, scheme, data)
    with provider._connection.session() as session:
        assert session.keys[key.key_id] is known
    assert provider.status().reconnects == 0


@pytest.fixture
def faults(softhsm, connect):
    """A provider, and a list of faults for its signatures by a known handle.

    Nothing makes a token of software fail.
    """
    provider, changes = connect(softhsm), []
    with provider._connection.session() as session:
        module = session.module
    sign = module.functions._sign

    def change(session, data, size, signature, length):
        status = sign(session, data, size, signature, length)
        if changes and signature is not None:
            made = changes[0](signature.raw[: length._obj.value])
            signature[: len(made)] = made
            length._obj.value = len(made)
        return status

    module.functions._sign = change
    yield provider, changes
    module.functions._sign = sign


def flipped(signature):
    return signature[:-1] + bytes([signature[-1] ^ 1])


def zeros(signature):
    return bytes(len(signature))


def cut(signature):
    return signature[:-1]


def lengthened(signature):
    return signature + b"s"


@pytest.mark.parametrize("change", [cut, lengthened])
@pytest.mark.parametrize("algorithm", ["p256", "p521", "ed25519", "rsa2048"])
def test_each_signature_has_its_length(faults, algorithm, change):
    provider, changes = faults
    key = made(provider, algorithm)
    scheme = {"ed25519": Scheme("eddsa"), "rsa2048": RSA_SCHEMES[-1]}.get(algorithm, ECDSA)
    data = digest_of(scheme)
    assert signs(provider, key, scheme, data)
    changes.append(change)
    assert signs(provider, key, scheme, data)


@pytest.mark.parametrize("change", [flipped, zeros])
@pytest.mark.parametrize("scheme", [RSA_SCHEMES[1], RSA_SCHEMES[-1]], ids=str)
def test_no_wrong_signature_of_an_rsa_key_leaves(faults, scheme, change):
    """A signature with a fault in the Chinese remainder theorem would reveal the factors."""
    provider, changes = faults
    key, data = made(provider, "rsa2048"), digest_of(scheme)
    assert signs(provider, key, scheme, data)
    changes.append(change)
    assert signs(provider, key, scheme, data)


def test_another_process_destroys_a_key(token, provider):
    key = made(provider)
    code = (
        "import sys; from minikms_pkcs11 import Pkcs11Provider\n"
        "provider, key_id = Pkcs11Provider(sys.argv[1]), bytes.fromhex(sys.argv[2])\n"
        "provider.open()\n"
        "assert key_id in provider.find()\n"
        "provider.destroy(key_id)\n"
        "provider.close()\n"
    )
    assert signs(provider, key)
    subprocess.run(
        [sys.executable, "-c", code, token.uri, key.key_id.hex()], check=True, timeout=60
    )
    with pytest.raises(KeyUnreadable):
        provider.sign(key, DIGEST, ECDSA)
    assert provider.status().reconnects == 0


def test_many_threads(provider):
    """Without CKF_OS_LOCKING_OK this crashes the process."""
    keys = [made(provider) for _ in range(3)]

    def use(_):
        key = patiently(made, provider)
        assert all(patiently(signs, provider, each) for each in (*keys, key))
        patiently(provider.destroy, key.key_id)
        return key.key_id

    with ThreadPoolExecutor(8) as pool:
        destroyed = set(pool.map(use, range(40)))
    there = set(patiently(provider.find))
    assert there >= {key.key_id for key in keys}
    assert there.isdisjoint(destroyed)
    assert 1 <= provider.status().sessions <= 8


def test_the_token_is_away_and_comes_back(softhsm, connect):
    provider = connect(softhsm)
    key, unused = made(provider), made(provider)
    assert signs(provider, key)
    with softhsm.away():
        for each in (key, unused, key):
            with pytest.raises(ProviderUnavailable):
                provider.sign(each, DIGEST, ECDSA)
        for call in (provider.find, provider.algorithms, lambda: made(provider)):
            with pytest.raises(ProviderUnavailable):
                call()
        with pytest.raises(ProviderUnavailable):
            provider.destroy(key.key_id)
        status = provider.status()
        assert (status.available, status.sessions) == (False, 0)
        assert status.detail
    assert signs(provider, key)
    assert signs(provider, unused)
    assert provider.status().available
    assert provider.status().reconnects == 1


@pytest.mark.parametrize("call", ["find", "destroy"])
def test_a_token_that_is_away_does_not_look_empty(softhsm, connect, call):
    provider = connect(softhsm)
    key = made(provider)
    with softhsm.away(), pytest.raises(ProviderUnavailable):
        provider.find() if call == "find" else provider.destroy(key.key_id)
    assert set(provider.find()) == {key.key_id}


def test_the_token_is_away_at_the_start(softhsm):
    provider = Pkcs11Provider(softhsm.uri)
    with softhsm.away():
        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                provider.open()
    provider.open()
    assert signs(provider, made(provider))
    provider.close()


@pytest.mark.parametrize("call", ["sign", "find", "destroy", "make"])
def test_the_login_is_lost(token, provider, call):
    key, unused = made(provider), made(provider)
    assert signs(provider, key)
    with provider._connection.session() as session:
        # For all sessions of the process.
        assert ctypes.CDLL(str(token.module)).C_Logout(ctypes.c_ulong(session.raw.handle)) == 0
    calls = {
        "sign": lambda: provider.sign(unused, DIGEST, ECDSA),
        "find": provider.find,
        "destroy": lambda: provider.destroy(key.key_id),
        "make": lambda: made(provider),
    }
    with pytest.raises(ProviderUnavailable):
        calls[call]()
    assert signs(provider, key)
    assert signs(provider, unused)
    assert {key.key_id, unused.key_id} <= set(provider.find())
    assert provider.status().reconnects == 1


def test_a_wrong_pin_is_tried_once(token, connect):
    right = token.pin_file.read_text()
    token.pin_file.write_text("wrong-pin")
    provider = Pkcs11Provider(token.uri)
    for _ in range(5):
        with pytest.raises(ProviderFault):
            provider.open()
    with pytest.raises(ProviderFault):
        provider.find()
    assert "PIN" in provider.status().detail
    assert "wrong-pin" not in repr(provider.status())
    # Another process of the service keeps from trying it.
    other = Pkcs11Provider(token.uri)
    with pytest.raises(ProviderUnavailable) as refusal:
        other.open()
    assert not isinstance(refusal.value, ProviderFault)
    for each in (provider, other):
        each.close()
    token.pin_file.unlink()
    token.pin_file.write_text(right)
    assert signs(connect(token), made(connect(token)))  # it was not locked


def test_the_library_is_missing(softhsm, tmp_path):
    for place in (tmp_path / "none.so", softhsm.pin_file):
        uri = softhsm.uri.replace(str(softhsm.module), str(place))
        provider = Pkcs11Provider(uri)
        for _ in range(2):
            with pytest.raises(ProviderFault, match="cannot be loaded"):
                provider.open()
        provider.close()


def test_two_tokens_of_one_library(softhsm, connect):
    softhsm.run("--init-token", "--free", "--label", "other", "--pin", "4711", "--so-pin", "4711")
    first = connect(softhsm)
    pin_file = softhsm.folder / "other"
    pin_file.write_text("4711")
    uri = softhsm.uri.replace("minikms%20test", "other").replace(
        str(softhsm.pin_file), str(pin_file)
    )
    second = Pkcs11Provider(uri)
    second.open()
    keys = made(first), made(second)
    assert keys[0].token != keys[1].token
    assert set(first.find()) == {keys[0].key_id}
    # A loss at one initialises the library for both.
    first._connection.is_connected = False
    assert signs(first, keys[0])
    assert signs(second, keys[1])
    assert (first.status().reconnects, second.status().reconnects) == (1, 1)
    second.close()
    assert signs(first, keys[0])


def test_a_call_that_hangs_keeps_the_library_from_being_finalized(softhsm, connect, monkeypatch):
    monkeypatch.setattr("minikms_pkcs11.module._DRAIN", 0.05)
    provider = connect(softhsm)
    key = made(provider)
    release = threading.Event()
    begun = threading.Event()

    def hang():
        with provider._connection.session():
            begun.set()
            release.wait(20)

    thread = threading.Thread(target=hang)
    thread.start()
    assert begun.wait(20)
    provider._connection.is_connected = False
    with pytest.raises(ProviderUnavailable, match="hangs"):
        provider.sign(key, DIGEST, ECDSA)
    release.set()
    thread.join(20)
    assert signs(provider, key)


def test_only_one_call_connects(softhsm, connect):
    provider = connect(softhsm)
    key = made(provider)
    provider._connection.is_connected = False
    with provider._connection._connecting, pytest.raises(ProviderUnavailable):
        provider.sign(key, DIGEST, ECDSA)
    assert signs(provider, key)


def test_a_token_with_few_sessions(softhsm, connect, monkeypatch):
    class Full:  # SoftHSM has no limit
        def open(self, **_):
            raise pkcs11.SessionCount

    provider = connect(softhsm)
    key = made(provider)
    monkeypatch.setattr(provider._connection, "_token", Full())
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: signs(provider, key), range(20)))
    assert provider.status().sessions == 1
    monkeypatch.setattr(connection, "_WAIT", 0.01)
    with provider._connection.session(), pytest.raises(ProviderUnavailable, match="no free"):
        provider.find()


def test_a_full_token_signs_and_makes_keys_once_there_is_room(disk, monkeypatch, connect):
    token = SoftHsm(disk)
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration))
    provider = connect(token)
    key = made(provider)
    other = disk / "other"
    with suppress(OSError), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused = secrets.token_bytes(16)
    with pytest.raises(ProviderUnavailable):
        provider.make("p256", refused)
    assert signs(provider, key)
    other.unlink()
    provider.destroy(refused)
    assert signs(provider, made(provider))
    assert len(provider.find()) == 2
