"""Keys of the AWS door at the service's own, and the other way round."""

import json
import re
from datetime import datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from filled_stores import new_store

from minikms.encodings import b64url, b64url_decode
from minikms.web.routes import ROUTES
from minikms.web.state import SERVICE

MESSAGE = b"of both doors"
DATA = b64url(MESSAGE)
ECDSA = {"SigningAlgorithm": "ECDSA_SHA_256"}


@pytest.fixture
async def aws(start_aws, any_store):
    """A client of the AWS door, and of the other, on each kind of store in turn."""
    return await start_aws(**any_store)


@pytest.fixture
def call(aws):
    """The answer of a call at the service's own door, with its status."""

    async def send(method, path, **body):
        async with aws.rest.request(method, path, json=body or None) as response:
            return response.status, await response.json()

    return send


async def test_a_key_that_deletes_itself_is_enabled_until_its_time(aws, call, clock):
    _, key = await call("POST", "/key/generate", alg="p256", delete_after=600)
    by = {"KeyId": key["kid"]}
    assert [each["KeyId"] for each in (await aws.list_keys())["Keys"]] == [key["kid"]]

    async def state():
        found = (await aws.describe_key(**by))["KeyMetadata"]
        return found["KeyState"], "DeletionDate" in found

    assert await state() == ("Enabled", False)
    with pytest.raises(ClientError, match="KMSInvalidStateException"):
        await aws.cancel_key_deletion(**by)
    await aws.sign(**by, Message=MESSAGE, **ECDSA)
    scheduled = await aws.schedule_key_deletion(**by)
    later = scheduled["DeletionDate"] - datetime.fromisoformat(key["deletes"])
    assert later < timedelta(seconds=1)
    assert await state() == ("PendingDeletion", True)
    await aws.cancel_key_deletion(**by)
    assert await state() == ("Disabled", False)
    await aws.enable_key(**by)
    _, found = await call("GET", f"/key/{key['kid']}")
    assert found == key | {name: found[name] for name in ("cose_key", "last_used")}
    clock(601)
    assert (await aws.list_keys())["Keys"] == []


@pytest.mark.each_store
async def test_a_key_of_the_aws_door_at_the_other(aws, call):
    made = await aws.create_key(
        KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Description="signs", Tags=[]
    )
    key_id = made["KeyMetadata"]["KeyId"]
    await aws.create_alias(AliasName="alias/k", TargetKeyId=key_id)
    status, record = await call("GET", "/key?alias=alias/k")
    assert status == 200
    assert record["aliases"] == [f"aws:{key_id}", "alias/k"]
    assert (record["alg"], record["operations"]) == ("p256", ["sign", "verify"])
    assert record["labels"] == {"aws%3Adescription": "signs"}
    assert record.pop("cose_key")
    assert (await call("GET", "/keys"))[1] == [record]
    path = f"/key/{record['kid']}"

    for alias in ("alias/k", f"aws:{key_id}"):
        status, signed = await call("POST", "/sign", alias=alias, data=DATA, encoding="der")
        assert status == 200
        checked = await aws.verify(
            KeyId=key_id, Message=MESSAGE, Signature=b64url_decode(signed["sig"]), **ECDSA
        )
        assert checked["SignatureValid"] is True
    signed = await aws.sign(KeyId="alias/k", Message=MESSAGE, **ECDSA)
    sig = b64url(signed["Signature"])
    _, checked = await call(
        "POST", "/verify", kid=record["kid"], data=DATA, sig=sig, encoding="der"
    )
    assert checked == {"valid": True}

    assert (await call("PATCH", path, state="disabled"))[0] == 200
    await aws.refused("DisabledException", "sign", KeyId=key_id, Message=MESSAGE, **ECDSA)
    await aws.enable_key(KeyId=key_id)
    assert (await call("POST", "/sign", alias="alias/k", data=DATA))[0] == 200
    await aws.disable_key(KeyId=key_id)
    status, problem = await call("POST", "/sign", alias="alias/k", data=DATA)
    assert (status, problem["type"]) == (409, "urn:minikms:problem:key-not-usable")
    await aws.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert (await call("GET", path))[1]["deletes"]
    assert (await call("POST", f"{path}/restore"))[1]["state"] == "disabled"
    assert (await call("DELETE", path))[0] == 200
    await aws.refused("NotFoundException", "describe_key", KeyId=key_id)
    await aws.refused("NotFoundException", "describe_key", KeyId="alias/k")
    assert (await aws.list_keys())["Keys"] == (await aws.list_aliases())["Aliases"] == []


