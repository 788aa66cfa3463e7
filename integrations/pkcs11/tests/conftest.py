import shutil
import subprocess

import pytest
from tokens import SOFTHSM, Opencryptoki, SoftHsm

from minikms_pkcs11 import Pkcs11Provider


@pytest.fixture
def softhsm(tmp_path, monkeypatch):
    """A new token of SoftHSM."""
    if not SOFTHSM.exists() or not shutil.which("softhsm2-util"):
        pytest.skip("SoftHSM is missing: apt-get install softhsm2")
    made = SoftHsm(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture(scope="session")
def opencryptoki(tmp_path_factory):
    """The software token of opencryptoki, which tests share."""
    if reason := Opencryptoki.obstacle():
        pytest.skip(reason)
    with Opencryptoki.running(tmp_path_factory.mktemp("opencryptoki")) as token:
        yield token


@pytest.fixture(params=["softhsm", "opencryptoki"])
def token(request):
    """A token of each kind."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def connect():
    """Make providers of tokens, each closed at the end of the test."""
    made = []

    def open_one(token):
        provider = Pkcs11Provider(token.uri)
        made.append(provider)
        provider.open()
        return provider

    yield open_one
    for provider in made:
        provider.close()


@pytest.fixture
def provider(token, connect):
    """A provider of each kind of token, whose keys are destroyed afterwards."""
    provider = connect(token)
    yield provider
    for key_id in provider.find():
        provider.destroy(key_id)


@pytest.fixture
def disk(tmp_path):
    """A folder with a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
