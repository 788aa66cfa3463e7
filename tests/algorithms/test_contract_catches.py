"""The contract can fail: each algorithm here breaks one promise, and the right tests see it.

The file is long, since it is one list of such classes.
"""

import hashlib
import hmac
import itertools
import secrets
import threading
from dataclasses import dataclass, field, replace

import pytest
from aries_askar import Key as AskarKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from nacl import bindings as sodium

from minikms.algorithms.ecdsa import P256
from minikms.algorithms.mlkem import MlKem768
from minikms.algorithms.octets import SecretBytes
from minikms.algorithms.okp import X25519, Ed25519
from minikms.algorithms.rsa import Rsa2048
from minikms.algorithms.symmetric import A128Kw, A256Gcm, Hs256
from minikms.encodings import b64url_decode, jose_b64url
from minikms.plugin import (
    Boxed,
    DecryptionFailed,
    Encapsulated,
    HpkeOptions,
    HpkeSealed,
    InvalidKey,
    KeyAlgorithm,
    Mac,
    Sealed,
    SecretImporter,
    SignatureOptions,
    jwk_bytes,
)
from minikms.testing import AlgorithmContract

ONE_KEY = Ed25519().generate()
P25519 = 2**255 - 19


def caught_by(*names):
    """Note the tests of the contract, without `test_`, that an algorithm fails."""

    def note(toy):
        toy.caught_by = {f"test_{name}" for name in names}
        return toy

    return note


@caught_by()
class Sound(P256):
    pass


@caught_by(
    "a_changed_message_does_not_verify",
    "a_changed_signature_does_not_verify",
    "another_key_does_not_verify",
)
class VerifiesAnything(Ed25519):
    def verify(self, public, message, signature, options):
        return super().verify(public, message, signature, options) or True


@caught_by("a_changed_signature_does_not_verify")
class RaisesForALengthThatDoesNotFit(Ed25519):
    def verify(self, public, message, signature, options):
        if len(signature) != 64:
            raise ValueError(signature)
        return super().verify(public, message, signature, options)


@caught_by("a_digest_is_signed_like_its_message_or_refused")
class SignsADigestLikeAMessage(P256):
    def sign(self, key, message, options):
        return super().sign(key, message, SignatureOptions(options.alg))


@caught_by("a_changed_message_does_not_verify")
class CutsTheMessage(Ed25519):
    def sign(self, key, message, options):
        return super().sign(key, message[:1000], options)

    def verify(self, public, message, signature, options):
        return super().verify(public, message[:1000], signature, options)


@caught_by("a_signature_verifies", "a_changed_message_does_not_verify", "many_are_signed_in_order")
class SleepsOverALongMessage(Ed25519):
    seconds = 2

    def sign(self, key, message, options):
        if len(message) > 1000:
            threading.Event().wait()
        return super().sign(key, message, options)


class NeverEndsALongMessage(SleepsOverALongMessage):
    def sign(self, key, message, options):
        while len(message) > 1000:
            pass
        return Ed25519.sign(self, key, message, options)


@caught_by(
    "a_signature_verifies",
    "a_changed_message_does_not_verify",
    "a_changed_signature_does_not_verify",
    "another_key_does_not_verify",
    "a_digest_is_signed_like_its_message_or_refused",
)
class SignsAtLength(Ed25519):
    """Verification ignores all bytes of a signature after the first ones."""

    def sign(self, key, message, options):
        return super().sign(key, message, options) + bytes(2 * 1024 * 1024)

    def verify(self, public, message, signature, options):
        return super().verify(public, message, signature[:64], options)


@caught_by("many_are_signed_in_order")
class MixesUpSignatures(Ed25519):
    def sign_many(self, *args):
        return super().sign_many(*args)[::-1]


@caught_by("many_are_signed_in_order")
class SignsDigestsInBatchesAlone(Ed25519):
    def sign_many(self, key, messages, options):
        return super().sign_many(key, messages, SignatureOptions(options.alg))


@caught_by("a_packed_key_comes_back", "a_stored_key_comes_back", "secret_bytes_come_back")
class ForgetsTheKey(A256Gcm):
    def pack(self, key):
        return AskarKey.generate(self.name)


