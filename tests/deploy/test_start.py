"""The service starts with the commands, the environment and the restrictions of the files."""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from chart import container, needs_helm, render
from chart import environment as variables_of
from deployment import DEPLOY, settings
from postgres import let_through
from service_process import MINIKMS, environment

from minikms.store.askar import new_raw_key

USER = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

# Becomes the user, and may neither gain rights nor make memory executable that it may write
# (NoNewPrivileges=, MemoryDenyWriteExecute=, allowPrivilegeEscalation).
RESTRICTED = """
import ctypes, os, platform, re, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[1]))
os.umask(0o077)
no_new_privileges, no_writable_code = (38, 1, 0, 0, 0), (65, 1, 0, 0, 0)
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(*no_new_privileges) == 0
release = tuple(map(int, re.match(r"(\\d+)\\.(\\d+)", platform.release()).groups()))
assert prctl(*no_writable_code) == 0 or release < (6, 3)
os.execv(sys.argv[3], sys.argv[3:])
"""
COMMAND = [sys.executable, "-c", RESTRICTED, str(USER.pw_uid), str(USER.pw_gid), *MINIKMS]


class Deployment(NamedTuple):
    """What a file runs: the environment, and the arguments of `minikms`."""

    environment: dict[str, str]
    init: list[str]
    serve: list[str]


def unit():
    words = settings("ExecStart")[0].split()
    (key,) = settings("LoadCredential")
    variables = dict(line.split("=", 1) for line in settings("Environment"))
    assert variables["MINIKMS_STORE_KEY_FILE"] == f"%d/{key.split(':')[0]}"
    return Deployment(variables, ["store", "init"], words[1:])


def compose():
    services = yaml.safe_load((DEPLOY / "compose/sqlite.yaml").read_text("utf-8"))["services"]
    variables = services["kms"]["environment"]
    given = {name: re.sub(r"\$\{\w+:\?.*?\}", "secret", value) for name, value in variables.items()}
    return Deployment(given, services["init"]["command"], ["serve"])


def chart():
    init, kms = (container(render({}), name) for name in ("init", "minikms"))
    return Deployment(variables_of(kms), init["args"], kms["args"])


@pytest.fixture
def folder():
    """A folder of the user, with the folders and secrets of the files in it."""
    for path in (Path(sys.prefix), Path(sys.executable).resolve(), Path(__file__)):
        let_through(path)
    with tempfile.TemporaryDirectory(prefix="minikms-deploy-") as name:
        folder = Path(name)
        for path in ("secrets", "data", "log", "tmp"):
            (folder / path).mkdir()
        secrets = {
            "store.key": new_raw_key(),
            "store-key": "a passphrase",
            "admin-token": subprocess.run(
                (*MINIKMS, "token", "generate"), check=True, capture_output=True, text=True
            ).stdout.strip(),
        }
        for file, secret in secrets.items():
            (folder / "secrets" / file).write_text(f"{secret}\n")
            (folder / "secrets" / file).chmod(0o440)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER.pw_uid, USER.pw_gid)
        yield folder


# The folders of the files, in the one of the test.
PLACES = {
    r"%d/": "secrets/",
    r"/etc/minikms/": "secrets/",
    r"/var/lib/minikms/": "data/",
    r"/var/log/minikms/": "log/",
    r"/data/": "data/",
    r"/audit/": "log/",
    r"/tmp/": "tmp/",
}


@pytest.mark.process
@pytest.mark.parametrize("deployment", [unit, compose, pytest.param(chart, marks=needs_helm)])
def test_a_service_starts_signs_and_stops(deployment, folder, serve, free_port):
    variables, init, arguments = deployment()

    def moved(text):
        places = "|".join(PLACES)
        return re.sub(rf"(^|://)({places})", lambda at: f"{at[1]}{folder}/{PLACES[at[2]]}", text)

    given = {name: moved(value) for name, value in variables.items()}
    done = subprocess.run(
        (*COMMAND, *map(moved, init)), env=environment() | given, check=False, timeout=60,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if "MINIKMS_METRICS_PORT" in given:
        given["MINIKMS_METRICS_PORT"] = free_port
    given |= {"MINIKMS_HOST": "127.0.0.1", "MINIKMS_METRICS_HOST": "127.0.0.1", "MINIKMS_PORT": "0"}
    named = {name.removeprefix("MINIKMS_").lower(): value for name, value in given.items()}
    assert arguments == ["serve"]
    service = serve(command=COMMAND, **named)
    if "MINIKMS_ADMIN_TOKEN_FILE" in given:
        token = Path(given["MINIKMS_ADMIN_TOKEN_FILE"]).read_text().strip()
    else:
        token = re.search(r"mkms_\S+", done.stdout)[0]

    def call(path, body=None):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with contextlib.closing(service.connect()) as connection:
            connection.request("POST" if body else "GET", path, body, headers)
            with connection.getresponse() as response:
                response.read()
                return response.status

    assert call("/readyz") == 200
    assert call("/key/generate", b'{"alg":"p256","alias":"k"}') == 200
    service.process.send_signal(signal.SIGHUP)  # ExecReload
    assert call("/sign", b'{"alias":"k","data":"aGVsbG8"}') == 200
    (log,) = (path for path in folder.rglob("audit.log"))
    assert '"operation":"sign","outcome":"success"' in log.read_text()
    (store,) = folder.rglob("keys.db")
    assert store.stat().st_uid == log.stat().st_uid == USER.pw_uid
    assert service.stop()[0] == 0
