"""Mechanisms: signatures, MACs, decryption, key agreement, digests and verification."""

import base64
import hashlib
import hmac
import os
import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kms import public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from rpc import NULL, Size, ecdh1, oaep, pss, refused

from minikms_p11 import constants as c

HASHES = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
MESSAGE = b"hello"
ECDSA = {
    "sha1": Mechanism.ECDSA_SHA1,
    "sha224": Mechanism.ECDSA_SHA224,
    "sha256": Mechanism.ECDSA_SHA256,
    "sha384": Mechanism.ECDSA_SHA384,
    "sha512": Mechanism.ECDSA_SHA512,
}
CURVES = ["p256", "p384", "p521", "k256"]
RSA = {
    "sha256": (Mechanism.SHA256_RSA_PKCS, Mechanism.SHA256_RSA_PKCS_PSS),
    "sha384": (Mechanism.SHA384_RSA_PKCS, Mechanism.SHA384_RSA_PKCS_PSS),
    "sha512": (Mechanism.SHA512_RSA_PKCS, Mechanism.SHA512_RSA_PKCS_PSS),
}
PSS = {
    "sha256": pss(Mechanism.SHA256, c.CKG_MGF1_SHA256, 32),
    "sha384": pss(Mechanism.SHA384, c.CKG_MGF1_SHA384, 48),
    "sha512": pss(Mechanism.SHA512, c.CKG_MGF1_SHA512, 64),
}
DIGEST_INFOS = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
DIGESTS = {
    "sha1": Mechanism.SHA_1,
    "sha224": Mechanism.SHA224,
    "sha256": Mechanism.SHA256,
    "sha384": Mechanism.SHA384,
    "sha512": Mechanism.SHA512,
}
OAEP = Mechanism.RSA_PKCS_OAEP, oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256)


def digest(name, data=MESSAGE):
    return hashlib.new(name, data).digest()


class Pair:
    """A key of the service with its handles in a session."""

    def __init__(self, program, session, record):
        self.program, self.session, self.record = program, session, record
        self.public_key = public_key(record) if record["jwk"] else None
        for name in ("private_key", "public_key", "secret_key"):
            wanted = {"class": ObjectClass[name.upper()], "id": record["kid"].encode()}
            found = program.find(session, **wanted)
            setattr(self, name.removesuffix("_key"), found[0] if found else None)

    def sign(self, mechanism, data=MESSAGE):
        return self.program.sign(self.session, self.private or self.secret, mechanism, data)

    def verify(self, mechanism, data, signature):
        handle = self.public or self.secret
        self.program.verify(self.session, handle, mechanism, data, signature)

    def check_ecdsa(self, signature, digest_value, name):
        half = len(signature) // 2
        r, s = (int.from_bytes(it, "big") for it in (signature[:half], signature[half:]))
        encoded = utils.encode_dss_signature(r, s)
        algorithm = ec.ECDSA(utils.Prehashed(HASHES[name]))
        self.public_key.verify(encoded, digest_value, algorithm)


@pytest.fixture
def every(program):
    """A session with the slot that shows all algorithms."""
    return program.open(slot=1)


@pytest.fixture(scope="module")
def records(kms):
    """A key of each algorithm."""
    algorithms = [*CURVES, "ed25519", "rsa2048", "rsa3072", "hs256", "hs384", "hs512"]
    return {alg: kms.call("POST", "/key/generate", {"alg": alg}) for alg in algorithms}


@pytest.fixture
def pair(program, every, records):
    def of(alg):
        return Pair(program, every, records[alg])

    return of


