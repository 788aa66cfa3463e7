"""The contract of key encapsulation."""

from typing import Any, ClassVar

import pytest

from minikms.errors import DecryptionFailed
from minikms.plugin.protocol import Kem
from minikms.testing.base import Contract, Part
from minikms.testing.damage import flip_bit, near_misses


class KemContract(Contract):
    """Key encapsulation (FIPS 203 section 3)."""

    applies_to: ClassVar[tuple[Part, ...]] = (Kem,)

    def decapsulated(self, key: Any, ciphertext: bytes) -> bytes | None:
        """The secret, or None where the ciphertext is refused."""
        try:
            return self.declared(Kem).decapsulate(key, ciphertext)
        except DecryptionFailed:
            return None

    def test_both_sides_have_the_secret(self) -> None:
        algorithm, (key, _) = self.declared(Kem), self.keys()
        made = algorithm.encapsulate(self.public(key))
        assert isinstance(made.ciphertext, bytes)
        assert isinstance(made.secret, bytes)
        assert len(made.secret) >= 32
        assert algorithm.decapsulate(key, made.ciphertext) == made.secret

    def test_each_secret_is_new(self) -> None:
        algorithm, public = self.declared(Kem), self.public(self.keys()[0])
        made = [algorithm.encapsulate(public) for _ in range(100)]
        assert len({one.secret for one in made}) == 100
        assert len({one.ciphertext for one in made}) == 100

    def test_no_encapsulated_secret_in_repr(self) -> None:
        made = self.declared(Kem).encapsulate(self.public(self.keys()[0]))
        assert repr(made.secret)[2:-1] not in repr(made)

    def test_a_ciphertext_that_does_not_fit_does_not_give_the_secret(self) -> None:
        algorithm, (key, other) = self.declared(Kem), self.keys()
        made = algorithm.encapsulate(self.public(key))
        assert self.decapsulated(other, made.ciphertext) != made.secret
        for changed in near_misses(made.ciphertext):
            assert self.decapsulated(key, changed) != made.secret

    def test_a_ciphertext_that_does_not_fit_always_gives_the_same(self) -> None:
        algorithm, (key, _) = self.declared(Kem), self.keys()
        ciphertext = flip_bit(algorithm.encapsulate(self.public(key)).ciphertext, 0)
        again = self.algorithm.unpack(self.algorithm.pack(key))
        assert self.decapsulated(key, ciphertext) == self.decapsulated(again, ciphertext)

    def test_a_ciphertext_of_another_length_is_refused(self) -> None:
        algorithm, (key, _) = self.declared(Kem), self.keys()
        ciphertext = algorithm.encapsulate(self.public(key)).ciphertext
        for wrong in (b"", ciphertext[:-1], ciphertext[1:], ciphertext + b"\0", ciphertext * 2):
            with pytest.raises(DecryptionFailed):
                algorithm.decapsulate(key, wrong)
