"""Published vectors of secret-key algorithms, from the package cryptography-vectors."""

import re

import pytest

from minikms.plugin import DecryptionFailed, InvalidKey, Sealed


def outcome(call, *arguments):
    """The result of `call`, or None if it refuses."""
    try:
        return call(*arguments)
    except DecryptionFailed:
        return None


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_gcm_of_nist(registry, vectors, unhex, bits):
    algorithm, expected, found = registry.get(f"a{bits}gcm"), [], []
    for vector in vectors(f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp"):
        nonce, tag = unhex(vector["IV"]), unhex(vector["TAG"])
        if (len(nonce), len(tag)) != (12, 16):  # RFC 7518 section 5.3 allows no other
            continue
        expected.append(None if "FAIL" in vector else unhex(vector["PT"]))
        sealed = Sealed(unhex(vector["CT"]), nonce, tag)
        key = algorithm.import_secret(unhex(vector["KEY"]))
        found.append(outcome(algorithm.decrypt, key, sealed, unhex(vector["AAD"])))
    assert found == expected
    assert len(found) > 100
    assert None in found


def text_or_hex(value):
    """BoringSSL writes text in quotation marks."""
    quoted = re.fullmatch('"(.*)"', value)
    return quoted[1].encode() if quoted else bytes.fromhex(value)


def test_chacha20_poly1305_of_boringssl(registry, vectors):
    c20p, checked = registry.get("c20p"), 0
    for vector in vectors("ciphers/ChaCha20Poly1305/boringssl.txt"):
        fields = (text_or_hex(vector[name]) for name in ("KEY", "NONCE", "IN", "AD", "CT", "TAG"))
        key, nonce, plaintext, aad, ciphertext, tag = fields
        if len(nonce) != 12:
            continue
        sealed = Sealed(ciphertext, nonce, tag)
        assert c20p.decrypt(c20p.import_secret(key), sealed, aad) == plaintext
        checked += 1
    assert checked > 50


def test_chacha20_poly1305_of_openssl(registry, vectors, unhex):
    c20p, expected, found = registry.get("c20p"), [], []
    for vector in vectors("ciphers/ChaCha20Poly1305/openssl.txt"):
        fields = (unhex(vector[name]) for name in ("KEY", "IV", "AAD", "TAG", "CIPHERTEXT"))
        key, nonce, aad, tag, ciphertext = fields
        if len(nonce) != 12:
            continue
        expected.append(None if "RESULT" in vector else unhex(vector["PLAINTEXT"]))
        sealed = Sealed(ciphertext, nonce, tag)
        found.append(outcome(c20p.decrypt, c20p.import_secret(key), sealed, aad))
    assert found == expected
    assert None in found


@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize("form", ["KW", "KWP"])
def test_key_unwrap_of_nist(registry, vectors, unhex, bits, form):
    algorithm, expected, found = registry.get(f"a{bits}kw"), [], []
    for vector in vectors(f"keywrap/kwtestvectors/{form}_AD_{bits}.txt"):
        expected.append(None if "FAIL" in vector else unhex(vector["P"]))
        key = algorithm.import_secret(unhex(vector["K"]))
        found.append(outcome(algorithm.unwrap, key, unhex(vector["C"])))
    assert found == expected
    assert len(found) >= 400
    assert None in found


@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize("form", ["KW", "KWP"])
def test_key_wrap_of_nist(registry, vectors, unhex, bits, form):
    algorithm, checked = registry.get(f"a{bits}kw"), 0
    for vector in vectors(f"keywrap/kwtestvectors/{form}_AE_{bits}.txt"):
        secret = unhex(vector["P"])
        # What is shorter is no key; what is not padded goes the way of RFC 3394.
        if len(secret) < 16 or (form == "KWP" and len(secret) % 8 == 0):
            continue
        key = algorithm.import_secret(unhex(vector["K"]))
        assert algorithm.wrap(key, secret) == unhex(vector["C"])
        checked += 1
    assert checked >= 100


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_hmac_of_rfc_4231(registry, vectors, unhex, bits):
    algorithm, checked = registry.get(f"hs{bits}"), 0
    for vector in vectors(f"HMAC/rfc-4231-sha{bits}.txt"):
        secret, message, mac = (unhex(vector[name]) for name in ("KEY", "MSG", "MD"))
        if len(secret) < bits // 8:
            with pytest.raises(InvalidKey):
                algorithm.import_secret(secret)
            continue
        key = algorithm.import_secret(secret)
        assert algorithm.mac(key, message) == mac
        assert algorithm.verify_mac(key, message, mac)
        assert not algorithm.verify_mac(key, message + b"!", mac)
        checked += 1
    assert checked == 2
