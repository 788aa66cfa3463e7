"""The root folder of the image: the service runs in it, and it has nothing else."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # the first builds and installs the service
    pytest.mark.skipif(os.geteuid() != 0, reason="only root enters a root folder"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder that deploy/image.py makes, and the command of the service in it."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is missing: pip install uv")
    work = tmp_path_factory.mktemp("image")
    source, environment, root = work / "source", work / "environment", work / "root"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    unbuilt = shutil.ignore_patterns("__pycache__")
    for folder in ("minikms", "doors", "integrations/p11"):
        shutil.copytree(ROOT / folder, source / folder, ignore=unbuilt)
    python = environment / "bin/python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, environment],
        [
            *(uv, "pip", "install", "--quiet", "--python", python),
            *(f"{source}[postgres]", source / "integrations/p11"),
        ],
        [python, ROOT / "deploy/image.py", environment, root],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return root, ["chroot", "--userspec=999:999", root, environment / "bin/minikms"]


def test_the_service_runs_in_the_image(image):
    _, command = image
    store = ["--store", "sqlite:///data/keys.db", "--store-key-file", "/data/store.key"]
    init = ["store", "init", "--generate-key", "--admin-token-file", "/data/admin.token"]
    subprocess.run([*command, *init, *store], check=True, timeout=60)
    with subprocess.Popen(
        [*command, "serve", "--port", "0", "--auth", "none", *store],
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            line = ""
            while not (found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)):
                line = service.stderr.readline()
                assert line
            connection = HTTPConnection("127.0.0.1", int(found[1]))
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/key/generate", '{"alg": "p256"}', headers)
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            service.send_signal(signal.SIGINT)
            service.communicate(timeout=60)
    assert service.returncode == 0


def test_the_image_has_minikms_p11(image):
    _, command = image
    sidecar = [*command[:-1], f"{command[-1]}-p11", "--url", "http://127.0.0.1", "--check"]
    subprocess.run(sidecar, check=True, timeout=60)


def test_the_image_has_no_other_program(image):
    root, _ = image
    programs = {path.name for path in (*root.rglob("bin/*"), *root.rglob("sbin/*"))}
    assert {"minikms", "python"} <= programs
    assert not programs & {"sh", "bash", "dash", "busybox", "perl", "apt", "dpkg", "pip", "uv"}


def test_the_user_of_the_image_may_write_only_its_data(image):
    root, _ = image
    writable = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*")
        if not path.is_symlink()
        and (path.stat().st_uid == 999 or path.stat().st_mode & stat.S_IWOTH)
    }
    assert writable == {"data", "tmp"}
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o700
