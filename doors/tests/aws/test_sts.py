"""AWS STS at the door: the credentials of a role for a JWT, and the identity of a caller."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import cache
from random import Random
from urllib.parse import urlencode
from xml.etree import ElementTree

import boto3
import orjson
import pytest
from access.jwt_issuer import SigningKey
from access.role_files import SIGNER, write_roles
from botocore import UNSIGNED
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from http_answers import bearer

from minikms.http.gate import GATE

ROLES = (
    SIGNER
    + """
[roles.pid-issuer]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["keys:write", "keys:read"]
profiles = ["pid"]

[roles.for-two]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["keys:read"]
profiles = ["wallet", "pid"]

[roles.odd]
issuer = "cluster"
claims = { sub = ["*"] }
scopes = ["keys:read"]
profiles = ["{sub}"]
"""
)
BOTO_CONFIG = BotoConfig(parameter_validation=False, retries={"total_max_attempts": 1})


@cache
def session():
    """A session, which reads boto3's models, once in a process."""
    return boto3.Session(region_name="us-east-1")


@pytest.fixture
def key():
    return SigningKey()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def door(start_aws, admin, log, key, tmp_path):
    """The door of a service with roles, and profiles for them."""
    aws = await start_aws(
        auth="token",
        admin_token_file=admin[1],
        audit_log=str(log),
        max_wrong_tokens=1000,
        roles=write_roles(tmp_path, key, ROLES),
    )
    for profile in ("pid", "wallet"):
        headers = bearer(admin[0])
        async with aws.rest.post("/profile", json={"name": profile}, headers=headers) as made:
            assert made.status == 200
    return aws


def client(url, service="sts", credentials=None, **config):
    found = credentials or {}
    return session().client(
        service,
        endpoint_url=url,
        aws_access_key_id=found.get("AccessKeyId", "any"),
        aws_secret_access_key=found.get("SecretAccessKey", "any"),
        aws_session_token=found.get("SessionToken"),
        config=BOTO_CONFIG.merge(BotoConfig(**config)),
    )


@pytest.fixture
def assume(door):
    """Assume a role by boto3."""
    sts = client(door.url, signature_version=UNSIGNED)

    async def run(jwt, role="signer", **members):
        given = {
            "RoleArn": f"arn:aws:iam::000000000000:role/{role}",
            "RoleSessionName": "session-1",
            "WebIdentityToken": jwt,
            **members,
        }
        return await asyncio.to_thread(sts.assume_role_with_web_identity, **given)

    return run


@pytest.fixture
def refused(assume):
    """The status and the message of a role that is refused with a code."""

    async def run(code, *args, **members):
        with pytest.raises(ClientError) as error:
            await assume(*args, **members)
        assert error.value.response["Error"]["Code"] == code, error.value
        status = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
        return status, error.value.response["Error"].get("Message", "")

    return run


async def call(service, operation, **members):
    return await asyncio.to_thread(getattr(service, operation), **members)


