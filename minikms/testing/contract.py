"""The contract of an algorithm, in parts: one for its facts, one for each thing that it can do."""
# ruff: noqa: S101 - a test suite asserts

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import pytest
from aries_askar import Key as AskarKey
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from minikms.encodings import PRIVATE_MEMBERS, b64url_decode, jose_b64url, thumbprint
from minikms.errors import (
    DecryptionFailed,
    InvalidKey,
    UnsupportedOperation,
    UnsupportedOption,
    ValidationFailed,
)
from minikms.plugin.protocol import (
    CAPABILITIES,
    Aead,
    Capability,
    EcdsaSigner,
    JwkImporter,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    KeyWrap,
    Mac,
    Sealed,
    SecretImporter,
    SeedImporter,
    Signer,
    Stored,
)
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.records import KeyRecord, KeyRef
from minikms.store.keys import DEFAULT_PROFILE, KeyStore

PartT = TypeVar("PartT", bound=KeyAlgorithm | Capability)

Part: TypeAlias = type[KeyAlgorithm] | type[Capability]

MESSAGES: Final = {"empty": b"", "short": b"hello", "long": bytes(range(256)) * 400}
_MESSAGE: Final = MESSAGES["short"]

# What identifies the type of a JWK; its other members are bytes in base64url.
_TYPE_MEMBERS: Final = ("kty", "crv", "alg")

# The prime of the field, and the bytes of a public key (RFC 8032 sections 5.1 and 5.2).
_EDWARDS: Final = {"Ed25519": (2**255 - 19, 32), "Ed448": (2**448 - 2**224 - 1, 57)}

each_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


class _Contract:
    """What the parts of the contract share."""

    algorithm: ClassVar[KeyAlgorithm]
    """The algorithm under test."""
    seed_size: ClassVar[int] = 32
    """Bytes of a seed, where the algorithm is a SeedImporter."""

    def secret_of(self, key: Any) -> bytes:
        """The bytes that `import_secret` makes `key` from; override it where the guess is wrong."""
        stored = self.algorithm.pack(key)
        if isinstance(stored, AskarKey):
            return stored.get_secret_bytes()
        if isinstance(self.algorithm, JwkImporter):
            jwk = self.algorithm.export_jwk(key)
            return b64url_decode(next(jwk[name] for name in ("d", "k", "priv") if name in jwk))
        return stored

    @classmethod
    @cache
    def keys(cls) -> tuple[Any, Any]:
        """Two keys, made once a class: some algorithms take long."""
        return cls.algorithm.generate(), cls.algorithm.generate()

    def declared(self, part: type[PartT]) -> PartT:
        """The algorithm as `part`, which it is where the test applies."""
        assert isinstance(self.algorithm, part)
        return self.algorithm

    def public(self, key: Any) -> Any:
        """The public key of `key`, by way of its JWK."""
        pair = self.declared(KeyPairAlgorithm)
        return pair.load_public(pair.public_jwk(key))

    def same_key(self, one: Any, two: Any) -> bool:
        """Whether two keys cannot be told apart by anything that the algorithm does with them."""
        algorithm = self.algorithm
        same = []
        if isinstance(algorithm, KeyPairAlgorithm):
            same.append(algorithm.public_jwk(one) == algorithm.public_jwk(two))
            same.append(algorithm.public_bytes(one) == algorithm.public_bytes(two))
        if isinstance(algorithm, Signer):
            alg = _names(algorithm)[0]
            signature = algorithm.sign(two, _MESSAGE, alg, False)
            same.append(algorithm.verify(self.public(one), _MESSAGE, signature, alg, False))
        if isinstance(algorithm, Mac):
            same.append(algorithm.mac(one, _MESSAGE) == algorithm.mac(two, _MESSAGE))
        try:
            if isinstance(algorithm, Aead):
                sealed = algorithm.encrypt(one, _MESSAGE, b"")
                same.append(algorithm.decrypt(two, sealed, b"") == _MESSAGE)
            if isinstance(algorithm, KeyWrap):
                wrapped = algorithm.wrap(one, bytes(16))
                same.append(algorithm.unwrap(two, wrapped) == bytes(16))
        except DecryptionFailed:
            same.append(False)
        if isinstance(algorithm, KeyAgreement):
            peer = self.public(algorithm.generate())
            same.append(algorithm.derive(one, peer) == algorithm.derive(two, peer))
        if isinstance(algorithm, JwkImporter):
            same.append(algorithm.export_jwk(one) == algorithm.export_jwk(two))
        return bool(same) and all(same)


