import shutil
import subprocess

import pytest
from aiohttp import ClientSession
from minikms_processes import begin_and_answer, services
from token_service import run
from tokens import SOFTHSM, Opencryptoki, SlowSoftHsm, SoftHsm

from minikms_pkcs11 import Pkcs11Provider


@pytest.fixture
def make_softhsm(tmp_path, monkeypatch):
    """Make a token of SoftHSM, of a class, in the environment of this test and its processes."""
    if not SOFTHSM.exists() or not shutil.which("softhsm2-util"):
        pytest.skip("SoftHSM is missing: apt-get install softhsm2")

    def make(kind):
        made = kind(tmp_path)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return make


@pytest.fixture
def softhsm(make_softhsm):
    """A new token of SoftHSM."""
    return make_softhsm(SoftHsm)


@pytest.fixture
def slow_softhsm(make_softhsm):
    """A new token of SoftHSM, which may be made slow."""
    if not shutil.which("cc"):
        pytest.skip("a C compiler is missing: apt-get install gcc libc6-dev")
    return make_softhsm(SlowSoftHsm)


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
def begin():
    """Start services with a token as their provider `hsm`, each ended at the end of the test."""
    with services() as start:

        async def run(token, *args, **options):
            provider = "--provider", f"hsm={token.uri}"
            service, address = await begin_and_answer(
                start, {"AUTH": "none", **options}, *provider, *args
            )
            return service, ClientSession(address)

        yield run


@pytest.fixture
def stored(tmp_path):
    """The options of a new store in a file."""
    options = {
        "STORE": f"sqlite://{tmp_path}/keys.db",
        "STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    run("store", "init", "--generate-key", **options)
    return options


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
