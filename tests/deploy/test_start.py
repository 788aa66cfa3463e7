"""The service starts with the commands, the environment and the restrictions of the files."""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from deploy.deployment import DEPLOY, ROOT, settings
from deploy.helm_chart import container, needs_helm, render
from deploy.helm_chart import environment as variables_of
from minikms_processes import MINIKMS, Service, environment
from ports import free_port
from postgres import let_through

from minikms.store.askar.stores import new_raw_key

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
    """The commands of a deployment file: its environment, and the arguments of `minikms`."""

    environment: dict[str, str]
    init: list[str]
    serve: list[str]


def unit():
    words = settings("ExecStart")[0].split()
    (key,) = settings("LoadCredential")
    variables = dict(line.split("=", 1) for line in settings("Environment"))
    assert variables["MINIKMS_STORE_KEY_FILE"] == f"%d/{key.split(':')[0]}"
    init = ["store", "init", "--admin-token-file", "/var/lib/minikms/admin.token"]
    return Deployment(variables, init, words[1:])


def compose(file=DEPLOY / "compose/sqlite.yaml"):
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    variables = services["init"]["environment"]
    given = {name: re.sub(r"\$\{\w+:\?.*?\}", "secret", value) for name, value in variables.items()}
    return Deployment(given, services["init"]["command"], ["serve"])


def chart(**store):
    objects = render({"store": store} if store else {})
    init, kms = (container(objects, name) for name in ("init", "minikms"))
    return Deployment(variables_of(kms), init["args"], kms["args"])


@contextlib.contextmanager
def folder_of_user():
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


class Started(NamedTuple):
    """A service, a function that calls it, its folder, and its first token."""

    service: Service
    call: Callable[..., int]
    folder: Path
    token: str


@pytest.fixture
def start(serve):
    """Make the store of a deployment, and start its service."""
    with contextlib.ExitStack() as folders:

        def begin(deployment, store_token=None, **more):
            folder = folders.enter_context(folder_of_user())

            def moved(text):
                places = "|".join(PLACES)
                return re.sub(
                    rf"(^|://)({places})", lambda at: f"{at[1]}{folder}/{PLACES[at[2]]}", text
                )

            given = {name: moved(value) for name, value in deployment.environment.items()} | more
            init = list(map(moved, deployment.init))
            done = subprocess.run(
                (*COMMAND, *init), env=environment() | given, check=False,
                timeout=60, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            if "MINIKMS_METRICS_PORT" in given:
                given["MINIKMS_METRICS_PORT"] = str(free_port())
            for name in ("HOST", "METRICS_HOST"):
                given[f"MINIKMS_{name}"] = "127.0.0.1"
            given["MINIKMS_PORT"] = "0"
            assert deployment.serve == ["serve"]
            named = {name.removeprefix("MINIKMS_").lower(): value for name, value in given.items()}
            service = serve(command=COMMAND, **named)
            made = init[init.index("--admin-token-file") + 1]
            file = Path(given.get("MINIKMS_ADMIN_TOKEN_FILE", made))
            token = file.read_text().strip() if file.exists() else store_token

            def call(path, body=None):
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                with contextlib.closing(service.connect()) as connection:
                    connection.request("POST" if body else "GET", path, body, headers)
                    with connection.getresponse() as response:
                        response.read()
                        return response.status

            return Started(service, call, folder, token)

        yield begin


GENERATE = "/key/generate", b'{"alg":"p256","alias":"k"}'
SIGN = "/sign", b'{"alias":"k","data":"aGVsbG8"}'


@pytest.mark.process
@pytest.mark.parametrize("deployment", [unit, compose, pytest.param(chart, marks=needs_helm)])
def test_a_service_starts_signs_and_stops(deployment, start):
    service, call, folder, _ = start(deployment())
    assert call("/readyz") == 200
    assert call(*GENERATE) == 200
    service.process.send_signal(signal.SIGHUP)  # ExecReload
    assert call(*SIGN) == 200
    (log,) = folder.rglob("audit.log")
    assert '"operation":"sign","outcome":"success"' in log.read_text()
    (store,) = folder.rglob("keys.db")
    assert store.stat().st_uid == log.stat().st_uid == USER.pw_uid
    assert service.stop()[0] == 0


def chart_on_postgresql():
    deployment = chart(kind="postgres")
    assert deployment.environment["MINIKMS_STORE"] == "store-url"
    return deployment


def compose_on_postgresql():
    return compose(ROOT / "docker-compose.yml")


@pytest.mark.process
@pytest.mark.timeout(120)  # two commands and two services, one after the other
@pytest.mark.parametrize(
    "deployment", [pytest.param(chart_on_postgresql, marks=needs_helm), compose_on_postgresql]
)
def test_replicas_on_postgresql_share_their_keys(deployment, start, postgres_server):
    database = postgres_server.create_database()
    first = start(deployment(), MINIKMS_STORE=database)
    assert first.call(*GENERATE) == 200
    second = start(deployment(), first.token, MINIKMS_STORE=database)
    assert second.call(*SIGN) == 200
    (log,) = second.folder.rglob("audit.log")
    assert '"operation":"sign","outcome":"success"' in log.read_text()