@caught_by("a_packed_key_comes_back", "a_stored_key_comes_back", "no_secret_in_repr")
class PacksWhatTheStoreDoesNotTake(A256Gcm):
    def pack(self, key):
        return bytearray(key.secret)

    def unpack(self, stored):
        return self.import_secret(bytes(stored))


@caught_by(
    "two_generated_keys_differ",
    "public_forms_are_of_the_key",
    "another_key_does_not_verify",
    "another_peer_gives_another_secret",
    "a_changed_sealed_box_does_not_open",
    "a_box_does_not_open_for_others",
    "import_refuses_parts_that_do_not_fit",
)
class HasOneKey(Ed25519):
    def generate(self):
        return ONE_KEY


@caught_by(
    "public_jwk_has_no_private_member",
    "public_forms_of_a_public_key_are_the_same",
    "private_jwk_has_the_public_one",
    "import_refuses_a_public_jwk",
    "import_refuses_parts_that_do_not_fit",
    "load_public_refuses_damaged_members",
    "an_epk_that_is_none_is_refused",
)
class LeaksThePrivateMember(P256):
    def public_jwk(self, key):
        return {**super().public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}


@caught_by("public_jwk_is_valid")
class PadsItsJwk(Ed25519):
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
        return f"<key {self.key.secret.hex()}>"


@caught_by("no_secret_in_repr")
class MakesKeysThatShowTheirSecret(A256Gcm):
    def generate(self):
        return ShowsItsSecret(super().generate())

    def pack(self, key):
        return key.secret

    def unpack(self, stored):
        return self.import_secret(stored)


@caught_by(
    "load_public_refuses_another_type",
    "load_public_refuses_damaged_members",
    "load_public_refuses_a_point_off_the_curve",
    "an_epk_that_is_none_is_refused",
)
class TakesAnyJwk(P256):
    def load_public(self, jwk):
        try:
            return super().load_public(jwk)
        except InvalidKey:
            return self.generate().public_key()


@caught_by("public_forms_of_a_public_key_are_the_same")
class NeedsThePrivateKey(Ed25519):
    def public_bytes(self, key):
        return key.public_key().public_bytes_raw()


@caught_by("public_bytes_are_in_the_jwk")
class GivesTheWholePoint(P256):
    def public_bytes(self, key):
        return self.point(key, compressed=False)


@caught_by(
    "it_knows_the_jwks_of_its_keys",
    "load_public_refuses_another_type",
    "public_jwk_is_valid",
    "an_epk_that_is_none_is_refused",
)
class NamesItsCurveOtherwise(P256):
    def public_jwk(self, key):
        return {**super().public_jwk(key), "crv": "secp256r1"}

    def load_public(self, jwk):
        return super().load_public({**jwk, "crv": self.crv})

    def import_jwk(self, jwk):
        return super().import_jwk(
            {**jwk, "crv": "P-256" if jwk.get("crv") == "secp256r1" else None}
        )


@caught_by("it_knows_the_jwks_of_its_keys", "it_knows_a_damaged_jwk_or_not_but_does_not_fail")
class OwnsEveryJwk(P256):
    def owns_jwk(self, jwk):
        return True


@caught_by("it_knows_the_jwks_of_its_keys")
class OwnsNoJwk(P256):
    def owns_jwk(self, jwk):
        return False


@caught_by("it_knows_a_damaged_jwk_or_not_but_does_not_fail")
class FailsOnADamagedJwk(Ed25519):
    def owns_jwk(self, jwk):
        return len(b64url_decode(jwk["x"])) == 32 and super().owns_jwk(jwk)


@caught_by("an_exported_jwk_comes_back")
class RefusesADescribedJwk(Ed25519):
    def import_jwk(self, jwk):
        if "key_ops" in jwk:
            raise InvalidKey
        return super().import_jwk(jwk)


@caught_by("the_der_form_has_the_same_numbers", "what_is_no_der_signature_is_refused")
class CallsARawSignatureDer(P256):
    def sign(self, key, message, options):
        der = key.sign(message, self._scheme(message, options, deterministic=True))
        return super().from_der(der)

    def verify(self, public, message, signature, options):
        self.check_digest(message, options.prehashed)
        return P256().verify(public, message, signature, options)

    def to_der(self, signature):
        return signature

    def from_der(self, der):
        if len(der) == 64:
            return der
        return super().from_der(der)