@pytest.mark.each_store
async def test_a_key_of_the_other_door_at_the_aws_door(aws, call):
    _, record = await call("POST", "/key/generate", alg="hs256", alias="alias/k", labels={"a": "b"})
    kid, path = record["kid"], f"/key/{record['kid']}"
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{kid}"
    assert (await aws.list_keys())["Keys"] == [{"KeyId": kid, "KeyArn": arn}]
    for name in (kid, arn, "alias/k"):
        found = (await aws.describe_key(KeyId=name))["KeyMetadata"]
        assert (found["KeyId"], found["KeySpec"]) == (kid, "HMAC_256")
        made = await aws.generate_mac(KeyId=name, Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")
        _, mac = await call("POST", "/mac", kid=kid, data=DATA)
        assert mac["mac"] == b64url(made["Mac"])
    assert (await aws.list_resource_tags(KeyId=kid))["Tags"] == [{"TagKey": "a", "TagValue": "b"}]
    await aws.tag_resource(KeyId=kid, Tags=[{"TagKey": "c:d", "TagValue": "e"}])
    assert (await call("GET", path))[1]["labels"] == {"a": "b", "c%3Ad": "e"}
    await aws.disable_key(KeyId=kid)
    assert (await call("POST", "/mac", kid=kid, data=DATA))[0] == 409
    await aws.schedule_key_deletion(KeyId=kid)
    await aws.cancel_key_deletion(KeyId=kid)
    _, found = await call("GET", path)
    assert (found["state"], found["deletes"]) == ("disabled", None)
    assert (await call("PATCH", path, state="enabled"))[0] == 200
    await aws.generate_mac(KeyId=kid, Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")
    await aws.delete_alias(AliasName="alias/k")
    assert (await call("GET", path))[1]["aliases"] == []
    assert (await call("DELETE", path))[0] == 200
    await aws.refused("NotFoundException", "describe_key", KeyId=kid)


@pytest.mark.each_store
async def test_signatures_of_older_keys_of_an_alias_verify(aws, call):
    made = await aws.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    key_id = made["KeyMetadata"]["KeyId"]
    await aws.create_alias(AliasName="alias/k", TargetKeyId=key_id)
    signed = await aws.sign(KeyId=key_id, Message=MESSAGE, **ECDSA)
    _, record = await call("GET", f"/key?alias=aws:{key_id}")
    assert (await call("POST", f"/key/{record['kid']}/rotate"))[0] == 200
    again = await aws.sign(KeyId=key_id, Message=MESSAGE, **ECDSA)
    for signature in (signed["Signature"], again["Signature"]):
        for name in (key_id, "alias/k", signed["KeyId"]):
            checked = await aws.verify(KeyId=name, Message=MESSAGE, Signature=signature, **ECDSA)
            assert checked["SignatureValid"] is True


async def test_keys_of_a_file(start_aws, tmp_path):
    """Seeds give a key the id and the aliases that a test of AWS KMS wants each time."""
    uuid = "1234abcd-12ab-34cd-56ef-1234567890ab"
    secret = b64url(bytes(range(32)))
    seeds = {
        "keys": [
            {"alg": "p256", "secret": secret, "aliases": ["alias/signing", f"aws:{uuid}"]},
            {"alg": "a256gcm", "secret": secret, "kid": "aes-1", "aliases": ["alias/app/data"]},
            {"profile": "alice", "alg": "hs512", "secret": b64url(bytes(64)), "kid": "mac"},
        ]
    }
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(seeds))
    aws = await start_aws(seed_keys=str(file))
    listed = (await aws.list_aliases())["Aliases"]
    assert [(each["AliasName"], each["TargetKeyId"]) for each in listed] == [
        ("alias/signing", uuid),
        ("alias/app/data", "aes-1"),
    ]
    signed = await aws.sign(KeyId="alias/signing", Message=MESSAGE, **ECDSA)
    assert signed["KeyId"] == f"arn:aws:kms:us-east-1:000000000000:key/{uuid}"
    await aws.verify(KeyId=uuid, Message=MESSAGE, Signature=signed["Signature"], **ECDSA)
    sealed = await aws.encrypt(KeyId="aes-1", Plaintext=MESSAGE)
    assert (await aws.decrypt(CiphertextBlob=sealed["CiphertextBlob"]))["Plaintext"] == MESSAGE
    alice = aws.of("alice")
    found = (await alice.describe_key(KeyId="mac"))["KeyMetadata"]
    assert (found["KeyId"], found["KeySpec"]) == ("mac", "HMAC_512")


async def test_a_kid_of_a_file_may_be_a_uuid(start_aws, tmp_path):
    kid = "1234abcd-12ab-34cd-56ef-1234567890ab"
    seeds = {"keys": [{"alg": "a256gcm", "secret": b64url(bytes(range(32))), "kid": kid}]}
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(seeds))
    aws = await start_aws(seed_keys=str(file))
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{kid}"
    assert (await aws.list_keys())["Keys"] == [{"KeyId": kid, "KeyArn": arn}]
    for key_id in (kid, arn):
        for _ in range(2):
            sealed = await aws.encrypt(KeyId=key_id, Plaintext=MESSAGE)
            assert sealed["KeyId"] == arn
            for named in ({}, {"KeyId": key_id}):
                read = await aws.decrypt(CiphertextBlob=sealed["CiphertextBlob"], **named)
                assert (read["Plaintext"], read["KeyId"]) == (MESSAGE, arn)
    await aws.disable_key(KeyId=kid)
    await aws.refused("DisabledException", "encrypt", KeyId=kid, Plaintext=MESSAGE)


