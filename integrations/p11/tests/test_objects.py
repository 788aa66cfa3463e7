"""Objects: their attributes, which of them a slot shows, searches, changes and deletion."""

import base64
import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kms import public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from rpc import oaep, refused
from waiting import wait_until

from minikms_p11 import constants as c
from minikms_p11.directory import Directory
from minikms_p11.handles import Handles
from minikms_p11.keys import Key

PRIVATE, PUBLIC = ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY
SECRET, CERTIFICATE = ObjectClass.SECRET_KEY, ObjectClass.CERTIFICATE
P256 = bytes.fromhex("06082a8648ce3d030107")
K256 = bytes.fromhex("06052b8104000a")
ED25519 = bytes.fromhex("06032b6570")
NONE = (1 << 64) - 1  # CK_UNAVAILABLE_INFORMATION
UNIQUE_ID = 4
OAEP = oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256)
WEB = {"use": "web"}  # the label of the keys of a slot


def find(program, session, key, object_class=PRIVATE, **wanted):
    """The handles of a key's objects of a class."""
    given = {"id": key["kid"].encode(), **wanted}
    return program.find(session, **{"class": object_class}, **given)


def one(program, session, key, object_class=PRIVATE):
    (found,) = find(program, session, key, object_class)
    return found


def spki(key):
    return public_key(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def point(key):
    content = public_key(key).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return b"\x04" + bytes((len(content),)) + content


def der(text):
    return x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)


def new_jwk():
    """The public JWK of a new key."""
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(value.to_bytes(32, "big")).decode().rstrip("=")
        for value in (numbers.x, numbers.y)
    )
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def certificate(subject, key, issuer, signer):
    """The text of a certificate."""
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, it)]) for it in (issuer, subject)
    ]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(*names, key, x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def check(program, session, handle, expected):
    """Compare attributes; a value that is an exception is the return value of a refusal."""
    for kind, value in expected.items():
        if isinstance(value, type) and issubclass(value, Absent):
            with refused(value.value):
                program.get(session, handle, kind)
        else:
            assert program.get(session, handle, kind) == value, kind


class Absent:
    value = c.CKR_ATTRIBUTE_TYPE_INVALID


class Sensitive(Absent):
    value = c.CKR_ATTRIBUTE_SENSITIVE


HIDDEN = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.WRAP_WITH_TRUSTED: False,
    Attribute.ALWAYS_AUTHENTICATE: False,
}
STORED = {
    Attribute.TOKEN: True,
    Attribute.MODIFIABLE: True,
    Attribute.COPYABLE: False,
    Attribute.START_DATE: b"",
    Attribute.END_DATE: b"",
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}


class TestAttributes:
    def test_a_private_key_on_a_curve(self, program, session, keys):
        key = keys.generate()
        kid = key["kid"].encode()
        check(
            program,
            session,
            one(program, session, key),
            {
                **(STORED | HIDDEN),
                Attribute.CLASS: PRIVATE,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.ID: kid,
                Attribute.LABEL: kid,
                UNIQUE_ID: kid + b"/private",
                Attribute.SUBJECT: b"",
                Attribute.SIGN: True,
                Attribute.SIGN_RECOVER: False,
                Attribute.DECRYPT: False,
                Attribute.DERIVE: True,
                Attribute.LOCAL: True,
                Attribute.ALWAYS_SENSITIVE: True,
                Attribute.NEVER_EXTRACTABLE: True,
                Attribute.KEY_GEN_MECHANISM: Mechanism.EC_KEY_PAIR_GEN,
                Attribute.EC_PARAMS: P256,
                Attribute.EC_POINT: point(key),
                c.CKA_PUBLIC_KEY_INFO: spki(key),
                Attribute.VALUE: Sensitive,
                Attribute.MODULUS: Absent,
                Attribute.VERIFY: Absent,
            },
        )

    def test_a_public_key_on_a_curve(self, program, session, keys):
        key = keys.generate(operations=["sign", "verify"])
        kid = key["kid"].encode()
        check(
            program,
            session,
            one(program, session, key, PUBLIC),
            {
                **STORED,
                Attribute.CLASS: PUBLIC,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.ID: kid,
                Attribute.LABEL: kid,
                UNIQUE_ID: kid + b"/public",
                Attribute.PRIVATE: False,
                Attribute.TRUSTED: False,
                Attribute.VERIFY: True,
                Attribute.VERIFY_RECOVER: False,
                Attribute.ENCRYPT: False,
                Attribute.DERIVE: False,
                Attribute.EC_PARAMS: P256,
                Attribute.EC_POINT: point(key),
                Attribute.VALUE: Absent,
                Attribute.SENSITIVE: Absent,
            },
        )
        assert program.get(session, one(program, session, key), Attribute.DERIVE) is False

    def test_an_rsa_key(self, program, session, keys):
        key = keys.generate("rsa2048")
        numbers = public_key(key).public_numbers()
        modulus = numbers.n.to_bytes(256, "big")
        check(
            program,
            session,
            one(program, session, key),
            {
                **(STORED | HIDDEN),
                Attribute.KEY_TYPE: KeyType.RSA,
                Attribute.SIGN: True,
                Attribute.DECRYPT: True,
                Attribute.DERIVE: False,
                Attribute.MODULUS: modulus,
                Attribute.PUBLIC_EXPONENT: b"\1\0\1",
                Attribute.KEY_GEN_MECHANISM: Mechanism.RSA_PKCS_KEY_PAIR_GEN,
                Attribute.PRIVATE_EXPONENT: Sensitive,
                Attribute.PRIME_1: Sensitive,
                Attribute.COEFFICIENT: Sensitive,
                Attribute.MODULUS_BITS: Absent,
                Attribute.EC_POINT: Absent,
            },
        )
        check(
            program,
            session,
            one(program, session, key, PUBLIC),
            {
                Attribute.KEY_TYPE: KeyType.RSA,
                Attribute.MODULUS: modulus,
                Attribute.MODULUS_BITS: 2048,
                Attribute.PUBLIC_EXPONENT: b"\1\0\1",
                Attribute.VERIFY: True,
                Attribute.ENCRYPT: True,
                Attribute.PRIVATE_EXPONENT: Absent,
                c.CKA_PUBLIC_KEY_INFO: spki(key),
            },
        )

    def test_an_ed25519_key(self, program, keys):
        session, key = program.open(slot=1), keys.generate("ed25519")
        raw = public_key(key).public_bytes_raw()
        check(
            program,
            session,
            one(program, session, key, PUBLIC),
            {
                Attribute.KEY_TYPE: 0x40,  # CKK_EC_EDWARDS
                Attribute.EC_PARAMS: ED25519,
                Attribute.EC_POINT: b"\x04\x20" + raw,
                Attribute.KEY_GEN_MECHANISM: NONE,
            },
        )

    def test_a_secret(self, program, keys):
        session, key = program.open(slot=1), keys.generate("hs256", alias="mac-key")
        assert find(program, session, key) == []
        check(
            program,
            session,
            one(program, session, key, SECRET),
            {
                **STORED,
                Attribute.CLASS: SECRET,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.LABEL: b"mac-key",
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.SIGN: True,
                Attribute.VERIFY: True,
                Attribute.ENCRYPT: False,
                Attribute.DERIVE: False,
                Attribute.VALUE: Sensitive,
                Attribute.EC_POINT: Absent,
            },
        )

    def test_an_imported_key_was_not_always_here(self, program, session, keys):
        secret = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        text = base64.urlsafe_b64encode(secret.to_bytes(32, "big")).decode()
        key = keys.call("POST", "/key/import", {"alg": "p256", "secret": text})
        check(
            program,
            session,
            one(program, session, key),
            {
                Attribute.LOCAL: False,
                Attribute.ALWAYS_SENSITIVE: False,
                Attribute.NEVER_EXTRACTABLE: False,
                Attribute.EXTRACTABLE: False,
                Attribute.KEY_GEN_MECHANISM: NONE,
            },
        )

    def test_a_public_key_alone_has_no_private_object(self, program, session, keys):
        key = keys.call("POST", "/key/import", {"jwk": new_jwk()})
        assert find(program, session, key) == []
        public = one(program, session, key, PUBLIC)
        assert program.get(session, public, Attribute.VERIFY) is True


