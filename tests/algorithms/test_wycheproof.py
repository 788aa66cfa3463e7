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


def judged(cases, compute, *refusals, refused=None):
    """The results of all cases, each of which is among the right ones."""
    wrong, results = {}, []
    for number, *given, right in cases:
        try:
            found = compute(*given)
        except refusals:
            found = refused
        results.append(found)
        if found not in right:
            wrong[number] = found, right
    assert wrong == {}
    return results


@pytest.mark.parametrize("file", SIGNATURES)
def test_every_signature_of_wycheproof_is_judged_right(file):
    name, alg = SIGNATURES[file]
    algorithm, options = REGISTRY.get(name), SignatureOptions(alg)

    def verify(jwk, message, signature):
        return algorithm.verify(algorithm.load_public(jwk), message, signature, options)

    results = judged(signatures(file), verify, InvalidKey, refused=False)
    assert {*results} == {True, False}


@pytest.mark.parametrize("file", AGREEMENTS)
def test_every_agreement_of_wycheproof_is_judged_right(file):
    algorithm = REGISTRY.get(AGREEMENTS[file])
    cases = [*agreements(file)]
    keys = {jwk["d"]: jwk for _, jwk, *_ in cases}
    keys = {secret: algorithm.import_jwk(jwk) for secret, jwk in keys.items()}

    def derive(private, public):
        return algorithm.derive(keys[private["d"]], algorithm.load_public(public))

    results = {*judged(cases, derive, InvalidKey)}
    assert None in results
    assert len(results) > 100


@pytest.mark.parametrize("file", DECRYPTIONS)
def test_every_decryption_of_wycheproof_is_judged_right(file):
    algorithm = REGISTRY.get(DECRYPTIONS[file])
    cases = [*decryptions(file)]
    keys = {jwk["d"]: jwk for _, jwk, *_ in cases}
    keys = {secret: algorithm.import_jwk(jwk) for secret, jwk in keys.items()}

    def decrypt(private, ciphertext):
        return algorithm.decrypt(keys[private["d"]], ciphertext)

    results = judged(cases, decrypt, DecryptionFailed)
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("name", AEADS)
def test_every_aead_case_of_wycheproof_is_judged_right(name):
    algorithm = REGISTRY.get(name)

    def decrypt(key, sealed, aad):
        return algorithm.decrypt(algorithm.import_secret(key), sealed, aad)

    results = judged(aeads(name), decrypt, DecryptionFailed)
    assert None in results
    assert len(results) > 50


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_key_wrap_of_wycheproof_is_judged_right(name):
    algorithm = REGISTRY.get(WRAPPINGS[name][0])

    def unwrap(key, wrapped):
        return algorithm.unwrap(algorithm.import_secret(key), wrapped)

    results = judged(wrappings(name), unwrap, DecryptionFailed)
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("file", KEMS)
def test_every_encapsulation_of_wycheproof_is_judged_right(file):
    algorithm = REGISTRY.get(KEMS[file])

    def decapsulate(seed, ciphertext):
        return algorithm.decapsulate(algorithm.import_seed(seed), ciphertext)

    results = judged(decapsulations(file), decapsulate, DecryptionFailed, InvalidKey)
    assert None in results
    assert len(results) > 100


@pytest.mark.parametrize("file", KEMS)
def test_every_public_key_of_wycheproof_is_judged_right(file):
    algorithm = REGISTRY.get(KEMS[file])
    cases = [(number, jwk, (right,)) for number, jwk, right in encapsulations(file)]
    results = judged(
        cases, lambda jwk: algorithm.load_public(jwk) is not None, InvalidKey, refused=False
    )
    assert {*results} == {True, False}
