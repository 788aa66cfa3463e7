"""Published vectors of ML-KEM, from the package cryptography-vectors."""

import pytest


@pytest.mark.parametrize("size", ["768", "1024"])
def test_key_generation_decapsulation_and_implicit_rejection(registry, vectors, unhex, size):
    algorithm, checked = registry.get(f"mlkem{size}"), 0
    for vector in vectors(f"asymmetric/MLKEM/kat_MLKEM_{size}.rsp"):
        key = algorithm.import_seed(unhex(vector["D"]) + unhex(vector["Z"]))
        assert algorithm.public_bytes(key) == unhex(vector["PK"])
        assert algorithm.decapsulate(key, unhex(vector["CT"])) == unhex(vector["SS"])
        assert algorithm.decapsulate(key, unhex(vector["CT_N"])) == unhex(vector["SS_N"])
        checked += 1
    assert checked == 1000
