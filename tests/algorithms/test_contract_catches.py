"""The contract can fail: each algorithm here breaks one promise, and the right tests see it."""

import hmac
import itertools
import secrets
from dataclasses import dataclass, field

import pytest
from aries_askar import Key as AskarKey

from minikms.algorithms.ecdsa import P256
from minikms.algorithms.okp import X25519, Ed25519
from minikms.algorithms.symmetric import A128Kw, A256Gcm
from minikms.encodings import b64url_decode, jose_b64url
from minikms.plugin import InvalidKey, KeyAlgorithm, Mac, Sealed, SecretImporter
from minikms.testing import AlgorithmContract

ONE_KEY = Ed25519().generate()


class Sound(P256):
    caught_by = ()


class VerifiesAnything(Ed25519):
    caught_by = (
        "test_a_changed_message_does_not_verify",
        "test_a_changed_signature_does_not_verify",
        "test_another_key_does_not_verify",
    )

    def verify(self, public, message, signature, alg, prehashed):
        self._refuse_prehashed(prehashed)
        return True


class RaisesForALengthThatDoesNotFit(Ed25519):
    caught_by = ("test_a_changed_signature_does_not_verify",)

    def verify(self, public, message, signature, alg, prehashed):
        if len(signature) != 64:
            raise ValueError(signature)
        return super().verify(public, message, signature, alg, prehashed)


class SignsADigestLikeAMessage(P256):
    caught_by = ("test_a_digest_is_signed_like_its_message_or_refused",)

    def sign(self, key, message, alg, prehashed):
        return super().sign(key, message, alg, False)


class CutsTheMessage(Ed25519):
    caught_by = ("test_a_changed_message_does_not_verify",)

    def sign(self, key, message, alg, prehashed):
        return super().sign(key, message[:1000], alg, prehashed)

    def verify(self, public, message, signature, alg, prehashed):
        return super().verify(public, message[:1000], signature, alg, prehashed)


class ForgetsTheKey(A256Gcm):
    caught_by = (
        "test_a_packed_key_comes_back",
        "test_a_stored_key_comes_back",
        "test_secret_bytes_come_back",
    )

    def pack(self, key):
        return AskarKey.generate(self.name)


class PacksWhatTheStoreDoesNotTake(A256Gcm):
    caught_by = (
        "test_a_packed_key_comes_back",
        "test_a_stored_key_comes_back",
        "test_no_secret_in_repr",
        "test_secret_bytes_come_back",
    )

    def pack(self, key):
        return bytearray(key.get_secret_bytes())

    def unpack(self, stored):
        return self.import_secret(bytes(stored))


class HasOneKey(Ed25519):
    caught_by = (
        "test_two_generated_keys_differ",
        "test_public_forms_are_of_the_key",
        "test_another_key_does_not_verify",
        "test_import_refuses_parts_that_do_not_fit",
    )

    def generate(self):
        return ONE_KEY


class LeaksThePrivateMember(P256):
    caught_by = (
        "test_public_jwk_has_no_private_member",
        "test_private_jwk_has_the_public_one",
        "test_import_refuses_a_public_jwk",
        "test_import_refuses_parts_that_do_not_fit",
        "test_load_public_refuses_damaged_members",
    )

    def public_jwk(self, key):
        return {**super().public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}


class PadsItsJwk(Ed25519):
    caught_by = ("test_public_jwk_is_valid",)

    def public_jwk(self, key):
        jwk = super().public_jwk(key)
        return {**jwk, "x": jwk["x"] + "="}


class ShowsItsSecret:
    """A key, not an algorithm."""

    def __init__(self, key):
        self.key = key

    def __getattr__(self, name):
        return getattr(self.key, name)

    def __repr__(self):
        return f"<key {self.key.get_secret_bytes().hex()}>"


class MakesKeysThatShowTheirSecret(A256Gcm):
    caught_by = ("test_no_secret_in_repr",)

    def generate(self):
        return ShowsItsSecret(super().generate())

    def pack(self, key):
        return key.get_secret_bytes()

    def unpack(self, stored):
        return self.import_secret(stored)


class TakesAnyJwk(P256):
    caught_by = (
        "test_load_public_refuses_another_type",
        "test_load_public_refuses_damaged_members",
        "test_load_public_refuses_a_point_off_the_curve",
    )

    def load_public(self, jwk):
        try:
            return super().load_public(jwk)
        except InvalidKey:
            return self.generate().public_key()


class ImportsPartsThatDoNotFit(Ed25519):
    caught_by = (
        "test_import_refuses_a_public_jwk",
        "test_import_refuses_another_type",
        "test_import_refuses_damaged_members",
        "test_import_refuses_parts_that_do_not_fit",
    )

    def import_jwk(self, jwk):
        return self.import_secret(b64url_decode(jwk.get("d") or "A" * 43)[:32].ljust(32))


class StretchesSecretsAndSeeds(X25519):
    caught_by = (
        "test_import_refuses_secrets_of_another_length",
        "test_import_refuses_seeds_of_another_length",
    )

    def import_secret(self, secret):
        return super().import_secret(secret[:32].ljust(32))


class TakesASeedForSalt(X25519):
    caught_by = ("test_a_seed_makes_one_key",)

    def import_seed(self, seed):
        super().import_seed(seed)
        return self.generate()