async def test_a_jwt_gives_the_credentials_of_its_role(door, assume, key):
    expires = int(time.time()) + 600
    answer = await assume(key.token({"exp": expires}), "pid-issuer")
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"] == "profile-pid"
    assert credentials["Expiration"] == datetime.fromtimestamp(expires, UTC)
    assert answer["AssumedRoleUser"] == {
        "Arn": "arn:aws:sts::000000000000:assumed-role/pid-issuer/session-1",
        "AssumedRoleId": "pid-issuer:session-1",
    }
    assert (answer["SubjectFromWebIdentityToken"], answer["Provider"]) == ("alice", "cluster")
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["content-type"], headers["cache-control"]) == ("text/xml", "no-store")
    assert answer["ResponseMetadata"]["RequestId"] == headers["x-amzn-requestid"]
    kms = client(door.url, "kms", credentials)
    made = await call(kms, "create_key", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    assert await call(kms, "list_keys")
    # The JWT also has the role `signer`, and the credentials do not.
    with pytest.raises(ClientError, match="The call needs the scope sign"):
        await call(
            kms,
            "sign",
            KeyId=made["KeyMetadata"]["KeyId"],
            Message=b"m",
            SigningAlgorithm="ECDSA_SHA_256",
        )
    elsewhere = client(door.url, "kms", {**credentials, "AccessKeyId": "profile-default"})
    with pytest.raises(ClientError, match="There is no such profile"):
        await call(elsewhere, "list_keys")


@pytest.mark.parametrize(
    ("role", "access_key"),
    [("signer", "profile-default"), ("for-two", "profile-pid"), ("odd", "profile-alice")],
)
async def test_the_access_key_selects_the_profile_of_the_role(assume, key, role, access_key):
    answer = await assume(key.token(), role)
    assert answer["Credentials"]["AccessKeyId"] == access_key


async def test_credentials_end_after_the_asked_time(assume, key):
    jwt = key.token({"exp": int(time.time()) + 100_000})
    for given, seconds in (({}, 3600), ({"DurationSeconds": 900}, 900)):
        before = int(time.time())
        answer = await assume(jwt, **given)
        ends = answer["Credentials"]["Expiration"].timestamp()
        assert before + seconds <= ends <= int(time.time()) + seconds


async def test_credentials_end_with_the_jwt(door, assume, key, clock, monkeypatch):
    credentials = (await assume(key.token()))["Credentials"]
    kms = client(door.url, "kms", credentials)
    await call(kms, "list_keys")
    clock(100)
    late = time.time() + 100
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        await call(kms, "list_keys")


async def test_credentials_follow_the_roles(door, assume, refused, key, tmp_path):
    kms = client(door.url, "kms", (await assume(key.token()))["Credentials"])
    await call(kms, "list_keys")
    identities = door.rest.app[GATE].access.identities
    await identities.renew(write_roles(tmp_path, key, ROLES.replace("roles.signer", "roles.other")))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        await call(kms, "list_keys")
    await refused("AccessDenied", key.token())


async def test_each_refusal_has_its_code(assume, refused, key, admin):
    now = int(time.time())
    good = key.token({"exp": now + 600})
    wrong = [
        *("", "x", "a.b.c", "....", good[:-4] + "AAAA", f"signer.{good}", good + "x" * 17_000),
        *(SigningKey().token(), key.token({"iss": "https://other.example"})),
        key.token({"aud": "other"}),
        *("ü" * 100, "\ud7ff", "a/b/c", f"s/{good}"),
    ]
    for jwt in wrong:
        status, said = await refused("InvalidIdentityToken", jwt)
        assert (status, said) == (400, "The web identity token is not valid for this service.")
    assert (await refused("ExpiredTokenException", key.token({"exp": now - 60})))[0] == 400
    denied = (403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    assert await refused("AccessDenied", key.token({"sub": "bob"})) == denied
    for role in ("missing", "path/signer", "signer.signer", "", "*"):
        assert await refused("AccessDenied", good, role) == denied
    arn = "arn:aws:iam::111111111111:role/signer"
    assert await refused("AccessDenied", good, RoleArn=arn) == denied
    # A role is nothing that a token of the service has.
    assert await refused("AccessDenied", admin[0]) == denied
    await assume(good + "\n")  # as a file may end


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"RoleArn": "short"}, "'roleArn' failed"),
        ({"RoleSessionName": "a/b"}, "'roleSessionName' failed"),
        ({"RoleSessionName": "a"}, "'roleSessionName' failed"),
        ({"RoleSessionName": "a" * 65}, "'roleSessionName' failed"),
        ({"DurationSeconds": 899}, "'durationSeconds' failed"),
        ({"DurationSeconds": 43_201}, "'durationSeconds' failed"),
    ],
)
async def test_a_parameter_that_is_refused(refused, key, members, said):
    status, message = await refused("ValidationError", key.token(), **members)
    assert status == 400
    assert said in message


