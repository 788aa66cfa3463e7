"""systemd: a socket that it opens, and the files of deploy/systemd."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from commands import Shell, need
from document_blocks import ROOT, blocks
from sidecars import let_through
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


def test_the_steps_of_the_document_lead_to_a_working_program(kms, module, tmp_path_factory):
    """Without systemd itself, and without what needs the user minikms-p11."""
    if os.getuid():
        pytest.skip("only root may become another user")
    need("pkcs11-tool", "opensc")
    folder = tmp_path_factory.mktemp("s")
    let_through(folder / "socket")
    folder.chmod(0o755)
    (folder / "token").write_text(kms.token("default", ["keys:read", "sign"])[0])
    kms.call("POST", "/key/generate", {"alg": "p256", "alias": "systemd"})
    text = (FOLDER / "minikms-p11.options").read_text("utf-8")
    text = text.replace("http://127.0.0.1:8080", kms.url)
    (folder / "example").write_text(text.replace("/etc/minikms-p11", f"{folder}/etc"))
    section = (ROOT / "docs/pkcs11.md").read_text("utf-8").partition("## systemd")[2]
    steps, trial = (block.text for block in blocks(section)[:2])
    steps = "".join(
        line
        for line in steps.splitlines(keepends=True)
        if not re.match("python3|.*sysusers|.*system/|systemctl", line)
    )
    for before, now in (
        ("www-data", "nobody"),
        ("deploy/systemd/minikms-p11.options", "example"),
        ("-o minikms-p11 ", ""),
        ("/opt/minikms/bin/minikms-p11", f"{sys.executable} -m minikms_p11"),
        ("/etc/minikms-p11", f"{folder}/etc"),
        ("/run/minikms-p11", str(folder)),
    ):
        steps, trial = steps.replace(before, now), trial.replace(before, now)
    subprocess.run(["bash", "-ec", steps], check=True, cwd=folder, timeout=60)
    options = re.search('^OPTIONS="(.*)"$', (folder / "etc/options").read_text(), re.MULTILINE)[1]
    sidecar = Activated(folder, [sys.executable, "-m", "minikms_p11", *shlex.split(options)])
    try:
        sidecar.path.chmod(0o666)
        command = ["bash", "-ec", f"user=nobody; {trial}"]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", cwd="/", timeout=60
        )
        assert "systemd" in done.stdout, done.stderr
    finally:
        sidecar.process.kill()
        sidecar.process.wait()
