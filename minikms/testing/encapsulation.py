"""The contract of key encapsulation and of HPKE."""

from itertools import product
from typing import Any, ClassVar, Final

import pytest

from minikms.errors import DecryptionFailed
from minikms.plugin.protocol import HPKE_AEADS, HPKE_KDFS, Hpke, HpkeOptions, HpkeSealed, Kem
from minikms.testing.base import MESSAGE, Contract, Part, each_message
from minikms.testing.damage import flip_bit, near_misses

_OPTIONS: Final = [HpkeOptions(kdf, aead) for kdf, aead in product(HPKE_KDFS, HPKE_AEADS)]


class KemContract(Contract):
    """Key encapsulation (FIPS 203 section 3)."""

    applies_to: ClassVar[tuple[Part, ...]] = (Kem,)

    def decapsulated(self, key: Any, ciphertext: bytes) -> bytes | None:
        """Return the secret, or None if the ciphertext is refused."""
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


class HpkeContract(Contract):
    """HPKE in its base mode (RFC 9180 section 6.1)."""

    applies_to: ClassVar[tuple[Part, ...]] = (Hpke,)

    @each_message
    def test_what_is_sealed_opens(self, message: bytes) -> None:
        algorithm, (key, _) = self.declared(Hpke), self.keys()
        options = HpkeOptions(info=b"header")
        sealed = algorithm.hpke_seal(self.public(key), message, options)
        assert all(isinstance(part, bytes) for part in sealed)
        assert len(message) < 16 or message not in sealed.ciphertext
        assert algorithm.hpke_open(key, sealed, options) == message

    def test_each_encapsulated_key_is_new(self) -> None:
        algorithm, public = self.declared(Hpke), self.public(self.keys()[0])
        sealed = [algorithm.hpke_seal(public, MESSAGE, HpkeOptions()) for _ in range(20)]
        assert len({one.enc for one in sealed}) == 20

    @pytest.mark.parametrize("part", HpkeSealed._fields)
    def test_a_changed_part_does_not_open(self, part: str) -> None:
        algorithm, (key, _) = self.declared(Hpke), self.keys()
        sealed = algorithm.hpke_seal(self.public(key), MESSAGE, HpkeOptions())
        whole = getattr(sealed, part)
        for changed in (*near_misses(whole), bytes(len(whole)), b"\xff" * len(whole)):
            with pytest.raises(DecryptionFailed):
                algorithm.hpke_open(key, sealed._replace(**{part: changed}), HpkeOptions())

    def test_bytes_do_not_move_between_enc_and_ciphertext(self) -> None:
        algorithm, (key, _) = self.declared(Hpke), self.keys()
        enc, ciphertext = algorithm.hpke_seal(self.public(key), MESSAGE, HpkeOptions())
        for sealed in (
            HpkeSealed(enc[:-1], enc[-1:] + ciphertext),
            HpkeSealed(enc + ciphertext[:1], ciphertext[1:]),
            HpkeSealed(b"", enc + ciphertext),
            HpkeSealed(enc + ciphertext, b""),
        ):
            with pytest.raises(DecryptionFailed):
                algorithm.hpke_open(key, sealed, HpkeOptions())

    def test_other_options_do_not_open(self) -> None:
        algorithm, (key, _) = self.declared(Hpke), self.keys()
        public = self.public(key)
        for options in _OPTIONS:
            sealed = algorithm.hpke_seal(public, MESSAGE, options)
            opened = []
            for given in (*_OPTIONS, HpkeOptions(options.kdf, options.aead, b"header")):
                try:
                    opened.append((given, algorithm.hpke_open(key, sealed, given)))
                except DecryptionFailed:
                    continue
            assert opened == [(options, MESSAGE)]

    def test_other_aad_does_not_open(self) -> None:
        algorithm, (key, _) = self.declared(Hpke), self.keys()
        if not algorithm.hpke_aad:
            pytest.skip("it has no aad")
        options = HpkeOptions(info=b"header", aad=b"data")
        sealed = algorithm.hpke_seal(self.public(key), MESSAGE, options)
        assert algorithm.hpke_open(key, sealed, options) == MESSAGE
        for info, aad in ((b"header", b""), (b"header", b"date"), (b"", b"headerdata")):
            with pytest.raises(DecryptionFailed):
                algorithm.hpke_open(key, sealed, HpkeOptions(info=info, aad=aad))

    def test_another_key_does_not_open(self) -> None:
        algorithm, (key, other) = self.declared(Hpke), self.keys()
        sealed = algorithm.hpke_seal(self.public(key), MESSAGE, HpkeOptions())
        with pytest.raises(DecryptionFailed):
            algorithm.hpke_open(other, sealed, HpkeOptions())
