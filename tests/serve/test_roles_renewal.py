"""Roles in processes: SIGHUP reads their file again, and metrics count logins, in each worker."""

import asyncio
import contextlib
import json
import signal

import pytest
from access.jwt_issuer import SigningKey
from http_answers import bearer
from waiting import wait_until

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


def status_of(service, token):
    """The status of a call with a token on a new connection."""
    with contextlib.closing(service.connect()) as connection:
        connection.request("GET", "/keys", headers=bearer(token))
        return connection.getresponse().status


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
        return {status_of(service, key.token()) for _ in range(8)}

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
@pytest.mark.parametrize("workers", [1, 2])
def test_logins_are_counted_by_role_and_outcome(serve, make_store, free_port, tmp_path, workers):
    signer, file, jwks = SigningKey(), tmp_path / "roles.toml", tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [signer.jwk]}))
    text = ROLES.format(jwks=json.dumps(str(jwks)), subject="planted-*", scope="keys:read")
    file.write_text(text + text.partition("\n\n")[2].replace("reader", "other"))
    made = asyncio.run(make_store(f"sqlite://{tmp_path}/keys.db"))
    options = {**made, "auth": "token", "roles": str(file)}
    ports = "--port", "0", "--metrics-port", free_port
    service = serve(*ports, "--workers", str(workers), **options)

    def logins():
        found = service.metrics()
        assert "planted" not in service.exposed
        return {
            tuple(value for _, value in sorted(labels)): number
            for (name, labels), number in found.items()
            if name == "logins_total"
        }

    roles = [("success", "other"), ("success", "reader")]
    nobody = [(outcome, "none") for outcome in ("forbidden", "success", "unauthenticated")]
    wait_until("the roles", lambda: logins() == dict.fromkeys([*roles, *nobody], 0))
    for number in range(20):
        claims = {"sub": f"planted-{number}"}
        assert status_of(service, signer.token(claims)) == 200
        assert status_of(service, signer.token({**claims, "iss": f"planted-{number}"})) == 401
        assert status_of(service, signer.token({"sub": f"a-planted-{number}"})) == 403
    found = dict.fromkeys([*roles, nobody[0], nobody[2]], 20) | {nobody[1]: 0}
    wait_until("the logins", lambda: logins() == found)


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
