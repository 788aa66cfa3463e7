"""Published vectors of ML-DSA (FIPS 204), from the package cryptography-vectors."""

import pytest

from minikms.encodings import jose_b64url
from minikms.plugin import SignatureOptions


@pytest.mark.parametrize("level", ["44", "65", "87"])
def test_ml_dsa_gives_the_known_answers(registry, vectors, unhex, level):
    algorithm, alg = registry.get(f"mldsa{level}"), f"ML-DSA-{level}"
    checked = 0
    for vector in vectors(f"asymmetric/MLDSA/kat_MLDSA_{level}_det_pure.rsp"):
        key = algorithm.import_seed(unhex(vector["XI"]))
        jwk = {"kty": "AKP", "alg": alg, "pub": jose_b64url(unhex(vector["PK"]))}
        assert algorithm.public_jwk(key) == jwk
        private = jwk | {"priv": jose_b64url(unhex(vector["XI"]))}
        assert algorithm.export_jwk(key) == algorithm.export_jwk(algorithm.import_jwk(private))
        message, context = unhex(vector["MSG"]), unhex(vector["CTX"])
        signature = unhex(vector["SM"])[: -len(message)]
        public = algorithm.load_public(jwk)
        public.verify(signature, message, context)
        # RFC 9964 section 4: the context is empty, so these are not the service's.
        assert context
        assert not algorithm.verify(public, message, signature, SignatureOptions(alg))
        assert algorithm.verify(
            public,
            message,
            algorithm.sign(key, message, SignatureOptions(alg)),
            SignatureOptions(alg),
        )
        checked += 1
    assert checked == 100
