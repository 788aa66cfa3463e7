"""The options of the command accept and refuse these values."""

import subprocess

import pytest
from sidecars import COMMAND

from minikms_p11.slots import Slot

DEFAULT = {"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"}


@pytest.mark.parametrize(
    ("text", "label", "profile", "algorithms", "key_label"),
    [
        ("web", "web", "default", DEFAULT, None),
        ("web=alice", "web", "alice", DEFAULT, None),
        ("web=alice,alg=p256", "web", "alice", {"p256"}, None),
        ("web,alg=P-256+ed25519", "web", "default", {"p256", "ed25519"}, None),
        ("web,label=use:web:site", "web", "default", DEFAULT, ("use", "web:site")),
        ("web,label=use:,alg=hs256", "web", "default", {"hs256"}, ("use", "")),
    ],
)
def test_a_slot(text, label, profile, algorithms, key_label):
    slot = Slot.parse(text)
    assert (slot.label, slot.profile) == (label, profile)
    assert (slot.algorithms, slot.key_label) == (algorithms, key_label)


@pytest.mark.parametrize(
    "text",
    [
        *("", "=alice", "x" * 33, "web,alg=", "web,alg=aes", "web,alg=p256,alg=p384"),
        *("web,label=use", "web,label=:web", "web,state=enabled", "web,"),
    ],
)
def test_a_malformed_slot_is_refused(text):
    with pytest.raises(ValueError, match=" not "):
        Slot.parse(text)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--url", "ftp://localhost"],
        ["--url", "localhost:8000"],
        ["--url", "http://localhost", "--slot", "web", "--slot", "web=other"],
        ["--url", "http://localhost", "--slot", "web,alg=des"],
        ["--url", "http://localhost", "--cache", "-1"],
        ["--url", "http://localhost", "--uid", "root"],
    ],
    ids=" ".join,
)
def test_malformed_options_end_with_2(options):
    ended = subprocess.run([*COMMAND, "--check", *options], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_the_refusal_of_a_slot_says_what_is_wrong():
    options = "--url", "http://localhost", "--slot", "web,alg=p256+des"
    ended = subprocess.run([*COMMAND, "--check", *options], capture_output=True, text=True)
    assert "'des' is not one of p256" in ended.stderr


def test_a_check_of_good_options_starts_nothing(tmp_path):
    socket = tmp_path / "socket"
    options = "--url", "http://localhost", "--socket", str(socket), "--slot", "web=alice,alg=p256"
    ended = subprocess.run([*COMMAND, "--check", *options], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not socket.exists()


def check(kms, *options):
    command = [*COMMAND, "--url", kms.url, "--check", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True)


class TestTokens:
    @pytest.fixture
    def file(self, tmp_path, token):
        file = tmp_path / "token"
        file.write_text(token)
        file.chmod(0o600)
        return file

    @pytest.fixture(params=["--token-file", "--pins"])
    def options(self, request, file, profile):
        """The options of a slot with the new profile, and of its token."""
        pins = file.with_name("pins")
        pins.write_text("1234 token\n")
        pins.chmod(0o600)
        given = file if request.param == "--token-file" else pins
        return "--slot", "minikms", "--slot", f"own={profile.name}", request.param, given

    def test_a_check_tries_a_valid_one(self, kms, options):
        ended = check(kms, *options)
        assert (ended.returncode, ended.stderr) == (0, "")

    def test_a_check_refuses_a_wrong_one(self, kms, options, file):
        file.write_text("mkms_wrong")
        ended = check(kms, *options)
        assert ended.returncode == 1
        assert f"the service refuses the token of {file}: unauthenticated" in ended.stderr
        assert "mkms_wrong" not in ended.stderr

    def test_a_check_refuses_one_of_another_profile(self, kms, options):
        other = kms.profile().name
        ended = check(kms, "--slot", other, "--slot", f"own={other}", *options[4:])
        assert ended.returncode == 1
        assert "the token is not for the profile" in ended.stderr

    def test_a_check_refuses_a_file_that_every_user_reads(self, kms, options, file):
        file.chmod(0o644)
        ended = check(kms, *options)
        assert ended.returncode == 1
        assert f"chmod 600 {file}" in ended.stderr

    def test_a_check_says_that_the_service_does_not_answer(self, options):
        class Nowhere:
            url = "http://127.0.0.1:1"

        ended = check(Nowhere, *options)
        assert ended.returncode == 1
        assert "http://127.0.0.1:1 does not answer" in ended.stderr
        command = [*COMMAND, "--url", Nowhere.url, "--check=files", *map(str, options)]
        assert subprocess.run(command).returncode == 0  # as a restart checks