async def test_a_session_policy_is_refused(refused, key):
    for members in ({"Policy": "{}"}, {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/a"}]}):
        await refused("UnsupportedOperationException", key.token(), **members)


# Requests without an SDK

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sts/aws4_request, "
    "SignedHeaders=host, Signature=00"
}
IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture
def post(door):
    """Send a request to STS; gives its status and its XML."""

    async def run(data=None, method="POST", headers=FORM, **options):
        async with door.rest.session.request(
            method, door.url, data=data, headers=headers, **options
        ) as answer:
            assert answer.headers["Content-Type"] == "text/xml"
            return answer.status, await answer.text()

    return run


def query(jwt):
    return {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::000000000000:role/signer",
        "RoleSessionName": "s1",
        "WebIdentityToken": jwt,
    }


async def test_the_parameters_may_be_in_the_query(post, key):
    status, text = await post(None, "GET", {}, params=query(key.token()))
    assert status == 200
    assert "<AccessKeyId>profile-default</AccessKeyId>" in text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "InvalidAction"),
        ("Action=AssumeRole&Version=2011-06-15", 400, "InvalidAction"),
        ("Action=GetCallerIdentity&Version=2011-06-15", 400, "InvalidAction"),
        ("Action=AssumeRoleWithWebIdentity&Version=2010-01-01", 400, "InvalidAction"),
        ("Action=AssumeRoleWithWebIdentity", 400, "ValidationError"),
        ("Action=AssumeRoleWithWebIdentity&Action=GetCallerIdentity", 400, "MalformedInput"),
        ("a=b&" * 101, 400, "MalformedInput"),
        ("a=%ff", 400, "MalformedInput"),
        ("a=\N{LATIN SMALL LETTER U WITH DIAERESIS}", 400, "MalformedInput"),
        ("a=" + "b" * 65_536, 413, "RequestEntityTooLargeException"),
    ],
)
async def test_a_form_that_is_refused(post, body, status, code):
    found, text = await post(body.encode())
    assert found == status
    assert f"<Code>{code}</Code>" in text


async def test_random_forms_are_answered_in_xml(post, key):
    good = urlencode(query(key.token())).encode()
    random = Random(58)
    for _ in range(200):
        form = bytearray(good)
        for _ in range(random.randrange(1, 4)):
            start = random.randrange(len(form))
            form[start : start + random.randrange(4)] = random.randbytes(random.randrange(3))
        status, text = await post(bytes(form), headers=FORM | random.choice([{}, SIGNED]))
        assert status in {200, 400, 403}
        ElementTree.fromstring(text)


@pytest.mark.parametrize("seconds", ["", "x", "-1", "1e3", "\u0661" * 4, "9" * 5000])
async def test_a_duration_that_is_not_a_number(post, key, seconds):
    status, text = await post({**query(key.token()), "DurationSeconds": seconds})
    assert status == 400
    assert "<Code>MalformedInput</Code>" in text


async def test_a_subject_with_controls_leaves_the_xml_well_formed(post, key, log):
    status, text = await post(
        {
            **query(key.token({"sub": "a\0b\n</Code>&\u2028"})),
            "RoleArn": "arn:aws:iam::000000000000:role/odd",
        }
    )
    assert (status, "<Code>AccessDenied</Code>" in text) == (403, True)  # it names no profile
    jwt = key.token({"sub": "<&>"})
    status, text = await post({**query(jwt), "RoleArn": "arn:aws:iam::000000000000:role/odd"})
    assert status == 200
    assert "<SubjectFromWebIdentityToken>&lt;&amp;&gt;</SubjectFromWebIdentityToken>" in text
    assert "<AccessKeyId>profile-&lt;&amp;&gt;</AccessKeyId>" in text


# Who calls


async def test_the_role_is_named(door, assume, key):
    sts = client(door.url, credentials=(await assume(key.token()))["Credentials"])
    found = await call(sts, "get_caller_identity")
    assert (found["UserId"], found["Account"], found["Arn"]) == (
        "signer:session-1",
        "000000000000",
        "arn:aws:sts::000000000000:assumed-role/signer/session-1",
    )