class TestStatesAndRules:
    def refuses_to_sign(self, program, session, key, mechanism=Mechanism.ECDSA):
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.SIGN, Attribute.DERIVE) == [False, False]
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_SignInit", session, mechanism, handle)
        return handle

    @pytest.mark.parametrize(
        "rules", [{"raw": False}, {"jws": {"typ": ["JWT"]}}, "sd-jwt-vc"], ids=str
    )
    def test_rules_that_forbid_raw_signatures(self, program, session, keys, rules):
        key = keys.generate(rules=rules)
        handle = self.refuses_to_sign(program, session, key)
        assert handle not in program.find(session, sign=True)
        public = one(program, session, key, PUBLIC)
        assert program.get(session, public, Attribute.VERIFY) is True

    def test_rules_that_allow_raw_signatures(self, program, session, keys):
        key = keys.generate(rules={"algs": ["ES256"]})
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.SIGN) is True
        assert program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)

    def test_a_verify_only_key(self, program, session, keys):
        key = keys.generate()
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "verify-only"})
        self.refuses_to_sign(program, session, key)

    def test_a_key_that_becomes_verify_only_or_enabled_again(self, program, session, keys):
        key = keys.generate()
        handle = one(program, session, key)
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "verify-only"})
        assert self.refuses_to_sign(program, session, key) == handle
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "enabled"})
        assert len(program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)) == 64

    def test_a_key_that_becomes_verify_only_within_the_cache(self, start, token_file, keys):
        program = start("--token-file", str(token_file), "--cache", "3600").connect()
        session, key = program.open(), keys.generate()
        handle = one(program, session, key)
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "verify-only"})
        program.call("C_SignInit", session, Mechanism.ECDSA, handle)  # as it was last read
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_Sign", session, b"x" * 32, 64)

    def test_a_next_key_signs_after_the_rotation(self, program, session, keys):
        key = keys.generate(alias="rotated")
        following = keys.call("POST", f"/key/{key['kid']}/next")
        handle = self.refuses_to_sign(program, session, following)
        assert program.get(session, one(program, session, following, PUBLIC), Attribute.VERIFY)
        [named] = program.find(session, **{"class": PRIVATE}, label=b"rotated")
        assert len(program.sign(session, named, Mechanism.ECDSA, b"x" * 32)) == 64
        keys.call("POST", f"/key/{key['kid']}/rotate")
        assert len(program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)) == 64
        assert program.find(session, **{"class": PRIVATE}, label=b"rotated") == [handle]

    def test_a_next_key_does_not_decrypt(self, program, session, keys):
        following = keys.call("POST", f"/key/{keys.generate('rsa2048')['kid']}/next")
        handle = one(program, session, following)
        assert program.get(session, handle, Attribute.SIGN, Attribute.DECRYPT) == [False, False]

    def test_a_disabled_key_is_hidden(self, program, session, keys):
        key = keys.generate(alias="hidden")
        handle = one(program, session, key)
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "disabled"})
        for wanted in ({"id": key["kid"].encode()}, {"label": b"hidden"}, {"ec_point": point(key)}):
            assert program.find(session, **wanted) == []
        assert handle not in program.find(session)
        with refused(c.CKR_KEY_HANDLE_INVALID):
            program.call("C_SignInit", session, Mechanism.ECDSA, handle)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(session, handle, Attribute.ID)
        keys.call("PATCH", f"/key/{key['kid']}", {"state": "enabled"})
        assert len(program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)) == 64

    def test_a_key_without_the_operation(self, program, session, keys):
        key = keys.generate(operations=["derive"])
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.SIGN, Attribute.DERIVE) == [False, True]
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_SignInit", session, Mechanism.ECDSA, handle)

    def test_a_key_without_decryption(self, program, session, keys):
        handle = one(program, session, keys.generate("rsa2048", operations=["sign", "verify"]))
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.call("C_DecryptInit", session, (Mechanism.RSA_PKCS_OAEP, OAEP), handle)

    def test_a_signature_that_needs_an_approval(self, program, session, keys):
        x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        approver = {"name": "ann", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}
        key = keys.generate("rsa2048", rules={"approval": {"approvers": [approver]}})
        handle = one(program, session, key)
        with refused(c.CKR_FUNCTION_REJECTED):
            program.sign(session, handle, Mechanism.SHA256_RSA_PKCS, b"hello")

    def test_a_rule_that_refuses_a_signature(self, program, session, keys):
        key = keys.generate("rsa2048", rules={"algs": ["PS256"]})
        handle = one(program, session, key)
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            program.sign(session, handle, Mechanism.SHA256_RSA_PKCS, b"hello")