class TestEcdsa:
    @pytest.mark.parametrize("curve", CURVES)
    @pytest.mark.parametrize("name", HASHES)
    def test_the_sidecar_hashes(self, pair, curve, name):
        key = pair(curve)
        signature = key.sign(ECDSA[name])
        key.check_ecdsa(signature, digest(name), name)
        key.verify(ECDSA[name], MESSAGE, signature)

    @pytest.mark.parametrize("curve", CURVES)
    @pytest.mark.parametrize("name", HASHES)
    def test_a_program_hashes(self, pair, curve, name):
        key = pair(curve)
        signature = key.sign(Mechanism.ECDSA, digest(name))
        key.check_ecdsa(signature, digest(name), name)
        key.verify(Mechanism.ECDSA, digest(name), signature)
        key.verify(ECDSA[name], MESSAGE, signature)

    @pytest.mark.parametrize("length", [1, 20, 31, 33, 64])
    def test_a_digest_has_any_length_up_to_64(self, pair, length):
        key = pair("p256")
        data = secrets.token_bytes(length)
        signature = key.sign(Mechanism.ECDSA, data)
        padded = data[:32].rjust(32, b"\0")
        key.check_ecdsa(signature, padded, "sha256")
        key.verify(Mechanism.ECDSA, data, signature)

    @pytest.mark.parametrize("length", [0, 65, 1000])
    def test_any_other_digest_is_refused(self, pair, length):
        with refused(c.CKR_DATA_LEN_RANGE):
            pair("p256").sign(Mechanism.ECDSA, b"x" * length)

    def test_a_parameter_is_refused(self, program, every, pair):
        parameter = b"\0\0\0\4abcd"
        with refused(c.CKR_MECHANISM_PARAM_INVALID):
            program.call("C_SignInit", every, (Mechanism.ECDSA, parameter), pair("p256").private)


class TestEd25519:
    def test_a_signature(self, pair):
        """Signs by the test's own client, since p11-kit does not support Ed25519 yet."""
        key = pair("ed25519")
        signature = key.sign(Mechanism.EDDSA)
        key.public_key.verify(signature, MESSAGE)
        key.verify(Mechanism.EDDSA, MESSAGE, signature)
        with refused(c.CKR_SIGNATURE_INVALID):
            key.verify(Mechanism.EDDSA, MESSAGE, bytes(64))