class FactsContract(_Contract):
    """What the class states, and what is derived from it."""

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
        if isinstance(algorithm, Signer):
            assert all(_texts(algorithm.signing_algs))
        if algorithm.multicodec is not None:
            assert isinstance(algorithm.multicodec, int)
            assert isinstance(algorithm, KeyPairAlgorithm), "multicodec is of public keys"

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
            for other in _of_another_type(jwk):
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
            for damaged in _damaged(jwk, _material(jwk)):
                assert isinstance(_owns(algorithm, damaged), bool)

    @pytest.mark.parametrize("capability", CAPABILITIES)
    def test_undeclared_capability_refuses(self, capability: type[Capability]) -> None:
        if isinstance(self.algorithm, capability):
            assert self.algorithm.require(capability) is self.algorithm
        else:
            with pytest.raises(UnsupportedOperation):
                self.algorithm.require(capability)


class KeyContract(_Contract):
    """Keys are made, kept, and found again as they were."""

    def test_two_generated_keys_differ(self) -> None:
        key, other = self.keys()
        assert not self.same_key(key, other)

    def test_a_packed_key_comes_back(self) -> None:
        key, _ = self.keys()
        stored = self.algorithm.pack(key)
        assert isinstance(stored, bytes | AskarKey)
        assert self.same_key(key, self.algorithm.unpack(stored))

    def test_a_stored_key_comes_back(self) -> None:
        key, _ = self.keys()
        stored = asyncio.run(_through_the_store(self.algorithm, self.algorithm.pack(key)))
        assert self.same_key(key, self.algorithm.unpack(stored))

    def test_no_secret_in_repr(self) -> None:
        key, _ = self.keys()
        secret = self.secret_of(key)
        # Of a secret with a quote in it, bytes and a bytearray show that one differently.
        shapes = (repr(secret)[2:-1], repr(bytearray(secret))[12:-2])
        forms = (secret.hex(), jose_b64url(secret), *shapes, str(_number(secret)))
        stored = self.algorithm.pack(key)
        shown = f"{key!r} {key} {'' if isinstance(stored, bytes) else repr(stored)}"
        assert not [form for form in forms if form.lower() in shown.lower()]