class TestSlots:
    def test_the_default_slot_shows_nist_curves_and_rsa(self, program, keys):
        default, every = program.open(), program.open(slot=1)
        for alg in ("p256", "p384", "p521", "rsa2048", "k256", "ed25519", "hs256"):
            key = keys.generate(alg)
            kid = key["kid"].encode()
            shown = alg[0] in "pr"
            assert bool(program.find(default, id=kid)) == shown
            assert bool(set(program.find(default)) & set(program.find(every, id=kid))) == shown
            assert program.find(every, id=kid)

    def test_other_algorithms_are_never_shown(self, program, keys):
        every = program.open(slot=1)
        for alg in ("x25519", "a256gcm", "mldsa44"):
            assert program.find(every, id=keys.generate(alg)["kid"].encode()) == []

    def test_a_slot_with_a_label_shows_keys_with_the_label(self, program, keys):
        session = program.open(slot=2)
        shown, other = keys.generate(labels={"use": "web"}), keys.generate(labels={"use": "ssh"})
        assert find(program, session, shown)
        for key in (other, keys.generate()):
            assert find(program, session, key) == []
            handle = one(program, program.open(), key)
            with refused(c.CKR_OBJECT_HANDLE_INVALID):
                program.get(session, handle, Attribute.ID)

    def test_a_key_pair_made_in_a_slot_with_a_label_gets_the_label(self, program, keys):
        session = program.open(slot=2)
        templates = {Attribute.EC_PARAMS: P256}, {Attribute.TOKEN: True}
        made = program.call("C_GenerateKeyPair", session, Mechanism.EC_KEY_PAIR_GEN, *templates)
        kid = program.get(session, made[1], Attribute.ID).decode()
        assert keys.key(kid)["labels"] == {"use": "web"}

    def test_a_slot_has_the_keys_of_its_profile(self, program, keys, kms):
        key = keys.generate()
        other = kms.call("POST", "/key/generate", {"alg": "p256"}, profile="other")
        assert find(program, program.open(slot=3), key) == []
        assert find(program, program.open(slot=3), other)
        assert find(program, program.open(), other) == []

    def test_a_slot_tells_its_token(self, program, kms):
        for slot, label, profile in [(0, b"minikms", "default"), (3, b"other", "other")]:
            information = program.call("C_GetTokenInfo", slot)
            assert information[0] == label.ljust(32)
            serial = hashlib.sha256(f"{kms.url} {profile}".encode()).hexdigest()[:16]
            assert information[3] == serial.encode()
            assert not information[4] & c.CKF_LOGIN_REQUIRED  # by --token-file
            assert information[4] & c.CKF_RNG

    def test_a_slot_counts_its_sessions(self, program):
        program.open()
        program.open(flags=c.CKF_SERIAL_SESSION)
        information = program.call("C_GetTokenInfo", 0)
        assert (information[6], information[8]) == (2, 1)
        assert program.call("C_GetTokenInfo", 1)[6] == 0

    def test_a_slot_that_is_not_there_is_invalid(self, program):
        for call in ("C_GetSlotInfo", "C_GetTokenInfo", "C_CloseAllSessions"):
            for slot in (4, 1 << 32, (1 << 64) - 1):
                with refused(c.CKR_SLOT_ID_INVALID):
                    program.call(call, slot)
        with refused(c.CKR_SLOT_ID_INVALID):
            program.open(slot=4)


