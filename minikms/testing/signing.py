"""The contract of signatures and of message authentication codes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from minikms.errors import InvalidKey, UnsupportedOption, ValidationFailed
from minikms.plugin.protocol import EcdsaSigner, Mac, SecretImporter, SignatureOptions, Signer
from minikms.testing.base import MESSAGE, MESSAGES, Contract, Part, each_message, signing_options
from minikms.testing.damage import flip_bit, near_misses

# The largest signature in bytes; SLH-DSA's has 49,856 (FIPS 205).
_LONGEST: Final = 1024 * 1024


class SignerContract(Contract):
    """Signatures with every `alg` of the algorithm, or without any."""

    applies_to: ClassVar[tuple[Part, ...]] = (Signer,)

    def signed(self, message: bytes) -> Iterator[tuple[Signer[Any, Any], SignatureOptions, bytes]]:
        """Return a signature over `message` for each `alg`."""
        signer = self.declared(Signer)
        for options in signing_options(signer):
            signature = signer.sign(self.keys()[0], message, options)
            size = len(signature)
            assert size <= _LONGEST, f"a signature of {size} bytes, which every answer would have"
            yield signer, options, signature

    @each_message
    def test_a_signature_verifies(self, message: bytes) -> None:
        public = self.public(self.keys()[0])
        for signer, options, signature in self.signed(message):
            assert isinstance(signature, bytes)
            assert signer.verify(public, message, signature, options) is True

    def test_many_are_signed_in_order(self) -> None:
        key, messages = self.keys()[0], [*MESSAGES.values(), MESSAGE]
        public, signer = self.public(key), self.declared(Signer)
        for options in signing_options(signer):
            signatures = signer.sign_many(key, messages, options)
            for message, signature in zip(messages, signatures, strict=True):
                assert signer.verify(public, message, signature, options) is True
            if self._prehashed(signer, options, b"") is UnsupportedOption:
                with pytest.raises(UnsupportedOption):
                    signer.sign_many(key, messages, replace(options, prehashed=True))

    @each_message
    def test_a_changed_message_does_not_verify(self, message: bytes) -> None:
        public = self.public(self.keys()[0])
        for signer, options, signature in self.signed(message):
            for changed in near_misses(message):
                assert signer.verify(public, changed, signature, options) is False

    def test_a_changed_signature_does_not_verify(self) -> None:
        public = self.public(self.keys()[0])
        for signer, options, signature in self.signed(MESSAGE):
            zeros, twice = bytes(len(signature)), signature * 2
            middle = len(signature) // 2
            # The same two numbers for code that splits r‖s without checking the length.
            padded = signature[:middle] + b"\0" + signature[middle:]
            for changed in (*near_misses(signature), zeros, twice, padded):
                assert signer.verify(public, MESSAGE, changed, options) is False

    def test_another_key_does_not_verify(self) -> None:
        public = self.public(self.keys()[1])
        for signer, options, signature in self.signed(MESSAGE):
            assert signer.verify(public, MESSAGE, signature, options) is False

    def test_a_digest_is_signed_like_its_message_or_refused(self) -> None:
        public = self.public(self.keys()[0])
        digests = [hashlib.new(name, MESSAGE).digest() for name in ("sha256", "sha384", "sha512")]
        digests.append(_mu(self.declared(Signer).public_bytes(self.keys()[0]), MESSAGE))
        for signer, options, whole in self.signed(MESSAGE):
            outcomes = [self._prehashed(signer, options, digest) for digest in digests]
            if UnsupportedOption in outcomes:
                assert set(outcomes) == {UnsupportedOption}
                continue
            taken = {
                digest: outcome
                for digest, outcome in zip(digests, outcomes, strict=True)
                if isinstance(outcome, bytes)
            }
            [digest] = [
                digest
                for digest, signature in taken.items()
                if signer.verify(public, MESSAGE, signature, options)
            ]
            assert {len(each) for each in taken} == {len(digest)}
            prehashed = replace(options, prehashed=True)
            assert signer.verify(public, digest, whole, prehashed) is True
            assert signer.verify(public, flip_bit(digest, 0), whole, prehashed) is False

    def _prehashed(
        self, signer: Signer[Any, Any], options: SignatureOptions, digest: bytes
    ) -> bytes | type[Exception]:
        """Return the signature over a digest, or the error, which verification must also raise."""
        key, prehashed = self.keys()[0], replace(options, prehashed=True)
        try:
            return signer.sign(key, digest, prehashed)
        except (UnsupportedOption, ValidationFailed) as exc:
            with pytest.raises(type(exc)):
                signer.verify(self.public(key), digest, bytes(64), prehashed)
            return type(exc)


def _mu(public: bytes, message: bytes) -> bytes:
    """Compute the mu of a message for ML-DSA with an empty context (FIPS 204 section 6.2)."""
    of_key = hashlib.shake_256(public).digest(64)
    return hashlib.shake_256(of_key + b"\0\0" + message).digest(64)


class EcdsaContract(Contract):
    """The DER form of ECDSA signatures (RFC 3279 section 2.2.3)."""

    applies_to: ClassVar[tuple[Part, ...]] = (EcdsaSigner,)

    def signature(self) -> tuple[EcdsaSigner[Any, Any], bytes]:
        """Return a signer and one of its signatures."""
        signer = self.declared(EcdsaSigner)
        return signer, signer.sign(self.keys()[0], MESSAGE, signing_options(signer)[0])

    def test_the_der_form_has_the_same_numbers(self) -> None:
        signer, signature = self.signature()
        size = len(signature) // 2
        smallest = bytes([*bytes(size - 1), 1])
        for raw in (signature, smallest + b"\xff" * size, b"\x80" + bytes(size - 1) + smallest):
            der = signer.to_der(raw)
            assert decode_dss_signature(der) == (
                int.from_bytes(raw[:size], "big"),
                int.from_bytes(raw[size:], "big"),
            )
            assert signer.from_der(der) == raw

    def test_what_is_no_der_signature_is_refused(self) -> None:
        signer, signature = self.signature()
        der, size = signer.to_der(signature), len(signature) // 2
        negative = bytes.fromhex("30060201ff020101"), bytes.fromhex("300602010102 01ff")
        long = encode_dss_signature(256**size, 1), encode_dss_signature(1, 256**size)
        alone = bytes.fromhex("3003020101")
        padded = bytes.fromhex("300702020001020101")
        for bad in (b"", b"0", signature, der[:-1], der + b"\0", *negative, *long, alone, padded):
            with pytest.raises(ValueError):  # noqa: PT011 - of any library
                signer.from_der(bad)


class MacContract(Contract):
    """Message authentication codes."""

    applies_to: ClassVar[tuple[Part, ...]] = (Mac,)

    @each_message
    def test_a_mac_verifies(self, message: bytes) -> None:
        algorithm, (key, _) = self.declared(Mac), self.keys()
        assert algorithm.verify_mac(key, message, algorithm.mac(key, message)) is True

    def test_a_changed_mac_does_not_verify(self) -> None:
        algorithm, (key, other) = self.declared(Mac), self.keys()
        mac = algorithm.mac(key, MESSAGE)
        for changed in (*near_misses(mac), bytes(len(mac)), mac * 2):
            assert algorithm.verify_mac(key, MESSAGE, changed) is False
        for changed in near_misses(MESSAGE):
            assert algorithm.verify_mac(key, changed, mac) is False
        assert algorithm.verify_mac(other, MESSAGE, mac) is False


class MacSecretContract(Contract):
    """Secrets of message authentication codes, of any length (RFC 7518 section 3.2)."""

    applies_to: ClassVar[tuple[Part, ...]] = (Mac, SecretImporter)

    def test_import_refuses_a_secret_shorter_than_the_code(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        size = len(self.declared(Mac).mac(key, MESSAGE))
        for short in (b"", bytes(1), bytes(range(size - 1))):
            with pytest.raises(InvalidKey):
                algorithm.import_secret(short)

    @pytest.mark.parametrize("times", [2, 4, 16])
    def test_all_of_a_longer_secret_counts_or_it_is_refused(self, times: int) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        secret = self.secret_of(key) * times
        try:
            long = algorithm.import_secret(secret)
        except InvalidKey:
            return
        assert self.same_key(long, self.algorithm.unpack(self.algorithm.pack(long)))
        for other in (key, *map(algorithm.import_secret, (flip_bit(secret, -1), secret[:-1]))):
            assert not self.same_key(long, other)
