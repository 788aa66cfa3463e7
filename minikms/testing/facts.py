"""The contract of an algorithm's class attributes."""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from minikms.errors import InvalidKey, UnsupportedOperation
from minikms.plugin.protocol import (
    CAPABILITIES,
    Capability,
    JwkImporter,
    KeyAlgorithm,
    KeyPairAlgorithm,
    Signer,
)
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.testing.base import Contract
from minikms.testing.damage import damaged_jwks, jwks_of_another_type, material_members


class FactsContract(Contract):
    """Class attributes, and properties derived from them."""

    def test_name_is_lower_case_letters_and_digits(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9]*", self.algorithm.name)

    def test_aliases_are_distinct_names(self) -> None:
        aliases = _texts(self.algorithm.aliases)
        matched = [re.sub("[-_]", "", alias.lower()) for alias in aliases]
        assert all(re.fullmatch("[a-z0-9]+", alias) for alias in matched)
        assert len(set(matched)) == len(matched)

    def test_facts_have_their_types(self) -> None:
        algorithm = self.algorithm
        assert isinstance(algorithm.kty, str)
        assert algorithm.kty
        assert all(_texts(algorithm.jose_algs))
        assert isinstance(algorithm.crv, str | None)
        assert isinstance(algorithm.did_key, bool)
        exports = {"export"} if isinstance(algorithm, JwkImporter) else set()
        assert algorithm.slow <= {*algorithm.operations, "generate", "import", *exports}
        assert isinstance(algorithm.opt_in, frozenset)
        assert algorithm.opt_in <= {*algorithm.key_operations}
        if isinstance(algorithm, Signer):
            assert all(_texts(algorithm.signing_algs))
        if algorithm.multicodec is not None:
            assert isinstance(algorithm.multicodec, int)
            assert isinstance(algorithm, KeyPairAlgorithm), "multicodec is only for public keys"

    def test_registry_takes_it_by_every_name(self) -> None:
        cls = type(self.algorithm)
        entry = EntryPoint(self.algorithm.name, f"{cls.__module__}:{cls.__qualname__}", GROUP)
        registry = AlgorithmRegistry([entry])
        for name in (self.algorithm.name, *self.algorithm.aliases):
            for written in (name, name.upper(), f"{name[0]}-_{name[1:]}"):
                assert type(registry.get(written)) is cls

    def test_operations_are_what_its_classes_grant(self) -> None:
        granted = [
            operation
            for base in type(self.algorithm).__mro__
            if base in CAPABILITIES
            for operation in vars(base)["grants"]
        ]
        assert sorted(self.algorithm.operations) == sorted(granted)
        of_keys = [name for name in self.algorithm.operations if not name.startswith("import-")]
        assert list(self.algorithm.key_operations) == of_keys

    def test_it_knows_the_jwks_of_its_keys(self) -> None:
        algorithm, key = self.algorithm, self.keys()[0]
        jwks = [algorithm.public_jwk(key)] if isinstance(algorithm, KeyPairAlgorithm) else []
        jwks += [algorithm.export_jwk(key)] if isinstance(algorithm, JwkImporter) else []
        for jwk in jwks:
            assert algorithm.owns_jwk(jwk) is True
            for other in jwks_of_another_type(jwk):
                assert _owns(algorithm, other) is False

    def test_no_other_algorithm_owns_its_jwks(self) -> None:
        algorithm, key = self.algorithm, self.keys()[0]
        jwks = [algorithm.public_jwk(key)] if isinstance(algorithm, KeyPairAlgorithm) else []
        jwks += [algorithm.export_jwk(key)] if isinstance(algorithm, JwkImporter) else []
        others = [entry.algorithm for entry in AlgorithmRegistry.from_installed()]
        for jwk in jwks:
            owners = {other.name for other in others if _owns(other, jwk)}
            assert owners <= {re.sub("[-_]", "", algorithm.name.lower())}

    def test_it_knows_a_damaged_jwk_or_not_but_does_not_fail(self) -> None:
        algorithm, key = self.algorithm, self.keys()[0]
        assert _owns(algorithm, {}) is False
        if isinstance(algorithm, KeyPairAlgorithm):
            jwk = algorithm.public_jwk(key)
            for damaged in damaged_jwks(jwk, material_members(jwk)):
                assert isinstance(_owns(algorithm, damaged), bool)

    @pytest.mark.parametrize("capability", CAPABILITIES)
    def test_undeclared_capability_refuses(self, capability: type[Capability]) -> None:
        if isinstance(self.algorithm, capability):
            assert self.algorithm.require(capability) is self.algorithm
        else:
            with pytest.raises(UnsupportedOperation):
                self.algorithm.require(capability)


def _texts(fact: Any) -> tuple[str, ...]:
    """Check that `fact` is a tuple of strings, and not a string in parentheses; return it."""
    assert isinstance(fact, tuple)
    assert all(isinstance(text, str) for text in fact)
    return fact


def _owns(algorithm: KeyAlgorithm[Any], jwk: Mapping[str, Any]) -> bool:
    try:
        return algorithm.owns_jwk(jwk)
    except InvalidKey:  # equivalent to no
        return False