class TestNames:
    def test_the_label_is_the_first_alias_and_any_alias_finds_it(self, program, session, keys):
        key = keys.generate(alias="first", labels={"pkcs11.label": "own"})
        keys.call("POST", f"/key/{key['kid']}/associate", {"alias": "second"})
        handle = one(program, session, key)
        for name in ("first", "second", "own", key["kid"]):
            assert handle in program.find(session, label=name.encode())
        assert program.get(session, handle, Attribute.LABEL) == b"first"
        assert program.find(session, label=b"third") == []

    def test_without_an_alias_it_is_the_label_that_a_program_gave(self, program, session, keys):
        key = keys.generate(labels={"pkcs11.label": "öwn"})
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.LABEL) == "öwn".encode()

    def test_a_programs_own_id_replaces_the_kid_which_still_finds_it(self, program, session, keys):
        key = keys.generate(labels={"pkcs11.id": "00ff10"})
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.ID) == b"\x00\xff\x10"
        assert handle in program.find(session, id=b"\x00\xff\x10")

    def test_a_malformed_own_id_is_none(self, program, session, keys):
        key = keys.generate(labels={"pkcs11.id": "not hexadecimal"})
        handle = one(program, session, key)
        assert program.get(session, handle, Attribute.ID) == key["kid"].encode()

    def test_id_and_label_are_set(self, program, session, keys):
        key = keys.generate(labels={"stays": "1"})
        handle = one(program, session, key)
        given = {Attribute.ID: b"\x01\x02", Attribute.LABEL: b"given"}
        program.call("C_SetAttributeValue", session, handle, given)
        assert program.get(session, handle, Attribute.ID, Attribute.LABEL) == [b"\1\2", b"given"]
        labels = {"stays": "1", "pkcs11.id": "0102", "pkcs11.label": "given"}
        assert keys.key(key["kid"])["labels"] == labels

    def test_the_name_that_a_key_has_as_its_alias_gets_no_label(self, program, session, keys):
        key = keys.generate(alias="named")
        handle = one(program, session, key)
        program.call("C_SetAttributeValue", session, handle, {Attribute.LABEL: b"named"})
        assert keys.key(key["kid"])["labels"] == {}

    def test_other_attributes_are_not_set(self, program, session, keys):
        key = keys.generate()
        handle = one(program, session, key)
        for kind, value in [(Attribute.SIGN, False), (Attribute.EXTRACTABLE, True)]:
            with refused(c.CKR_ATTRIBUTE_READ_ONLY):
                program.call("C_SetAttributeValue", session, handle, {kind: value})
        program.call("C_SetAttributeValue", session, handle, {Attribute.SIGN: True})  # as it is
        with refused(c.CKR_SESSION_READ_ONLY):
            program.call("C_SetAttributeValue", program.open(flags=4), handle, {})

    @pytest.mark.parametrize("label", [b"\xff", b"two\nlines", b"\0", b"\x7f", b"x" * 4097])
    def test_a_label_that_no_key_can_have_is_not_set(self, program, session, keys, label):
        handle = one(program, session, keys.generate())
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            program.call("C_SetAttributeValue", session, handle, {Attribute.LABEL: label})
        assert program.find(session, label=label) == []


class TestChangesByOthers:
    """A program with a handle, while an operator changes its key in the service."""

    @pytest.fixture
    def late(self, start, token_file, profile):
        """A program, and its session with a slot of keys with a label, which are read for long."""
        slot = f"web={profile.name},label=use:web"
        options = "--token-file", str(token_file), "--slot", slot, "--allow-delete"
        program = start(*options, "--cache", "3600").connect()
        return program, program.open()

    @pytest.fixture
    def chain(self, profile):
        """A key that has its certificate and its CA's, and the two texts."""
        ca, key = ec.generate_private_key(ec.SECP256R1()), profile.generate(labels=WEB)
        root = certificate("CA", ca.public_key(), "CA", ca)
        texts = [certificate("web", public_key(key), "CA", ca), root]
        self.certify(profile, key, texts)
        return key, texts

    def certify(self, profile, key, texts):
        profile.call("PUT", f"/key/{key['kid']}/certificates", {"certificates": texts})

    def change(self, profile, key, **labels):
        profile.call("PATCH", f"/key/{key['kid']}", {"labels": labels})

    def test_labels_of_an_operator_stay_when_a_program_sets_its_own(self, late, profile):
        program, session = late
        key = profile.generate(labels=WEB)
        handle = one(program, session, key)
        self.change(profile, key, **WEB, owner="operator")
        program.call("C_SetAttributeValue", session, handle, {Attribute.LABEL: b"given"})
        labels = {**WEB, "owner": "operator", "pkcs11.label": "given"}
        assert profile.key(key["kid"])["labels"] == labels

    def test_a_key_that_was_taken_out_of_a_slot_is_not_brought_back(self, late, profile):
        program, session = late
        key = profile.generate(labels=WEB)
        handle = one(program, session, key)
        self.change(profile, key)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.call("C_SetAttributeValue", session, handle, {Attribute.LABEL: b"given"})
        assert profile.key(key["kid"])["labels"] == {}

    def test_a_key_that_was_taken_out_of_a_slot_is_not_deleted(self, late, profile):
        program, session = late
        key = profile.generate(labels=WEB)
        handle = one(program, session, key)
        self.change(profile, key)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.call("C_DestroyObject", session, handle)
        assert profile.key(key["kid"])

    @pytest.mark.parametrize(
        ("call", "mechanism"),
        [
            ("C_SignInit", Mechanism.ECDSA),
            ("C_VerifyInit", Mechanism.ECDSA),
            ("C_DecryptInit", (Mechanism.RSA_PKCS_OAEP, OAEP)),
        ],
    )
    def test_a_key_that_was_taken_out_of_a_slot_is_not_used(self, program, keys, call, mechanism):
        """A handle found earlier is refused after `--cache` seconds."""
        session = program.open(slot=2)
        key = keys.generate("rsa2048" if call == "C_DecryptInit" else "p256", labels=WEB)
        handle = one(program, session, key, PUBLIC if call == "C_VerifyInit" else PRIVATE)
        program.call(call, session, mechanism, handle)
        program.call(call, session, None, handle)
        self.change(keys, key)
        with refused(c.CKR_KEY_HANDLE_INVALID):
            program.call(call, session, mechanism, handle)

    async def test_a_key_that_was_read_during_a_listing_is_newer(self, profile):
        """A program may make or rename a key while another program lists keys."""
        record = profile.generate()
        newer = Key.read({**record, "labels": WEB})

        class Listing:
            async def page(self, *_):
                directory.keep(newer)
                return [record], None

        directory = Directory(Listing(), profile.name, Handles(), 2.0)
        assert await directory.all(None) == [newer]

    def test_a_key_is_used_as_it_was_read_within_the_cache(self, late, profile):
        program, session = late
        key = profile.generate(labels=WEB)
        handle = one(program, session, key)
        self.change(profile, key)
        assert program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)

    def test_a_chain_that_was_replaced_is_not_brought_back(self, late, profile, chain):
        program, session = late
        key, texts = chain
        found = program.find(session, **{"class": CERTIFICATE})
        (above,) = (it for it in found if program.get(session, it, c.CKA_VALUE) == der(texts[1]))
        other = profile.certify(key)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.call("C_DestroyObject", session, above)
        template = {Attribute.CLASS: CERTIFICATE, Attribute.TOKEN: True}
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            program.call("C_CreateObject", session, {**template, c.CKA_VALUE: der(texts[1])})
        (left,) = profile.key(key["kid"])["certificates"]
        assert base64.b64decode(left) == der(other)

    def test_a_certificate_written_again_brings_no_labels_back(self, late, profile, chain):
        program, session = late
        key, texts = chain
        program.find(session)
        self.change(profile, key, **WEB, owner="operator")
        template = {Attribute.CLASS: CERTIFICATE, Attribute.TOKEN: True, Attribute.LABEL: b"given"}
        program.call("C_CreateObject", session, {**template, c.CKA_VALUE: der(texts[0])})
        labels = {**WEB, "owner": "operator", "pkcs11.label": "given"}
        assert profile.key(key["kid"])["labels"] == labels


