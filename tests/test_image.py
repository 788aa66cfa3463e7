"""The image's root folder runs the service, and contains nothing else."""

import hashlib
import json
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
    pytest.mark.timeout(300),  # the first test builds and installs the service
    pytest.mark.skipif(os.geteuid() != 0, reason="only root enters a root folder"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder that deploy/image.py makes, and the command of the service in it."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is missing: pip install uv")
    if shutil.which("dpkg-query") is None:
        pytest.skip("the image is made on Debian")
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


def test_the_image_has_the_licence_of_each_library(image):
    root, _ = image
    licences = {path.parent.name for path in (root / "usr/share/doc").glob("*/copyright")}
    assert {"libc6", "ca-certificates"} <= licences
    assert {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()} == licences
    assert "\nVersion: " in (root / "var/lib/dpkg/status.d/libc6").read_text("utf-8")
    for name in licences:
        text = (root / "usr/share/doc" / name / "copyright").read_text("utf-8")
        for common in re.findall(r"/usr/share/common-licenses/([\w.+-]*[\w+])", text):
            assert (root / "usr/share/common-licenses" / common).exists(), (name, common)
    python = [*root.rglob("python3.*/LICENSE.txt"), *root.glob("usr/share/doc/*python3*/copyright")]
    assert len(python) >= 1
    packages = [*root.glob("**/site-packages/*.dist-info")]
    assert len([each for each in packages if each.name.startswith("minikms_")]) == 2
    for each in packages:
        if each.name.startswith("minikms_"):
            assert (each / "licenses/LICENSE").is_file()


def test_the_bill_of_materials_has_everything_in_the_image(image):
    root, _ = image
    bill = json.loads((root / "usr/share/doc/minikms/bill.cdx.json").read_text("utf-8"))
    parts = {each["purl"].partition("@")[0]: each for each in bill["components"]}
    licences = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    names = {purl.rpartition("/")[2] for purl in parts if purl.startswith("pkg:deb/")}
    assert names == licences
    pythons = [purl for purl in parts if purl.startswith("pkg:pypi/")]
    assert len(pythons) == len([*root.glob("**/*.dist-info")])
    server = parts["pkg:pypi/minikms-server"]
    assert bill["metadata"]["component"]["version"] == server["version"]
    hashed = [file for each in bill["components"] for file in each.get("components", [each])]
    for file in hashed:
        if "/" in file["name"]:
            data = (root / file["name"].lstrip("/")).read_bytes()
            assert file["hashes"][0]["content"] == hashlib.sha256(data).hexdigest()


def test_the_image_has_no_library_under_the_gpl(image):
    """Programs linked with readline or GDBM are under the GPL."""
    root, _ = image
    assert [
        path.name for path in root.rglob("lib*") if re.match("lib(readline|gdbm)", path.name)
    ] == []


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
