"""Logins: PINs, tokens, users of the machine, and the end of a login by a refused token."""

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kms import ADMIN
from minikms_processes import begin_process
from pkcs11 import Attribute, Mechanism, ObjectClass
from rpc import Refused, Size, ecdh1, frame, oaep, refused
from sidecars import BECOME, COMMAND, NOBODY, let_through
from waiting import until, wait_until

from minikms_p11 import constants as c
from minikms_p11.application import Login
from minikms_p11.login import Logins, Pause, Pins
from minikms_p11.objects import SessionSecret
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service

PRIVATE = ObjectClass.PRIVATE_KEY
DIGEST = b"x" * 32


class Nowhere:
    """A service that does not run."""

    url = "http://127.0.0.1:1"


@pytest.fixture
def slot(profile):
    """The option of a slot with the new profile."""
    return "--slot", f"minikms={profile.name}"


@pytest.fixture
def sidecar(start, slot):
    return start(*slot, "--cache", "0")


@pytest.fixture
def key(profile):
    return profile.generate(alias="web")


def private(program, session):
    return program.find(session, **{"class": PRIVATE}, label=b"web")


def signs(program, session, handle):
    return len(program.sign(session, handle, Mechanism.ECDSA, DIGEST)) == 64


class TestTokens:
    def test_nothing_is_seen_before_the_login(self, sidecar, key, token):
        program = sidecar.connect()
        session = program.open()
        assert program.find(session) == []
        assert program.call("C_GetTokenInfo", 0)[4] & c.CKF_LOGIN_REQUIRED
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_PUBLIC
        for call in (("C_GenerateRandom", session, 8), ("C_Logout", session)):
            with refused(c.CKR_USER_NOT_LOGGED_IN):
                program.call(*call)
        program.login(session, token)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER
        (handle,) = private(program, session)
        assert signs(program, session, handle)

    def test_a_login_is_of_all_sessions_with_the_slot(self, sidecar, key, token):
        program = sidecar.connect()
        one, two = program.open(), program.open(flags=c.CKF_SERIAL_SESSION)
        program.login(one, token)
        assert program.call("C_GetSessionInfo", two)[1] == c.CKS_RO_USER
        assert private(program, two)
        with refused(c.CKR_USER_ALREADY_LOGGED_IN):
            program.login(two, token)
        program.call("C_Logout", two)
        assert private(program, one) == []

    def test_the_last_session_ends_the_login(self, sidecar, key, token):
        program = sidecar.connect()
        one, two = program.open(), program.open()
        program.login(one, token)
        program.call("C_CloseSession", one)
        assert private(program, two)
        program.call("C_CloseAllSessions", 0)
        assert private(program, program.open()) == []

    def test_a_logout_ends_what_the_login_made(self, sidecar, profile, token):
        """Shared secrets, and a plaintext that waits for a buffer."""
        agrees, decrypts = profile.generate(), profile.generate("rsa2048")
        program = sidecar.connect()
        session, second = program.open(), program.open()
        program.login(session, token)

        def found(key, object_class=PRIVATE):
            wanted = {"class": object_class, "id": key["kid"].encode()}
            return program.find(session, **wanted)[0]

        peer = program.get(session, found(agrees, ObjectClass.PUBLIC_KEY), Attribute.EC_POINT)
        derive = Mechanism.ECDH1_DERIVE, ecdh1(peer)
        secret = program.call("C_DeriveKey", second, derive, found(agrees), {})
        public = {Attribute.PRIVATE: False}
        shown = program.call("C_DeriveKey", second, derive, found(agrees), public)
        encryption = Mechanism.RSA_PKCS_OAEP, oaep(Mechanism.SHA256, c.CKG_MGF1_SHA256)
        public_key = found(decrypts, ObjectClass.PUBLIC_KEY)
        program.call("C_EncryptInit", session, encryption, public_key)
        ciphertext = program.call("C_Encrypt", session, b"hello", 256)
        program.call("C_DecryptInit", session, encryption, found(decrypts))
        assert program.call("C_Decrypt", session, ciphertext, 1) == Size(5)
        assert len(program.get(second, secret, Attribute.VALUE)) == 32
        program.call("C_Logout", session)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            program.get(second, secret, Attribute.VALUE)
        assert program.find(second, **{"class": ObjectClass.SECRET_KEY}) == [shown]
        with refused(c.CKR_OPERATION_NOT_INITIALIZED):
            program.call("C_Decrypt", session, ciphertext, 256)
        program.login(session, token)
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            program.get(second, secret, Attribute.VALUE)

    def test_a_session_that_is_closed_meanwhile_is_not_logged_in(self, sidecar, key, token):
        program = sidecar.connect()
        session = program.open()
        login = program.message("C_Login", session, 1, token.encode())
        close = program.message("C_CloseSession", session)
        program.socket.sendall(frame(900, login) + frame(901, close))  # read together
        assert program.answer("C_CloseSession", 901) == ()
        with refused(c.CKR_SESSION_HANDLE_INVALID):
            program.answer("C_Login", 900)
        assert private(program, program.open()) == []

    def test_a_login_is_of_one_program(self, sidecar, key, token):
        program, other = sidecar.connect(), sidecar.connect()
        session, others = program.open(), other.open()
        program.login(session, token)
        (handle,) = private(program, session)
        assert private(other, others) == []
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            other.get(others, handle, Attribute.ID)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            other.call("C_SignInit", others, Mechanism.ECDSA, handle)

    @pytest.mark.parametrize("user", [0, 2, 3])
    def test_there_is_no_security_officer(self, sidecar, token, user):
        program = sidecar.connect()
        session = program.open()
        with refused(c.CKR_USER_TYPE_INVALID):
            program.call("C_Login", session, user, token.encode())

    def test_pins_are_not_set_here(self, sidecar, token):
        program = sidecar.connect()
        session = program.open()
        program.login(session, token)
        for call in (("C_SetPIN", session, token.encode(), b"1234"), ("C_InitPIN", session, b"1")):
            with refused(c.CKR_FUNCTION_NOT_SUPPORTED):
                program.call(*call)

    @pytest.mark.parametrize(
        "pin", [b"", b"x" * 5000, b"\xff\0", b"two words", b"a\r\nX-Profile: b"]
    )
    def test_what_is_no_token_is_a_wrong_pin(self, sidecar, pin):
        program = sidecar.connect()
        with refused(c.CKR_PIN_INCORRECT):
            program.login(program.open(), pin)

    def test_a_token_of_another_profile_is_a_wrong_pin(self, sidecar, kms, key):
        token, _ = kms.token(kms.profile().name)
        program = sidecar.connect()
        session = program.open()
        with refused(c.CKR_PIN_INCORRECT):
            program.login(session, token)
        assert private(program, session) == []

    def test_a_token_without_the_scope_does_not_sign(self, sidecar, kms, profile, key):
        token, _ = kms.token(profile.name, ["keys:read"])
        program = sidecar.connect()
        session = program.open()
        program.login(session, token)
        (handle,) = private(program, session)
        with refused(c.CKR_KEY_FUNCTION_NOT_PERMITTED):
            signs(program, session, handle)

    def test_two_programs_have_two_profiles(self, start, kms):
        profiles = [kms.profile(), kms.profile()]
        made = [each.generate(alias="web") for each in profiles]
        options = [("--slot", f"{each.name}={each.name}") for each in profiles]
        sidecar = start(*(text for option in options for text in option))
        seen = []
        for number, each in enumerate(profiles):
            program = sidecar.connect()
            session, other = program.open(number), program.open(1 - number)
            program.login(session, kms.token(each.name)[0])
            (handle,) = private(program, session)
            assert program.get(session, handle, Attribute.ID) == made[number]["kid"].encode()
            assert signs(program, session, handle)
            assert private(program, other) == []
            with refused(c.CKR_PIN_INCORRECT):
                program.login(other, kms.token(each.name)[0])
            seen.append((program, session, handle))
        (one, session, _), (_, _, other) = seen
        with refused(c.CKR_OBJECT_HANDLE_INVALID):
            one.get(session, other, Attribute.ID)


