"""The protocol of p11-kit: its calls, its answers, and its bounds."""

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from rpc import (
    HANDSHAKE,
    LETTERS,
    NULL,
    NUMBERS,
    TABLE,
    Program,
    Size,
    frame,
    head,
    oaep,
    pss,
    refused,
    u32,
    u64,
)
from waiting import wait_until

from minikms_p11 import constants as c
from minikms_p11.handles import Handles, Reference

PRIVATE = ObjectClass.PRIVATE_KEY
EC_PARAMS = bytes.fromhex("06082a8648ce3d030107")
PAIR = {Attribute.EC_PARAMS: EC_PARAMS}, {Attribute.SIGN: True}
SUPPORTED = {
    *("C_Initialize", "C_Finalize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo"),
    *("C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_OpenSession"),
    *("C_CloseSession", "C_CloseAllSessions", "C_GetSessionInfo", "C_Login", "C_LoginUser"),
    *("C_Logout", "C_SessionCancel", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"),
    *("C_GetAttributeValue", "C_SetAttributeValue", "C_CreateObject", "C_DestroyObject"),
    *("C_DigestInit", "C_Digest", "C_DigestUpdate", "C_DigestFinal", "C_SignInit", "C_Sign"),
    *("C_SignUpdate", "C_SignFinal", "C_VerifyInit", "C_Verify", "C_VerifyUpdate"),
    *("C_VerifyFinal", "C_EncryptInit", "C_Encrypt", "C_DecryptInit", "C_Decrypt"),
    *("C_GenerateKeyPair", "C_DeriveKey", "C_DeriveKey2", "C_SeedRandom", "C_GenerateRandom"),
}
EMPTY = {
    **{"u": 0, "y": 0, "z": b"", "s": b" " * 32, "ay": b"", "fy": 0, "fu": 0, "aA": {}, "fA": []},
    "M": Mechanism.ECDSA,
}
DIGEST = hashlib.sha256(b"hello").digest()


def empty(name):
    """Values that fit the signature of a call."""
    return [EMPTY[letter] for letter in LETTERS.findall(TABLE[NUMBERS[name] - 1][1])]


@pytest.fixture
def key(keys):
    return keys.generate()


def private(program, session, key):
    return program.find(session, **{"class": ObjectClass.PRIVATE_KEY}, id=key["kid"].encode())[0]


class TestVersions:
    @pytest.mark.parametrize(("offered", "agreed"), [(0, 0), (1, 1), (2, 2), (3, 2), (255, 2)])
    def test_the_version_is_the_lower_of_the_two(self, shared, offered, agreed):
        with Program(shared.path, offered=offered) as program:
            assert program.version == agreed
            assert program.call("C_GetInfo")[0] == (2, 40)

    def test_each_version_signs(self, shared, version, key):
        with shared.connect(version) as program:
            session = program.open()
            handle = private(program, session, key)
            assert len(program.sign(session, handle, Mechanism.ECDSA, DIGEST)) == 64


class TestCalls:
    @pytest.mark.parametrize("name", NUMBERS)
    def test_a_call_answers_by_its_signature(self, shared, version, name):
        """The call's own answer, or an error; never the error for a malformed message."""
        with shared.connect(version, initialize=name != "C_Initialize") as program:
            assert (program.result(name, *empty(name)) == c.CKR_FUNCTION_NOT_SUPPORTED) == (
                name not in SUPPORTED
            )

    @pytest.mark.parametrize("name", NUMBERS)
    def test_a_signature_is_checked_exactly(self, program, name):
        request = TABLE[NUMBERS[name] - 1][1].encode()
        values = program.message(name, *empty(name)).removeprefix(head(NUMBERS[name], request))
        for wrong in (request + b"u", request + b"\0", request[:-1], b"x", request.upper()):
            if wrong != request:
                number = program.send_message(head(NUMBERS[name], wrong) + values)
                with refused(c.CKR_DEVICE_ERROR):
                    program.answer(name, number)

    def test_a_signature_that_is_absent_is_none(self, program):
        number = program.send_message(u32(NUMBERS["C_GetInfo"]) + u32(NULL))
        with refused(c.CKR_DEVICE_ERROR):
            program.answer("C_GetInfo", number)

    @pytest.mark.parametrize("number", [0, len(TABLE) + 1, 0xFFFFFFFF])
    def test_an_unknown_call_is_refused(self, program, number):
        sent = program.send_message(head(number, b""))
        with refused(c.CKR_DEVICE_ERROR):
            program.answer("C_Finalize", sent)

    @pytest.mark.parametrize("name", sorted(SUPPORTED - {"C_Finalize", "C_GetInfo"}))
    def test_a_message_that_is_cut_short_is_refused(self, program, name):
        message = program.message(name, *empty(name))
        for end in (len(message) - 1, len(message) - 4, 6, 3, 0):
            number = program.send_message(message[:end])
            with refused(c.CKR_DEVICE_ERROR):
                program.answer(name, number)

    @pytest.mark.parametrize("name", sorted(SUPPORTED))
    def test_a_message_that_is_too_long_is_refused(self, program, name):
        number = program.send_message(program.message(name, *empty(name)) + b"\0")
        with refused(c.CKR_DEVICE_ERROR):
            program.answer(name, number)

    def test_nothing_is_done_before_it_is_initialized(self, shared):
        with shared.connect(initialize=False) as program:
            for name in NUMBERS.keys() - {"C_Initialize"}:
                with refused(c.CKR_CRYPTOKI_NOT_INITIALIZED):
                    program.call(name, *empty(name))
            with refused(c.CKR_GENERAL_ERROR):
                program.call("C_Initialize", b"another handshake", 0, b"")

    def test_it_is_initialized_once_and_again_after_its_end(self, program):
        with refused(c.CKR_CRYPTOKI_ALREADY_INITIALIZED):
            program.call("C_Initialize", HANDSHAKE, 0, b"")
        session = program.open()
        program.call("C_Finalize")
        with refused(c.CKR_CRYPTOKI_NOT_INITIALIZED):
            program.call("C_GetInfo")
        program.call("C_Initialize", HANDSHAKE, 1, b"reserved")
        with refused(c.CKR_SESSION_HANDLE_INVALID):
            program.call("C_GetSessionInfo", session)

    def test_slots_do_not_change(self, program):
        with refused(c.CKR_NO_EVENT):
            program.call("C_WaitForSlotEvent", c.CKF_DONT_BLOCK)
        with refused(c.CKR_FUNCTION_NOT_SUPPORTED):
            program.call("C_WaitForSlotEvent", 0)


class TestMechanisms:
    def test_a_mechanism_has_its_parameter_in_the_form_of_the_version(self, shared, version, keys):
        key = keys.generate("rsa2048")
        good = pss(Mechanism.SHA256, c.CKG_MGF1_SHA256, 32)
        with shared.connect(version) as program:
            session = program.open()
            handle = private(program, session, key)
            signature = program.sign(session, handle, (Mechanism.RSA_PKCS_PSS, good), DIGEST)
            assert len(signature) == 256
            # The form of the other versions is a message that is too short, or too long.
            other = u32(Mechanism.RSA_PKCS_PSS) + (good if version == 2 else b"\1" + good)
            message = head(NUMBERS["C_SignInit"], b"uMu") + u64(session) + other + u64(handle)
            with refused(c.CKR_DEVICE_ERROR):
                program.answer("C_SignInit", program.send_message(message))

    def test_an_absent_parameter_is_refused_where_one_is_needed(self, shared, keys):
        key = keys.generate("rsa2048")
        with shared.connect(2) as program:
            session = program.open()
            handle = private(program, session, key)
            with refused(c.CKR_MECHANISM_PARAM_INVALID):
                program.call("C_SignInit", session, (Mechanism.RSA_PKCS_PSS, None), handle)

    def test_an_unknown_mechanism_is_invalid(self, shared, version, key):
        with shared.connect(version) as program:
            session = program.open()
            handle = private(program, session, key)
            for mechanism in (Mechanism.AES_ECB, 0x80001234):
                with refused(c.CKR_MECHANISM_INVALID):
                    program.call("C_SignInit", session, mechanism, handle)

    def test_a_null_mechanism_cancels_an_operation(self, program, session, key):
        handle = private(program, session, key)
        for begin, end in [("C_SignInit", "C_Sign"), ("C_DigestInit", "C_Digest")]:
            more = (handle,) if begin == "C_SignInit" else ()
            mechanism = Mechanism.ECDSA if more else Mechanism.SHA256
            program.call(begin, session, mechanism, *more)
            with refused(c.CKR_OPERATION_ACTIVE):
                program.call(begin, session, mechanism, *more)
            program.call(begin, session, None, *more)
            with refused(c.CKR_OPERATION_NOT_INITIALIZED):
                program.call(end, session, DIGEST, 100)

    def test_a_session_cancels_its_operations(self, program, session, key):
        handle = private(program, session, key)
        program.call("C_SignInit", session, Mechanism.ECDSA, handle)
        program.call("C_FindObjectsInit", session, {Attribute.ID: b"nobody"})
        program.call("C_SessionCancel", session, c.CKF_SIGN | 0x40)
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_Sign", session, DIGEST, 100)
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_FindObjects", session, 1)


class TestSizes:
    def test_the_slots_are_counted_then_listed(self, program):
        assert program.call("C_GetSlotList", 1, 0) == Size(4)
        assert program.call("C_GetSlotList", 1, 3) == Size(4)
        assert program.call("C_GetSlotList", 1, 4) == [0, 1, 2, 3]

    def test_the_mechanisms_are_counted_then_listed(self, program):
        size = program.call("C_GetMechanismList", 0, 0).length
        assert program.call("C_GetMechanismList", 0, size - 1) == Size(size)
        assert len(program.call("C_GetMechanismList", 0, size)) == size

    @pytest.mark.parametrize("room", [0, NULL, 63])
    def test_a_signature_that_does_not_fit_keeps_the_operation(self, program, session, key, room):
        handle = private(program, session, key)
        program.call("C_SignInit", session, Mechanism.ECDSA, handle)
        assert program.call("C_Sign", session, DIGEST, room) == Size(64)
        assert len(program.call("C_Sign", session, DIGEST, 64)) == 64
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_Sign", session, DIGEST, 64)

    @pytest.mark.parametrize("room", [0, NULL, 31])
    def test_a_digest_that_does_not_fit_keeps_the_operation(self, program, session, room):
        program.call("C_DigestInit", session, Mechanism.SHA256)
        assert program.call("C_Digest", session, b"hello", room) == Size(32)
        assert program.call("C_Digest", session, b"hello", 32) == DIGEST

    def test_signatures_and_digests_in_parts_keep_what_they_have(self, program, session, key):
        handle = private(program, session, key)
        program.call("C_SignInit", session, Mechanism.ECDSA_SHA256, handle)
        program.call("C_DigestInit", session, Mechanism.SHA256)
        for part in (b"hel", b"lo"):
            program.call("C_SignUpdate", session, part)
            program.call("C_DigestUpdate", session, part)
        assert program.call("C_SignFinal", session, 10) == Size(64)
        assert program.call("C_DigestFinal", session, 10) == Size(32)
        assert len(program.call("C_SignFinal", session, 64)) == 64
        assert program.call("C_DigestFinal", session, 32) == DIGEST

    def test_attributes_answer_their_lengths(self, program, session, key):
        handle = private(program, session, key)
        asked = [Attribute.ID, Attribute.CLASS, Attribute.SIGN, Attribute.LABEL]
        rooms = [(kind, 0) for kind in asked]
        values, result = program.call("C_GetAttributeValue", session, handle, rooms)
        assert result == c.CKR_OK
        assert values == [Size(len(key["kid"])), ObjectClass.PRIVATE_KEY, True, Size(43)]

    def test_an_attribute_that_does_not_fit_leaves_the_others(self, program, session, key):
        handle = private(program, session, key)
        rooms = [(Attribute.ID, 5), (Attribute.CLASS, 8), (Attribute.LABEL, 43)]
        values, result = program.call("C_GetAttributeValue", session, handle, rooms)
        assert result == c.CKR_BUFFER_TOO_SMALL
        assert values == [None, ObjectClass.PRIVATE_KEY, key["kid"].encode()]

    def test_attributes_that_are_secret_or_absent_leave_the_others(self, program, session, key):
        handle = private(program, session, key)
        for kind, value in [
            (Attribute.VALUE, c.CKR_ATTRIBUTE_SENSITIVE),
            (Attribute.MODULUS, c.CKR_ATTRIBUTE_TYPE_INVALID),
            (0x80001234, c.CKR_ATTRIBUTE_TYPE_INVALID),
        ]:
            rooms = [(kind, 100), (Attribute.CLASS, 8)]
            values, result = program.call("C_GetAttributeValue", session, handle, rooms)
            assert hex(result) == hex(value)
            assert values == [None, ObjectClass.PRIVATE_KEY]

    def test_a_search_is_read_in_parts(self, program, session, keys):
        made = [keys.generate(labels={"part": "one"}) for _ in range(3)]
        found = [private(program, session, key) for key in made]
        program.call("C_FindObjectsInit", session, {Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        with refused(c.CKR_OPERATION_ACTIVE):
            program.call("C_FindObjectsInit", session, {})
        read = []
        while some := program.call("C_FindObjects", session, 2):
            assert len(some) <= 2
            read += some
        program.call("C_FindObjectsFinal", session)
        assert set(found) <= set(read)
        assert len(read) == len(set(read))

    def test_random_bytes_are_as_many_as_the_buffer_holds(self, program, session):
        for length in (1, 33, 65536):
            assert len(program.call("C_GenerateRandom", session, length)) == length
        assert program.call("C_GenerateRandom", session, NULL) == b""


class TestBounds:
    @pytest.mark.parametrize(("options", "length"), [(257, 0), (0, (1 << 20) + 1), (NULL, NULL)])
    def test_a_frame_beyond_the_bounds_ends_the_connection_unread(self, program, options, length):
        program.socket.sendall(struct.pack(">III", 16, options, length))
        assert program.is_at_its_end()

    def test_the_largest_frame_is_read(self, program):
        message = head(NUMBERS["C_GetInfo"], b"")
        number = program.send_message(message.ljust(1 << 20, b"\0"), b"x" * 256)
        with refused(c.CKR_DEVICE_ERROR):
            program.answer("C_GetInfo", number)
        assert program.call("C_GetInfo")

    def test_a_template_has_at_most_128_attributes(self, program, session):
        for count, refusal in [(128, None), (129, c.CKR_ARGUMENTS_BAD)]:
            wanted = [(0x80000000 + number, b"") for number in range(count)]
            number = program.send("C_FindObjectsInit", session, wanted)
            if refusal is None:
                program.answer("C_FindObjectsInit", number)
                program.call("C_FindObjectsFinal", session)
            else:
                with refused(refusal):
                    program.answer("C_FindObjectsInit", number)

    def test_a_count_of_attributes_is_not_believed(self, program, session):
        message = head(NUMBERS["C_FindObjectsInit"], b"uaA") + u64(session) + u32(NULL)
        with refused(c.CKR_ARGUMENTS_BAD):
            program.answer("C_FindObjectsInit", program.send_message(message))

    @pytest.mark.parametrize("kind", [0x40000211, 0x40000212, 0x40000213])
    def test_templates_are_not_nested(self, program, session, key, kind):
        nested = u32(kind) + b"\1" + u32(24) + u32(1)
        message = head(NUMBERS["C_FindObjectsInit"], b"uaA") + u64(session) + u32(1) + nested
        with refused(c.CKR_ATTRIBUTE_TYPE_INVALID):
            program.answer("C_FindObjectsInit", program.send_message(message))
        handle = private(program, session, key)
        with refused(c.CKR_ATTRIBUTE_TYPE_INVALID):
            program.call("C_GetAttributeValue", session, handle, [(kind, 24)])

    def test_a_length_beyond_the_message_is_refused(self, program, session):
        for length in (6, 1 << 30, NULL - 1):
            message = head(NUMBERS["C_DigestUpdate"], b"uay") + u64(session) + b"\1" + u32(length)
            with refused(c.CKR_DEVICE_ERROR):
                program.answer("C_DigestUpdate", program.send_message(message + b"hello"))

    def test_bytes_that_are_absent_are_none(self, program, session):
        program.call("C_DigestInit", session, Mechanism.SHA256)
        begin = head(NUMBERS["C_DigestUpdate"], b"uay") + u64(session)
        with refused(c.CKR_ARGUMENTS_BAD):
            program.answer("C_DigestUpdate", program.send_message(begin + b"\0" + u32(5)))
        program.answer("C_DigestUpdate", program.send_message(begin + b"\0" + u32(0)))
        program.answer("C_DigestUpdate", program.send_message(begin + b"\1" + u32(NULL)))
        assert program.call("C_DigestFinal", session, 32) == hashlib.sha256(b"").digest()

    def test_a_program_opens_at_most_1024_sessions(self, program):
        opened = [program.open() for _ in range(1024)]
        assert len(set(opened)) == 1024
        with refused(c.CKR_SESSION_COUNT):
            program.open()
        program.call("C_CloseSession", opened[0])
        assert program.open() not in opened

    def test_random_bytes_are_at_most_64_kib(self, program, session):
        with refused(c.CKR_ARGUMENTS_BAD):
            program.call("C_GenerateRandom", session, 65537)

    def test_a_mac_in_parts_has_a_bound(self, shared, program, keys):
        key = keys.generate("hs256")
        session = program.open(slot=1)
        handle = program.find(session, id=key["kid"].encode())[0]
        program.call("C_SignInit", session, Mechanism.SHA256_HMAC, handle)
        program.call("C_SignUpdate", session, b"x" * 700_000)
        with refused(c.CKR_DATA_LEN_RANGE):
            program.call("C_SignUpdate", session, b"x" * 100_000)


class TestMemory:
    """A program keeps at most 8 MiB in the sidecar, which needs no login for it."""

    @pytest.fixture
    def program(self, start):
        return start().connect()

    def bring(self, program, session, length):
        """Bring a public key with a label of this length; its handle."""
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        template = {
            **{Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC},
            **{Attribute.EC_PARAMS: EC_PARAMS, Attribute.EC_POINT: point},
            Attribute.LABEL: b"x" * length,
        }
        return program.call("C_CreateObject", session, template)

    def fill(self, program, session, *lengths):
        """Bring keys, first with long labels, until none fits any more; their handles."""
        brought = []
        for length in lengths:
            with refused(c.CKR_DEVICE_MEMORY):
                while True:
                    brought.append(self.bring(program, session, length))
        return brought

    def test_of_objects_of_its_own(self, program):
        session = program.open()
        brought = self.fill(program, session, 1_000_000)
        assert len(brought) == 8
        with refused(c.CKR_DEVICE_MEMORY):
            self.bring(program, program.open(), 1_000_000)
        program.call("C_DestroyObject", session, brought[0])
        assert self.bring(program, session, 1_000_000)

    def test_objects_are_at_most_1024(self, program):
        session = program.open()
        for _ in range(1024):
            self.bring(program, session, 1)
        with refused(c.CKR_DEVICE_MEMORY):
            self.bring(program, session, 1)

    def test_of_data_in_parts(self, program):
        """Without a hash the data of a signature, or of a MAC, wait for their end."""
        session = program.open()
        handle = self.bring(program, session, 1)
        opened = [program.open() for _ in range(12)]
        for each in opened:
            program.call("C_VerifyInit", each, Mechanism.ECDSA, handle)
        for each in opened[:11]:
            program.call("C_VerifyUpdate", each, b"x" * 720_000)
        with refused(c.CKR_DEVICE_MEMORY):
            program.call("C_VerifyUpdate", opened[11], b"x" * 720_000)
        program.call("C_CloseSession", opened[0])
        program.call("C_VerifyUpdate", opened[11], b"x" * 720_000)

    def test_of_results_of_a_search(self, program):
        session = program.open()
        self.fill(program, session, 1_000_000, 50_000, 1000, 1)  # too many for the rest
        with refused(c.CKR_DEVICE_MEMORY):
            program.call("C_FindObjectsInit", session, {})
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_FindObjects", session, 1)

    def test_a_hash_of_parts_needs_none(self, program):
        session = program.open()
        self.fill(program, session, 1_000_000, 50_000, 1000)
        program.call("C_DigestInit", session, Mechanism.SHA256)
        for part in (b"x" * 60_000, b"hello"):
            program.call("C_DigestUpdate", session, part)
        digest = hashlib.sha256(b"x" * 60_000 + b"hello").digest()
        assert program.call("C_DigestFinal", session, 32) == digest

    def test_another_program_has_its_own(self, start):
        sidecar = start()
        program, other = sidecar.connect(), sidecar.connect()
        self.fill(program, program.open(), 1_000_000)
        assert self.bring(other, other.open(), 1_000_000)


class TestCallsAtOnce:
    def test_an_answer_overtakes_one_that_waits_for_the_service(self, start, held, token_file):
        program = start("--token-file", str(token_file), kms=held).connect()
        slow = program.send("C_GenerateRandom", program.open(), 16)
        fast = program.send("C_GetInfo")
        assert program.receive()[0] == fast
        held.answer()
        assert program.answer("C_GenerateRandom", slow) == b"x" * 16

    def test_calls_beyond_64_wait_and_none_is_lost(self, start, held, token_file):
        """Even a call that does not need the service waits for its turn."""
        program = start("--token-file", str(token_file), kms=held).connect()
        session = program.open()
        sent = [program.send("C_GenerateRandom", session, 16) for _ in range(64)]
        wait_until("64 calls", lambda: held.waiting == 64)
        information = program.send("C_GetInfo")
        sent += [program.send("C_GenerateRandom", session, 16) for _ in range(50)]
        program.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            program.receive()
        assert held.waiting == 64
        program.socket.settimeout(30)
        held.answer()
        assert program.answer("C_GetInfo", information)
        for number in sent:
            assert program.answer("C_GenerateRandom", number) == b"x" * 16

    def test_a_frame_may_come_in_pieces(self, program):
        content = frame(99, program.message("C_GetInfo"))
        for byte in content:
            program.socket.sendall(bytes((byte,)))
        assert program.read("C_GetInfo", program.receive()[1])

    def test_a_program_that_does_not_read_bounds_the_memory(self, shared):
        """The program's answers wait in the socket, and then its calls do."""
        with shared.connect() as program, shared.connect() as other:
            session, others = program.open(), other.open()
            for _ in range(10):
                other.call("C_GenerateRandom", others, 65536)
            before = shared.memory()
            calls = frame(99, program.message("C_GenerateRandom", session, 65536)) * 1000
            program.socket.sendall(calls)  # for 64 MiB
            for _ in range(300):
                other.call("C_GenerateRandom", others, 65536)
            assert shared.memory() - before < 24 << 20

    def test_an_answer_of_the_service_that_is_too_large_is_not_read(self, start, held, token_file):
        program = start("--token-file", str(token_file), kms=held).connect()
        held.body["more"] = "x" * (8 << 20)
        held.answer()
        with refused(c.CKR_FUNCTION_FAILED):
            program.call("C_GenerateRandom", program.open(), 16)

    def test_a_call_that_loses_its_connection_is_repeated(self, start, held, token_file):
        """The service may have closed it just then; it may restart."""
        program = start("--token-file", str(token_file), kms=held).connect()
        held.answer(None)
        with refused(c.CKR_FUNCTION_FAILED):
            program.call("C_GenerateRandom", program.open(), 16)
        assert held.waiting == 2

    def test_no_key_pair_is_made_twice(self, start, held, token_file):
        program = start("--token-file", str(token_file), kms=held).connect()
        held.answer(None)
        with refused(c.CKR_FUNCTION_FAILED):
            program.call("C_GenerateKeyPair", program.open(), Mechanism.EC_KEY_PAIR_GEN, *PAIR)
        assert held.waiting == 1

    def test_a_program_that_goes_leaves_nothing(self, shared):
        for _ in range(20):
            with shared.connect() as program:
                session = program.open()
                for _ in range(10):
                    program.send("C_GenerateRandom", session, 16)
        with shared.connect() as program:
            assert program.call("C_GetTokenInfo", 0)[6] == 0


class TestHandles:
    def test_a_handle_is_never_used_twice(self, shared, keys):
        seen = set()
        for _ in range(3):
            with shared.connect() as program:
                session = program.open()
                key = keys.generate()
                found = program.find(session, id=key["kid"].encode())
                made = program.call("C_GenerateKeyPair", session, Mechanism.EC_KEY_PAIR_GEN, *PAIR)
                new = [session, *found, *made]
                assert len(set(new)) == 5
                assert not seen & set(new)
                seen |= set(new)
                keys.call("DELETE", f"/key/{key['kid']}")

    def test_an_object_has_the_same_handle_for_all_programs(self, shared, program, session, key):
        with shared.connect() as other:
            assert private(other, other.open(), key) == private(program, session, key)

    def test_a_handle_of_a_deleted_key_is_invalid(self, program, session, keys):
        key = keys.generate()
        handle = private(program, session, key)
        keys.call("DELETE", f"/key/{key['kid']}")
        assert program.find(session, id=key["kid"].encode()) == []
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(session, handle, Attribute.ID)

    @pytest.mark.parametrize("handle", [0, 1 << 40, NULL, (1 << 64) - 1])
    def test_a_handle_that_was_never_given_is_invalid(self, program, session, handle):
        for name, *values in [
            ("C_GetAttributeValue", [(Attribute.ID, 8)]),
            ("C_SetAttributeValue", {Attribute.LABEL: b"x"}),
            ("C_DestroyObject",),
        ]:
            with refused(c.CKR_OBJECT_HANDLE_INVALID):
                program.call(name, session, handle, *values)
        with refused(c.CKR_SESSION_HANDLE_INVALID):
            program.call("C_GetSessionInfo", handle)

    @pytest.mark.parametrize("call", ["C_SignInit", "C_VerifyInit", "C_DecryptInit"])
    def test_a_handle_of_no_key_is_invalid(self, program, session, call):
        mechanism = Mechanism.ECDSA
        if call == "C_DecryptInit":
            mechanism = Mechanism.RSA_PKCS_OAEP, oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256)
        with refused(c.CKR_KEY_HANDLE_INVALID):
            program.call(call, session, mechanism, 1 << 40)

    def test_the_handle_of_a_key_that_was_made_meanwhile_stays(self):
        """A program with another token may list the keys of the profile meanwhile."""
        handles = Handles()
        before = [handles.of(Reference("tenant", kid, PRIVATE)) for kid in ("kept", "deleted")]
        last = handles.last  # a listing begins
        after = handles.of(Reference("tenant", "made", PRIVATE))
        other = handles.of(Reference("other", "deleted", PRIVATE))
        handles.keep("tenant", {"kept"}, last)
        assert handles.references.keys() == {before[0], after, other}
        assert handles.of(Reference("tenant", "deleted", PRIVATE)) > other

    def test_a_session_of_another_program_is_invalid(self, shared, program, session):
        with shared.connect() as other, refused(c.CKR_SESSION_HANDLE_INVALID):
            other.call("C_GetSessionInfo", session)

    def test_an_object_of_another_slot_is_invalid(self, program, session, key):
        handle = private(program, session, key)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(program.open(slot=3), handle, Attribute.ID)

    def test_an_object_of_another_slot_is_invalid_though_it_has_the_key(self, program, keys, kms):
        session, other, key = program.open(), program.open(slot=3), keys.generate()
        kms.call("POST", "/key/import", {"jwk": key["jwk"]}, profile="other")
        wanted = {"class": ObjectClass.PUBLIC_KEY, "id": key["kid"].encode()}
        (handle,) = program.find(session, **wanted)
        (others,) = program.find(other, **wanted)
        assert program.get(other, others, Attribute.ID) == key["kid"].encode()
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(other, handle, Attribute.ID)