class PublicContract(_Contract):
    """The public part of a key pair."""

    def test_public_jwk_is_valid(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        assert (jwk["kty"], jwk.get("crv")) == (pair.kty, pair.crv)
        assert all(isinstance(value, str) for value in jwk.values())
        assert "kid" not in jwk
        for name in _material(jwk):
            assert jose_b64url(b64url_decode(jwk[name])) == jwk[name], "no padding"
        assert thumbprint(jwk)

    def test_public_jwk_has_no_private_member(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        assert not PRIVATE_MEMBERS & pair.public_jwk(self.keys()[0]).keys()

    def test_public_forms_are_of_the_key(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        key, other = self.keys()
        assert pair.public_jwk(key) == pair.public_jwk(key) != pair.public_jwk(other)
        assert pair.public_bytes(key) == pair.public_bytes(key) != pair.public_bytes(other)
        assert isinstance(pair.public_bytes(key), bytes)

    def test_public_bytes_are_those_of_the_jwk(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        key = self.keys()[0]
        jwk, data = pair.public_jwk(key), pair.public_bytes(key)
        raw = {name: b64url_decode(jwk[name]) for name in _material(jwk)}
        match pair.kty:
            case "OKP":
                assert data == raw["x"]
            case "AKP":
                assert data == raw["pub"]
            case "RSA":
                public: Any = ser.load_der_public_key(data)
                numbers = public.public_numbers()
                assert (numbers.n, numbers.e) == (_number(raw["n"]), _number(raw["e"]))
                assert data == public.public_bytes(ser.Encoding.DER, ser.PublicFormat.PKCS1)
            case "EC" if not jwk["crv"].startswith("BLS"):  # which SEC 1 section 2.3.3 is not for
                assert data == bytes([2 + (raw["y"][-1] & 1)]) + raw["x"]

    def test_load_public_takes_a_public_jwk(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        assert pair.load_public(jwk) is not None
        assert pair.load_public({**jwk, "kid": "key-1", "use": "sig"}) is not None

    def test_public_forms_of_a_public_key_are_the_same(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        key = self.keys()[0]
        public = pair.load_public(pair.public_jwk(key))
        assert pair.public_jwk(public) == pair.public_jwk(key)
        assert pair.public_bytes(public) == pair.public_bytes(key)

    def test_load_public_refuses_another_type(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        for other in _of_another_type(jwk):
            with pytest.raises(InvalidKey):
                pair.load_public(other)

    def test_load_public_refuses_damaged_members(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        for damaged in _damaged(jwk, _material(jwk)):
            with pytest.raises(InvalidKey):
                pair.load_public(damaged)

    def test_load_public_refuses_a_point_off_the_curve(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        if jwk["kty"] == "EC":  # the other kinds have no equation to check
            y = b64url_decode(jwk["y"])
            with pytest.raises(InvalidKey):
                pair.load_public({**jwk, "y": jose_b64url(_flipped(y, len(y) - 1))})

    def test_load_public_refuses_what_is_no_point_of_an_edwards_curve(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        if jwk.get("crv") not in _EDWARDS:  # RFC 8032 sections 5.1.3 and 5.2.3
            return
        p, size = _EDWARDS[jwk["crv"]]

        def is_taken(y: int) -> bool:
            try:
                pair.load_public({**jwk, "x": jose_b64url(y.to_bytes(size, "little"))})
            except InvalidKey:
                return False
            return True

        # Not reduced, and the points of low order that both curves have.
        assert not [y for y in (0, 1, p - 1, p, p + 1, p + 3, p + 4) if is_taken(y)]
        # Of all other y, only every second one is on the curve.
        assert len({is_taken(y) for y in range(2, 66)}) == 2


class SignerContract(_Contract):
    """Signatures, with every `alg` that the algorithm signs for, or with none."""

    def signed(self, message: bytes) -> Iterator[tuple[Signer, str, bytes]]:
        """A signature over `message` for each `alg`."""
        signer = self.declared(Signer)
        for alg in _names(signer):
            yield signer, alg, signer.sign(self.keys()[0], message, alg, False)

    @each_message
    def test_a_signature_verifies(self, message: bytes) -> None:
        public = self.public(self.keys()[0])
        for signer, alg, signature in self.signed(message):
            assert isinstance(signature, bytes)
            assert signer.verify(public, message, signature, alg, False) is True

    @each_message
    def test_a_changed_message_does_not_verify(self, message: bytes) -> None:
        public = self.public(self.keys()[0])
        for signer, alg, signature in self.signed(message):
            for changed in _changed(message):
                assert signer.verify(public, changed, signature, alg, False) is False

    def test_a_changed_signature_does_not_verify(self) -> None:
        public = self.public(self.keys()[0])
        for signer, alg, signature in self.signed(_MESSAGE):
            zeros, twice = bytes(len(signature)), signature * 2
            middle = len(signature) // 2
            # The same two numbers to whoever splits r‖s without a look at the length.
            padded = signature[:middle] + b"\0" + signature[middle:]
            for changed in (*_changed(signature), zeros, twice, padded):
                assert signer.verify(public, _MESSAGE, changed, alg, False) is False

    def test_another_key_does_not_verify(self) -> None:
        public = self.public(self.keys()[1])
        for signer, alg, signature in self.signed(_MESSAGE):
            assert signer.verify(public, _MESSAGE, signature, alg, False) is False

    def test_a_digest_is_signed_like_its_message_or_refused(self) -> None:
        public = self.public(self.keys()[0])
        digests = [hashlib.new(name, _MESSAGE).digest() for name in ("sha256", "sha384", "sha512")]
        for signer, alg, whole in self.signed(_MESSAGE):
            outcomes = [self._prehashed(signer, alg, digest) for digest in digests]
            if UnsupportedOption in outcomes:
                assert set(outcomes) == {UnsupportedOption}
                continue
            [(digest, signature)] = [
                (digest, outcome)
                for digest, outcome in zip(digests, outcomes, strict=True)
                if isinstance(outcome, bytes)
            ]
            assert signer.verify(public, _MESSAGE, signature, alg, False) is True
            assert signer.verify(public, digest, whole, alg, True) is True
            assert signer.verify(public, _flipped(digest, 0), whole, alg, True) is False

    def _prehashed(self, signer: Signer, alg: str, digest: bytes) -> bytes | type[Exception]:
        """The signature over a digest, or how it is refused: verifying must refuse it alike."""
        try:
            return signer.sign(self.keys()[0], digest, alg, True)
        except (UnsupportedOption, ValidationFailed) as exc:
            with pytest.raises(type(exc)):
                signer.verify(self.public(self.keys()[0]), digest, bytes(64), alg, True)
            return type(exc)


class EcdsaContract(_Contract):
    """The DER form of a signature that is a pair of numbers (RFC 3279 section 2.2.3)."""

    def signature(self) -> tuple[EcdsaSigner, bytes]:
        """A signer, and a signature of it."""
        signer = self.declared(EcdsaSigner)
        return signer, signer.sign(self.keys()[0], _MESSAGE, _names(signer)[0], False)

    def test_the_der_form_has_the_same_numbers(self) -> None:
        signer, signature = self.signature()
        size = len(signature) // 2
        smallest = bytes([*bytes(size - 1), 1])
        for raw in (signature, smallest + b"\xff" * size, b"\x80" + bytes(size - 1) + smallest):
            der = signer.to_der(raw)
            assert decode_dss_signature(der) == (_number(raw[:size]), _number(raw[size:]))
            assert signer.from_der(der) == raw

    def test_what_is_no_der_signature_is_refused(self) -> None:
        signer, signature = self.signature()
        der, size = signer.to_der(signature), len(signature) // 2
        negative = bytes.fromhex("30060201ff020101"), bytes.fromhex("300602010102 01ff")
        long = encode_dss_signature(256**size, 1), encode_dss_signature(1, 256**size)
        alone = bytes.fromhex("3003020101")
        padded = bytes.fromhex("300702020001020101")
        for bad in (b"", b"0", signature, der[:-1], der + b"\0", *negative, *long, alone, padded):
            with pytest.raises(ValueError):  # noqa: PT011 - of whatever library
                signer.from_der(bad)


class MacContract(_Contract):
    """Message authentication codes."""

    @each_message
    def test_a_mac_verifies(self, message: bytes) -> None:
        algorithm, (key, _) = self.declared(Mac), self.keys()
        assert algorithm.verify_mac(key, message, algorithm.mac(key, message)) is True

    def test_a_changed_mac_does_not_verify(self) -> None:
        algorithm, (key, other) = self.declared(Mac), self.keys()
        mac = algorithm.mac(key, _MESSAGE)
        for changed in (*_changed(mac), bytes(len(mac)), mac * 2):
            assert algorithm.verify_mac(key, _MESSAGE, changed) is False
        for changed in _changed(_MESSAGE):
            assert algorithm.verify_mac(key, changed, mac) is False
        assert algorithm.verify_mac(other, _MESSAGE, mac) is False


class MacSecretContract(_Contract):
    """The secret of an authentication code, whose length may be free (RFC 7518 section 3.2)."""

    def test_import_refuses_a_secret_shorter_than_the_code(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        size = len(self.declared(Mac).mac(key, _MESSAGE))
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
        for other in (key, *map(algorithm.import_secret, (_flipped(secret, -1), secret[:-1]))):
            assert not self.same_key(long, other)


class AeadContract(_Contract):
    """Authenticated encryption."""

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
        assert len({aead.encrypt(key, _MESSAGE, b"").nonce for _ in range(100)}) == 100

    @pytest.mark.parametrize("message", [b"", _MESSAGE], ids=["empty", "short"])
    @pytest.mark.parametrize("part", Sealed._fields)
    def test_a_changed_part_does_not_decrypt(self, message: bytes, part: str) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        sealed = aead.encrypt(key, message, b"header")
        for changed in _changed(getattr(sealed, part)):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed._replace(**{part: changed}), b"header")

    def test_bytes_do_not_move_between_ciphertext_and_tag(self) -> None:
        aead, (key, _) = self.declared(Aead), self.keys()
        ciphertext, nonce, tag = aead.encrypt(key, _MESSAGE, b"")
        for sealed in (
            Sealed(ciphertext[:-1], nonce, ciphertext[-1:] + tag),
            Sealed(ciphertext + tag[:1], nonce, tag[1:]),
        ):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed, b"")

    def test_another_context_does_not_decrypt(self) -> None:
        aead, (key, other) = self.declared(Aead), self.keys()
        sealed = aead.encrypt(key, _MESSAGE, b"header")
        for changed in _changed(b"header"):
            with pytest.raises(DecryptionFailed):
                aead.decrypt(key, sealed, changed)
        with pytest.raises(DecryptionFailed):
            aead.decrypt(other, sealed, b"header")


class KeyWrapContract(_Contract):
    """Keys wrapped with a key."""

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
        for changed in _changed(algorithm.wrap(key, bytes(range(size)))):
            with pytest.raises(DecryptionFailed):
                algorithm.unwrap(key, changed)

    @pytest.mark.parametrize("size", [0, 1, 8, 15])
    def test_what_is_too_short_to_be_a_key_is_not_wrapped(self, size: int) -> None:
        algorithm, (key, _) = self.declared(KeyWrap), self.keys()
        with pytest.raises(InvalidKey):
            algorithm.wrap(key, bytes(size))


class KeyAgreementContract(_Contract):
    """Key agreement."""

    def test_both_sides_agree(self) -> None:
        algorithm, (key, other) = self.declared(KeyAgreement), self.keys()
        secret = algorithm.derive(key, self.public(other))
        assert isinstance(secret, bytes)
        assert len(secret) >= 32
        assert secret == algorithm.derive(other, self.public(key))

    def test_another_peer_gives_another_secret(self) -> None:
        algorithm, (key, other) = self.declared(KeyAgreement), self.keys()
        secrets = [algorithm.derive(key, self.public(peer)) for peer in (key, other)]
        assert secrets[0] != secrets[1]

    def test_a_point_of_low_order_is_refused(self) -> None:
        algorithm = self.declared(KeyAgreement)
        jwk = algorithm.public_jwk(self.keys()[0])
        if jwk["kty"] == "OKP":  # RFC 7748 section 6; the other kinds have no such point
            size = len(b64url_decode(jwk["x"]))
            for u in (bytes(size), b"\1" + bytes(size - 1)):
                with pytest.raises(InvalidKey):  # noqa: PT012 - of either
                    peer = algorithm.load_public({**jwk, "x": jose_b64url(u)})
                    algorithm.derive(self.keys()[0], peer)


class JwkImporterContract(_Contract):
    """Private keys as JWK."""

    def test_an_exported_jwk_comes_back(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        jwk = algorithm.export_jwk(key)
        assert all(isinstance(value, str) for value in jwk.values())
        assert self.same_key(key, algorithm.import_jwk(jwk))
        described = {**jwk, "kid": "key-1", "use": "sig", "key_ops": ["sign"], "ext": True}
        assert self.same_key(key, algorithm.import_jwk(described))

    def test_import_refuses_another_type(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        for other in _of_another_type(algorithm.export_jwk(key)):
            # RFC 7517 section 4.4: a secret key may leave `alg` out, where the caller names it.
            if other.get("kty") != "oct" or "alg" in other:
                with pytest.raises(InvalidKey):
                    algorithm.import_jwk(other)

    def test_import_refuses_damaged_members(self) -> None:
        algorithm, (key, _) = self.declared(JwkImporter), self.keys()
        jwk = algorithm.export_jwk(key)
        # RFC 7518 section 6.3.2: of an RSA key's private members only `d` has to be there.
        needed = (set(_material(jwk)) - PRIVATE_MEMBERS) | ({"d", "k", "priv"} & jwk.keys())
        for damaged in _damaged(jwk, needed, longer=not isinstance(algorithm, Mac)):
            with pytest.raises(InvalidKey):
                algorithm.import_jwk(damaged)


class PrivateJwkContract(_Contract):
    """The private JWK of a key pair, whose two parts must fit."""

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


class SecretImporterContract(_Contract):
    """Keys as their secret bytes."""

    def test_secret_bytes_come_back(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        assert self.same_key(key, algorithm.import_secret(self.secret_of(key)))

    def test_import_refuses_secrets_of_another_length(self) -> None:
        algorithm, (key, _) = self.declared(SecretImporter), self.keys()
        secret = self.secret_of(key)
        # RFC 7518 section 3.2: an HMAC key may be of any length from the hash's on.
        others = () if isinstance(algorithm, Mac) else (secret[:-1], secret + b"\0", secret * 2)
        for wrong in (b"", *others):
            with pytest.raises(InvalidKey):
                algorithm.import_secret(wrong)


class SeedImporterContract(_Contract):
    """Keys as a seed."""

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


class AlgorithmContract(
    FactsContract,
    KeyContract,
    PublicContract,
    SignerContract,
    EcdsaContract,
    MacContract,
    MacSecretContract,
    AeadContract,
    KeyWrapContract,
    KeyAgreementContract,
    JwkImporterContract,
    PrivateJwkContract,
    SecretImporterContract,
    SeedImporterContract,
):
    """All that an algorithm promises; a subclass names the one that it tests as `algorithm`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for contract, parts in _APPLIES_TO.items():
            if not all(isinstance(cls.algorithm, part) for part in parts):
                for name in vars(contract):
                    if name.startswith("test_"):
                        setattr(cls, name, None)  # which pytest does not collect


# What an algorithm must be for a part of the contract to apply.
_APPLIES_TO: Final[Mapping[type[_Contract], tuple[Part, ...]]] = {
    PublicContract: (KeyPairAlgorithm,),
    SignerContract: (Signer,),
    EcdsaContract: (EcdsaSigner,),
    MacContract: (Mac,),
    MacSecretContract: (Mac, SecretImporter),
    AeadContract: (Aead,),
    KeyWrapContract: (KeyWrap,),
    KeyAgreementContract: (KeyAgreement,),
    JwkImporterContract: (JwkImporter,),
    PrivateJwkContract: (JwkImporter, KeyPairAlgorithm),
    SecretImporterContract: (SecretImporter,),
    SeedImporterContract: (SeedImporter,),
}


async def _through_the_store(algorithm: KeyAlgorithm, material: Stored) -> Stored:
    """`material` as the service's own store gives it back."""
    record = KeyRecord(
        kid="kid",
        alg=algorithm.name,
        kty=algorithm.kty,
        jwk=None,
        b58=None,
        multikey=None,
        did=None,
        operations=algorithm.key_operations,
        material="bytes" if isinstance(material, bytes) else "askar",
        created=0,
    )
    async with KeyStore.open_memory() as store:
        await store.insert(DEFAULT_PROFILE, record, material)
        _, kept = await store.open_key(DEFAULT_PROFILE, KeyRef(kid="kid"), lambda _: None)
    return kept


def _names(signer: Signer) -> tuple[str, ...]:
    """The values of `alg` that it is called with."""
    return signer.signing_algs or ("",)


def _texts(fact: Any) -> tuple[str, ...]:
    """`fact` once it is sure to be a tuple of texts, and not the one text in its parentheses."""
    assert isinstance(fact, tuple)
    assert all(isinstance(text, str) for text in fact)
    return fact


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _flipped(data: bytes, at: int) -> bytes:
    """`data` with one bit of one byte changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def _changed(data: bytes) -> Iterator[bytes]:
    """Every way to be nearly `data`: a bit changed in each of 64 bytes or more, shorter, longer."""
    size = len(data)
    for at in sorted({*range(0, size, max(1, size // 64)), *range(size)[-1:]}):
        yield _flipped(data, at)
    yield data + b"\0"
    if data:
        yield from (data[:-1], data[1:], b"")


def _material(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in jwk if name not in _TYPE_MEMBERS)


def _without(jwk: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != member}


def _of_another_type(jwk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`jwk` without one of the members that say what it is, or with another value there."""
    for member in (name for name in _TYPE_MEMBERS if name in jwk):
        yield _without(jwk, member)
        for value in ("other", None, 1, [jwk[member]]):
            yield {**jwk, member: value}


def _owns(algorithm: KeyAlgorithm, jwk: Mapping[str, Any]) -> bool:
    try:
        return algorithm.owns_jwk(jwk)
    except InvalidKey:  # as good as no
        return False


def _damaged(
    jwk: Mapping[str, Any], members: Iterable[str], *, longer: bool = True
) -> Iterator[dict[str, Any]]:
    """`jwk` with one of `members` missing, no text, no base64url, too short, or too long."""
    for member in members:
        data = b64url_decode(jwk[member])
        yield _without(jwk, member)
        for value in (None, 1, "", "!" + jwk[member], jose_b64url(data[:-1])):
            yield {**jwk, member: value}
        for value in (data + b"\0", b"\0" + data) if longer else ():
            yield {**jwk, member: jose_b64url(value)}
