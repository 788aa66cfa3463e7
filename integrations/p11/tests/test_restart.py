"""A restart that programs do not notice, and the begin and the end of a sidecar."""

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kms import ADMIN
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from rpc import NULL, Program, Size, ecdh1, frame, oaep, pss, refused
from sidecars import BECOME, COMMAND, let_through
from waiting import wait_until

from minikms_p11 import constants as c

PRIVATE, PUBLIC = ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY
DIGEST = hashlib.sha256(b"hello").digest()
OAEP = oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256)
PSS = pss(Mechanism.SHA256, c.CKG_MGF1_SHA256, 32)


@pytest.fixture
def slot(profile):
    return "--slot", f"minikms={profile.name}"


@pytest.fixture
def sidecar(start, slot):
    return start(*slot, "--cache", "0", "--allow-delete")


@pytest.fixture
def program(sidecar, token):
    """A program that is logged in, by `program.session`."""
    program = sidecar.connect()
    program.session = program.open()
    program.login(program.session, token)
    return program


@contextlib.contextmanager
def running(name, sidecar, module, *args):
    """A program of programs.py that is ready; yields a function for its result."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("programs.py"), name, module, *args],
        env={**os.environ, "P11_KIT_SERVER_ADDRESS": f"unix:path={sidecar.path}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield lambda: json.loads(process.communicate(timeout=60)[0])
    finally:
        process.kill()
        process.communicate()


class TestARestart:
    def test_eight_threads_sign_through_five(self, sidecar, module, profile, token):
        profile.generate(alias="web")
        with running("sign", sidecar, module, token, "web") as result:
            for _ in range(5):
                sidecar.restart()
            answer = result()
        assert answer["errors"] == []
        assert len(answer["counts"]) == 8
        assert min(answer["counts"]) > 0

    def test_operations_in_parts_go_through_five(self, sidecar, module, profile, token):
        profile.generate(alias="web")
        with running("sign_in_parts", sidecar, module, token, "web") as result:
            for _ in range(5):
                sidecar.restart()
            answer = result()
        assert answer["errors"] == []
        assert min(answer["counts"]) > 0

    def test_it_is_another_process_with_the_same_pid(self, sidecar, program):
        def begun():
            with open(f"/proc/{sidecar.pid}/cmdline") as file:
                return file.read()

        before = begun()
        sidecar.restart()
        assert sidecar.process.poll() is None
        assert begun() == before
        assert "beginning again with 1 programs" in sidecar.log

    def test_sessions_logins_and_handles_stay(self, sidecar, program, profile):
        key = profile.generate(alias="web")
        profile.certify(key)
        reading = program.open(flags=c.CKF_SERIAL_SESSION)
        found = program.find(program.session, id=key["kid"].encode())
        assert len(found) == 3
        for _ in range(2):
            sidecar.restart()
            assert program.call("C_GetSessionInfo", program.session)[1] == c.CKS_RW_USER
            assert program.call("C_GetSessionInfo", reading)[1] == c.CKS_RO_USER
            (private,) = program.find(reading, **{"class": PRIVATE}, label=b"web")
            assert private in found
            assert program.find(reading, id=key["kid"].encode()) == found
            assert len(program.sign(reading, private, Mechanism.ECDSA, DIGEST)) == 64

    def test_a_handle_is_known_before_any_search(self, sidecar, program, profile):
        key = profile.generate()
        wanted = {"class": PRIVATE, "id": key["kid"].encode()}
        (private,) = program.find(program.session, **wanted)
        sidecar.restart()
        assert program.get(program.session, private, Attribute.CLASS) == PRIVATE
        sidecar.restart()
        assert len(program.sign(program.session, private, Mechanism.ECDSA, DIGEST)) == 64

    def test_no_handle_is_used_twice(self, sidecar, program, profile):
        seen = {program.session}
        for _ in range(3):
            key = profile.generate()
            new = [program.open(), *program.find(program.session, id=key["kid"].encode())]
            assert len(set(new)) == 3
            assert not seen & set(new)
            seen |= set(new)
            profile.call("DELETE", f"/key/{key['kid']}")
            sidecar.restart()

    def test_a_login_by_a_pin_stays(self, start, slot, profile, token, tmp_path):
        (tmp_path / "token").write_text(token)
        pins = tmp_path / "pins"
        pins.write_text("1234 token\n")
        pins.chmod(0o600)
        profile.generate(alias="web")
        sidecar = start(*slot, "--pins", str(pins))
        program, stranger = sidecar.connect(), sidecar.connect()
        session, others = program.open(), stranger.open()
        program.login(session, "1234")
        sidecar.restart()
        assert program.find(session, label=b"web")
        assert stranger.find(others, label=b"web") == []
        program.call("C_Logout", session)
        sidecar.restart()
        assert program.find(session, label=b"web") == []

    def test_the_token_of_a_pin_is_read_anew_after_it(self, start, slot, profile, tmp_path, kms):
        file, pins = tmp_path / "token", tmp_path / "pins"
        token, token_id = kms.token(profile.name)
        file.write_text(token)
        pins.write_text("1234 token\n")
        pins.chmod(0o600)
        sidecar = start(*slot, "--pins", str(pins))
        program = sidecar.connect()
        session = program.open()
        program.login(session, "1234")
        sidecar.restart()
        file.write_text(kms.token(profile.name)[0])
        kms.revoke(token_id)
        assert program.call("C_GenerateRandom", session, 8)

    def test_a_program_without_a_login_stays_without_one(self, sidecar):
        program = sidecar.connect()
        session = program.open()
        sidecar.restart()
        assert program.find(session) == []
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            program.call("C_GenerateRandom", session, 8)

    def test_a_program_that_is_not_initialized_may_be_later(self, sidecar):
        silent, connected = sidecar.connect(initialize=False), socket.socket(socket.AF_UNIX)
        connected.connect(str(sidecar.path))
        wait_until("the accepted connections", lambda: silent.version == 1)
        sidecar.restart()
        with refused(c.CKR_CRYPTOKI_NOT_INITIALIZED):
            silent.call("C_GetInfo")
        connected.sendall(b"\x02")
        assert connected.recv(1) == b"\x02"
        connected.close()

    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_the_version_stays(self, sidecar, token, profile, version):
        key = profile.generate("rsa2048")
        program = sidecar.connect(version)
        session = program.open()
        program.login(session, token)
        sidecar.restart()
        wanted = {"class": PRIVATE, "id": key["kid"].encode()}
        (private,) = program.find(session, **wanted)
        assert program.sign(session, private, (Mechanism.RSA_PKCS_PSS, PSS), DIGEST)

    def test_a_search_goes_on(self, sidecar, program, profile):
        for _ in range(3):
            profile.generate()
        program.call("C_FindObjectsInit", program.session, {})
        found = program.call("C_FindObjects", program.session, 2)
        sidecar.restart()
        found += program.call("C_FindObjects", program.session, 2)
        sidecar.restart()
        found += program.call("C_FindObjects", program.session, 10)
        assert len(set(found)) == 6
        assert program.call("C_FindObjects", program.session, 10) == []
        program.call("C_FindObjectsFinal", program.session)

    @pytest.mark.parametrize(
        ("alg", "mechanism", "data", "length"),
        [
            ("p256", Mechanism.ECDSA, DIGEST, 64),
            ("p256", Mechanism.ECDSA_SHA256, b"hello", 64),
            ("rsa2048", (Mechanism.RSA_PKCS_PSS, PSS), DIGEST, 256),
            ("rsa2048", (Mechanism.SHA256_RSA_PKCS_PSS, PSS), b"hello", 256),
        ],
    )
    def test_an_operation_that_began_goes_on(
        self, sidecar, program, profile, alg, mechanism, data, length
    ):
        key = profile.generate(alg)
        session, kid = program.session, key["kid"].encode()
        (private,) = program.find(session, **{"class": PRIVATE}, id=kid)
        (public,) = program.find(session, **{"class": PUBLIC}, id=kid)
        program.call("C_SignInit", session, mechanism, private)
        program.call("C_VerifyInit", session, mechanism, public)
        sidecar.restart()
        assert program.call("C_Sign", session, data, 0) == Size(length)
        sidecar.restart()
        signature = program.call("C_Sign", session, data, length)
        program.call("C_Verify", session, data, signature)

    def test_a_decryption_that_began_goes_on(self, sidecar, program, profile):
        key = profile.generate("rsa2048")
        session, kid = program.session, key["kid"].encode()
        (private,) = program.find(session, **{"class": PRIVATE}, id=kid)
        (public,) = program.find(session, **{"class": PUBLIC}, id=kid)
        mechanism = Mechanism.RSA_PKCS_OAEP, OAEP
        program.call("C_EncryptInit", session, mechanism, public)
        program.call("C_DecryptInit", session, mechanism, private)
        sidecar.restart()
        ciphertext = program.call("C_Encrypt", session, b"hello", 256)
        assert program.call("C_Decrypt", session, ciphertext, NULL) == Size(5)
        sidecar.restart()  # while the plaintext waits for a buffer
        assert program.call("C_Decrypt", session, ciphertext, 256) == b"hello"

    def test_parts_of_operations_stay(self, sidecar, program, profile):
        key = profile.generate()
        session = program.session
        wanted = {"id": key["kid"].encode()}
        (private,) = program.find(session, **{"class": PRIVATE}, **wanted)
        (public,) = program.find(session, **{"class": PUBLIC}, **wanted)
        program.call("C_SignInit", session, Mechanism.ECDSA_SHA256, private)
        program.call("C_DigestInit", session, Mechanism.SHA256)
        program.call("C_SignUpdate", session, b"hel")
        program.call("C_DigestUpdate", session, b"hel")
        sidecar.restart()
        program.call("C_SignUpdate", session, b"lo")
        program.call("C_DigestUpdate", session, b"lo")
        sidecar.restart()
        assert program.call("C_DigestFinal", session, 32) == DIGEST
        signature = program.call("C_SignFinal", session, 64)
        program.verify(session, public, Mechanism.ECDSA, DIGEST, signature)

    def test_a_programs_own_objects_stay(self, sidecar, program, profile):
        key = profile.generate()
        session = program.session
        (private,) = program.find(session, **{"class": PRIVATE}, id=key["kid"].encode())
        peer = ec.generate_private_key(ec.SECP256R1())
        public = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        wanted = {Attribute.SENSITIVE: False, Attribute.LABEL: b"shared"}
        derive = Mechanism.ECDH1_DERIVE, ecdh1(public)
        secret = program.call("C_DeriveKey", session, derive, private, wanted)
        template = {
            Attribute.CLASS: PUBLIC,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"),
            Attribute.EC_POINT: public,
        }
        brought = program.call("C_CreateObject", session, template)
        value = program.get(session, secret, Attribute.VALUE)
        sidecar.restart()
        assert program.get(session, secret, Attribute.VALUE) == value
        assert program.find(session, label=b"shared", token=False) == [secret]
        assert program.get(session, brought, Attribute.EC_POINT) == public
        program.call("C_VerifyInit", session, Mechanism.ECDSA, brought)
        sidecar.restart()
        with refused(c.CKR_SIGNATURE_INVALID):
            program.call("C_Verify", session, DIGEST, bytes(64))

    def test_a_key_pair_of_a_session_still_ends_with_it(self, sidecar, program, profile, kms):
        public = {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
        made = program.call(
            "C_GenerateKeyPair", program.session, Mechanism.EC_KEY_PAIR_GEN, public, {}
        )
        kid = program.get(program.session, made[1], Attribute.ID).decode()
        sidecar.restart()
        assert profile.key(kid)
        program.call("C_CloseSession", program.session)
        path = f"/key/{kid}"
        wait_until("its deletion", lambda: kms.answer("GET", path, profile=profile.name)[0] == 404)

    def test_half_a_frame_is_read_to_its_end(self, sidecar, program):
        message = frame(1234, program.message("C_GenerateRandom", program.session, 16))
        for end in (5, 30):
            program.socket.sendall(message[:end])
            sidecar.restart()
            program.socket.sendall(message[end:])
            number, answer = program.receive()
            assert number == 1234
            assert len(program.read("C_GenerateRandom", answer)) == 16

    def test_calls_that_arrive_meanwhile_are_answered(self, sidecar, program):
        sent = [program.send("C_GenerateRandom", program.session, 16) for _ in range(50)]
        sidecar.process.send_signal(signal.SIGHUP)
        sent += [program.send("C_GenerateRandom", program.session, 16) for _ in range(50)]
        sidecar.wait_until_it_serves()
        for number in sent:
            assert len(program.answer("C_GenerateRandom", number)) == 16

    def test_programs_connect_meanwhile(self, sidecar):
        sidecar.process.send_signal(signal.SIGHUP)
        programs = [sidecar.connect() for _ in range(20)]
        sidecar.wait_until_it_serves()
        for program in programs:
            assert program.call("C_GetInfo")

    def test_no_connection_is_lost(self, sidecar):
        """Connections are also made at the moment when the old process stops accepting."""
        errors, end = [], threading.Event()

        def connect():
            while not end.is_set():
                try:
                    with Program(sidecar.path) as program:
                        assert program.call("C_GetInfo")
                except Exception as error:
                    errors.append(error)

        working = [threading.Thread(target=connect) for _ in range(8)]
        for each in working:
            each.start()
        try:
            for _ in range(4):
                sidecar.restart()
        finally:
            end.set()
            for each in working:
                each.join()
        assert errors == []

    def test_signals_in_a_row_are_one_or_several_restarts(self, sidecar, program):
        for _ in range(20):
            sidecar.process.send_signal(signal.SIGHUP)
            assert program.call("C_GetInfo")
        sidecar.wait_until_it_serves()
        assert len(program.call("C_GenerateRandom", program.session, 8)) == 8

    def test_a_program_that_does_not_read_holds_up_nobody(self, sidecar, program, token):
        """The program is disconnected, since its unread answers cannot be handed over."""
        lazy = sidecar.connect()
        session = lazy.open()
        lazy.login(session, token)
        lazy.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lazy.send("C_GenerateRandom", session, 65536)
        sidecar.restart()
        assert program.call("C_GetInfo")
        lazy.socket.setblocking(True)
        with contextlib.suppress(ConnectionResetError):
            while lazy.socket.recv(1 << 20):
                pass

    def test_an_operation_that_cannot_be_handed_over_ends(self, sidecar, program):
        """A restart waits for the hash of many parts for some time; it is never a wrong one."""
        program.call("C_DigestInit", program.session, Mechanism.SHA256)
        for _ in range(3):
            program.call("C_DigestUpdate", program.session, b"x" * 60_000)
        sidecar.restart()
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_DigestFinal", program.session, 32)

    def test_a_service_that_does_not_answer_holds_up_nobody(self, start, held, token_file):
        sidecar = start("--token-file", str(token_file), kms=held)
        program, waiting = sidecar.connect(), sidecar.connect()
        number = waiting.send("C_GenerateRandom", waiting.open(), 16)
        wait_until("its call", lambda: held.waiting == 1)
        sidecar.restart()
        assert program.call("C_GetInfo")
        with refused(c.CKR_FUNCTION_FAILED):
            waiting.answer("C_GenerateRandom", number)


class TestWhatBecameInvalid:
    def test_the_old_process_goes_on(self, start, slot, profile, token, tmp_path):
        file = tmp_path / "token"
        file.write_text(token)
        profile.generate(alias="web")
        sidecar = start(*slot, "--token-file", str(file))
        program = sidecar.connect()
        session = program.open()
        file.write_text("")
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until("its refusal", lambda: "could not begin" in sidecar.log)
        assert program.find(session, label=b"web")
        assert sidecar.connect().call("C_GetInfo")
        file.write_text(token)
        sidecar.restart()
        assert program.find(session, label=b"web")

    def test_pins_that_others_read(self, start, slot, token, tmp_path):
        (tmp_path / "token").write_text(token)
        pins = tmp_path / "pins"
        pins.write_text("1234 token\n")
        pins.chmod(0o600)
        sidecar = start(*slot, "--pins", str(pins))
        program = sidecar.connect()
        pins.chmod(0o644)
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until("its refusal", lambda: "could not begin" in sidecar.log)
        program.login(program.open(), "1234")

    def test_new_pins_are_read(self, start, slot, token, tmp_path):
        (tmp_path / "token").write_text(token)
        pins = tmp_path / "pins"
        pins.write_text("")
        pins.chmod(0o600)
        sidecar = start(*slot, "--pins", str(pins))
        program = sidecar.connect()
        session = program.open()
        pins.write_text("1234 token\n")
        with refused(c.CKR_PIN_INCORRECT):
            program.login(session, "1234")
        sidecar.restart()
        program.login(session, "1234")


class TestFewFiles:
    @pytest.fixture
    def few(self, start, slot):
        """A sidecar that may open 60 files."""

        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

        return start(*slot, preexec_fn=limit)

    def test_programs_connect_again_when_others_are_gone(self, few):
        program = few.connect()
        with contextlib.ExitStack() as opened:
            for _ in range(100):
                connection = opened.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(str(few.path))
            wait_until("no files", lambda: "no program can connect" in few.log)
            assert program.call("C_GetInfo")
        assert few.connect().call("C_GetInfo")

    def test_a_restart_that_cannot_be_leaves_the_old_process(self, few, token):
        program = few.connect()
        session = program.open()
        program.login(session, token)
        with contextlib.ExitStack() as opened:
            for _ in range(100):
                connection = opened.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(str(few.path))
            wait_until("no files", lambda: "no program can connect" in few.log)
            few.process.send_signal(signal.SIGHUP)
            wait_until("its refusal", lambda: "goes on as it is" in few.log)
            assert len(program.call("C_GenerateRandom", session, 8)) == 8
        few.restart()
        assert len(program.call("C_GenerateRandom", session, 8)) == 8


class TestTheSocket:
    def test_sigterm_ends_it_and_removes_its_socket(self, sidecar, program):
        assert sidecar.stop() == 0
        assert not sidecar.path.exists()
        assert program.is_at_its_end()

    def test_sigterm_ends_key_pairs_of_sessions(self, sidecar, program, kms, profile):
        public = {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
        for _ in range(3):
            made = program.call(
                "C_GenerateKeyPair", program.session, Mechanism.EC_KEY_PAIR_GEN, public, {}
            )
        assert made
        assert len(profile.call("GET", "/keys")) == 3
        assert sidecar.stop() == 0
        assert profile.call("GET", "/keys") == []

    def test_sigterm_ends_it_though_key_pairs_are_not_deleted(self, start, held, token_file, keys):
        held.body = keys.generate()
        held.answer()
        sidecar = start("--token-file", str(token_file), kms=held)
        program = sidecar.connect()
        public = {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
        program.call("C_GenerateKeyPair", program.open(), Mechanism.EC_KEY_PAIR_GEN, public, {})
        assert sidecar.stop() == 0
        assert "1 session keys stay until they end" in sidecar.log

    def test_sigterm_ends_it_if_its_socket_is_gone_already(self, sidecar):
        sidecar.path.unlink()
        assert sidecar.stop() == 0

    def test_sigterm_ends_it_after_a_restart_as_well(self, sidecar, program):
        sidecar.restart()
        assert sidecar.stop(signal.SIGINT) == 0
        assert not sidecar.path.exists()

    @pytest.mark.parametrize("milliseconds", [0, 100, 300, 600, 1000, 1500])
    def test_sigterm_ends_it_during_a_restart(self, sidecar, program, milliseconds):
        sidecar.process.send_signal(signal.SIGHUP)
        time.sleep(milliseconds / 1000)
        assert sidecar.stop() == 0
        assert not sidecar.path.exists()

    def test_after_a_kill_another_one_begins_at_the_same_path(self, start, slot, sidecar, token):
        sidecar.stop(signal.SIGKILL)
        assert sidecar.path.exists()
        again = start(*slot, folder=sidecar.path.parent)
        program = again.connect()
        program.login(program.open(), token)

    def test_a_path_that_another_one_serves_is_refused(self, sidecar, program, kms):
        args = ["--url", kms.url, "--socket", str(sidecar.path)]
        ended = subprocess.run([*COMMAND, *args], capture_output=True, text=True)
        assert ended.returncode == 1
        assert "another process" in ended.stderr
        assert program.call("C_GetInfo")

    def test_a_path_of_something_else_is_refused(self, tmp_path, kms):
        file = tmp_path / "file"
        file.write_text("something else")
        args = ["--url", kms.url, "--socket", str(file)]
        ended = subprocess.run([*COMMAND, *args], capture_output=True, text=True)
        assert ended.returncode == 1
        assert file.read_text() == "something else"

    def test_it_is_the_sidecars_own(self, sidecar):
        assert stat.S_IMODE(sidecar.path.stat().st_mode) == 0o600


class TestSocketActivation:
    """Like systemd, passes a listening socket as file 3, and the process's own id as LISTEN_PID."""

    @pytest.fixture
    def activated(self, start, slot, tmp_path_factory):
        folder = tmp_path_factory.mktemp("s")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen()
            code = (
                "import os, sys\n"
                f"os.dup2({listener.fileno()}, 3)\n"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
                "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
            )
            yield start(
                *slot,
                folder=folder,
                command=[sys.executable, "-c", code, *COMMAND[1:]],
                pass_fds=[listener.fileno(), 3],
            )

    def test_it_serves_the_socket_that_it_is_given(self, activated, token):
        program = activated.connect()
        session = program.open()
        program.login(session, token)
        activated.restart()
        assert len(program.call("C_GenerateRandom", session, 8)) == 8
        assert activated.connect().call("C_GetInfo")

    def test_it_leaves_the_socket_to_systemd(self, activated):
        assert activated.stop() == 0
        assert activated.path.exists()

    def test_it_leaves_the_socket_after_a_restart_as_well(self, activated):
        activated.restart()
        assert activated.stop() == 0
        assert activated.path.exists()


