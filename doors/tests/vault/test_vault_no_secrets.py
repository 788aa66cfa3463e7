"""Logs, errors and audit lines have no secret of a call at the Vault door."""

import base64
import json
import logging

import pytest
from app_servers import keys_of_door

SECRET = b"secret-" + bytes(range(65, 90))
TEXT = base64.b64encode(SECRET).decode()
TYPES = ("aes256-gcm96", "ed25519", "rsa-2048", "hmac")
# A value of each kind that bytes cannot have.
WRONG = [TEXT + "!", TEXT + "é", TEXT[:-1], TEXT * 40, [TEXT], {TEXT: TEXT}, {"a": TEXT}]
CALLS = {
    "encrypt": ["plaintext", "associated_data", "context"],
    "decrypt": ["ciphertext", "associated_data"],
    "rewrap": ["ciphertext"],
    "sign": ["input"],
    "verify": ["input", "signature", "hmac"],
    "hmac": ["input"],
    "datakey/plaintext": ["context", "associated_data"],
}
LOGINS = {
    "auth/approle/login": "secret_id",
    "auth/userpass/login/any": "password",
    "auth/jwt/login": "jwt",
    "auth/kubernetes/login": "jwt",
}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def guarded(start_vault, admin, log, caplog):
    caplog.set_level(logging.DEBUG)
    return await start_vault(auth="token", admin_token_file=admin[1], audit_log=str(log))


@pytest.fixture
def call(guarded, admin):
    """The status and the text of an answer to a call with a token."""

    async def run(path, body, token=admin[0], method="POST"):
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-Vault-Token": token}
        url = f"{guarded.url}/v1/{path}"
        async with guarded.session.request(method, url, data=sent, headers=headers) as answer:
            return answer.status, await answer.text()

    return run


def require_no_secret(*texts):
    for text in texts:
        for form in (SECRET.decode("latin-1"), TEXT[:-4], SECRET.hex()):
            assert form not in text


async def test_no_error_quotes_the_request(guarded, call, log, caplog, admin):
    for kind in TYPES:
        status, text = await call(f"transit/keys/{kind}", {"type": kind})
        assert status == 200, text
    errors = []
    for operation, members in CALLS.items():
        for name in (*TYPES, "none"):
            good = dict.fromkeys(members, TEXT)
            bodies = [good, *({**good, each: wrong} for each in members for wrong in WRONG)]
            bodies += [{"batch_input": [body]} for body in bodies]
            bodies += [{**good, each: f"vault:v1:{TEXT}"} for each in members]
            for body in (*bodies, json.dumps(good)[:-1].encode(), [good]):
                status, text = await call(f"transit/{operation}/{name}", body)
                if status != 200:
                    errors.append(text)
    for body in ({"ciphertext": TEXT}, {"ciphertext": TEXT * 40}, {"public_key": TEXT}):
        errors.append((await call("transit/keys/imported/import", body))[1])
    assert len(errors) > 500
    require_no_secret(*errors, caplog.text, log.read_text())


async def test_no_login_leaves_its_token(call, log, caplog, admin):
    for path, member in LOGINS.items():
        for token in (admin[0][:-1], SECRET.decode(), TEXT, SECRET.hex(), [TEXT], {TEXT: TEXT}):
            status, text = await call(path, {member: token}, "")
            assert status in (400, 403)
            assert TEXT[:-4] not in text
        status, text = await call(path, {member: admin[0]}, "")
        assert json.loads(text)["auth"]["client_token"] == admin[0]
    for path in ("transit/keys/none", "auth/token/lookup-self"):
        await call(f"{path}?token={admin[0]}&help={TEXT}", b"", method="GET")
        await call(path, b"", token=TEXT, method="GET")
    written = caplog.text + log.read_text()
    require_no_secret(written)
    assert admin[0][:-1] not in written


async def test_no_failure_quotes_the_request(guarded, call, log, caplog, monkeypatch):
    await call("transit/keys/box", {})

    async def fail(*args):
        raise RuntimeError

    for name in ("perform", "perform_batch"):
        monkeypatch.setattr(keys_of_door(guarded.rest.app), name, fail)
    for body in ({"plaintext": TEXT}, {"batch_input": [{"plaintext": TEXT}]}):
        status, text = await call("transit/encrypt/box", body)
        assert status == 500
        require_no_secret(text)
    assert "RuntimeError" in caplog.text
    require_no_secret(caplog.text, log.read_text())