class TestRsa:
    @pytest.mark.parametrize("alg", ["rsa2048", "rsa3072"])
    @pytest.mark.parametrize("name", RSA)
    def test_pkcs1(self, pair, alg, name):
        key = pair(alg)
        by_sidecar = key.sign(RSA[name][0])
        by_program = key.sign(Mechanism.RSA_PKCS, DIGEST_INFOS[name] + digest(name))
        assert by_sidecar == by_program
        key.public_key.verify(by_sidecar, MESSAGE, padding.PKCS1v15(), HASHES[name])
        key.verify(RSA[name][0], MESSAGE, by_sidecar)
        key.verify(Mechanism.RSA_PKCS, DIGEST_INFOS[name] + digest(name), by_sidecar)

    @pytest.mark.parametrize("name", RSA)
    def test_pss_with_a_salt_as_long_as_the_hash(self, pair, name):
        key = pair("rsa2048")
        scheme = padding.PSS(padding.MGF1(HASHES[name]), HASHES[name].digest_size)
        for mechanism, data in [
            ((RSA[name][1], PSS[name]), MESSAGE),
            ((Mechanism.RSA_PKCS_PSS, PSS[name]), digest(name)),
        ]:
            signature = key.sign(mechanism, data)
            key.public_key.verify(signature, MESSAGE, scheme, HASHES[name])
            key.verify(mechanism, data, signature)

    @pytest.mark.parametrize(
        "data",
        [
            MESSAGE,
            b"",
            digest("sha256"),
            DIGEST_INFOS["sha256"],
            DIGEST_INFOS["sha256"] + digest("sha256") + b"\0",
            DIGEST_INFOS["sha512"] + digest("sha256"),
            b"\0" + DIGEST_INFOS["sha256"] + digest("sha256")[1:],
            bytes.fromhex("3021300906052b0e03021a05000414") + digest("sha1"),
        ],
        ids=len,
    )
    def test_pkcs1_without_a_digest_info_of_sha2_is_refused(self, pair, data):
        with refused(c.CKR_DATA_INVALID):
            pair("rsa2048").sign(Mechanism.RSA_PKCS, data)

    @pytest.mark.parametrize(
        ("hash_mechanism", "mgf", "salt"),
        [
            (Mechanism.SHA256, c.CKG_MGF1_SHA256, 20),
            (Mechanism.SHA256, c.CKG_MGF1_SHA256, 0),
            (Mechanism.SHA256, c.CKG_MGF1_SHA256, 222),
            (Mechanism.SHA256, c.CKG_MGF1_SHA384, 32),
            (Mechanism.SHA256, 1, 32),
            (Mechanism.SHA_1, 1, 20),
            (Mechanism.SHA384, c.CKG_MGF1_SHA384, 48),  # with SHA256_RSA_PKCS_PSS
            (0, 0, 0),
        ],
    )
    def test_any_other_pss_is_refused(self, program, every, pair, hash_mechanism, mgf, salt):
        parameter = pss(hash_mechanism, mgf, salt)
        handle = pair("rsa2048").private
        with refused(c.CKR_MECHANISM_PARAM_INVALID):
            mechanism = Mechanism.SHA256_RSA_PKCS_PSS, parameter
            program.call("C_SignInit", every, mechanism, handle)

    def test_a_digest_of_another_length_is_refused(self, pair):
        with refused(c.CKR_DATA_LEN_RANGE):
            pair("rsa2048").sign((Mechanism.RSA_PKCS_PSS, PSS["sha256"]), b"x" * 31)

    @pytest.mark.parametrize("length", [0, 1, 190])
    def test_oaep(self, program, every, pair, length):
        key, data = pair("rsa2048"), secrets.token_bytes(length)
        program.call("C_EncryptInit", every, OAEP, key.public)
        assert program.call("C_Encrypt", every, data, 10) == Size(256)
        encrypted = program.call("C_Encrypt", every, data, 256)
        by_library = key.public_key.encrypt(
            data, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        )
        for ciphertext in (encrypted, by_library):
            program.call("C_DecryptInit", every, OAEP, key.private)
            assert program.call("C_Decrypt", every, ciphertext, 0) == Size(256)
            if length > 1:
                assert program.call("C_Decrypt", every, ciphertext, 1) == Size(length)
            assert program.call("C_Decrypt", every, ciphertext, 256) == data
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_Decrypt", every, encrypted, 256)

    def test_what_is_not_for_the_key_is_not_decrypted(self, program, every, pair):
        program.call("C_DecryptInit", every, OAEP, pair("rsa2048").private)
        with refused(c.CKR_ENCRYPTED_DATA_INVALID):
            program.call("C_Decrypt", every, b"\1" * 256, 256)
        program.call("C_EncryptInit", every, OAEP, pair("rsa2048").public)
        with refused(c.CKR_DATA_LEN_RANGE):
            program.call("C_Encrypt", every, b"x" * 191, 256)

    @pytest.mark.parametrize(
        "parameter",
        [
            oaep(Mechanism.SHA_1, 1),
            oaep(Mechanism.SHA256, 1),
            oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256, label=b"label"),
        ],
        ids=len,
    )
    def test_any_other_oaep_is_refused(self, program, every, pair, parameter):
        key = pair("rsa2048")
        for call, handle in [("C_DecryptInit", key.private), ("C_EncryptInit", key.public)]:
            with refused(c.CKR_MECHANISM_PARAM_INVALID):
                program.call(call, every, (Mechanism.RSA_PKCS_OAEP, parameter), handle)


