"""The contract of encryption, key wrapping and key agreement."""

from typing import Any, ClassVar

import pytest

from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import DecryptionFailed, InvalidKey, ValidationFailed
from minikms.plugin.protocol import Aead, KeyAgreement, KeyWrap, PublicKeyEncryption, Sealed
from minikms.testing.base import MESSAGE, Contract, Part, each_message
from minikms.testing.damage import near_misses


class AeadContract(Contract):
    """Authenticated encryption."""

    applies_to: ClassVar[tuple[Part, ...]] = (Aead,)

    @each_message
    @pytest.mark.parametrize("aad", [b"", b"header"])
    def test_what_is_encrypted_decrypts(self, message: bytes, aad: bytes) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        sealed = aead.encrypt(key, message, aad)
        assert all(isinstance(part, bytes) for part in sealed)
        assert len(message) < 16 or message not in sealed.ciphertext
        assert aead.decrypt(key, sealed, aad) == message

    def test_each_nonce_is_new(self) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        assert len({aead.encrypt(key, MESSAGE, b"").nonce for _ in range(100)}) == 100

    @pytest.mark.parametrize("message", [b"", MESSAGE], ids=["empty", "short"])
    @pytest.mark.parametrize("part", Sealed._fields)
    def test_a_changed_part_does_not_decrypt(self, message: bytes, part: str) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        sealed = aead.encrypt(key, message, b"header")
        for changed in near_misses(getattr(sealed, part)):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed._replace(**{part: changed}), b"header")

    def test_bytes_do_not_move_between_ciphertext_and_tag(self) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        ciphertext, nonce, tag = aead.encrypt(key, MESSAGE, b"")
        for sealed in (
            Sealed(ciphertext[:-1], nonce, ciphertext[-1:] + tag),
            Sealed(ciphertext + tag[:1], nonce, tag[1:]),
        ):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed, b"")

    def test_another_context_does_not_decrypt(self) -> None:
        aead, (key, other) = self.declared(Aead), self.keys()
        sealed = aead.encrypt(key, MESSAGE, b"header")
        for changed in near_misses(b"header"):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed, changed)
        with pytest.raises(DecryptionFailed):
            aead.decrypt(other, sealed, b"header")


class PublicKeyEncryptionContract(Contract):
    """Encryption to a public key."""

    applies_to: ClassVar[tuple[Part, ...]] = (PublicKeyEncryption,)

    @pytest.mark.parametrize("size", [0, 1, 16, 32, 64])
    def test_what_is_encrypted_to_a_key_decrypts(self, size: int) -> None:
        algorithm, (key, other) = self.declared(PublicKeyEncryption), self.keys()
        plaintext = bytes(range(size))
        ciphertext = algorithm.encrypt(self.public(key), plaintext)
        assert isinstance(ciphertext, bytes)
        assert algorithm.decrypt(key, ciphertext) == plaintext
        with pytest.raises(DecryptionFailed):
            algorithm.decrypt(other, ciphertext)

    def test_each_ciphertext_is_new(self) -> None:
        algorithm, public = self.declared(PublicKeyEncryption), self.public(self.keys()[0])
        assert len({algorithm.encrypt(public, MESSAGE) for _ in range(10)}) == 10

    def test_a_changed_ciphertext_does_not_decrypt(self) -> None:
        algorithm, (key, _) = self.declared(PublicKeyEncryption), self.keys()
        ciphertext = algorithm.encrypt(self.public(key), MESSAGE)
        others = (bytes(len(ciphertext)), b"\xff" * len(ciphertext))
        for changed in (*near_misses(ciphertext), b"\0" + ciphertext, *others):
            with pytest.raises(DecryptionFailed):
                algorithm.decrypt(key, changed)

    def test_a_long_plaintext_decrypts_or_is_refused(self) -> None:
        algorithm, (key, _) = self.declared(PublicKeyEncryption), self.keys()
        for size in (128, 256, 512, 100_000):
            try:
                ciphertext = algorithm.encrypt(self.public(key), bytes(size))
            except ValidationFailed:
                continue
            assert algorithm.decrypt(key, ciphertext) == bytes(size)


class KeyWrapContract(Contract):
    """Keys wrapped with a key."""

    applies_to: ClassVar[tuple[Part, ...]] = (KeyWrap,)

    @pytest.mark.parametrize("size", [16, 24, 32, 33, 64])
    def test_what_is_wrapped_unwraps(self, size: int) -> None:
        algorithm, (key, other) = self.declared(KeyWrap), self.keys()
        secret = bytes(range(size))
        wrapped = algorithm.wrap(key, secret)
        assert secret not in wrapped
        assert algorithm.unwrap(key, wrapped) == secret
        with pytest.raises(DecryptionFailed):
            algorithm.unwrap(other, wrapped)

    @pytest.mark.parametrize("size", [16, 33])
    def test_a_changed_wrapping_does_not_unwrap(self, size: int) -> None:
        algorithm, (key, _) = self.declared(KeyWrap), self.keys()
        for changed in near_misses(algorithm.wrap(key, bytes(range(size)))):
            with pytest.raises(DecryptionFailed):
                algorithm.unwrap(key, changed)

    @pytest.mark.parametrize("size", [0, 1, 8, 15])
    def test_what_is_too_short_to_be_a_key_is_not_wrapped(self, size: int) -> None:
        algorithm, (key, _) = self.declared(KeyWrap), self.keys()
        with pytest.raises(InvalidKey):
            algorithm.wrap(key, bytes(size))


class KeyAgreementContract(Contract):
    """Key agreement."""

    applies_to: ClassVar[tuple[Part, ...]] = (KeyAgreement,)

    def peer(self, key: Any) -> Any:
        """Return the public key of `key` in the form for `derive`."""
        algorithm = self.declared(KeyAgreement)
        return algorithm.load_peer(algorithm.public_jwk(key))

    def test_both_sides_agree(self) -> None:
        algorithm, (key, other) = self.declared(KeyAgreement), self.keys()
        secret = algorithm.derive(key, self.peer(other))
        assert isinstance(secret, bytes)
        assert len(secret) >= 32
        assert secret == algorithm.derive(other, self.peer(key))

    def test_another_peer_gives_another_secret(self) -> None:
        algorithm, (key, other) = self.declared(KeyAgreement), self.keys()
        secrets = [algorithm.derive(key, self.peer(peer)) for peer in (key, other)]
        assert secrets[0] != secrets[1]

    def test_a_point_of_low_order_is_refused(self) -> None:
        algorithm = self.declared(KeyAgreement)
        jwk = algorithm.public_jwk(self.keys()[0])
        if jwk["kty"] == "OKP":  # RFC 7748 section 6; only OKP keys have such points
            size = len(b64url_decode(jwk["x"]))
            for u in (bytes(size), b"\1" + bytes(size - 1)):
                with pytest.raises(InvalidKey):  # noqa: PT012 - of either
                    peer = algorithm.load_peer({**jwk, "x": jose_b64url(u)})
                    algorithm.derive(self.keys()[0], peer)