@caught_by("what_is_no_der_signature_is_refused")
class TakesNegativeNumbersFromDer(P256):
    def from_der(self, der):
        if len(der) == 8 and der.startswith(bytes.fromhex("30060201")):
            return bytes(31) + der[4:5] + bytes(31) + der[7:8]
        return super().from_der(der)


@caught_by("what_is_no_der_signature_is_refused")
class CutsLongNumbersFromDer(P256):
    def from_der(self, der):
        r, s = (number % 2**256 for number in decode_dss_signature(der))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@caught_by("what_is_no_der_signature_is_refused")
class RaisesAnotherErrorForLongNumbers(P256):
    def from_der(self, der):
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@caught_by(
    "import_refuses_a_public_jwk",
    "import_refuses_another_type",
    "import_refuses_damaged_members",
    "import_refuses_parts_that_do_not_fit",
)
class ImportsPartsThatDoNotFit(Ed25519):
    def import_jwk(self, jwk):
        return self.import_secret(b64url_decode(jwk.get("d") or "A" * 43)[:32].ljust(32))


@caught_by("import_refuses_secrets_of_another_length", "import_refuses_seeds_of_another_length")
class StretchesSecretsAndSeeds(X25519):
    def import_secret(self, secret):
        return super().import_secret(secret[:32].ljust(32))


@caught_by("a_seed_makes_one_key")
class TakesASeedForSalt(X25519):
    def import_seed(self, seed):
        super().import_seed(seed)
        return self.generate()


@caught_by(
    "both_sides_agree",
    "another_peer_gives_another_secret",
    "the_reader_of_an_epk_agrees_on_the_same_secret",
)
class AgreesWithItself(X25519):
    def derive(self, key, peer):
        return super().derive(key, key.public_key())


@caught_by("load_public_refuses_what_is_no_point_of_an_edwards_curve")
class TakesAnyBytesForAPoint(Ed25519):
    @staticmethod
    def is_public_key(data):
        return True


@caught_by("load_public_refuses_what_is_no_point_of_an_edwards_curve")
class TakesPointsThatAreNotReduced(Ed25519):
    @staticmethod
    def is_public_key(data):
        y = int.from_bytes(data, "little") % 2**255 % P25519
        return Ed25519.is_public_key(y.to_bytes(32, "little"))


@caught_by("a_point_of_low_order_is_refused")
class TakesPointsOfLowOrder(X25519):
    @staticmethod
    def is_public_key(data):
        return True

    def derive(self, key, peer):
        try:
            return super().derive(key, peer)
        except InvalidKey:
            return bytes(32)


@caught_by("another_context_does_not_decrypt")
class IgnoresTheContext(A256Gcm):
    def encrypt(self, key, plaintext, aad):
        return super().encrypt(key, plaintext, b"")

    def decrypt(self, key, sealed, aad):
        return super().decrypt(key, sealed, b"")


@caught_by("bytes_do_not_move_between_ciphertext_and_tag")
class JoinsCiphertextAndTag(A256Gcm):
    def decrypt(self, key, sealed, aad):
        whole = sealed.ciphertext + sealed.tag
        return super().decrypt(key, Sealed(whole[:-16], sealed.nonce, whole[-16:]), aad)


@caught_by("each_nonce_is_new")
class HasOneNonce(A256Gcm):
    def encrypt(self, key, plaintext, aad):
        sealed = key.cipher.encrypt(bytes(12), plaintext, aad)
        return Sealed(sealed[:-16], bytes(12), sealed[-16:])


@caught_by(
    "two_generated_keys_differ",
    "a_changed_part_does_not_decrypt",
    "bytes_do_not_move_between_ciphertext_and_tag",
    "another_context_does_not_decrypt",
)
class TellsWhyItFailed(A256Gcm):
    def decrypt(self, key, sealed, aad):
        return key.cipher.decrypt(sealed.nonce, sealed.ciphertext + sealed.tag, aad)


@caught_by("a_changed_ciphertext_does_not_decrypt", "what_is_encrypted_to_a_key_decrypts")
class RejectsImplicitly(Rsa2048):
    def decrypt(self, key, ciphertext):
        try:
            return super().decrypt(key, ciphertext)
        except DecryptionFailed:
            return bytes(32)


