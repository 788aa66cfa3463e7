"""SIGHUP reads the file of roles again, in each worker."""

import asyncio
import json
import signal

import pytest
from access.jwt_issuer import SigningKey
from http_answers import bearer

ROLES = """
[issuers.ci]
issuer = "https://idp.example/realm"
audience = "https://kms.example"
jwks = {jwks}

[roles.reader]
issuer = "ci"
claims = {{ sub = ["{subject}"] }}
scopes = ["{scope}"]
profiles = ["default"]
"""


@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reads_the_roles_again(serve, make_store, tmp_path, workers):
    key, file = SigningKey(), tmp_path / "roles.toml"
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [key.jwk]}))

    def write(subject, scope="keys:read"):
        file.write_text(ROLES.format(jwks=json.dumps(str(jwks)), subject=subject, scope=scope))

    def hang_up(expected):
        service.process.send_signal(signal.SIGHUP)
        for _ in range(workers):
            service.read_until(expected)

    def statuses():
        """The status of a call on each of several new connections."""
        found = set()
        for _ in range(8):
            connection = service.connect()
            connection.request("GET", "/keys", headers=bearer(key.token()))
            found.add(connection.getresponse().status)
            connection.close()
        return found

    write("alice")
    made = asyncio.run(make_store(f"sqlite://{tmp_path}/keys.db"))
    options = {**made, "auth": "token", "roles": str(file)}
    service = serve("--port", "0", "--workers", str(workers), **options)
    assert statuses() == {200}
    write("bob")
    hang_up("were read")
    assert statuses() == {403}
    write("alice", "keys:reed")
    hang_up("There is no scope keys:reed. The roles stay as they were.")
    assert statuses() == {403}
    write("alice")
    hang_up("were read")
    assert statuses() == {200}
    assert service.stop()[0] == 0


@pytest.mark.process
def test_a_wrong_file_stops_the_start(run, tmp_path):
    file = tmp_path / "roles.toml"
    file.write_text("[roles.a]\nscopes = []\n")
    ended = run("serve", "--port", "0", "--auth", "token", "--roles", str(file))
    assert ended.returncode == 2
    assert f"--roles: {file}, line 2: roles.a.scopes: " in ended.stderr
    ended = run("serve", "--port", "0", "--roles", str(file))
    assert ended.returncode == 2
    assert "no effect if callers need no token" in ended.stderr