class TestSearches:
    def test_by_the_public_key(self, program, session, keys):
        key, pair = keys.generate(), keys.generate("rsa2048")
        modulus = public_key(pair).public_numbers().n.to_bytes(256, "big")
        for wanted in (
            {"ec_params": P256, "ec_point": point(key)},
            {"ec_point": point(key)},
        ):
            assert program.find(session, **{"class": PRIVATE}, **wanted) == [
                one(program, session, key)
            ]
        for value in (modulus, b"\0" + modulus):
            found = program.find(session, **{"class": PUBLIC}, modulus=value)
            assert found == ([one(program, session, pair, PUBLIC)] if value == modulus else [])

    def test_by_class_and_type(self, program, keys):
        session = program.open(slot=1)
        key = keys.generate("k256")
        handle = one(program, session, key)
        for wanted in (
            {"class": PRIVATE, "key_type": KeyType.EC},
            {"sign": True, "ec_params": K256},
            {"token": True, "private": True},
        ):
            assert handle in program.find(session, **wanted)
        for wanted in ({"class": PUBLIC}, {"key_type": KeyType.RSA}, {"token": False}):
            assert handle not in program.find(session, **wanted)

    @pytest.mark.parametrize(
        "kid",
        [b"", b"../keys", b"a/b", b"x" * 200, b"\xff\xfe", b"a?b=c", b"x" * 900_000],
        ids=len,
    )
    def test_by_an_id_that_no_key_has(self, program, session, kid):
        found = program.find(session, id=kid)
        assert found == [] or kid == b""

    @pytest.mark.parametrize("label", [b"a&alias=b", b"pkcs11.label:x", b"x" * 5000, b"\xf0\x9f"])
    def test_by_a_label_that_no_key_has(self, program, session, label):
        assert program.find(session, label=label) == []

    def test_an_alias_may_have_any_characters(self, program, session, keys):
        names = (
            "did:example:123#key-1",
            "a b&c=d/e?f%20g+h",
            "日本語",
            "a\u00a0b\u200b",
            "🔑" * 4096,
        )
        for alias in names:
            handle = one(program, session, keys.generate(alias=alias))
            wanted = {"class": PRIVATE, "label": alias.encode()}
            assert program.find(session, **wanted) == [handle]

    def test_more_keys_than_a_page(self, start, token_file, profile):
        """A listing has at most 1,000 keys a page."""
        for count in (1000, 7):
            profile.call("POST", "/key/generate/batch", {"alg": "hs256", "count": count})
        slot = f"many={profile.name},alg=hs256"
        program = start("--token-file", str(token_file), "--slot", slot).connect()
        found = program.find(program.open(), **{"class": SECRET})
        assert len(found) == len(set(found)) == 1007