@caught_by("each_ciphertext_is_new")
class RepeatsACiphertext(Rsa2048):
    def __init__(self):
        self.made = {}

    def encrypt(self, public, plaintext):
        made = self.made.setdefault((public.public_numbers(), plaintext), [])
        return made[0] if made else made.append(super().encrypt(public, plaintext)) or made[0]


@caught_by("a_long_plaintext_decrypts_or_is_refused")
class CutsALongPlaintext(Rsa2048):
    def encrypt(self, public, plaintext):
        return super().encrypt(public, plaintext[:100])


@caught_by()
class SoundKem(MlKem768):
    pass


@caught_by("each_secret_is_new")
class EncapsulatesOneSecret(MlKem768):
    def __init__(self):
        self.made = {}

    def encapsulate(self, public):
        if public.public_bytes_raw() not in self.made:
            self.made[public.public_bytes_raw()] = super().encapsulate(public)
        return self.made[public.public_bytes_raw()]


@caught_by("a_ciphertext_that_does_not_fit_does_not_give_the_secret", "each_secret_is_new")
class DecapsulatesWhatIsInTheCiphertext(MlKem768):
    def encapsulate(self, public):
        made = super().encapsulate(public)
        return Encapsulated(made.ciphertext, b"\1" * 32)

    def decapsulate(self, key, ciphertext):
        super().decapsulate(key, ciphertext)
        return b"\1" * 32


@caught_by("a_ciphertext_that_does_not_fit_always_gives_the_same")
class RejectsAtRandom(MlKem768):
    def encapsulate(self, public):
        made = super().encapsulate(public)
        mark = hmac.digest(made.secret, b"", "sha256")
        return Encapsulated(made.ciphertext + mark, made.secret)

    def decapsulate(self, key, ciphertext):
        secret = super().decapsulate(key, ciphertext[:-32])
        fits = hmac.digest(secret, b"", "sha256") == ciphertext[-32:]
        return secret if fits else secrets.token_bytes(32)


@caught_by("a_ciphertext_of_another_length_is_refused")
class TakesACiphertextOfAnyLength(MlKem768):
    def decapsulate(self, key, ciphertext):
        if len(ciphertext) != self.ciphertext_size:
            return bytes(32)
        return super().decapsulate(key, ciphertext)


@caught_by(
    "a_ciphertext_of_another_length_is_refused",
    "a_ciphertext_that_does_not_fit_does_not_give_the_secret",
)
class FailsForAnotherLength(MlKem768):
    def decapsulate(self, key, ciphertext):
        return key.decapsulate(ciphertext)


@caught_by()
class SoundHpke(X25519):
    pass


@caught_by("other_options_do_not_open")
class IgnoresTheInfo(X25519):
    def hpke_seal(self, public, plaintext, options):
        return super().hpke_seal(public, plaintext, replace(options, info=b""))

    def hpke_open(self, key, sealed, options):
        return super().hpke_open(key, sealed, replace(options, info=b""))


@caught_by("other_aad_does_not_open")
class IgnoresTheAad(X25519):
    def hpke_seal(self, public, plaintext, options):
        return super().hpke_seal(public, plaintext, replace(options, aad=b""))

    def hpke_open(self, key, sealed, options):
        return super().hpke_open(key, sealed, replace(options, aad=b""))


@caught_by()
class HasNoAad(IgnoresTheAad):
    hpke_aad = False


@caught_by("other_options_do_not_open")
class HasOneSuite(X25519):
    def hpke_seal(self, public, plaintext, options):
        return super().hpke_seal(public, plaintext, self.of_one_suite(options))

    def hpke_open(self, key, sealed, options):
        return super().hpke_open(key, sealed, self.of_one_suite(options))

    def of_one_suite(self, options):
        return HpkeOptions(info=options.info, aad=options.aad)


@caught_by("bytes_do_not_move_between_enc_and_ciphertext")
class JoinsEncAndCiphertext(X25519):
    def hpke_open(self, key, sealed, options):
        whole = sealed.enc + sealed.ciphertext
        return super().hpke_open(key, HpkeSealed(whole[:32], whole[32:]), options)


@caught_by(
    "a_changed_part_does_not_open",
    "another_key_does_not_open",
    "bytes_do_not_move_between_enc_and_ciphertext",
    "other_aad_does_not_open",
    "other_options_do_not_open",
)
class SaysWhyItDoesNotOpen(X25519):
    def hpke_open(self, key, sealed, options):
        try:
            return super().hpke_open(key, sealed, options)
        except DecryptionFailed:
            raise ValueError("another key or tag") from None


