"""Access to the AWS door, and its lines in the audit log and the metrics."""

import boto3
import orjson
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from ports import free_port

from minikms.access.callers import SCOPES
from minikms.plugin.registry import AlgorithmRegistry
from minikms_aws.door import AwsDoor

OPERATIONS = {
    route.operation: (route.scope, *route.also)
    for route in AwsDoor({}, AlgorithmRegistry.from_installed()).routes
    if route.scope in SCOPES  # not those of STS
}
NO_PROFILE = (
    "There is no such profile of Mini KMS, or the token is not for it. The access key id"
    " profile-NAME selects the profile NAME, any other id the profile default."
)
# Another scope that also suffices.
ALSO = {"keys:delete": "keys:write"}
ECDSA = {"SigningAlgorithm": "ECDSA_SHA_256"}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def guarded(start_aws, admin, log):
    """The AWS door of a service that asks for tokens, with a profile `alice`."""
    _, file = admin
    aws = await start_aws(auth="token", admin_token_file=file, audit_log=str(log))
    headers = {"Authorization": f"Bearer {admin[0]}"}
    async with aws.rest.post("/profile", json={"name": "alice"}, headers=headers) as response:
        assert response.status == 200
    return aws


@pytest.fixture
def new_token(guarded, admin):
    """Make a token."""

    async def make(*scopes, name="caller", profiles=("default",)):
        headers = {"Authorization": f"Bearer {admin[0]}"}
        body = {"name": name, "scopes": list(scopes), "profiles": list(profiles)}
        async with guarded.rest.post("/tokens", json=body, headers=headers) as response:
            assert response.status == 200
            return (await response.json())["token"]

    return make


def with_token(aws, token, profile="any"):
    """A client whose session token is a token of the service."""
    key = "any" if profile == "any" else f"profile-{profile}"
    return aws.of(aws_access_key_id=key, aws_secret_access_key="any", aws_session_token=token)


async def test_each_operation_needs_its_scopes(guarded, new_token):
    callers = {}

    async def caller(*scopes):
        if scopes not in callers:
            callers[scopes] = with_token(guarded, await new_token(*scopes))
        return callers[scopes]

    for name, needed in OPERATIONS.items():
        for scope in needed:
            without = await caller(
                *(each for each in SCOPES if each not in (scope, ALSO.get(scope), "admin"))
            )
            message = await without.refused("AccessDeniedException", xform_name(name))
            assert message == f"The call needs the scope {scope}."
        try:
            await getattr(await caller(*needed), xform_name(name))()
        except ClientError as error:
            code = error.response["Error"]["Code"]
        else:
            code = None
        assert code in (None, "ValidationException"), name  # of a body without members


def test_re_encryption_needs_both_scopes():
    assert set(OPERATIONS["ReEncrypt"]) == {"decrypt", "encrypt"}
    assert {name for name, scopes in OPERATIONS.items() if len(scopes) > 1} == {"ReEncrypt"}


async def test_a_wrong_or_revoked_token_is_refused(guarded, admin, new_token):
    message = "The security token included in the request is invalid."
    revoked = await new_token("keys:read")
    assert (await with_token(guarded, revoked).list_keys())["Keys"] == []
    headers = {"Authorization": f"Bearer {admin[0]}"}
    async with guarded.rest.delete(f"/tokens/{revoked.split('_')[1]}", headers=headers) as response:
        assert response.status == 200
    other = admin[0][:-1] + ("y" if admin[0].endswith("x") else "x")
    for token in ("wrong", other, revoked):
        caller = with_token(guarded, token)
        assert await caller.refused("UnrecognizedClientException", "list_keys") == message
    missing = f"{message} It has none: a token of Mini KMS goes in AWS_SESSION_TOKEN."
    for token in ("", None):
        caller = with_token(guarded, token)
        assert await caller.refused("UnrecognizedClientException", "list_keys") == missing
    # Nowhere else is a token looked for.
    target = {"X-Amz-Target": "TrentService.ListKeys"}
    async with guarded.rest.session.post(guarded.url, headers={**headers, **target}) as response:
        assert response.status == 400
        body = orjson.loads(await response.read())
    assert body == {"__type": "UnrecognizedClientException", "message": missing}
    assert (await with_token(guarded, admin[0]).list_keys())["Keys"] == []