class TestStandardInput:
    """Like p11-kit's `remote: |minikms-p11 …`, passes a socket as standard input and output."""

    @pytest.fixture
    def remote(self, kms, slot, tmp_path):
        ours, theirs = socket.socketpair()
        with theirs, (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "--url", kms.url, *slot], stdin=theirs, stdout=theirs, stderr=log
            )
        program = Program.over(ours)
        program.process, program.log = process, tmp_path / "log"
        yield program
        program.close()
        process.kill()
        process.wait()

    def test_it_serves_one_program_and_ends_with_it(self, remote, profile, token):
        key = profile.generate()
        session = remote.open()
        remote.login(session, token)
        (private,) = remote.find(session, **{"class": PRIVATE}, id=key["kid"].encode())
        assert len(remote.sign(session, private, Mechanism.ECDSA, DIGEST)) == 64
        remote.close()
        assert remote.process.wait(timeout=30) == 0

    def test_it_goes_on_after_a_restart(self, remote, token):
        session = remote.open()
        remote.login(session, token)
        remote.process.send_signal(signal.SIGHUP)
        wait_until("a restart", lambda: remote.log.read_text().count("serving ") == 2)
        assert len(remote.call("C_GenerateRandom", session, 8)) == 8
        remote.close()
        assert remote.process.wait(timeout=30) == 0

    def test_its_program_is_the_one_that_started_it(self, remote, token, kms, profile):
        key = profile.generate()
        session = remote.open()
        remote.login(session, token)
        (private,) = remote.find(session, **{"class": PRIVATE}, id=key["kid"].encode())
        remote.sign(session, private, Mechanism.ECDSA, DIGEST)
        (line,) = [it for it in kms.events("sign") if it["kid"] == key["kid"]]
        assert line["request_id"].startswith(f"p11:{os.getpid()}:")

    def test_p11_kit_starts_it(self, kms, slot, tmp_path_factory):
        """p11-kit reads the module from a user's configuration, which it ignores for root."""
        if os.getuid() or not shutil.which("p11-kit"):
            pytest.skip("needs root, and p11-kit: apt-get install p11-kit")
        folder = tmp_path_factory.mktemp("configuration")
        modules = folder / "pkcs11" / "modules"
        modules.mkdir(parents=True)
        command = " ".join([*COMMAND, "--url", kms.url, *slot])
        (modules / "minikms.module").write_text(f"remote: |{command}\n")
        for path in (modules / "file", Path(COMMAND[0]), Path(COMMAND[0]).resolve()):
            let_through(path)
        for each in (folder, folder / "pkcs11", modules):
            each.chmod(0o755)
        ended = subprocess.run(
            [*BECOME, "p11-kit", "list-modules"],
            env={"XDG_CONFIG_HOME": str(folder), "PATH": os.environ["PATH"]},
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert "token: minikms\n" in ended.stdout, ended.stderr

    def test_anything_but_a_socket_is_refused(self, kms):
        ended = subprocess.run(
            [*COMMAND, "--url", kms.url],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 1
        assert "--socket" in ended.stderr


class TestARealProgram:
    def run(self, name, sidecar, module, *args):
        ended = subprocess.run(
            [sys.executable, Path(__file__).with_name("programs.py"), name, module, *args],
            env={**os.environ, "P11_KIT_SERVER_ADDRESS": f"unix:path={sidecar.path}"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def test_python_makes_keys_signs_and_deletes(self, sidecar, module, token):
        made = self.run("make", sidecar, module, token)
        assert made == {"verified": True, "label": "python", "left": []}

    def test_python_needs_no_pin_with_a_token_file(self, shared, module):
        made = self.run("make", shared, module, "")
        assert made == {"verified": True, "label": "python", "left": []}

    def test_python_agrees_on_secrets_and_decrypts(self, sidecar, module, token):
        used = self.run("use", sidecar, module, token)
        assert used == {
            **{"agreed": True, "secret": 48, "decrypted": "hello", "verified": True},
            "random": 100,
        }

    def test_the_admins_token_is_a_pin(self, sidecar, module):
        assert self.run("make", sidecar, module, ADMIN)["verified"]