class TestCertificates:
    def test_a_key_shows_its_certificate(self, program, session, keys):
        key = keys.generate(alias="web-certificate")
        content = der(keys.certify(key, "CN=web,C=DE"))
        parsed = x509.load_der_x509_certificate(content)
        handle = one(program, session, key, CERTIFICATE)
        check(
            program,
            session,
            handle,
            {
                Attribute.CLASS: CERTIFICATE,
                Attribute.CERTIFICATE_TYPE: 0,
                Attribute.CERTIFICATE_CATEGORY: 0,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: False,
                Attribute.TRUSTED: False,
                Attribute.ID: key["kid"].encode(),
                Attribute.LABEL: b"web-certificate",
                Attribute.VALUE: content,
                Attribute.SUBJECT: parsed.subject.public_bytes(),
                Attribute.ISSUER: parsed.issuer.public_bytes(),
                Attribute.CHECK_VALUE: hashlib.sha1(content).digest()[:3],
                Attribute.START_DATE: parsed.not_valid_before_utc.strftime("%Y%m%d").encode(),
                c.CKA_PUBLIC_KEY_INFO: spki(key),
                Attribute.KEY_TYPE: Absent,
            },
        )
        serial = program.get(session, handle, Attribute.SERIAL_NUMBER)
        assert serial[:1] == b"\x02"
        assert int.from_bytes(serial[2:], "big") == parsed.serial_number
        for wanted in ({"issuer": parsed.issuer.public_bytes(), "serial_number": serial},):
            assert program.find(session, **{"class": CERTIFICATE}, **wanted) == [handle]
        subject = program.get(session, one(program, session, key), Attribute.SUBJECT)
        assert subject == parsed.subject.public_bytes()

    @pytest.fixture
    def chain(self, keys):
        """A key, and the texts of its certificate and of its CA's."""
        ca, key = ec.generate_private_key(ec.SECP256R1()), keys.generate()
        root = certificate("CA", ca.public_key(), "CA", ca)
        return key, certificate("web", public_key(key), "CA", ca), root

    def create(self, program, session, content, **more):
        template = {Attribute.CLASS: CERTIFICATE, Attribute.VALUE: content, Attribute.TOKEN: True}
        return program.call("C_CreateObject", session, {**template, **more})

    def test_a_created_certificate_goes_to_its_key(self, program, session, keys, chain):
        key, leaf, root = chain
        handle = self.create(program, session, der(leaf))
        assert program.get(session, handle, Attribute.ID) == key["kid"].encode()
        above = self.create(program, session, der(root))
        assert len(keys.key(key["kid"])["certificates"]) == 2
        assert program.get(session, above, Attribute.ID) == b""
        assert program.get(session, above, Attribute.LABEL) == b"CA"
        assert program.get(session, above, Attribute.CERTIFICATE_CATEGORY) == 2
        assert find(program, session, key, CERTIFICATE) == [handle]
        assert above in program.find(session, **{"class": CERTIFICATE}, label=b"CA")
        # Again changes nothing.
        assert self.create(program, session, der(leaf)) == handle
        assert self.create(program, session, der(root)) == above
        assert len(keys.key(key["kid"])["certificates"]) == 2

    def test_a_destroyed_certificate_leaves_its_key(self, program, session, keys, chain):
        key, leaf, root = chain
        body = {"certificates": [leaf, root]}
        keys.call("PUT", f"/key/{key['kid']}/certificates", body)
        found = program.find(session, **{"class": CERTIFICATE}, label=b"CA")
        above = next(each for each in found if program.get(session, each, c.CKA_VALUE) == der(root))
        program.call("C_DestroyObject", session, above)
        assert len(keys.key(key["kid"])["certificates"]) == 1
        program.call("C_DestroyObject", session, one(program, session, key, CERTIFICATE))
        assert "certificates" not in keys.key(key["kid"])
        assert find(program, session, key)

    def test_an_authority_of_several_keys_is_one_object(self, program, session, keys, chain):
        key, leaf, root = chain
        body = {"certificates": [leaf, root]}
        keys.call("PUT", f"/key/{key['kid']}/certificates", body)
        found = program.find(session, **{"class": CERTIFICATE}, value=der(root))
        assert len(found) == 1

    def test_a_chain_ends_with_a_certificate_of_its_own_issuer(self, program, session, keys):
        ca, key = ec.generate_private_key(ec.SECP256R1()), keys.generate()
        leaf = certificate("web", public_key(key), "CA", ca)
        roots = [certificate("CA", ca.public_key(), "CA", ca) for _ in range(2)]
        self.create(program, session, der(leaf))
        self.create(program, session, der(roots[0]))
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            self.create(program, session, der(roots[1]))
        assert len(keys.key(key["kid"])["certificates"]) == 2

    def test_a_certificate_that_also_certifies_others_is_one_object(self, program, session, keys):
        """The object belongs to its own key, even if the other key is older."""
        key, issuer = keys.generate(), keys.generate()
        more = {
            "issuer_alternative_names": ["email:ca@ca.example"],
            "crl": "https://ca.example/crl",
        }
        own = keys.certify(issuer, "CN=CA,C=DE", profile="iaca", **more)
        wanted = {"kid": issuer["kid"], "profile": "document-signer", "key": key["kid"]}
        made = keys.call("POST", "/certificate", {**wanted, "subject": "CN=web,C=DE", "days": 30})
        body = {"certificates": [made["certificate"], own]}
        keys.call("PUT", f"/key/{key['kid']}/certificates", body)
        (found,) = program.find(session, **{"class": CERTIFICATE}, value=der(own))
        assert program.get(session, found, Attribute.ID) == issuer["kid"].encode()

    def test_a_certificate_of_no_key_is_refused(self, program, session):
        stranger = ec.generate_private_key(ec.SECP256R1())
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            content = certificate("stranger", stranger.public_key(), "stranger", stranger)
            self.create(program, session, der(content))

    def test_a_certificate_of_an_unknown_kind_of_key_is_refused(self, program, session, chain):
        public_key_oid, unknown = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            self.create(program, session, der(chain[1]).replace(public_key_oid, unknown))

    @pytest.mark.parametrize("content", [b"\x30\x00", b"x" * 100])
    def test_what_is_no_certificate_is_refused(self, program, session, content):
        with refused(c.CKR_ATTRIBUTE_VALUE_INVALID):
            self.create(program, session, content)

    def test_a_session_that_only_reads_creates_none(self, program, chain):
        with refused(c.CKR_SESSION_READ_ONLY):
            self.create(program, program.open(flags=4), der(chain[1]))


