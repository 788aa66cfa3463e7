"""systemd: a socket that it opens, and the files of deploy/systemd."""

import re
import shlex
import signal
import subprocess
import sys

import pytest
from commands import Shell, need
from pasted import ROOT
from waiting import wait_until

FOLDER = ROOT / "deploy/systemd"


class Activated:
    """A sidecar that begins with its first program."""

    def __init__(self, folder, command):
        self.path = folder / "socket"
        self.log_file = folder / "log"
        program = need("systemd-socket-activate", "systemd")
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [program, f"--listen={self.path}", *command, "--socket", self.path],
                stderr=log,
            )
        wait_until("a socket", self.path.exists)

    def served(self):
        """How often a sidecar has begun."""
        return self.log_file.read_text().count("serving ")


@pytest.fixture
def activated(kms, profile, token_file, slot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    options = "--url", kms.url, "--token-file", token_file, "--slot", slot
    sidecar = Activated(folder, (sys.executable, "-m", "minikms_p11", *options))
    yield sidecar
    sidecar.process.kill()
    sidecar.process.wait()


def test_a_sidecar_serves_the_socket_of_systemd(activated, profile, module, tmp_path):
    tool = need("pkcs11-tool", "opensc")
    shell = Shell(tmp_path, activated)
    profile.generate("p256", alias="web")
    listing = tool, "--module", module, "--list-objects", "--type", "privkey"
    assert "web" in shell.run(*listing)
    activated.process.send_signal(signal.SIGHUP)
    wait_until("a new process", lambda: activated.served() == 2)
    assert "web" in shell.run(*listing)
    activated.process.terminate()
    assert activated.process.wait(timeout=30) == 0
    assert activated.path.exists()  # systemd keeps it for the next start


def test_the_example_of_options_is_one(tmp_path):
    (tmp_path / "token").write_text("mkms-token")
    text = (FOLDER / "minikms-p11.options").read_text("utf-8")
    (options,) = re.findall(r'^OPTIONS="(.*)"$', text, re.MULTILINE)
    options = options.replace("/etc/minikms-p11/token", str(tmp_path / "token"))
    check = "--socket", str(tmp_path / "socket"), "--check"
    subprocess.run(
        [sys.executable, "-m", "minikms_p11", *shlex.split(options), *check], check=True, timeout=30
    )