async def test_a_token_has_its_profiles(guarded, new_token):
    hers = await new_token("keys:read", "keys:write", profiles=("alice",))
    alice = with_token(guarded, hers, "alice")
    key_id = (await alice.create_key())["KeyMetadata"]["KeyId"]
    for profile in ("any", "default", "nobody"):
        other = with_token(guarded, hers, profile)
        said = await other.refused("UnrecognizedClientException", "describe_key", KeyId=key_id)
        assert said == NO_PROFILE
    both = await new_token("keys:read", profiles=("alice", "default"))
    found = await with_token(guarded, both, "alice").describe_key(KeyId=key_id)
    assert found["KeyMetadata"]["KeyId"] == key_id
    elsewhere = with_token(guarded, both)
    assert (await elsewhere.list_keys())["Keys"] == []
    await elsewhere.refused("NotFoundException", "describe_key", KeyId=key_id)
    await elsewhere.refused("NotFoundException", "describe_key", KeyId=found["KeyMetadata"]["Arn"])


async def test_too_many_wrong_tokens(start_aws, admin):
    aws = await start_aws(auth="token", admin_token_file=admin[1], max_wrong_tokens=2)
    wrong = with_token(aws, "wrong")
    for _ in range(2):
        await wrong.refused("UnrecognizedClientException", "list_keys")
    await wrong.refused("ThrottlingException", "list_keys")


async def test_the_audit_log_names_the_door(guarded, new_token, log, admin):
    token = await new_token("keys:read", "keys:write", "sign", name="worker")
    aws = with_token(guarded, token)
    keys = []
    for _ in range(2):
        made = await aws.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        keys.append(made["KeyMetadata"]["KeyId"])
    one, other = keys
    await aws.create_alias(AliasName="alias/secret-name", TargetKeyId=one)
    await aws.update_alias(AliasName="alias/secret-name", TargetKeyId=other)
    for _ in range(2):
        await aws.sign(KeyId="alias/secret-name", Message=b"secret-message", **ECDSA)
    await aws.delete_alias(AliasName="alias/secret-name")
    await aws.tag_resource(KeyId=one, Tags=[{"TagKey": "secret-tag", "TagValue": "secret-value"}])
    await aws.update_key_description(KeyId=one, Description="secret-description")
    await aws.disable_key(KeyId=one)
    await aws.refused("DisabledException", "sign", KeyId=one, Message=b"x", **ECDSA)
    await aws.schedule_key_deletion(KeyId=one)
    await aws.refused("KMSInvalidStateException", "enable_key", KeyId=one)
    await aws.cancel_key_deletion(KeyId=one)
    await aws.list_keys()
    await aws.refused("NotFoundException", "describe_key", KeyId="unknown-name")
    await aws.refused("AccessDeniedException", "encrypt", KeyId=one, Plaintext=b"x")
    kids = {}
    for key_id in keys:
        headers = {"Authorization": f"Bearer {admin[0]}"}
        async with guarded.rest.get(f"/key?alias=aws:{key_id}", headers=headers) as response:
            kids[(await response.json())["kid"]] = key_id
    text = log.read_text()
    lines = [orjson.loads(line) for line in text.splitlines()]
    seen = [
        (line["operation"], kids.get(line.get("kid")), line["outcome"])
        for line in lines
        if line.get("operation", "").startswith("aws:")
    ]
    assert seen == [
        ("aws:CreateKey", one, "success"),
        ("aws:CreateKey", other, "success"),
        ("aws:CreateAlias", one, "success"),
        ("aws:UpdateAlias", other, "success"),
        ("aws:Sign", other, "success"),
        ("aws:Sign", other, "success"),
        ("aws:DeleteAlias", other, "success"),
        ("aws:TagResource", one, "success"),
        ("aws:UpdateKeyDescription", one, "success"),
        ("aws:DisableKey", one, "success"),
        ("aws:Sign", one, "DisabledException"),
        ("aws:ScheduleKeyDeletion", one, "success"),
        ("aws:EnableKey", one, "KMSInvalidStateException"),
        ("aws:CancelKeyDeletion", one, "success"),
        ("aws:ListKeys", None, "success"),
        ("aws:DescribeKey", None, "NotFoundException"),
        ("aws:Encrypt", None, "forbidden"),
    ]
    assert {line["who"] for line in lines if "aws:" in line.get("operation", "")} == {"worker"}
    assert "secret" not in text
    assert token not in text