class TestMaking:
    def make(self, program, session, mechanism, public, private=None):
        given = public, private or {}
        return program.call("C_GenerateKeyPair", session, mechanism, *given)

    @pytest.mark.parametrize(
        ("alg", "oid"),
        [("p256", P256), ("p384", bytes.fromhex("06052b81040022")), ("k256", K256)],
    )
    def test_a_key_pair_on_a_curve(self, program, keys, alg, oid):
        session = program.open(slot=1)
        public = {Attribute.EC_PARAMS: oid, Attribute.LABEL: b"made", Attribute.ID: b"\x07"}
        private = {Attribute.TOKEN: True, Attribute.SIGN: True, Attribute.SENSITIVE: True}
        made = self.make(program, session, Mechanism.EC_KEY_PAIR_GEN, public, private)
        found = program.find(session, id=b"\x07", label=b"made", ec_params=oid)
        assert sorted(found)[-2:] == sorted(made)
        info = program.get(session, made[0], c.CKA_PUBLIC_KEY_INFO)
        (record,) = [key for key in self.records(keys, "pkcs11.id:07") if spki(key) == info]
        assert (record["alg"], record["operations"]) == (alg, ["sign", "verify"])
        assert record["labels"] == {"pkcs11.id": "07", "pkcs11.label": "made"}
        assert record["expires"] is None

    def records(self, keys, label):
        return keys.call("GET", f"/keys?label={label}")

    def test_an_rsa_key_pair(self, program, session, keys):
        public = {Attribute.MODULUS_BITS: 2048, Attribute.PUBLIC_EXPONENT: b"\1\0\1"}
        private = {Attribute.TOKEN: True, Attribute.DECRYPT: True}
        made = self.make(program, session, Mechanism.RSA_PKCS_KEY_PAIR_GEN, public, private)
        kid = program.get(session, made[1], Attribute.ID).decode()
        assert keys.key(kid)["operations"] == ["encrypt", "decrypt"]
        assert len(program.get(session, made[0], Attribute.MODULUS)) == 256

    @pytest.mark.parametrize(
        ("curve", "usages", "operations"),
        [
            (True, {Attribute.DERIVE: False}, ["sign", "verify"]),
            (True, {Attribute.SIGN: False}, ["derive"]),
            (True, {Attribute.DECRYPT: True, Attribute.SIGN: False}, ["derive"]),
            (False, {Attribute.SIGN: False}, ["encrypt", "decrypt"]),
            (False, {Attribute.DECRYPT: False, Attribute.DERIVE: True}, ["sign", "verify"]),
        ],
    )
    def test_a_usage_that_is_false_is_not_had(
        self, program, session, keys, curve, usages, operations
    ):
        mechanism = Mechanism.EC_KEY_PAIR_GEN if curve else Mechanism.RSA_PKCS_KEY_PAIR_GEN
        public = {Attribute.EC_PARAMS: P256} if curve else {Attribute.MODULUS_BITS: 2048}
        made = self.make(program, session, mechanism, public, {Attribute.TOKEN: True, **usages})
        kid = program.get(session, made[1], Attribute.ID).decode()
        assert keys.key(kid)["operations"] == operations

    def test_a_key_pair_of_a_session_ends_with_it(self, program, session, keys, kms):
        public = {Attribute.EC_PARAMS: P256}
        _, private = self.make(program, session, Mechanism.EC_KEY_PAIR_GEN, public)
        kid = program.get(session, private, Attribute.ID).decode()
        assert program.get(session, private, Attribute.TOKEN) is False
        record = keys.key(kid)
        assert record["expires"] is not None
        assert record["deletes"] is not None
        assert len(program.sign(session, private, Mechanism.ECDSA, b"x" * 32)) == 64
        program.call("C_CloseSession", session)

        def is_gone():
            return kms.answer("GET", f"/key/{kid}")[0] == 404

        wait_until("its deletion", is_gone)

    def test_a_key_pair_of_a_session_ends_with_the_login(self, start, profile, token, kms):
        program = start("--slot", f"minikms={profile.name}").connect()
        session = program.open()
        program.login(session, token)
        public = {Attribute.EC_PARAMS: P256}
        _, private = self.make(program, session, Mechanism.EC_KEY_PAIR_GEN, public)
        path = f"/key/{program.get(session, private, Attribute.ID).decode()}"
        program.call("C_Logout", session)
        wait_until("its deletion", lambda: kms.answer("GET", path, profile=profile.name)[0] == 404)

    def test_a_key_pair_of_a_session_ends_with_its_program(self, shared, keys, kms):
        with shared.connect() as program:
            session, public = program.open(), {Attribute.EC_PARAMS: P256}
            _, private = self.make(program, session, Mechanism.EC_KEY_PAIR_GEN, public)
            path = f"/key/{program.get(session, private, Attribute.ID).decode()}"
        wait_until("its deletion", lambda: kms.answer("GET", path)[0] == 404)

    @pytest.mark.parametrize("end", ["C_CloseSession", "C_Logout", "a disconnect"])
    def test_a_key_pair_that_is_made_after_the_end_of_its_session_ends(
        self, start, held, keys, end
    ):
        held.body = keys.generate()
        program = start(kms=held).connect()
        session, public = program.open(), {Attribute.EC_PARAMS: P256}
        program.login(session, "token")
        mechanism = Mechanism.EC_KEY_PAIR_GEN
        number = program.send("C_GenerateKeyPair", session, mechanism, public, {})
        wait_until("its call", lambda: held.waiting == 1)
        if end == "a disconnect":
            program.close()
            held.answer()
        else:
            program.call(end, session)
            held.answer()
            refusal = c.CKR_SESSION_CLOSED if end == "C_CloseSession" else c.CKR_USER_NOT_LOGGED_IN
            with refused(refusal):
                program.answer("C_GenerateKeyPair", number)
        wait_until("its deletion", lambda: held.deleted == [f"/key/{held.body['kid']}"])

    @pytest.mark.parametrize(
        ("mechanism", "public", "private", "value"),
        [
            (Mechanism.EC_KEY_PAIR_GEN, {}, {}, c.CKR_TEMPLATE_INCOMPLETE),
            (
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: K256},
                {},
                c.CKR_CURVE_NOT_SUPPORTED,
            ),
            (
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: b"\x06\x01\x00"},
                {},
                c.CKR_CURVE_NOT_SUPPORTED,
            ),
            (
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: P256},
                {Attribute.EXTRACTABLE: True},
                c.CKR_TEMPLATE_INCONSISTENT,
            ),
            (
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: P256},
                {Attribute.SENSITIVE: False},
                c.CKR_TEMPLATE_INCONSISTENT,
            ),
            *(
                (
                    Mechanism.EC_KEY_PAIR_GEN,
                    {Attribute.EC_PARAMS: P256},
                    wish,
                    c.CKR_TEMPLATE_INCONSISTENT,
                )
                for wish in (
                    {Attribute.PRIVATE: False},
                    {Attribute.ALWAYS_AUTHENTICATE: True},
                    {Attribute.SIGN_RECOVER: True},
                    {Attribute.UNWRAP: True},
                )
            ),
            (
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: P256},
                {Attribute.SIGN: False, Attribute.DERIVE: False},
                c.CKR_TEMPLATE_INCONSISTENT,
            ),
            (
                Mechanism.RSA_PKCS_KEY_PAIR_GEN,
                {Attribute.MODULUS_BITS: 1024},
                {},
                c.CKR_ATTRIBUTE_VALUE_INVALID,
            ),
            (
                Mechanism.RSA_PKCS_KEY_PAIR_GEN,
                {Attribute.MODULUS_BITS: 2048, Attribute.PUBLIC_EXPONENT: b"\3"},
                {},
                c.CKR_ATTRIBUTE_VALUE_INVALID,
            ),
            (Mechanism.ECDSA, {Attribute.EC_PARAMS: P256}, {}, c.CKR_MECHANISM_INVALID),
        ],
    )
    def test_a_wish_that_is_not_fulfilled_makes_no_key(
        self, program, session, keys, mechanism, public, private, value
    ):
        before = len(keys.call("GET", "/keys?limit=1000"))
        with refused(value):
            self.make(program, session, mechanism, public, {Attribute.TOKEN: True, **private})
        assert len(keys.call("GET", "/keys?limit=1000")) == before

    def test_a_session_that_only_reads_makes_none_that_stays(self, program):
        with refused(c.CKR_SESSION_READ_ONLY):
            self.make(
                program,
                program.open(flags=4),
                Mechanism.EC_KEY_PAIR_GEN,
                {Attribute.EC_PARAMS: P256},
                {Attribute.TOKEN: True},
            )

    def test_a_private_key_is_not_brought(self, program, session):
        template = {
            Attribute.CLASS: PRIVATE,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.EC_PARAMS: P256,
            Attribute.VALUE: b"\1" * 32,
        }
        for token in (True, False):
            with refused(c.CKR_TEMPLATE_INCONSISTENT):
                program.call("C_CreateObject", session, {**template, Attribute.TOKEN: token})