class TestAgreement:
    @pytest.mark.parametrize("curve", CURVES)
    @pytest.mark.parametrize("form", ["point", "octets", "compressed"])
    def test_a_shared_secret(self, program, every, pair, curve, form):
        key = pair(curve)
        peer = ec.generate_private_key(key.public_key.curve)
        compressed = PublicFormat.CompressedPoint, PublicFormat.UncompressedPoint
        public = peer.public_key().public_bytes(Encoding.X962, compressed[form != "compressed"])
        if form == "octets":
            length = len(public)
            public = b"\x04" + (b"" if length < 128 else b"\x81") + bytes((length,)) + public
        wanted = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.SENSITIVE: False,
            Attribute.EXTRACTABLE: True,
        }
        mechanism = Mechanism.ECDH1_DERIVE, ecdh1(public)
        handle = program.call("C_DeriveKey", every, mechanism, key.private, wanted)
        secret = peer.exchange(ec.ECDH(), key.public_key)
        assert program.get(every, handle, Attribute.VALUE) == secret
        assert program.get(every, handle, Attribute.VALUE_LEN) == len(secret)
        assert program.get(every, handle, Attribute.TOKEN) is False
        assert handle in program.find(every, **{"class": ObjectClass.SECRET_KEY}, token=False)
        program.call("C_DestroyObject", every, handle)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(every, handle, Attribute.VALUE)

    def derive(self, program, session, handle, peer, wanted=None, **options):
        public = peer.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        mechanism = Mechanism.ECDH1_DERIVE, ecdh1(public, **options)
        return program.call("C_DeriveKey", session, mechanism, handle, wanted or {})

    def test_the_call_of_version_2(self, shared, keys):
        with shared.connect(2) as program:
            session = program.open()
            key = Pair(program, session, keys.generate())
            peer = ec.generate_private_key(ec.SECP256R1())
            public = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            mechanism = Mechanism.ECDH1_DERIVE, ecdh1(public)
            answer = program.call("C_DeriveKey2", session, mechanism, key.private, {})
            assert answer[:2] == (c.CKR_OK, b"\0")
            secret = peer.exchange(ec.ECDH(), key.public_key)
            assert program.get(session, answer[2], Attribute.VALUE) == secret

    def test_a_shorter_secret_is_its_end(self, program, every, pair):
        key, peer = pair("p256"), ec.generate_private_key(ec.SECP256R1())
        secret = peer.exchange(ec.ECDH(), key.public_key)
        wanted = {Attribute.VALUE_LEN: 16}
        handle = self.derive(program, every, key.private, peer.public_key(), wanted)
        assert program.get(every, handle, Attribute.VALUE) == secret[16:]
        for length in (0, 33):
            with refused(c.CKR_TEMPLATE_INCONSISTENT):
                wanted = {Attribute.VALUE_LEN: length}
                self.derive(program, every, key.private, peer.public_key(), wanted)

    @pytest.mark.parametrize(
        "wanted", [{Attribute.SENSITIVE: True}, {Attribute.EXTRACTABLE: False}]
    )
    def test_a_sensitive_secret_is_not_shown(self, program, every, pair, wanted):
        peer = ec.generate_private_key(ec.SECP256R1()).public_key()
        handle = self.derive(program, every, pair("p256").private, peer, wanted)
        with refused(c.CKR_ATTRIBUTE_SENSITIVE):
            program.get(every, handle, Attribute.VALUE)

    def test_a_secret_is_the_programs_own_and_ends_with_its_session(self, shared, program, pair):
        session = program.open(slot=1)
        peer = ec.generate_private_key(ec.SECP256R1()).public_key()
        handle = self.derive(program, session, pair("p256").private, peer)
        with shared.connect() as other, refused(c.CKR_OBJECT_HANDLE_INVALID):
            other.get(other.open(slot=1), handle, Attribute.VALUE)
        program.call("C_CloseSession", session)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(program.open(slot=1), handle, Attribute.VALUE)

    def test_what_is_no_peer_is_refused(self, program, every, pair):
        key = pair("p256").private
        other = ec.generate_private_key(ec.SECP384R1()).public_key()
        with refused(c.CKR_MECHANISM_PARAM_INVALID):
            self.derive(program, every, key, other)
        for public in (b"", b"\x04" + b"\1" * 64, b"\0"):
            with refused(c.CKR_MECHANISM_PARAM_INVALID):
                mechanism = Mechanism.ECDH1_DERIVE, ecdh1(public)
                program.call("C_DeriveKey", every, mechanism, key, {})

    def test_what_the_service_does_not_do_is_refused(self, program, every, pair):
        key, peer = pair("p256").private, ec.generate_private_key(ec.SECP256R1()).public_key()
        for options in ({"kdf": 2}, {"shared": b"information"}):
            with refused(c.CKR_MECHANISM_PARAM_INVALID):
                self.derive(program, every, key, peer, **options)
        with refused(c.CKR_TEMPLATE_INCONSISTENT):
            self.derive(program, every, key, peer, {Attribute.TOKEN: True})
        with refused(c.CKR_KEY_TYPE_INCONSISTENT):
            self.derive(program, every, pair("rsa2048").private, peer)

    def test_rules_that_forbid_it(self, program, every, keys):
        key = Pair(program, every, keys.generate(rules={"raw": False}))
        peer = ec.generate_private_key(ec.SECP256R1()).public_key()
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            self.derive(program, every, key.private, peer)


