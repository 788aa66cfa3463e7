"""deploy/systemd: systemd accepts the files, and they fit the options of the service."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from deploy.deployment import DEPLOY, ROOT, UNIT, named_variables, settings, tool, variables
from document_blocks import blocks, section
from proc_files import needs_root

from minikms.config import Config
from minikms.serve.lifecycle import LAST_CALLS, SHUTDOWN_TIMEOUT
from minikms.startup_errors import SealError, StoreError

FOLDER = DEPLOY / "systemd"


@pytest.fixture
def unit(tmp_path):
    """The unit, with the program of this environment."""
    text = UNIT.replace("/opt/minikms/bin/minikms", str(Path(sys.executable).with_name("minikms")))
    path = tmp_path / "minikms.service"
    path.write_text(text)
    return path


@pytest.fixture
def p11_units(tmp_path):
    """The units of minikms-p11, with a program that exists."""
    for name in ("minikms-p11.service", "minikms-p11.socket"):
        text = (FOLDER / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/opt/minikms/bin/minikms-p11", sys.executable))
    return tmp_path / "minikms-p11.service", tmp_path / "minikms-p11.socket"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


@tool("systemd-analyze", "systemd")
def test_systemd_accepts_the_unit(unit):
    assert run("systemd-analyze", "verify", "--man=no", unit) == (0, "")


@tool("systemd-analyze", "systemd")
def test_systemd_accepts_the_drop_in_for_an_hsm(unit):
    (drop_in,) = [
        each for each in blocks((ROOT / "docs/hsm.md").read_text()) if each.language == "ini"
    ]
    folder = Path(f"{unit}.d")
    folder.mkdir()
    (folder / "hsm.conf").write_text(drop_in.text)
    assert run("systemd-analyze", "verify", "--man=no", unit) == (0, "")


@tool("systemd-analyze", "systemd")
def test_exposure_is_small(unit):
    """On systemd's scale from 0 to 10; the threshold is in tenths."""
    code, said = run("systemd-analyze", "security", "--offline=yes", "--threshold=12", unit)
    assert code == 0, said


@tool("systemd-analyze", "systemd")
def test_systemd_accepts_the_units_of_minikms_p11(p11_units):
    assert run("systemd-analyze", "verify", "--man=no", *p11_units) == (0, "")
    # More than the service: PrivateUsers= would hide the users of programs.
    code, said = run("systemd-analyze", "security", "--offline=yes", "--threshold=14", p11_units[0])
    assert code == 0, said


@needs_root
@tool("systemd-tmpfiles", "systemd")
def test_user_and_folders(tmp_path):
    (tmp_path / "etc").mkdir()
    for program, file in (
        (["systemd-sysusers"], "minikms.sysusers.conf"),
        (["systemd-sysusers"], "minikms-p11.sysusers.conf"),
        (["systemd-tmpfiles", "--create"], "minikms.tmpfiles.conf"),
    ):
        code, said = run(*program, f"--root={tmp_path}", FOLDER / file)
        assert code == 0, said
    line = next(
        line.split(":")
        for line in (tmp_path / "etc/passwd").read_text().splitlines()
        if line.startswith("minikms:")
    )
    assert line[5] == "/var/lib/minikms"
    assert line[6].endswith("nologin")
    for folder, owner in (("etc", 0), ("var/lib", int(line[2])), ("var/log", int(line[2]))):
        facts = os.stat(tmp_path / folder / "minikms")
        assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (owner, 0o700)


# A new machine: this one in a mount namespace, whose changes stay in memory. It has the folders in
# /etc of a new Debian, and uses this environment instead of the one that the first step installs.
# Any command may fail. A container has no systemd to reload.
NEW_MACHINE = """
set -eu
mount -t tmpfs changes "$1"
cd "$1" && mkdir up work root
mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root
for folder in dev proc; do mount --rbind "/$folder" "root/$folder"; done
mount -t tmpfs run root/run
rm -rf root/etc/sysusers.d root/opt/minikms
ln -s "$3" root/opt/minikms
for folder in "$3" "$4"; do  # every user may use the environment
    while [ "$folder" != / ]; do chmod o+x "root$folder"; folder=$(dirname "$folder"); done
done
cp -r "$2/deploy" root/srv/deploy && echo token >root/srv/token
exec chroot root sh -euc "cd /srv; export PATH=/usr/sbin:/usr/bin:/sbin:/bin; $5"
"""


