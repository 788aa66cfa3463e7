"""The contract of algorithms for JWE (RFC 7516, RFC 7518)."""

from collections.abc import Mapping
from typing import ClassVar, Final

import pytest

from minikms.errors import InvalidKey
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement, KeyWrap, PublicKeyEncryption
from minikms.testing.base import MESSAGE, Contract, Part
from minikms.testing.damage import damaged_jwks, jwks_of_another_type, material_members

# The sizes of nonce and tag in bytes for each `enc` (RFC 7518 sections 5.2 and 5.3,
# draft-amringer-jose-chacha-02 section 4.1).
_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "A128GCM": (12, 16),
    "A192GCM": (12, 16),
    "A256GCM": (12, 16),
    "A128CBC-HS256": (16, 16),
    "A192CBC-HS384": (16, 24),
    "A256CBC-HS512": (16, 32),
    "C20P": (12, 16),
    "XC20P": (24, 16),
}


class JweContract(Contract):
    """Class attributes for JWE."""

    applies_to: ClassVar[tuple[Part, ...]] = (Jwe,)

    def test_jwe_algs_are_distinct_texts(self) -> None:
        algs = self.declared(Jwe).jwe_algs
        assert isinstance(algs, tuple)
        assert all(isinstance(alg, str) and alg for alg in algs)
        assert len({*algs}) == len(algs)

    def test_jwe_work_is_that_of_its_other_operations(self) -> None:
        work = self.declared(Jwe).jwe_work
        assert {*work} == {*Jwe.grants}
        assert {*work.values()} <= {*self.algorithm.key_operations} - {*Jwe.grants}

    @pytest.mark.parametrize("size", [16, 24, 32, 48, 64])
    def test_a_content_key_of_any_length_comes_back(self, size: int) -> None:
        algorithm, (key, _) = self.declared(Jwe), self.keys()
        content_key = bytes(range(size))
        if isinstance(algorithm, KeyWrap):
            assert algorithm.unwrap(key, algorithm.wrap(key, content_key)) == content_key
        if isinstance(algorithm, PublicKeyEncryption):
            encrypted = algorithm.encrypt(self.public(key), content_key)
            assert algorithm.decrypt(key, encrypted) == content_key


class DirectContract(Contract):
    """Keys that encrypt the content of a JWE themselves."""

    applies_to: ClassVar[tuple[Part, ...]] = (Aead, Jwe)

    def test_its_nonces_and_tags_are_as_long_as_its_enc_has_them(self) -> None:
        algorithm, (key, _) = self.declared(Aead), self.keys()
        sealed = algorithm.encrypt(key, MESSAGE, b"header")
        for enc in _SIZES.keys() & {*algorithm.jose_algs}:
            assert (len(sealed.nonce), len(sealed.tag)) == _SIZES[enc]


class EphemeralKeyContract(Contract):
    """An ephemeral key for one JWE; its public JWK is in the header as `epk`."""

    applies_to: ClassVar[tuple[Part, ...]] = (KeyAgreement, Jwe)

    def test_the_reader_of_an_epk_agrees_on_the_same_secret(self) -> None:
        algorithm, (key, _) = self.declared(KeyAgreement), self.keys()
        new = algorithm.generate()
        epk = {"kid": "1", "use": "enc", **algorithm.public_jwk(new)}
        peer = algorithm.load_peer(algorithm.public_jwk(key))
        assert algorithm.derive(new, peer) == algorithm.derive(key, algorithm.load_peer(epk))

    def test_an_epk_that_is_none_is_refused(self) -> None:
        algorithm, (key, _) = self.declared(KeyAgreement), self.keys()
        epk = algorithm.public_jwk(key)
        for bad in (*damaged_jwks(epk, material_members(epk)), *jwks_of_another_type(epk), {}):
            with pytest.raises(InvalidKey):
                algorithm.load_peer(bad)
