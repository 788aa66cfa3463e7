"""Logs, errors and audit lines have no secret of a call at the AWS door."""

import base64
import logging

import orjson
import pytest
from app_servers import keys_of_door

SECRET = b"secret-" + bytes(range(65, 90))
TEXT = base64.b64encode(SECRET).decode()
# A value of each kind that a blob cannot have.
WRONG = [TEXT + "!", TEXT + "é", TEXT[:-1], TEXT * 400, [TEXT], {TEXT: TEXT}, {"a": TEXT}]
BLOBS = {
    "Sign": ["Message"],
    "Verify": ["Message", "Signature"],
    "Encrypt": ["Plaintext"],
    "Decrypt": ["CiphertextBlob"],
    "ReEncrypt": ["CiphertextBlob"],
    "GenerateMac": ["Message"],
    "VerifyMac": ["Message", "Mac"],
    "DeriveSharedSecret": ["PublicKey"],
    "Decapsulate": ["SharedSecretCiphertextBlob"],
}
ALGORITHMS = {
    "SigningAlgorithm": "ECDSA_SHA_256",
    "MacAlgorithm": "HMAC_SHA_256",
    "KeyAgreementAlgorithm": "ECDH",
    "EncapsulationAlgorithm": "ML_KEM",
}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def guarded(start_aws, admin, log, caplog):
    caplog.set_level(logging.DEBUG)
    return await start_aws(auth="token", admin_token_file=admin[1], audit_log=str(log))


@pytest.fixture
def call(guarded, admin):
    """The status and the text of an answer to a call with credentials."""

    async def run(name, body, token=admin[0]):
        headers = {
            "X-Amz-Target": f"TrentService.{name}",
            "X-Amz-Security-Token": token,
            "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/kms/aws4_request, "
            f"SignedHeaders=host, Signature={SECRET.hex()}",
        }
        sent = body if isinstance(body, bytes) else orjson.dumps(body)
        async with guarded.rest.session.post(guarded.url, data=sent, headers=headers) as response:
            return response.status, await response.text()

    return run


def require_no_secret(*texts):
    for text in texts:
        for form in (SECRET.decode("latin-1"), TEXT[:-4], SECRET.hex()):
            assert form not in text


async def keys(call):
    found = {}
    for spec, usage in (
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
    ):
        status, text = await call("CreateKey", {"KeySpec": spec, "KeyUsage": usage})
        assert status == 200, text
        found[usage] = orjson.loads(text)["KeyMetadata"]["KeyId"]
    return found


async def test_no_error_quotes_the_request(guarded, call, log, caplog, admin):
    ids = await keys(call)
    errors = []
    for name, members in BLOBS.items():
        for key_id in (*ids.values(), "none"):
            good = {**ALGORITHMS, "KeyId": key_id, "DestinationKeyId": key_id}
            good |= dict.fromkeys(members, TEXT)
            bodies = [good, *({**good, each: wrong} for each in members for wrong in WRONG)]
            sent = [orjson.dumps(good)[:-1], orjson.dumps([good])]
            for body in (*bodies, *sent):
                status, text = await call(name, body)
                if status != 200:
                    errors.append(text)
    assert len(errors) > 500
    for token in (admin[0][:-1], SECRET.decode(), TEXT, SECRET.hex()):
        errors.append((await call("Sign", {}, token))[1])
    require_no_secret(*errors, caplog.text, log.read_text())
    assert all(token not in caplog.text + log.read_text() for token in (admin[0], admin[0][:-1]))


async def test_no_failure_quotes_the_request(guarded, call, log, caplog, monkeypatch):
    key_id = (await keys(call))["ENCRYPT_DECRYPT"]

    async def fail(*args):
        raise RuntimeError

    monkeypatch.setattr(keys_of_door(guarded.rest.app), "perform", fail)
    for _ in range(2):
        status, text = await call("Encrypt", {"KeyId": key_id, "Plaintext": TEXT})
        assert (status, orjson.loads(text)["__type"]) == (500, "KMSInternalException")
    assert "RuntimeError" in caplog.text
    require_no_secret(text, caplog.text, log.read_text())