class TestMacs:
    @pytest.mark.parametrize(
        ("alg", "mechanism", "name"),
        [
            ("hs256", Mechanism.SHA256_HMAC, "sha256"),
            ("hs384", Mechanism.SHA384_HMAC, "sha384"),
            ("hs512", Mechanism.SHA512_HMAC, "sha512"),
        ],
    )
    def test_a_mac(self, program, every, keys, alg, mechanism, name):
        secret = secrets.token_bytes(64)
        body = {"alg": alg, "secret": base64.urlsafe_b64encode(secret).decode()}
        key = Pair(program, every, keys.call("POST", "/key/import", body))
        expected = hmac.new(secret, MESSAGE, name).digest()
        assert key.sign(mechanism) == expected
        key.verify(mechanism, MESSAGE, expected)
        with refused(c.CKR_SIGNATURE_INVALID):
            key.verify(mechanism, MESSAGE + b"!", expected)
        program.call("C_SignInit", every, mechanism, key.secret)
        for part in (b"hel", b"", b"lo"):
            program.call("C_SignUpdate", every, part)
        assert program.call("C_SignFinal", every, 64) == expected
        program.call("C_VerifyInit", every, mechanism, key.secret)
        program.call("C_VerifyUpdate", every, MESSAGE)
        program.call("C_VerifyFinal", every, expected)

    def test_a_mac_of_another_hash_is_refused(self, program, every, pair):
        with refused(c.CKR_KEY_TYPE_INCONSISTENT):
            program.call("C_SignInit", every, Mechanism.SHA512_HMAC, pair("hs256").secret)


class TestVerification:
    def test_a_wrong_signature(self, program, every, pair):
        key = pair("p256")
        signature = key.sign(Mechanism.ECDSA_SHA256)
        for wrong in (bytes(64), signature[32:] + signature[:32]):
            with refused(c.CKR_SIGNATURE_INVALID):
                key.verify(Mechanism.ECDSA_SHA256, MESSAGE, wrong)
        for wrong in (b"", signature[:-1], signature + b"\0"):
            with refused(c.CKR_SIGNATURE_LEN_RANGE):
                key.verify(Mechanism.ECDSA_SHA256, MESSAGE, wrong)
        rsa = pair("rsa2048")
        with refused(c.CKR_SIGNATURE_INVALID):
            rsa.verify(Mechanism.SHA256_RSA_PKCS, MESSAGE, bytes(256))
        with refused(c.CKR_SIGNATURE_LEN_RANGE):
            rsa.verify(Mechanism.SHA256_RSA_PKCS, MESSAGE, bytes(255))

    def test_in_parts(self, program, every, pair):
        for alg, mechanism in [
            ("p384", Mechanism.ECDSA_SHA384),
            ("rsa2048", (Mechanism.SHA256_RSA_PKCS_PSS, PSS["sha256"])),
        ]:
            key = pair(alg)
            program.call("C_SignInit", every, mechanism, key.private)
            for part in (b"hel", b"lo"):
                program.call("C_SignUpdate", every, part)
            with refused(c.CKR_OPERATION_ACTIVE):
                program.call("C_Sign", every, MESSAGE, 256)
            signature = program.call("C_SignFinal", every, 256)
            program.call("C_VerifyInit", every, mechanism, key.public)
            for part in (b"h", b"ello"):
                program.call("C_VerifyUpdate", every, part)
            program.call("C_VerifyFinal", every, signature)

    def test_data_without_a_hash_in_parts(self, program, every, pair):
        key = pair("p256")
        program.call("C_SignInit", every, Mechanism.ECDSA, key.private)
        for part in (digest("sha256")[:10], digest("sha256")[10:]):
            program.call("C_SignUpdate", every, part)
        key.check_ecdsa(program.call("C_SignFinal", every, 64), digest("sha256"), "sha256")

    def test_a_public_key_that_a_program_brings(self, program, session, pair):
        stranger = ec.generate_private_key(ec.SECP256R1())
        public = stranger.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        template = {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"),
            Attribute.EC_POINT: b"\x04\x41" + public,
            Attribute.LABEL: b"stranger",
        }
        handle = program.call("C_CreateObject", session, template)
        assert program.find(session, label=b"stranger") == [handle]
        assert program.get(session, handle, Attribute.TOKEN) is False
        encoded = stranger.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(encoded)
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        program.verify(session, handle, Mechanism.ECDSA_SHA256, MESSAGE, raw)
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_SignInit", session, Mechanism.ECDSA, handle)
        with refused(c.CKR_TEMPLATE_INCONSISTENT):
            program.call("C_CreateObject", session, {**template, Attribute.TOKEN: True})

    def test_a_private_key_does_not_verify(self, program, every, pair):
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_VerifyInit", every, Mechanism.ECDSA, pair("p256").private)

    def test_a_public_key_does_not_sign(self, program, every, pair):
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_SignInit", every, Mechanism.ECDSA, pair("p256").public)

    @pytest.mark.parametrize(
        ("alg", "mechanism"),
        [
            ("p256", Mechanism.RSA_PKCS),
            ("p256", Mechanism.SHA256_HMAC),
            ("rsa2048", Mechanism.ECDSA_SHA256),
            ("ed25519", Mechanism.ECDSA),
            ("hs256", Mechanism.ECDSA_SHA256),
        ],
    )
    def test_a_mechanism_of_another_type_is_refused(self, program, every, pair, alg, mechanism):
        key = pair(alg)
        with refused(c.CKR_KEY_TYPE_INCONSISTENT):
            program.call("C_SignInit", every, mechanism, key.private or key.secret)


