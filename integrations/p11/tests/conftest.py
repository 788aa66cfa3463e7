"""Fixtures: a service that needs tokens, its sidecars, and programs."""

import os

import pytest
from kms import ADMIN, HeldService, Kms, Profile
from minikms_processes import services
from ports import free_port
from sidecars import MODULE, sidecars
from waiting import wait_until


@pytest.fixture(scope="session")
def start_service(tmp_path_factory):
    """Start services whose admin token is `ADMIN`, with options of their own."""
    with services() as start:

        def begin(*args, **options):
            folder = tmp_path_factory.mktemp("service")
            token_file, audit_log = folder / "admin", folder / "audit.log"
            token_file.write_text(ADMIN)
            token_file.chmod(0o600)
            given = {"AUTH": "token", "ADMIN_TOKEN_FILE": token_file, "AUDIT_LOG": audit_log}
            given |= {"LOG_LEVEL": "warning"}  # nobody reads its log
            port = options.pop("port", None) or free_port()
            service = start("--port", str(port), *args, wait=False, **{**given, **options})
            kms = Kms(service, port, audit_log)
            wait_until("a service that answers", kms.is_ready)
            return kms

        yield begin


@pytest.fixture(scope="session")
def kms(start_service):
    """A service that tests share."""
    return start_service()


@pytest.fixture
def held():
    """A service that holds answers back."""
    service = HeldService()
    yield service
    service.close()


@pytest.fixture
def profile(kms):
    """A new profile of the shared service."""
    return kms.profile()


@pytest.fixture
def token(kms, profile):
    """A token for the new profile."""
    return kms.token(profile.name)[0]


@pytest.fixture
def start(tmp_path_factory, kms):
    """Start sidecars of the shared service, each ended at the end of the test."""
    with sidecars(tmp_path_factory.mktemp, kms) as begin:
        yield begin


@pytest.fixture(scope="session")
def token_file(tmp_path_factory):
    """The admin's token in a file, for programs that do not log in."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(ADMIN)
    return path


@pytest.fixture(scope="session")
def shared(tmp_path_factory, kms, token_file):
    """A sidecar that tests share: its programs need no login, and see each change at once.

    Slot 0 is the default one, 1 shows all algorithms, 2 keys with a label, and 3 another profile.
    """
    kms.call("POST", "/profile", {"name": "other"})
    every = "p256+p384+p521+k256+ed25519+rsa2048+rsa3072+rsa4096+hs256+hs384+hs512"
    slots = ["minikms", f"all,alg={every}", "web,label=use:web", "other=other"]
    with sidecars(tmp_path_factory.mktemp, kms) as begin:
        yield begin(
            *("--token-file", str(token_file), "--allow-delete", "--cache", "0"),
            *(text for slot in slots for text in ("--slot", slot)),
        )


@pytest.fixture
def keys(kms):
    """The profile of the shared sidecar's slots."""
    return Profile(kms, "default")


@pytest.fixture(params=[0, 1, 2])
def version(request):
    """A version of the protocol."""
    return request.param


@pytest.fixture
def program(shared):
    """A program of the shared sidecar."""
    with shared.connect() as connected:
        yield connected


@pytest.fixture
def session(program):
    """A program's session to read and write, with the default slot."""
    return program.open()


@pytest.fixture(scope="session")
def module():
    """The module of p11-kit that programs load."""
    if not os.path.exists(MODULE):
        pytest.skip("p11-kit's client is missing: apt-get install p11-kit-modules")
    return MODULE