class AgreesWithItself(X25519):
    caught_by = ("test_both_sides_agree", "test_another_peer_gives_another_secret")

    def derive(self, key, peer):
        return super().derive(key, key.public_key())


class IgnoresTheContext(A256Gcm):
    caught_by = ("test_another_context_does_not_decrypt",)

    def encrypt(self, key, plaintext, aad):
        return super().encrypt(key, plaintext, b"")

    def decrypt(self, key, sealed, aad):
        return super().decrypt(key, sealed, b"")


class JoinsCiphertextAndTag(A256Gcm):
    caught_by = ("test_bytes_do_not_move_between_ciphertext_and_tag",)

    def decrypt(self, key, sealed, aad):
        whole = sealed.ciphertext + sealed.tag
        return super().decrypt(key, Sealed(whole[:-16], sealed.nonce, whole[-16:]), aad)


class HasOneNonce(A256Gcm):
    caught_by = ("test_each_nonce_is_new",)

    def encrypt(self, key, plaintext, aad):
        ciphertext, tag, nonce = key.aead_encrypt(plaintext, nonce=bytes(12), aad=aad).parts
        return Sealed(ciphertext, nonce, tag)


class TellsWhyItFailed(A256Gcm):
    caught_by = (
        "test_two_generated_keys_differ",
        "test_a_changed_part_does_not_decrypt",
        "test_bytes_do_not_move_between_ciphertext_and_tag",
        "test_another_context_does_not_decrypt",
    )

    def decrypt(self, key, sealed, aad):
        return key.aead_decrypt(sealed.ciphertext, nonce=sealed.nonce, tag=sealed.tag, aad=aad)


class WrapsAnything(A128Kw):
    caught_by = ("test_what_is_too_short_to_be_a_key_is_not_wrapped",)

    def wrap(self, key, secret):
        return super().wrap(key, secret.ljust(16))


class WrapsByXor(A128Kw):
    caught_by = ("test_a_changed_wrapping_does_not_unwrap", "test_what_is_wrapped_unwraps")

    def wrap(self, key, secret):
        super().wrap(key, secret)
        pad = itertools.cycle(key.get_secret_bytes())
        return bytes(a ^ b for a, b in zip(secret, pad, strict=False))

    def unwrap(self, key, wrapped):
        pad = itertools.cycle(key.get_secret_bytes())
        return bytes(a ^ b for a, b in zip(wrapped, pad, strict=False))


@dataclass
class MacKey:
    secret: bytes = field(repr=False)


class SoundMac(KeyAlgorithm, Mac, SecretImporter):
    caught_by = ()
    name, kty = "hs256", "oct"

    def generate(self):
        return MacKey(secrets.token_bytes(64))

    def pack(self, key):
        return key.secret

    def unpack(self, stored):
        return MacKey(stored)

    def import_secret(self, secret):
        if len(secret) < 32:
            raise InvalidKey
        return MacKey(secret)

    def mac(self, key, message):
        return hmac.digest(key.secret, message, "sha256")

    def verify_mac(self, key, message, mac):
        return hmac.compare_digest(self.mac(key, message), mac)


class ComparesHalfTheMac(SoundMac):
    caught_by = ("test_a_changed_mac_does_not_verify",)

    def verify_mac(self, key, message, mac):
        return hmac.compare_digest(self.mac(key, message)[:16], mac[:16])


class HasBareBytesForKeys(SoundMac):
    caught_by = ("test_no_secret_in_repr",)

    def generate(self):
        return super().generate().secret

    def pack(self, key):
        return key

    def unpack(self, stored):
        return stored

    def import_secret(self, secret):
        return super().import_secret(secret).secret

    def mac(self, key, message):
        return super().mac(MacKey(key), message)


class LeavesOutAComma(P256):
    caught_by = ("test_aliases_are_distinct_names", "test_registry_takes_it_by_every_name")
    aliases = "secp256r1"


class RepeatsAnAlias(P256):
    caught_by = ("test_aliases_are_distinct_names",)
    aliases = ("secp256r1", "SECP-256-R1")


class HasItsNameInUpperCase(P256):
    caught_by = (
        "test_name_is_lower_case_letters_and_digits",
        "test_registry_takes_it_by_every_name",
    )
    name = "P-256"

    def pack(self, key):
        return AskarKey.from_secret_bytes("p256", self.secret_bytes(key))


class ClaimsMoreThanItHas(P256):
    caught_by = ("test_operations_are_what_its_classes_grant",)
    operations = (*P256().operations, "encrypt")


class IsSlowAtNothingItDoes(P256):
    caught_by = ("test_facts_have_their_types",)
    slow = frozenset({"encrypt"})


def failures(algorithm):
    """The names of the contract's tests that fail for `algorithm`, each with all its parameters."""
    contract = type("TestToy", (AlgorithmContract,), {"algorithm": algorithm})()
    for name in dir(contract):
        test = getattr(contract, name)
        if not name.startswith("test_") or test is None:
            continue
        marks = [mark.args for mark in getattr(test, "pytestmark", ())]
        names = [name for name, _ in marks]
        for values in itertools.product(*(list(values) for _, values in marks)):
            try:
                test(**dict(zip(names, values, strict=True)))
            except (Exception, pytest.fail.Exception):
                yield name


TOYS = [toy for toy in list(globals().values()) if hasattr(toy, "caught_by")]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.__name__)
def test_the_contract_catches(toy):
    assert set(failures(toy())) == set(toy.caught_by)