class TestDigests:
    @pytest.mark.parametrize("name", DIGESTS)
    def test_a_digest(self, program, session, name):
        program.call("C_DigestInit", session, DIGESTS[name])
        assert program.call("C_Digest", session, MESSAGE, 64) == digest(name)
        program.call("C_DigestInit", session, DIGESTS[name])
        for part in (b"", b"hel", b"lo"):
            program.call("C_DigestUpdate", session, part)
        assert program.call("C_DigestFinal", session, 64) == digest(name)

    def test_a_digest_of_nothing(self, program, session):
        program.call("C_DigestInit", session, Mechanism.SHA256)
        assert program.call("C_DigestFinal", session, 32) == digest("sha256", b"")

    def test_a_mechanism_that_does_not_hash_is_refused(self, program, session):
        for mechanism in (Mechanism.ECDSA, 0x210):
            with refused(c.CKR_MECHANISM_INVALID):
                program.call("C_DigestInit", session, mechanism)


class TestTheListOfMechanisms:
    def test_it_has_what_the_slots_algorithms_use(self, program):
        default, every = (set(program.call("C_GetMechanismList", slot, 100)) for slot in (0, 1))
        assert {Mechanism.ECDSA, Mechanism.RSA_PKCS_PSS, Mechanism.ECDH1_DERIVE} <= default
        assert every - default == {
            *(Mechanism.EDDSA, Mechanism.SHA256_HMAC, Mechanism.SHA384_HMAC),
            Mechanism.SHA512_HMAC,
        }

    def test_each_has_its_information(self, program):
        for mechanism in program.call("C_GetMechanismList", 1, 100):
            least, most, flags = program.call("C_GetMechanismInfo", 1, mechanism)
            assert least <= most
            assert flags
        info = program.call("C_GetMechanismInfo", 0, Mechanism.ECDSA)
        assert info[:2] == (256, 521)
        assert info[2] & c.CKF_SIGN
        info = program.call("C_GetMechanismInfo", 0, Mechanism.RSA_PKCS_KEY_PAIR_GEN)
        assert info[:2] == (2048, 4096)
        with refused(c.CKR_MECHANISM_INVALID):
            program.call("C_GetMechanismInfo", 0, Mechanism.EDDSA)


class TestRandomNumbers:
    def test_they_are_the_services(self, program, session, kms):
        one, two = (program.call("C_GenerateRandom", session, 32) for _ in range(2))
        assert one != two
        pid = f"p11:{os.getpid()}:"
        assert any(it["request_id"].startswith(pid) for it in kms.events("random"))

    def test_a_seed_is_not_taken(self, program, session):
        with refused(c.CKR_RANDOM_SEED_NOT_SUPPORTED):
            program.call("C_SeedRandom", session, b"seed")
        assert program.call("C_GenerateRandom", session, NULL) == b""
