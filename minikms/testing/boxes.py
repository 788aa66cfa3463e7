"""The contract of boxes between key pairs, and of sealed boxes."""

from typing import Any, ClassVar

import pytest

from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import DecryptionFailed, InvalidKey
from minikms.plugin.protocol import Box, Boxed
from minikms.testing.base import MESSAGE, Contract, Part, each_message
from minikms.testing.damage import damaged_jwks, material_members, near_misses


class BoxContract(Contract):
    """Boxes."""

    applies_to: ClassVar[tuple[Part, ...]] = (Box,)

    def box_peer(self, key: Any) -> Any:
        """Return the public key of `key` in the form for boxes."""
        algorithm = self.declared(Box)
        return algorithm.load_box_peer(algorithm.public_jwk(key))

    @each_message
    def test_a_box_opens(self, message: bytes) -> None:
        algorithm, (key, other) = self.declared(Box), self.keys()
        boxed = algorithm.box(key, self.box_peer(other), message)
        assert all(isinstance(part, bytes) for part in boxed)
        assert len(message) < 16 or message not in boxed.ciphertext
        assert algorithm.open_box(other, self.box_peer(key), boxed) == message

    @each_message
    def test_a_sealed_box_opens(self, message: bytes) -> None:
        algorithm, (key, _) = self.declared(Box), self.keys()
        sealed = algorithm.seal(self.box_peer(key), message)
        assert isinstance(sealed, bytes)
        assert len(message) < 16 or message not in sealed
        assert algorithm.open_sealed(key, sealed) == message

    def test_each_box_is_new(self) -> None:
        algorithm, (key, other) = self.declared(Box), self.keys()
        peer = self.box_peer(other)
        assert len({algorithm.box(key, peer, MESSAGE).nonce for _ in range(100)}) == 100
        assert len({algorithm.seal(peer, MESSAGE) for _ in range(100)}) == 100

    @pytest.mark.parametrize("message", [b"", MESSAGE], ids=["empty", "short"])
    @pytest.mark.parametrize("part", Boxed._fields)
    def test_a_changed_box_does_not_open(self, message: bytes, part: str) -> None:
        algorithm, (key, other) = self.declared(Box), self.keys()
        boxed, sender = algorithm.box(key, self.box_peer(other), message), self.box_peer(key)
        for changed in near_misses(getattr(boxed, part)):
            with pytest.raises(DecryptionFailed):
                algorithm.open_box(other, sender, boxed._replace(**{part: changed}))

    def test_a_changed_sealed_box_does_not_open(self) -> None:
        algorithm, (key, other) = self.declared(Box), self.keys()
        sealed = algorithm.seal(self.box_peer(key), MESSAGE)
        for changed in (*near_misses(sealed), sealed[:16], sealed[:32], sealed[:48]):
            with pytest.raises(DecryptionFailed):
                algorithm.open_sealed(key, changed)
        with pytest.raises(DecryptionFailed):
            algorithm.open_sealed(other, sealed)

    def test_a_box_does_not_open_for_others(self) -> None:
        algorithm, (key, other) = self.declared(Box), self.keys()
        third = algorithm.generate()
        boxed = algorithm.box(key, self.box_peer(other), MESSAGE)
        for opener, sender in ((other, third), (third, key), (third, other)):
            with pytest.raises(DecryptionFailed):
                algorithm.open_box(opener, self.box_peer(sender), boxed)

    def test_a_peer_that_cannot_be_is_refused(self) -> None:
        algorithm = self.declared(Box)
        jwk = algorithm.public_jwk(self.keys()[0])
        refused = list(damaged_jwks(jwk, material_members(jwk)))
        if jwk["kty"] == "OKP":  # points of low order: RFC 7748 section 6, RFC 8032 section 5
            size = len(b64url_decode(jwk["x"]))
            points = (bytes(size), b"\1" + bytes(size - 1))
            refused += [{**jwk, "x": jose_b64url(point)} for point in points]
        for wrong in refused:
            with pytest.raises(InvalidKey):
                algorithm.load_box_peer(wrong)
