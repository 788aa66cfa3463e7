"""Published vectors of RSA signatures, from the package cryptography-vectors.

The sizes and the exponent are those that the service takes; none of the package's PSS vectors has
a salt as long as its hash (RFC 7518 section 3.5), which is Wycheproof's part.
"""

import pytest

from minikms.encodings import jose_b64url
from minikms.plugin import InvalidKey, SignatureOptions

FOLDER = "asymmetric/RSA/FIPS_186-2"
BITS = [2048, 3072, 4096]


def number(value):
    return jose_b64url(bytes.fromhex(value).lstrip(b"\0"))


@pytest.fixture
def signatures(registry, vectors, unhex):
    """Of a file: the key, None where its exponent is refused, the hash, and what was signed."""

    def read(name, bits):
        algorithm, facts, keys = registry.get(f"rsa{bits}"), {}, {}
        for vector in vectors(f"{FOLDER}/{name}", f"[mod = {bits}]"):
            # The files state a modulus once, and an exponent once or in every record.
            facts |= {fact: vector[fact] for fact in ("N", "E") if fact in vector}
            if "S" not in vector or vector["SHAALG"] not in ("SHA256", "SHA384", "SHA512"):
                continue
            jwk = {"kty": "RSA", "n": number(facts["N"]), "e": number(facts["E"])}
            key = keys.setdefault(tuple(jwk.values()), load(algorithm, jwk))
            signed = unhex(vector["MSG"]), unhex(vector["S"])
            yield algorithm, key, vector["SHAALG"][3:], *signed, vector.get("RESULT", "P")

    return read


def load(algorithm, jwk):
    try:
        return algorithm.load_public(jwk)
    except InvalidKey:
        assert jwk["e"] != "AQAB"
        return None


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["SigGen15_186-2.rsp", "SigVer15_186-3.rsp"])
def test_pkcs1_verification_of_fips_186(signatures, name, bits):
    expected, found, hashes = [], [], set()
    for algorithm, key, hash_, message, signature, result in signatures(name, bits):
        if key is None:
            continue
        # "F (1 - Message changed)", "F (3 - Signature changed )"
        expected.append(result.startswith("P"))
        found.append(algorithm.verify(key, message, signature, SignatureOptions(f"RS{hash_}")))
        assert not algorithm.verify(key, message, signature, SignatureOptions(f"PS{hash_}"))
        hashes.add(hash_)
    assert found == expected
    assert True in expected
    assert (False in expected) is name.startswith("SigVer")
    assert hashes == {"256", "384", "512"}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["SigGenPSS_186-2.rsp", "SigVerPSS_186-3.rsp"])
def test_a_pss_salt_of_another_length_is_refused(signatures, name, bits):
    """Salts of 20 and of 10 bytes, good signatures otherwise."""
    good = 0
    for algorithm, key, hash_, message, signature, result in signatures(name, bits):
        if key is not None:
            assert not algorithm.verify(key, message, signature, SignatureOptions(f"PS{hash_}"))
            good += result.startswith("P")
    assert good