class TestPins:
    @pytest.fixture
    def pins(self, tmp_path, token):
        (tmp_path / "token").write_text(token + "\n")
        file = tmp_path / "pins"
        file.write_text(f"# programs\n\n1234 {tmp_path}/token\n5678 token\n")
        file.chmod(0o600)
        return file

    @pytest.mark.parametrize("pin", ["1234", "5678"])
    def test_a_pin_stands_for_a_token(self, start, slot, pins, key, pin):
        program = start(*slot, "--pins", str(pins)).connect()
        session = program.open()
        program.login(session, pin)
        assert private(program, session)

    def test_any_other_pin_is_wrong_and_a_token_is_one(self, start, slot, pins, key, token):
        program = start(*slot, "--pins", str(pins)).connect()
        session = program.open()
        for pin in ("123", "12345", "token"):
            with refused(c.CKR_PIN_INCORRECT):
                program.login(session, pin)
        program.login(session, token)
        assert private(program, session)

    def test_unknown_pins_are_not_sent_to_the_service(self, start, slot, pins):
        program = start(*slot, "--pins", str(pins), kms=Nowhere).connect()
        session = program.open()
        with refused(c.CKR_PIN_INCORRECT):
            program.login(session, "0000")
        with refused(c.CKR_FUNCTION_FAILED):
            program.login(session, "1234")

    def test_the_path_of_a_token_may_have_spaces(self, start, slot, pins, key, token):
        pins.with_name("a token").write_text(token)
        pins.write_text("1234 a token\n")
        program = start(*slot, "--pins", str(pins)).connect()
        session = program.open()
        program.login(session, "1234")
        assert private(program, session)

    def test_a_token_is_read_at_each_login(self, start, slot, pins, kms, profile, key):
        program = start(*slot, "--pins", str(pins)).connect()
        session = program.open()
        token_file = pins.with_name("token")
        token, token_id = kms.token(profile.name)
        token_file.write_text(token)
        program.login(session, "1234")
        kms.revoke(token_id)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            program.call("C_GenerateRandom", session, 8)
        token_file.write_text(kms.token(profile.name)[0])
        program.login(session, "1234")
        assert private(program, session)
        program.call("C_Logout", session)
        token_file.unlink()
        with refused(c.CKR_FUNCTION_FAILED):
            program.login(session, "1234")

    @pytest.fixture
    def logged_in(self, start, slot, pins, kms, profile, key):
        """A program that is logged in by a PIN, its session, its key, and its token's id."""
        token, token_id = kms.token(profile.name)
        pins.with_name("token").write_text(token)
        program = start(*slot, "--pins", str(pins)).connect()
        session = program.open()
        program.login(session, "1234")
        (handle,) = private(program, session)
        return program, session, handle, token_id

    def test_a_token_that_is_replaced_is_read_anew(self, logged_in, pins, kms, profile):
        program, session, handle, token_id = logged_in
        pins.with_name("token").write_text(kms.token(profile.name)[0])
        kms.revoke(token_id)
        sent = [program.send("C_GenerateRandom", session, 8) for _ in range(8)]
        for number in sent:
            program.answer("C_GenerateRandom", number)
        assert signs(program, session, handle)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER

    def test_a_token_may_be_replaced_after_its_end(self, logged_in, pins, kms, profile):
        program, session, handle, token_id = logged_in
        kms.revoke(token_id)
        for _ in range(2):
            with refused(c.CKR_USER_NOT_LOGGED_IN):
                signs(program, session, handle)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_PUBLIC
        pins.with_name("token").write_text(kms.token(profile.name)[0])
        assert signs(program, session, handle)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER

    def test_a_logout_ends_a_login_whose_token_was_refused(self, logged_in, pins, kms, profile):
        program, session, handle, token_id = logged_in
        kms.revoke(token_id)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            signs(program, session, handle)
        program.call("C_Logout", session)
        pins.with_name("token").write_text(kms.token(profile.name)[0])
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            signs(program, session, handle)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
    def test_a_file_that_others_read_is_refused_at_the_start(self, pins, mode):
        pins.chmod(mode)
        assert str(pins) in self.refusal("--pins", str(pins))

    @pytest.mark.parametrize("line", ["1234", "1234  "])
    def test_a_line_without_a_token_is_refused_at_the_start(self, pins, line):
        pins.write_text(line + "\n")
        written = self.refusal("--pins", str(pins))
        assert "line 1" in written
        assert "1234" not in written

    def refusal(self, *args):
        """The error message of a sidecar that does not start."""
        ended = subprocess.run(
            [*COMMAND, "--url", "http://127.0.0.1:1", "--socket", "/tmp/none", *args],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 2
        return ended.stderr

    def test_missing_files_are_refused_at_the_start(self, tmp_path):
        empty = tmp_path / "empty"
        empty.write_text("\n")
        for option, file in [
            ("--pins", tmp_path / "none"),
            ("--token-file", tmp_path / "none"),
            ("--token-file", empty),
        ]:
            assert str(file) in self.refusal(option, str(file))


class TestFailedLogins:
    def fail(self, sidecar, pins=("wrong",) * 3, value=c.CKR_PIN_INCORRECT):
        """Log in, from a program each; the seconds until the last answer."""
        programs = [sidecar.connect() for _ in pins]
        sessions = [program.open() for program in programs]
        begun = time.monotonic()
        sent = [
            (program, program.send("C_Login", session, 1, pin.encode()))
            for program, session, pin in zip(programs, sessions, pins, strict=True)
        ]
        for program, number in sent:
            with refused(value):
                program.answer("C_Login", number)
        return time.monotonic() - begun

    def test_each_waits_longer_also_after_a_right_one(self, sidecar, token):
        """From all of the user's programs one after the other."""
        assert self.fail(sidecar) >= 0.25 + 0.5 + 1
        program = sidecar.connect()
        program.login(program.open(), token)
        assert self.fail(sidecar, ("wrong",)) >= 1

    def test_they_wait_also_when_the_service_refuses_each_new_token(self, start, start_service):
        sidecar = start(kms=start_service(MAX_WRONG_TOKENS="1"))
        self.fail(sidecar, ("wrong",))
        assert self.fail(sidecar, value=c.CKR_FUNCTION_FAILED) >= 0.5 + 1 + 2

    async def test_the_pause_goes_on_when_the_program_leaves(self, tmp_path):
        file = tmp_path / "pins"
        file.write_text("1234 token\n")
        file.chmod(0o600)
        service = Service(Nowhere.url)
        logins = Logins(service, Pins(file))
        begun = time.monotonic()
        login = asyncio.create_task(logins.check(b"0000", "default", pid=1, uid=2))
        await until("a pause", lambda: logins.pauses[2].left(time.monotonic()))
        login.cancel()  # as the end of a connection does
        with pytest.raises(Refusal):
            await logins.check(b"0000", "default", pid=1, uid=2)
        await service.close()
        assert time.monotonic() - begun >= 0.25 + 0.5

    async def test_a_service_that_is_away_begins_no_pause(self):
        service = Service("http://127.0.0.1:1")
        logins = Logins(service, Pins(None))
        with pytest.raises(Problem):
            await logins.check(b"token", "default", pid=1, uid=2)
        await service.close()
        assert logins.pauses[2].left(0) == 0

    def test_a_pause_is_twice_as_long_as_the_last_one_up_to_a_limit(self):
        pause, now, lengths = Pause(), 1e6, []
        for _ in range(8):
            pause.begin(now)
            lengths.append(pause.left(now))
            now += lengths[-1]
            assert pause.left(now) == 0
        assert lengths == [0.25, 0.5, 1, 2, 4, 8, 8, 8]

    @pytest.mark.parametrize(("seconds", "length"), [(60, 8), (120, 4), (240, 1), (1e6, 0.25)])
    def test_time_shortens_the_next_pause(self, seconds, length):
        pause, now = Pause(), 0.0
        for _ in range(6):
            pause.begin(now)
            now += pause.left(now)
        now += seconds
        pause.begin(now)
        assert pause.left(now) == pytest.approx(length)

    def test_a_program_that_waits_does_not_hold_up_its_other_calls(self, sidecar):
        program = sidecar.connect()
        session = program.open()
        number = program.send("C_Login", session, 1, b"wrong")
        assert program.call("C_GetInfo")
        with refused(c.CKR_PIN_INCORRECT):
            program.answer("C_Login", number)


@pytest.mark.parametrize(("others", "mode"), [((), 0o600), (("--uid", str(NOBODY)), 0o666)])
def test_the_mode_of_the_socket_admits_the_users_that_are_named(start, slot, others, mode):
    sidecar = start(*slot, *others)
    assert stat.S_IMODE(sidecar.path.stat().st_mode) == mode


class TestUsers:
    """Tests run as root, which may become any user."""

    @pytest.fixture(autouse=True)
    def _root(self):
        if os.getuid():
            pytest.skip("only root may become another user")

    @pytest.fixture
    def reachable(self, tmp_path_factory):
        """A folder that every user may search."""
        folder = tmp_path_factory.mktemp("r")
        executable = Path(sys.executable)
        for path in (folder / "socket", executable, executable.resolve()):
            let_through(path)
        return folder

    def as_nobody(self, path, code):
        """The result of a program of another user: its exit code and its output."""
        return subprocess.run(
            [*BECOME, sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
            cwd="/",
        )

    CONNECT = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"

    def test_the_socket_is_of_its_user(self, start, slot, reachable):
        sidecar = start(*slot, folder=reachable)
        assert stat.S_IMODE(sidecar.path.stat().st_mode) == 0o600
        ended = self.as_nobody(sidecar.path, self.CONNECT)
        assert "PermissionError" in ended.stderr

    def test_a_user_who_is_named_may_connect(self, start, slot, reachable):
        sidecar = start(*slot, "--uid", str(NOBODY), folder=reachable)
        code = self.CONNECT + "s.sendall(b'\\x01')\nprint(s.recv(1))"
        assert self.as_nobody(sidecar.path, code).stdout == "b'\\x01'\n"

    def test_any_other_user_sees_nothing_and_does_not_die(self, start, slot, reachable):
        """Writes to a socket that is closed at once would end it by SIGPIPE."""
        sidecar = start(*slot, "--uid", str(NOBODY - 1), "--uid", "0", folder=reachable)
        code = (
            "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
            + self.CONNECT
            + "import time\ntime.sleep(0.2)\ns.sendall(b'\\x01')\nprint(s.recv(1))"
        )
        ended = self.as_nobody(sidecar.path, code)
        assert (ended.returncode, ended.stdout) == (0, "b''\n")
        assert f"of user {NOBODY}: --uid {NOBODY} admits this user\n" in sidecar.log
        assert sidecar.connect().call("C_GetInfo")

    def test_users_who_are_refused_take_few_connections_for_seconds(self, start, slot):
        sidecar = start(*slot, "--uid", str(NOBODY))
        with contextlib.ExitStack() as opened:
            for _ in range(100):
                connection = opened.enter_context(socket.socket(socket.AF_UNIX))
                connection.settimeout(10)
                connection.connect(str(sidecar.path))
            files = f"/proc/{sidecar.pid}/fd"
            wait_until("the end of most", lambda: len(os.listdir(files)) < 90)
            assert connection.recv(1) == b""
            wait_until("the end of all", lambda: len(os.listdir(files)) < 25)

    def test_a_user_who_is_refused_again_and_again_is_logged_once(self, start, slot, reachable):
        sidecar = start(*slot, "--uid", str(NOBODY - 1), "--uid", "0", folder=reachable)
        code = f"for _ in range(500):\n {self.CONNECT.replace(chr(10), chr(10) + ' ')}\n"
        assert self.as_nobody(sidecar.path, code).returncode == 0
        assert sidecar.connect().call("C_GetInfo")
        assert sidecar.log.count(f"of user {NOBODY}") == 1

    def test_a_user_has_only_a_share_of_the_connections(self, start, slot, reachable):
        """Idle connections of one user do not exclude another user."""
        sidecar = start(*slot, "--uid", str(NOBODY), "--uid", "0", folder=reachable)
        code = (
            "import socket, sys\nopened = []\n"
            "for _ in range(1024):\n"
            " s = socket.socket(socket.AF_UNIX)\n s.settimeout(30)\n s.connect(sys.argv[1])\n"
            " s.sendall(b'\\x01')\n"
            " if s.recv(1) == b'':\n  break\n"
            " opened.append(s)\n"
            "print(len(opened), flush=True)\nsys.stdin.read()"
        )
        with subprocess.Popen(
            [*BECOME, sys.executable, "-c", code, str(sidecar.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        ) as other:
            assert other.stdout.readline() == "512\n"
            assert sidecar.connect().call("C_GetInfo")
            other.stdin.close()

    def test_the_sidecars_own_user_is_not_admitted_if_others_are_named(self, start, slot, tmp_path):
        sidecar = start(*slot, "--uid", str(NOBODY))
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                self.CONNECT + "s.sendall(b'\\x01')\nprint(s.recv(1))",
                sidecar.path,
            ],
            capture_output=True,
            text=True,
        )
        assert ended.stdout == "b''\n"


class TestTokenFile:
    def test_no_login_is_needed(self, start, slot, token, tmp_path, key):
        file = tmp_path / "token"
        file.write_text(token)
        program = start(*slot, "--token-file", str(file)).connect()
        session = program.open()
        assert not program.call("C_GetTokenInfo", 0)[4] & c.CKF_LOGIN_REQUIRED
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_PUBLIC
        (handle,) = private(program, session)
        assert signs(program, session, handle)
        program.login(session, token)  # a program may log in all the same
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER

    def test_a_token_that_is_replaced_is_read_anew(self, start, slot, kms, profile, tmp_path, key):
        file = tmp_path / "token"
        token, token_id = kms.token(profile.name)
        file.write_text(token)
        program = start(*slot, "--token-file", str(file)).connect()
        session = program.open()
        (handle,) = private(program, session)
        file.write_text(kms.token(profile.name)[0])
        kms.revoke(token_id)
        assert signs(program, session, handle)

    def test_a_token_that_is_not_replaced_refuses(self, start, slot, kms, profile, tmp_path, key):
        file = tmp_path / "token"
        token, token_id = kms.token(profile.name)
        file.write_text(token)
        program = start(*slot, "--token-file", str(file)).connect()
        session = program.open()
        (handle,) = private(program, session)
        kms.revoke(token_id)
        for _ in range(2):
            with refused(c.CKR_USER_NOT_LOGGED_IN):
                signs(program, session, handle)
        file.write_text(kms.token(profile.name)[0])
        assert signs(program, session, handle)

    def test_it_is_read_anew_also_after_many_refusals(self, start, start_service, tmp_path):
        """The service then answers with 429 instead of 401."""
        kms = start_service(MAX_WRONG_TOKENS="3")
        kms.call("POST", "/key/generate", {"alg": "p256", "alias": "web"})
        file = tmp_path / "token"
        token, token_id = kms.token("default")
        file.write_text(token)
        program = start("--token-file", str(file), kms=kms).connect()
        session = program.open()
        (handle,) = private(program, session)
        kms.revoke(token_id)
        for _ in range(3):
            with refused(c.CKR_USER_NOT_LOGGED_IN):
                signs(program, session, handle)
        with refused(c.CKR_FUNCTION_FAILED):
            signs(program, session, handle)
        file.write_text(kms.token("default")[0])
        assert signs(program, session, handle)

    def test_a_service_that_needs_no_token(self, start, start_service):
        kms = start_service(AUTH="none", ADMIN_TOKEN_FILE="")
        key = kms.call("POST", "/key/generate", {"alg": "p256", "alias": "web"})
        program = start(kms=kms).connect()
        session = program.open()
        assert not program.call("C_GetTokenInfo", 0)[4] & c.CKF_LOGIN_REQUIRED
        (handle,) = private(program, session)
        assert program.get(session, handle, Attribute.ID) == key["kid"].encode()
        assert signs(program, session, handle)


class TestTheService:
    def test_a_revoked_token_ends_the_login_and_another_one_works(self, sidecar, kms, profile, key):
        token, token_id = kms.token(profile.name)
        program = sidecar.connect()
        session = program.open()
        program.login(session, token)
        (handle,) = private(program, session)
        kms.revoke(token_id)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            signs(program, session, handle)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_PUBLIC
        assert private(program, session) == []
        program.login(session, kms.token(profile.name)[0])
        assert signs(program, session, handle)

    def test_a_refusal_of_an_earlier_token_leaves_a_later_login(self, start, held):
        program = start(kms=held).connect()
        session = program.open()
        program.login(session, "earlier")
        number = program.send("C_GenerateRandom", session, 16)
        wait_until("its call", lambda: held.waiting == 1)
        program.call("C_Logout", session)
        program.login(session, "later")
        held.answer(401)
        with refused(c.CKR_USER_NOT_LOGGED_IN):
            program.answer("C_GenerateRandom", number)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER

    def test_wrong_tokens_of_others_leave_a_login(self, start, held):
        """The service then refuses every token of the address, with 429."""
        program = start(kms=held).connect()
        session = program.open()
        program.login(session, "token")
        body, held.body = held.body, {"type": "urn:minikms:problem:too-many-attempts"}
        held.answer(429)
        with refused(c.CKR_FUNCTION_FAILED):
            program.call("C_GenerateRandom", session, 16)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER
        held.body = body
        held.answer()
        assert program.call("C_GenerateRandom", session, 16) == b"x" * 16

    def test_a_rate_is_a_function_that_failed(self, sidecar, profile, token):
        profile.generate(alias="web", rules={"per_minute": 2})
        program = sidecar.connect()
        session = program.open()
        program.login(session, token)
        (handle,) = private(program, session)
        for _ in range(2):
            assert signs(program, session, handle)
        with refused(c.CKR_FUNCTION_FAILED):
            signs(program, session, handle)

    def test_a_service_that_was_away_signs_again_without_a_login(
        self, start, start_service, tmp_path
    ):
        options = {"STORE": f"sqlite://{tmp_path}/keys.db", "STORE_KEY_FILE": tmp_path / "key"}
        args = "store", "init", "--generate-key"
        made = begin_process(args, None, options, stdout=subprocess.DEVNULL)
        assert made.wait() == 0
        kms = start_service(**options)
        kms.call("POST", "/key/generate", {"alg": "p256", "alias": "web"})
        other = kms.call("POST", "/key/generate", {"alg": "p384"})["kid"].encode()
        sidecar = start(kms=kms)
        program = sidecar.connect()
        session = program.open()
        program.login(session, ADMIN)
        (handle,) = private(program, session)
        assert signs(program, session, handle)
        kms.service.stop()
        with refused(c.CKR_FUNCTION_FAILED):
            signs(program, session, handle)
        with refused(c.CKR_FUNCTION_FAILED):
            private(program, session)
        assert sidecar.log.count("the service does not answer") == 1
        start_service("--without-algorithm", "p384", **options, port=kms.port)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER
        assert signs(program, session, handle)
        assert program.find(session, id=other) == []  # the service cannot use it now
        assert private(program, session) == [handle]
        assert sidecar.log.count("the service answers again") == 1

    async def test_a_refused_connection_is_tried_again(self):
        """The service refuses connections while it restarts."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        service = Service(f"http://127.0.0.1:{port}")
        body = {"alg": "p256"}
        call = asyncio.create_task(
            service.call(Caller(1, None, "default"), "POST", "key/generate", body)
        )
        await asyncio.wait({call}, timeout=0.3)
        assert not call.done()

        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", port):
            assert await call == {}
        await service.close()

    def test_the_audit_log_has_the_pid_of_the_program(self, sidecar, kms, profile, key, token):
        code = (
            "import sys\nfrom rpc import Program\nfrom pkcs11 import Mechanism, ObjectClass\n"
            "p = Program(sys.argv[1])\ns = p.open()\np.login(s, sys.argv[2])\n"
            "h = p.find(s, **{'class': ObjectClass.PRIVATE_KEY})[0]\n"
            "p.sign(s, h, Mechanism.ECDSA, b'x' * 32)\n"
        )
        folder = os.path.dirname(__file__)
        ended = subprocess.Popen([sys.executable, "-c", code, sidecar.path, token], cwd=folder)
        assert ended.wait() == 0
        for operation in ("sign", "listKeys"):
            lines = [it for it in kms.events(operation) if it["profile"] == profile.name]
            assert lines[-1]["request_id"].startswith(f"p11:{ended.pid}:")
            assert len({it["request_id"] for it in lines}) == len(lines)

    def test_the_log_has_the_problem_the_program_and_the_key(self, sidecar, kms, profile, token):
        key = profile.generate(alias="web", rules={"per_minute": 1})
        program = sidecar.connect()
        session = program.open()
        program.login(session, token)
        (handle,) = private(program, session)
        with contextlib.suppress(Refused):
            for _ in range(2):
                signs(program, session, handle)
        reader, reader_id = kms.token(profile.name, ["keys:read"])
        for login, problem in ((reader, "forbidden"), (reader, "unauthenticated")):
            program.call("C_Logout", session)
            program.login(session, login)
            if problem == "unauthenticated":
                kms.revoke(reader_id)
            with pytest.raises(Refused):
                signs(program, session, handle)
        kid = key["kid"]
        for line in (
            f"C_Sign: over-rate (POST /sign, key {kid})\n",
            f"C_Sign: forbidden (POST /sign, key {kid})\n",
            f"C_SignInit: unauthenticated (GET /key/{kid})\n",
        ):
            assert f"process {os.getpid()} of user {os.getuid()}: {line}" in sidecar.log

    def test_the_log_has_failed_logins(self, start, slot, kms, tmp_path):
        pins = tmp_path / "pins"
        pins.write_text("1234 none\n5678 token\n")
        pins.chmod(0o600)
        (tmp_path / "token").write_text(kms.token(kms.profile().name)[0])
        sidecar = start(*slot, "--pins", str(pins))
        program = sidecar.connect()
        session = program.open()
        for pin in ("0000", "1234", "5678", "mkms_none"):
            with pytest.raises(Refused):
                program.login(session, pin)
        head = f"process {os.getpid()} of user {os.getuid()}: C_Login: "
        for reason in (
            "wrong PIN\n",
            "the token file cannot be read: ",
            "the token is not for the profile ",
            "unauthenticated (GET /tokens/self)\n",
        ):
            assert head + reason in sidecar.log

    def test_an_unknown_service_is_a_function_that_failed(self, start):
        program = start(kms=Nowhere).connect()
        session = program.open()
        assert program.call("C_GetTokenInfo", 0)[4] & c.CKF_LOGIN_REQUIRED
        with refused(c.CKR_FUNCTION_FAILED):
            program.find(session)
        with refused(c.CKR_FUNCTION_FAILED):
            program.login(session, "token")


class TestSecrets:
    def test_no_log_and_no_process_list_has_a_token_or_a_pin(
        self, start, slot, tmp_path, token, key
    ):
        (tmp_path / "token").write_text(token)
        pins = tmp_path / "pins"
        pins.write_text(f"secret-pin {tmp_path}/token\n")
        pins.chmod(0o600)
        sidecar = start(*slot, "--pins", str(pins), "--token-file", str(tmp_path / "token"))
        program = sidecar.connect()
        session = program.open()
        for pin in ("secret-wrong", "secret-pin"):
            with contextlib.suppress(Exception):
                program.login(session, pin)
        assert program.call("C_GetSessionInfo", session)[1] == c.CKS_RW_USER
        (handle,) = private(program, session)
        program.send("C_Login", session, 1, b"secret-late")
        sidecar.restart()
        assert signs(program, session, handle)
        public = [sidecar.log]
        for name in ("cmdline", "environ"):
            with open(f"/proc/{sidecar.pid}/{name}") as file:
                public.append(file.read())
        for text in public:
            for secret in (token, token[5:], "secret-"):
                assert secret not in text

    def test_representations_do_not_show_tokens(self):
        caller = Caller(1, "secret-token", "default")
        for it in (
            caller,
            Login("secret-token", caller, None, True, None),
            SessionSecret(b"secret-value", {}),
            Pins(None),
        ):
            assert "secret" not in repr(it)