def client_of(port):
    """A client of a new connection, which any of the workers may get."""
    return boto3.Session("test", "test", region_name="us-east-1").client(
        "kms", endpoint_url=f"http://127.0.0.1:{port}"
    )


@pytest.mark.process
def test_changes_at_one_door_of_a_worker_count_at_all(serve, tmp_path):
    """A change at one door of a worker counts at once at both doors of both."""
    ports = ["--port", "0", "--aws-port", "0", "--workers", "2", "--auth", "none"]
    service = serve(*ports, *new_store(tmp_path), wait=False)
    service.wait_until_it_listens()
    port = re.search(r"http://127\.0\.0\.1:(\d+)$", service.read_until("AWS KMS on ").strip())[1]
    workers = set(re.findall(r"worker \d+ is process (\d+)", "".join(service.lines)))
    assert len(workers) == 2

    aws = client_of(port)
    made = aws.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    aws.create_alias(AliasName="alias/k", TargetKeyId=made["KeyId"])
    sign = b'{"alias":"alias/k","data":"aGVsbG8"}'

    def answered_by_all(call):
        """Call on new connections until both workers have answered; return each answer."""
        answers, waiting = set(), set(workers)
        while waiting:
            answers.add(call())
            line = service.read_until(" minikms.access[")
            waiting.discard(re.search(r" minikms\.access\[(\d+)\] ", line)[1])
        return answers

    def at_the_aws_door():
        try:
            client_of(port).sign(KeyId="alias/k", Message=MESSAGE, **ECDSA)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "signed"

    def at_the_other():
        return service.status("POST", "/sign", sign)

    # Skip the log lines of the earlier calls.
    for _ in range(2):
        service.read_until(" minikms.access[")
    record_path = "/key?alias=alias/k"
    for change, aws_answer, status in [
        (lambda: None, "signed", 200),
        (lambda: aws.disable_key(KeyId=made["KeyId"]), "DisabledException", 409),
        (lambda: aws.enable_key(KeyId=made["KeyId"]), "signed", 200),
        (lambda: service.status("DELETE", f"{record_path}&after=1d"),
         "KMSInvalidStateException", 409),
        (lambda: aws.cancel_key_deletion(KeyId=made["KeyId"]), "DisabledException", 409),
        (lambda: service.status("DELETE", record_path), "NotFoundException", 404),
    ]:  # fmt: skip
        if change() is not None:
            service.read_until(" minikms.access[")
        assert answered_by_all(at_the_aws_door) == {aws_answer}
        assert answered_by_all(at_the_other) == {status}