async def test_other_callers_are_named(door, key, admin, start_aws):
    async def arn(url, token=None):
        sts = client(url, credentials={"SessionToken": token})
        return (await call(sts, "get_caller_identity"))["Arn"]

    async with door.rest.post(
        "/tokens",
        json={"name": "worker", "scopes": ["random"], "profiles": ["default"]},
        headers=bearer(admin[0]),
    ) as made:
        token = (await made.json())["token"]
    assert await arn(door.url, token) == "arn:aws:iam::000000000000:user/worker"
    assert await arn(door.url, admin[0]) == "arn:aws:iam::000000000000:user/admin"
    # A JWT alone has all its roles, whatever stands before it.
    union = "arn:aws:iam::000000000000:user/cluster:alice"
    for jwt in (key.token(), f"session-1/{key.token()}"):
        assert await arn(door.url, jwt) == union
    open_door = await start_aws()
    assert await arn(open_door.url) == "arn:aws:iam::000000000000:root"


async def test_a_caller_without_a_token_is_not_named(post):
    status, text = await post(IDENTITY, headers=FORM | SIGNED)
    assert (status, "<Code>MissingAuthenticationToken</Code>" in text) == (403, True)
    status, text = await post(IDENTITY, headers=FORM | SIGNED | {"X-Amz-Security-Token": "s/x"})
    assert (status, "<Code>InvalidClientTokenId</Code>" in text) == (403, True)


async def test_a_service_without_tokens_gives_credentials_to_anybody(start_aws):
    aws = await start_aws()
    sts = client(aws.url, signature_version=UNSIGNED)
    answer = await call(
        sts,
        "assume_role_with_web_identity",
        RoleArn="arn:aws:iam::000000000000:role/any",
        RoleSessionName="s1",
        WebIdentityToken="anything",
    )
    kms = client(aws.url, "kms", answer["Credentials"])
    assert (await call(kms, "list_keys"))["Keys"] == []


async def test_too_many_wrong_tokens_are_slowed(start_aws, admin, key, tmp_path):
    aws = await start_aws(
        auth="token",
        admin_token_file=admin[1],
        max_wrong_tokens=1,
        roles=write_roles(tmp_path, key),
    )
    codes = []
    for _ in range(2):
        async with aws.rest.session.post(aws.url, data=query("a.b.c")) as answer:
            codes.append((answer.status, "Throttling" in await answer.text()))
    assert codes == [(400, False), (400, True)]


# The audit log


async def test_logs_name_the_caller_and_no_secret(door, assume, refused, key, log, caplog):
    caplog.set_level(logging.DEBUG)
    jwts = [key.token(), key.token({"sub": "bob"}), SigningKey().token()]
    credentials = (await assume(jwts[0]))["Credentials"]
    await call(client(door.url, "kms", credentials), "list_keys")
    await call(client(door.url, credentials=credentials), "get_caller_identity")
    await refused("AccessDenied", jwts[1])
    await refused("InvalidIdentityToken", jwts[2])
    lines = [orjson.loads(line) for line in log.read_text().splitlines()]
    assert [
        (line["operation"], line.get("who"), line.get("roles"), line["outcome"])
        for line in lines
        if line.get("operation", "").startswith("aws:")
    ] == [
        ("aws:AssumeRoleWithWebIdentity", "cluster:alice", ["signer"], "success"),
        ("aws:ListKeys", "cluster:alice", ["signer"], "success"),
        ("aws:GetCallerIdentity", "cluster:alice", ["signer"], "success"),
        ("aws:AssumeRoleWithWebIdentity", "cluster:bob", None, "AccessDenied"),
        ("aws:AssumeRoleWithWebIdentity", "", None, "InvalidIdentityToken"),
    ]
    said = [each.getMessage() for each in caplog.records if "boto" not in each.name]
    for jwt in jwts:
        for part in jwt.split(".")[1:]:
            assert part not in "\n".join([log.read_text(), *said])
