"""The contract of keys and of their public parts."""

import asyncio
from typing import Any, ClassVar, Final

import pytest
from aries_askar import Key as AskarKey
from cryptography.hazmat.primitives import serialization as ser

from minikms.encodings import PRIVATE_MEMBERS, b64url_decode, jose_b64url, thumbprint
from minikms.errors import InvalidKey
from minikms.key_requests import KeyRef
from minikms.plugin.protocol import KeyAlgorithm, KeyPairAlgorithm, Stored
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store import KeyStore
from minikms.testing.base import Contract, Part
from minikms.testing.damage import damaged_jwks, flip_bit, jwks_of_another_type, material_members

# By curve: the prime of the field, and the length of a public key (RFC 8032 sections 5.1 and 5.2).
_EDWARDS: Final = {"Ed25519": (2**255 - 19, 32), "Ed448": (2**448 - 2**224 - 1, 57)}


class KeyContract(Contract):
    """Keys are generated, stored and loaded unchanged."""

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
        # bytes and bytearray print a quote differently.
        shapes = (repr(secret)[2:-1], repr(bytearray(secret))[12:-2])
        forms = (secret.hex(), jose_b64url(secret), *shapes, str(int.from_bytes(secret, "big")))
        stored = self.algorithm.pack(key)
        shown = f"{key!r} {key} {'' if isinstance(stored, bytes) else repr(stored)}"
        assert not [form for form in forms if form.lower() in shown.lower()]


class PublicContract(Contract):
    """The public part of a key pair."""

    applies_to: ClassVar[tuple[Part, ...]] = (KeyPairAlgorithm,)

    def test_public_jwk_is_valid(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        assert (jwk["kty"], jwk.get("crv")) == (pair.kty, pair.crv)
        assert all(isinstance(value, str) for value in jwk.values())
        assert "kid" not in jwk
        for name in material_members(jwk):
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

    def test_public_bytes_are_in_the_jwk(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        key = self.keys()[0]
        jwk, data = pair.public_jwk(key), pair.public_bytes(key)
        raw = {name: b64url_decode(jwk[name]) for name in material_members(jwk)}
        match pair.kty:
            case "OKP":
                assert data == raw["x"]
            case "AKP":
                assert data == raw["pub"]
            case "RSA":
                public: Any = ser.load_der_public_key(data)
                numbers = public.public_numbers()
                assert (numbers.n, numbers.e) == (
                    int.from_bytes(raw["n"], "big"),
                    int.from_bytes(raw["e"], "big"),
                )
                assert data == public.public_bytes(ser.Encoding.DER, ser.PublicFormat.PKCS1)
            case "EC" if not jwk["crv"].startswith("BLS"):  # not encoded by SEC 1 section 2.3.3
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
        for other in jwks_of_another_type(jwk):
            with pytest.raises(InvalidKey):
                pair.load_public(other)

    def test_load_public_refuses_damaged_members(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        for damaged in damaged_jwks(jwk, material_members(jwk)):
            with pytest.raises(InvalidKey):
                pair.load_public(damaged)

    def test_load_public_refuses_a_point_off_the_curve(self) -> None:
        pair = self.declared(KeyPairAlgorithm)
        jwk = pair.public_jwk(self.keys()[0])
        if jwk["kty"] == "EC":  # other kinds have no equation to check
            y = b64url_decode(jwk["y"])
            with pytest.raises(InvalidKey):
                pair.load_public({**jwk, "y": jose_b64url(flip_bit(y, len(y) - 1))})

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

        # Unreduced values, and the points of low order of both curves.
        assert not [y for y in (0, 1, p - 1, p, p + 1, p + 3, p + 4) if is_taken(y)]
        # About half of all other y are on the curve.
        assert len({is_taken(y) for y in range(2, 66)}) == 2


async def _through_the_store(algorithm: KeyAlgorithm[Any], material: Stored) -> Stored:
    """Return `material` after a round trip through a store of the service."""
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