# Calls of the main port that change something by an alias: method, path and body.
BY_ALIAS = {
    "generateKey": ("POST", "/key/generate", {"alg": "p256", "alias": "{alias}"}),
    "importKey": ("POST", "/key/import", {"alg": "hs256", "secret": "A" * 43, "alias": "{alias}"}),
    "associateAlias": ("POST", "/key/{other}/associate", {"alias": "{alias}"}),
    "dissociateAlias": ("DELETE", "/key/{kid}/associate?alias={alias}", {}),
    "deleteKeyByAlias": ("DELETE", "/key?alias={alias}", {}),
}


def test_each_call_that_changes_something_by_an_alias_is_among_these():
    changing = [route for route in ROUTES if route.scope in ("keys:write", "keys:delete")]
    assert BY_ALIAS.keys() == {
        route.name
        for route in changing
        if "alias" in {each.name for each in route.parameters}
        or (route.body is not None and "alias" in route.body().fields)
    }


@pytest.mark.parametrize("name", BY_ALIAS)
@pytest.mark.parametrize("alias", ["aws:{key_id}", "aws:more", "vault:wrapping-key"])
async def test_the_main_port_changes_nothing_by_an_alias_that_a_door_reserves(
    start_aws, name, alias
):
    """A KeyId would lead to another key; it is read there all the same."""
    aws = await start_aws()
    key_id, other = [await aws.make("p256", "sign") for _ in range(2)]
    before = await aws.rest.get("/keys")
    known = {"kid": await aws.kid(key_id), "other": await aws.kid(other)}
    known["alias"] = alias.format(key_id=key_id)
    method, path, body = BY_ALIAS[name]
    body = {member: value.format_map(known) for member, value in body.items()}
    paths = [path.format_map(known)]
    if method == "DELETE" and "associate" not in path:
        paths.append(f"{paths[0]}&after=1d")
    for path in paths:
        async with aws.rest.request(method, path, json=body or None) as response:
            answer = await response.json()
        assert (response.status, answer["type"]) == (422, "urn:minikms:problem:validation-failed")
        assert [error["pointer"] for error in answer["errors"]] == ["#/alias"]
    after = await aws.rest.get("/keys")
    assert await after.json() == await before.json()
    assert (await aws.describe_key(KeyId=key_id))["KeyMetadata"]["KeyId"] == key_id


async def test_the_key_of_a_signature_is_looked_up_once(start_aws):
    aws = await start_aws()
    call = {"KeyId": await aws.make("p256", "sign", "verify"), "Message": MESSAGE, **ECDSA}
    signature = (await aws.sign(**call))["Signature"]
    cache = aws.rest.app[SERVICE].operations.cache
    for operation, members in (("sign", call), ("verify", {**call, "Signature": signature})):
        before = cache.hits
        await getattr(aws, operation)(**members)
        assert cache.hits == before + 1