class TestDeletion:
    def test_the_private_key_deletes_the_pair(self, program, session, keys, kms):
        key = keys.generate()
        public = one(program, session, key, PUBLIC)
        program.call("C_DestroyObject", session, one(program, session, key))
        assert kms.answer("GET", f"/key/{key['kid']}")[0] == 404
        assert program.find(session, id=key["kid"].encode()) == []
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(session, public, Attribute.ID)

    def test_the_public_key_goes_with_the_private_one(self, program, session, keys):
        """Programs that delete a pair destroy both, in any order."""
        key = keys.generate()
        program.call("C_DestroyObject", session, one(program, session, key, PUBLIC))
        assert keys.key(key["kid"])
        program.call("C_DestroyObject", session, one(program, session, key))
        assert program.find(session, id=key["kid"].encode()) == []

    def test_a_public_key_alone_is_deleted(self, program, session, keys, kms):
        key = keys.call("POST", "/key/import", {"jwk": new_jwk()})
        program.call("C_DestroyObject", session, one(program, session, key, PUBLIC))
        assert kms.answer("GET", f"/key/{key['kid']}")[0] == 404

    def test_a_session_that_only_reads_deletes_nothing(self, program, session, keys):
        key = keys.generate()
        with refused(c.CKR_SESSION_READ_ONLY):
            program.call("C_DestroyObject", program.open(flags=4), one(program, session, key))
        assert keys.key(key["kid"])

    def test_nothing_is_deleted_without_the_option(self, start, token_file, keys):
        key = keys.generate()
        program = start("--token-file", str(token_file)).connect()
        session = program.open()
        for object_class in (PRIVATE, PUBLIC):
            with refused(c.CKR_ACTION_PROHIBITED):
                program.call("C_DestroyObject", session, one(program, session, key, object_class))
        assert keys.key(key["kid"])

    def test_without_the_option_a_key_pair_of_a_session_is_deleted_by_its_program_alone(
        self, start, token_file, kms
    ):
        sidecar = start("--token-file", str(token_file))
        program, other = sidecar.connect(), sidecar.connect()
        session, others = program.open(), other.open()
        pair = {Attribute.EC_PARAMS: P256}, {}
        made = program.call("C_GenerateKeyPair", session, Mechanism.EC_KEY_PAIR_GEN, *pair)
        kid = program.get(session, made[1], Attribute.ID).decode()
        (handle,) = other.find(others, **{"class": PRIVATE}, id=kid.encode())
        with refused(c.CKR_ACTION_PROHIBITED):
            other.call("C_DestroyObject", others, handle)
        sidecar.restart()
        program.call("C_DestroyObject", session, made[1])
        assert kms.answer("GET", f"/key/{kid}")[0] == 404