@caught_by("each_encapsulated_key_is_new")
class SealsOnce(X25519):
    def __init__(self):
        self.made = {}

    def hpke_seal(self, public, plaintext, options):
        call = (public.public_bytes_raw(), plaintext, options)
        if call not in self.made:
            self.made[call] = super().hpke_seal(public, plaintext, options)
        return self.made[call]


@caught_by("what_is_too_short_to_be_a_key_is_not_wrapped")
class WrapsAnything(A128Kw):
    def wrap(self, key, secret):
        return super().wrap(key, secret.ljust(16))


@caught_by("a_changed_wrapping_does_not_unwrap", "what_is_wrapped_unwraps")
class WrapsByXor(A128Kw):
    def wrap(self, key, secret):
        super().wrap(key, secret)
        pad = itertools.cycle(key.secret)
        return bytes(a ^ b for a, b in zip(secret, pad, strict=False))

    def unwrap(self, key, wrapped):
        pad = itertools.cycle(key.secret)
        return bytes(a ^ b for a, b in zip(wrapped, pad, strict=False))


@caught_by("a_content_key_of_any_length_comes_back", "what_is_wrapped_unwraps")
class WrapsShortKeysAlone(A128Kw):
    def wrap(self, key, secret):
        return super().wrap(key, secret[:48])


@caught_by("jwe_work_is_that_of_its_other_operations")
class StatesNoWork(A128Kw):
    @property
    def jwe_work(self):
        return {}


@caught_by("jwe_algs_are_distinct_texts")
class StatesAnAlgTwice(A128Kw):
    @property
    def jwe_algs(self):
        return ("A128KW", "A128KW")


@caught_by("its_nonces_and_tags_are_as_long_as_its_enc_has_them")
class HasALongNonce(A256Gcm):
    def encrypt(self, key, plaintext, aad):
        sealed = super().encrypt(key, plaintext, aad)
        return sealed._replace(nonce=sealed.nonce * 2)

    def decrypt(self, key, sealed, aad):
        half = len(sealed.nonce) // 2
        if sealed.nonce[:half] != sealed.nonce[half:]:
            raise DecryptionFailed
        return super().decrypt(key, sealed._replace(nonce=sealed.nonce[:half]), aad)


@caught_by("a_point_of_low_order_is_refused", "an_epk_that_is_none_is_refused")
class ReadsAnyEpk(X25519):
    def load_peer(self, jwk):
        x = str(jwk.get("x")).encode().ljust(32)[:32]
        try:
            return self.load_public(jwk)
        except InvalidKey:
            return X25519PublicKey.from_public_bytes(x)


@caught_by("the_reader_of_an_epk_agrees_on_the_same_secret")
class AgreesByItsOwnJwk(X25519):
    """Takes only its own members of a peer's JWK, as a strict parser would."""

    def load_peer(self, jwk):
        if jwk.keys() - {"kty", "crv", "x"}:
            raise InvalidKey
        return self.load_public(jwk)


@dataclass
class MacKey:
    secret: bytes = field(repr=False)


@caught_by()
class SoundMac(KeyAlgorithm, Mac, SecretImporter):
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


@caught_by("a_changed_mac_does_not_verify")
class ComparesHalfTheMac(SoundMac):
    def verify_mac(self, key, message, mac):
        return hmac.compare_digest(self.mac(key, message)[:16], mac[:16])


@caught_by("no_secret_in_repr")
class HasBareBytesForKeys(SoundMac):
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


@caught_by("import_refuses_a_secret_shorter_than_the_code")
class TakesAShortSecret(SoundMac):
    def import_secret(self, secret):
        if not secret:
            raise InvalidKey
        return MacKey(secret)


@caught_by("all_of_a_longer_secret_counts_or_it_is_refused")
class CutsLongSecrets(SoundMac):
    def import_secret(self, secret):
        return super().import_secret(secret[:64])


@caught_by("all_of_a_longer_secret_counts_or_it_is_refused")
class ForgetsTheEndOfALongSecret(Hs256):
    def pack(self, key):
        return super().pack(key)[:32]


