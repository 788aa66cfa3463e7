"""Project Wycheproof's vectors, a file of them at a time; what fails is told by its number."""

import pytest
from wycheproof import (
    AEADS,
    AGREEMENTS,
    DECRYPTIONS,
    KEMS,
    REGISTRY,
    SIGNATURES,
    WRAPPINGS,
    aeads,
    agreements,
    decapsulations,
    decryptions,
    encapsulations,
    signatures,
    wrappings,
)

from minikms.plugin import DecryptionFailed, InvalidKey, SignatureOptions


@pytest.mark.parametrize("file", SIGNATURES)
def test_every_signature_of_wycheproof_is_judged_right(file):
    name, alg = SIGNATURES[file]
    algorithm, wrong, results = REGISTRY.get(name), {}, set()
    for number, jwk, message, signature, right in signatures(file):
        try:
            public = algorithm.load_public(jwk)
            found = algorithm.verify(public, message, signature, SignatureOptions(alg))
        except InvalidKey:
            found = False
        results.add(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert results == {True, False}


@pytest.mark.parametrize("file", AGREEMENTS)
def test_every_agreement_of_wycheproof_is_judged_right(file):
    algorithm, wrong, results, keys = REGISTRY.get(AGREEMENTS[file]), {}, set(), {}
    for number, private, public, right in agreements(file):
        if (secret := private["d"]) not in keys:
            keys[secret] = algorithm.import_jwk(private)
        try:
            found = algorithm.derive(keys[secret], algorithm.load_public(public))
        except InvalidKey:
            found = None
        results.add(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 100


@pytest.mark.parametrize("file", DECRYPTIONS)
def test_every_decryption_of_wycheproof_is_judged_right(file):
    algorithm, wrong, results, keys = REGISTRY.get(DECRYPTIONS[file]), {}, [], {}
    for number, private, ciphertext, right in decryptions(file):
        if (secret := private["d"]) not in keys:
            keys[secret] = algorithm.import_jwk(private)
        try:
            found = algorithm.decrypt(keys[secret], ciphertext)
        except DecryptionFailed:
            found = None
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("name", AEADS)
def test_every_aead_case_of_wycheproof_is_judged_right(name):
    algorithm, wrong, results = REGISTRY.get(name), {}, []
    for number, key, sealed, aad, right in aeads(name):
        try:
            found = algorithm.decrypt(algorithm.import_secret(key), sealed, aad)
        except DecryptionFailed:
            found = None
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 50


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_key_wrap_of_wycheproof_is_judged_right(name):
    algorithm, wrong, results = REGISTRY.get(WRAPPINGS[name][0]), {}, []
    for number, key, wrapped, right in wrappings(name):
        try:
            found = algorithm.unwrap(algorithm.import_secret(key), wrapped)
        except DecryptionFailed:
            found = None
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("file", KEMS)
def test_every_encapsulation_of_wycheproof_is_judged_right(file):
    algorithm, wrong, results = REGISTRY.get(KEMS[file]), {}, []
    for number, seed, ciphertext, right in decapsulations(file):
        try:
            found = algorithm.decapsulate(algorithm.import_seed(seed), ciphertext)
        except (DecryptionFailed, InvalidKey):
            found = None
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    assert None in results
    assert len(results) > 100


@pytest.mark.parametrize("file", KEMS)
def test_keys_to_encapsulate_to(file):
    algorithm, results = REGISTRY.get(KEMS[file]), set()
    for number, jwk, right in encapsulations(file):
        try:
            found = algorithm.load_public(jwk) is not None
        except InvalidKey:
            found = False
        assert found == right, number
        results.add(found)
    assert results == {True, False}