async def test_the_audit_log_names_the_key_that_encrypts(start_aws, log):
    aws = await start_aws(audit_log=str(log))
    source, other = await aws.make("a256gcm"), await aws.make("a256gcm")
    kids = {key_id: await aws.kid(key_id) for key_id in (source, other)}
    blob = (await aws.encrypt(KeyId=source, Plaintext=b"x"))["CiphertextBlob"]
    await aws.decrypt(CiphertextBlob=blob)
    await aws.re_encrypt(CiphertextBlob=blob, DestinationKeyId=other)
    await aws.refused(
        "InvalidCiphertextException",
        "re_encrypt",
        CiphertextBlob=blob,
        SourceEncryptionContext={"a": "b"},
        DestinationKeyId=other,
    )
    await aws.generate_data_key(KeyId=source, KeySpec="AES_256")
    await aws.generate_data_key_pair(KeyId=other, KeyPairSpec="ECC_NIST_P256")
    lines = map(orjson.loads, log.read_text().splitlines())
    seen = [
        (line["operation"], line["kid"], line["outcome"])
        for line in lines
        if line.get("operation", "").startswith("aws:")
    ]
    assert seen == [
        ("aws:Encrypt", kids[source], "success"),
        ("aws:Decrypt", kids[source], "success"),
        ("aws:ReEncrypt", kids[other], "success"),
        ("aws:ReEncrypt", kids[source], "success"),
        ("aws:ReEncrypt", kids[source], "decryption-failed"),
        ("aws:GenerateDataKey", kids[source], "success"),
        ("aws:GenerateDataKeyPair", kids[other], "success"),
    ]


@pytest.mark.process
def test_the_metrics_name_the_door(serve):
    ports = "--port", "0", "--aws-port", "0", "--metrics-port", str(free_port())
    service = serve(*ports, wait=False)
    service.read_until("metrics on ")
    service.wait_until_it_listens()
    port = service.read_until("AWS KMS on ").strip().rpartition(":")[2]
    aws = boto3.Session("test", "test", region_name="us-east-1").client(
        "kms", endpoint_url=f"http://127.0.0.1:{port}"
    )
    made = aws.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    key_id = made["KeyMetadata"]["KeyId"]
    for _ in range(3):
        aws.sign(KeyId=key_id, Message=b"x", **ECDSA)
    aws.schedule_key_deletion(KeyId=key_id)
    with pytest.raises(aws.exceptions.KMSInvalidStateException):
        aws.sign(KeyId=key_id, Message=b"x", **ECDSA)
    counted = service.metrics()
    for operation, outcome, number in [
        ("CreateKey", "success", 1),
        ("Sign", "success", 3),
        ("ScheduleKeyDeletion", "success", 1),
        ("Sign", "KMSInvalidStateException", 1),
    ]:
        labels = {"operation": f"aws:{operation}", "alg": "p256", "outcome": outcome}
        assert counted["operations_total", frozenset(labels.items())] == number
