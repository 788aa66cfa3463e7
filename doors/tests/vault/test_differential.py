"""If OpenBao is installed, it and the door answer the calls of vault_calls alike."""

import base64
import os
import re
import secrets
import subprocess

import pytest
from minikms_processes import services
from openbao import BAO, needs_openbao, openbao
from vault import Vault
from vault_calls import GROUPS
from vault_calls.asking import answers, disagreements
from vault_calls.call import get, post

from minikms.access.token_record import Token

pytestmark = [pytest.mark.process, needs_openbao]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """The door of a service in memory, which needs a token."""
    file = tmp_path_factory.mktemp("door") / "admin.token"
    token = Token.new().reveal()
    file.touch(0o600)
    file.write_text(token)
    options = ("--auth", "token", "--admin-token-file", str(file))
    with services() as start:
        service = start("--port", "0", "--vault-port", "0", *options)
        (url,) = re.findall(r"https?://\S+", service.read_until("Vault"))
        yield Vault(url, token)


def compare(calls, reference, door):
    expected = [answer for _, answer in answers(calls, reference)]
    return disagreements(calls, expected, door)


@pytest.mark.timeout(120)  # bao takes a second for each of eighteen commands
def test_imported_keys_are_rotated_alike(reference, door, tmp_path):
    def bao(server, step, name, *options):
        """Import a key or its next version by `bao`, which wraps it; tells whether it was taken."""
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        done = subprocess.run(
            (BAO, "transit", step, f"transit/keys/{name}", key, *options),
            env={
                **os.environ,
                "BAO_ADDR": server.url,
                "BAO_TOKEN": server.token,
                "HOME": str(tmp_path),
            },
            capture_output=True,
            timeout=60,
        )
        return done.returncode == 0

    kind = "type=aes256-gcm96"
    for name, options in {
        "im-fixed": (kind,),
        "im-free": (kind, "allow_rotation=true", "exportable=true"),
        "im-period": (kind, "allow_rotation=true", "auto_rotate_period=24h"),
    }.items():
        for server in (reference, door):
            assert bao(server, "import", name, *options)
            assert bao(server, "import-version", name)
        calls = [get(f"keys/{name}"), post(f"keys/{name}/rotate"), get(f"keys/{name}")]
        found = compare(calls, reference, door)
        assert not found, found
        taken = [bao(server, "import-version", name) for server in (reference, door)]
        assert taken == [name == "im-fixed"] * 2
        assert not compare([get(f"keys/{name}")], reference, door)


@pytest.mark.parametrize("group", GROUPS)
def test_openbao_and_the_door_agree(reference, door, group):
    found = compare(GROUPS[group], reference, door)
    assert not found, found
