"""The contract of keys that are imported and exported."""

from typing import ClassVar

import pytest

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import InvalidKey
from minikms.plugin.protocol import JwkImporter, KeyPairAlgorithm, Mac, SecretImporter, SeedImporter
from minikms.testing.base import Contract, Part
from minikms.testing.damage import damaged_jwks, jwks_of_another_type, material_members


class JwkImporterContract(Contract):
    """Private keys as JWK."""

    applies_to: ClassVar[tuple[Part, ...]] = (JwkImporter,)

    def test_an_exported_jwk_comes_back(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        jwk = algorithm.export_jwk(key)
        assert all(isinstance(value, str) for value in jwk.values())
        assert self.same_key(key, algorithm.import_jwk(jwk))
        described = {**jwk, "kid": "key-1", "use": "sig", "key_ops": ["sign"], "ext": True}
        assert self.same_key(key, algorithm.import_jwk(described))

    def test_import_refuses_another_type(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        for other in jwks_of_another_type(algorithm.export_jwk(key)):
            # RFC 7517 section 4.4: a secret key may omit `alg` if the caller names it.
            if other.get("kty") != "oct" or "alg" in other:
                with pytest.raises(InvalidKey):
                    algorithm.import_jwk(other)

    def test_import_refuses_damaged_members(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        jwk = algorithm.export_jwk(key)
        # RFC 7518 section 6.3.2: of the private members of an RSA key only `d` is required.
        needed = (set(material_members(jwk)) - PRIVATE_MEMBERS) | ({"d", "k", "priv"} & jwk.keys())
        for damaged in damaged_jwks(jwk, needed, longer=not isinstance(algorithm, Mac)):
            with pytest.raises(InvalidKey):
                algorithm.import_jwk(damaged)


class PrivateJwkContract(Contract):
    """Private JWKs of key pairs, whose two parts must match."""

    applies_to: ClassVar[tuple[Part, ...]] = (JwkImporter, KeyPairAlgorithm)

    def test_private_jwk_has_the_public_one(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        public = self.declared(KeyPairAlgorithm).public_jwk(key)
        assert public.items() < algorithm.export_jwk(key).items()

    def test_import_refuses_a_public_jwk(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        with pytest.raises(InvalidKey):
            algorithm.import_jwk(self.declared(KeyPairAlgorithm).public_jwk(key))

    def test_import_refuses_parts_that_do_not_fit(self) -> None:
        algorithm, (key, other) = self.declared(JwkImporter), self.keys()
        public = self.declared(KeyPairAlgorithm).public_jwk(key)
        with pytest.raises(InvalidKey):
            algorithm.import_jwk({**algorithm.export_jwk(other), **public})


class SecretImporterContract(Contract):
    """Keys as secret bytes."""

    applies_to: ClassVar[tuple[Part, ...]] = (SecretImporter,)

    def test_secret_bytes_come_back(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        assert self.same_key(key, algorithm.import_secret(self.secret_of(key)))

    def test_import_refuses_secrets_of_another_length(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        secret = self.secret_of(key)
        # RFC 7518 section 3.2: an HMAC key is at least as long as the hash.
        others = () if isinstance(algorithm, Mac) else (secret[:-1], secret + b"\0", secret * 2)
        for wrong in (b"", *others):
            with pytest.raises(InvalidKey):
                algorithm.import_secret(wrong)


class SeedImporterContract(Contract):
    """Keys as a seed."""

    applies_to: ClassVar[tuple[Part, ...]] = (SeedImporter,)

    def test_a_seed_makes_one_key(self) -> None:
        algorithm, seed = self.declared(SeedImporter), bytes(range(self.seed_size))
        key = algorithm.import_seed(seed)
        assert self.same_key(key, algorithm.import_seed(seed))
        assert not self.same_key(key, algorithm.import_seed(seed[::-1]))

    def test_import_refuses_seeds_of_another_length(self) -> None:
        algorithm = self.declared(SeedImporter)
        for size in (0, self.seed_size - 1, self.seed_size + 1):
            with pytest.raises(InvalidKey):
                algorithm.import_seed(bytes(size))