@caught_by(
    "import_refuses_a_secret_shorter_than_the_code",
    "import_refuses_damaged_members",
    "import_refuses_secrets_of_another_length",
)
class PadsShortSecrets(Hs256):
    def import_secret(self, secret):
        return SecretBytes(secret.ljust(32, b"\0"))


@caught_by("aliases_are_distinct_names", "registry_takes_it_by_every_name")
class LeavesOutAComma(P256):
    aliases = "secp256r1"


@caught_by("aliases_are_distinct_names")
class RepeatsAnAlias(P256):
    aliases = ("secp256r1", "SECP-256-R1")


@caught_by("name_is_lower_case_letters_and_digits", "registry_takes_it_by_every_name")
class HasItsNameInUpperCase(P256):
    name, askar_name = "P-256", "p256"


@caught_by("operations_are_what_its_classes_grant")
class ClaimsMoreThanItHas(P256):
    operations = (*P256().operations, "encrypt")


@caught_by("operations_are_what_its_classes_grant")
class CountsImportsAsUses(P256):
    key_operations = P256().operations


@caught_by("facts_have_their_types")
class SaysYesInWords(P256):
    did_key = "yes"


@caught_by()
class IsSlowToTakeAKey(P256):
    slow = frozenset({"import", "generate"})


@caught_by("facts_have_their_types")
class IsSlowAtNothingItDoes(P256):
    slow = frozenset({"encrypt"})


@caught_by("each_box_is_new")
class BoxesWithOneNonce(X25519):
    def box(self, key, peer, plaintext):
        nonce = bytes(24)
        return Boxed(sodium.crypto_box(plaintext, nonce, peer, key.private_bytes_raw()), nonce)


@caught_by("a_box_opens")
class BoxesToItself(X25519):
    def box(self, key, peer, plaintext):
        return super().box(key, key.public_key().public_bytes_raw(), plaintext)


@caught_by("each_box_is_new")
class SealsForGood(X25519):
    def seal(self, peer, plaintext):
        sender = b"s" * 32
        public = sodium.crypto_scalarmult_base(sender)
        nonce = hashlib.blake2b(public + peer, digest_size=24).digest()
        return public + sodium.crypto_box(plaintext, nonce, peer, sender)


@caught_by("a_changed_box_does_not_open", "a_box_does_not_open_for_others")
class OpensWithoutTheTag(X25519):
    def open_box(self, key, peer, boxed):
        try:
            return super().open_box(key, peer, boxed)
        except DecryptionFailed:
            return boxed.ciphertext[16:]


@caught_by("a_changed_sealed_box_does_not_open")
class TellsWhyNoBoxOpens(X25519):
    def open_sealed(self, key, ciphertext):
        if len(ciphertext) < 48:
            raise InvalidKey("It is too short.")
        return super().open_sealed(key, ciphertext)


@caught_by("a_peer_that_cannot_be_is_refused")
class TakesAnyPeer(X25519):
    def load_box_peer(self, jwk):
        return jwk_bytes(jwk, "x", 32)


@caught_by("facts_have_their_types")
class HasNoneOfWhatIsOptIn(P256):
    opt_in = frozenset({"derive", "encrypt"})


@caught_by("facts_have_their_types")
class OptsInByLetters(P256):
    opt_in = "derive"


@caught_by()
class AgreesByOptIn(P256):
    opt_in = frozenset({"derive"})


def failures(algorithm):
    """The names of the contract's tests that fail for `algorithm`, each with all its parameters."""
    facts = {"algorithm": algorithm, "seed_size": getattr(algorithm, "seed_size", 32)}
    if hasattr(algorithm, "seconds"):
        facts["seconds"] = algorithm.seconds
    contract = type("TestToy", (AlgorithmContract,), facts)()
    for name in dir(contract):
        test = getattr(contract, name)
        if not name.startswith("test_") or test is None:
            continue
        marks = [mark.args for mark in getattr(test, "pytestmark", ())]
        names = [name for name, _ in marks]
        for values in itertools.product(*(list(values) for _, values in marks)):
            try:
                with contract.in_time():
                    test(**dict(zip(names, values, strict=True)))
            except (Exception, pytest.fail.Exception):
                yield name


TOYS = [toy for toy in list(globals().values()) if hasattr(toy, "caught_by")]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.__name__)
def test_the_contract_catches_each_faulty_algorithm(toy):
    assert set(failures(toy())) == toy.caught_by