# Steps that need a network, systemd or the sidecar. The sidecar's own tests run the last three.
LEFT_OUT = "python3 -m venv", "systemctl ", ". /etc/", "export ", "module=", "runuser -u $user"


def on_a_new_machine(folder, document, *more, left_out):
    """Run the commands of a document's section about systemd; what `more` commands print."""
    steps = [each.text for each in blocks(section((ROOT / document).read_text(), "## systemd"))]
    lines = "".join(steps).splitlines(keepends=True)
    kept = [each for each in lines if not each.startswith(LEFT_OUT)]
    assert len(kept) == len(lines) - left_out
    program = Path(sys.executable).resolve().parent
    arguments = (folder, ROOT, sys.prefix, program, "".join((*kept, *more)))
    return run("unshare", "--mount", "sh", "-c", NEW_MACHINE, "sh", *arguments)


@pytest.fixture
def overlay(tmp_path):
    """Skip a test that cannot have a file system of its own."""
    tried = (
        'mount -t tmpfs x "$1" && cd "$1" && mkdir u w r'
        " && mount -t overlay -o lowerdir=/,upperdir=u,workdir=w x r"
    )
    if run("unshare", "--mount", "sh", "-c", tried, "sh", tmp_path)[0]:
        pytest.skip("this machine allows no mounts")
    return tmp_path


@needs_root
@tool("systemd-tmpfiles", "systemd")
def test_the_steps_of_the_document_work_on_a_new_machine(overlay):
    code, said = on_a_new_machine(
        overlay,
        "docs/operations/deployment.md",
        "stat -c '%n %U %a' /etc/minikms/* /var/lib/minikms/keys.db /etc/systemd/system/mini*\n",
        left_out=2,
    )
    assert code == 0, said
    assert set(said.splitlines()) >= {
        "/etc/minikms/admin.token root 600",
        "/etc/minikms/minikms.env root 600",
        "/etc/minikms/store.key root 600",
        "/var/lib/minikms/keys.db minikms 600",
        "/etc/systemd/system/minikms.service root 644",
    }


@needs_root
@tool("systemd-tmpfiles", "systemd")
def test_the_steps_for_pkcs11_work_on_a_new_machine(overlay):
    code, said = on_a_new_machine(
        overlay,
        "docs/pkcs11.md",
        "stat -c '%n %U %a' /etc/minikms-p11/* /etc/systemd/system/mini*\n",
        left_out=6,
    )
    assert code == 0, said
    assert set(said.splitlines()) >= {
        "/etc/minikms-p11/options root 644",
        "/etc/minikms-p11/token minikms-p11 400",
        "/etc/systemd/system/minikms-p11.service root 644",
        "/etc/systemd/system/minikms-p11.socket root 644",
    }


def test_variables_are_options():
    for file in FOLDER.iterdir():
        assert named_variables(file.read_text("utf-8")) <= variables()


def test_times_and_numbers_fit_the_service():
    stop, *_ = map(int, settings("TimeoutStopSec"))
    assert stop > Config().shutdown_grace + LAST_CALLS + SHUTDOWN_TIMEOUT
    assert int(settings("LimitNOFILE")[0]) > Config().max_connections
    # A database that is away at the start has the exit code of a wrong option.
    assert settings("RestartPreventExitStatus") == [str(SealError.code)]
    assert SealError.code != StoreError.code
    assert settings("StartLimitIntervalSec") == ["0"]
    # Without an audit log or a certificate, SIGHUP ends a service.
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert any("MINIKMS_AUDIT_LOG=" in each for each in settings("Environment"))


def test_paths_are_the_ones_of_the_other_files_and_of_the_document():
    paths = {
        "/etc/minikms/store.key",
        "/etc/minikms/minikms.env",
        "/opt/minikms/bin/minikms",
        "sqlite:///var/lib/minikms/keys.db",
    }
    document = (ROOT / "docs/operations/deployment.md").read_text("utf-8")
    for path in paths:
        assert path in UNIT
        assert path in document
    folders = (FOLDER / "minikms.tmpfiles.conf").read_text("utf-8")
    for folder in ("/etc/minikms", "/var/lib/minikms", "/var/log/minikms"):
        assert f"\nd {folder} 0700 " in folders
