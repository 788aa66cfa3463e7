"""The seal by AWS KMS, at the AWS door."""

import asyncio
import builtins
import logging

import pytest
from aiohttp import web

from minikms.seals import SealFault, SealUnavailable
from minikms.seals.awskms import AwsKms

SECRET, BOUND = b"the store key", b"minikms store key, envelope 1, x"


@pytest.fixture
def seal(doors, aws_credentials):
    return AwsKms(f"awskms:{doors.key_id}?region=us-east-1&endpoint={doors.aws}")


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("awskms:", "KEYID"),
        ("awskms:?region=us-east-1", "KEYID"),
        ("awskms:k?secret=s.secret", "region, endpoint"),
        ("awskms:k?endpoint=http://kms.example", "https"),
        ("awskms:k?endpoint=kms.example", "needs a host"),
        ("awskms:k?endpoint=https://u:s.secret@kms.example", "no user"),
    ],
)
def test_a_uri_that_is_not_one(uri, text):
    with pytest.raises(ValueError, match=text) as error:
        AwsKms(uri)
    assert "s.secret" not in str(error.value)


async def test_the_aws_door_seals(seal):
    ciphertext = await asyncio.to_thread(seal.seal, SECRET, BOUND)
    assert SECRET not in ciphertext
    assert await asyncio.to_thread(seal.unseal, ciphertext, BOUND) == SECRET
    changed = bytearray(ciphertext)
    changed[-1] ^= 1
    for other in ((bytes(changed), BOUND), (ciphertext, b"another envelope")):
        with pytest.raises(SealFault, match="InvalidCiphertext"):
            await asyncio.to_thread(seal.unseal, *other)


async def test_a_key_that_is_not_there_is_tried_again(doors, seal):
    other = AwsKms(
        f"awskms:arn:aws:kms:us-east-1:000000000000:key/none?region=us-east-1&endpoint={doors.aws}"
    )
    with pytest.raises(SealUnavailable, match="NotFound") as error:
        await asyncio.to_thread(other.seal, SECRET, BOUND)
    assert not isinstance(error.value, SealFault)


def test_a_service_that_is_not_there(aws_credentials):
    seal = AwsKms("awskms:k?region=us-east-1&endpoint=http://127.0.0.1:1")
    with pytest.raises(SealUnavailable, match="EndpointConnectionError"):
        seal.unseal(b"x", BOUND)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 429, 500, 503])
async def test_a_call_is_neither_redirected_nor_repeated(
    doors, aws_credentials, aiohttp_server, status
):
    async def answer(request):
        asked.append(request)
        return web.Response(status=status, headers={"Location": doors.aws})

    asked, app = [], web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    endpoint = str((await aiohttp_server(app)).make_url("/"))
    seal = AwsKms(f"awskms:{doors.key_id}?region=us-east-1&endpoint={endpoint}")
    with pytest.raises(SealUnavailable) as error:
        await asyncio.to_thread(seal.seal, SECRET, BOUND)
    assert not isinstance(error.value, SealFault)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("code", "is_final"),
    [
        ("InvalidCiphertextException", True),
        ("IncorrectKeyException", True),
        ("ValidationException", True),
        ("AccessDeniedException", False),
        ("DisabledException", False),
        ("KMSInvalidStateException", False),
        ("NotFoundException", False),
        ("ThrottlingException", False),
    ],
)
async def test_only_a_ciphertext_of_another_key_is_not_tried_again(
    aws_credentials, aiohttp_server, code, is_final
):
    async def answer(request):
        return web.json_response({"__type": code, "message": "planted"}, status=400)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    endpoint = str((await aiohttp_server(app)).make_url("/"))
    seal = AwsKms(f"awskms:k?region=us-east-1&endpoint={endpoint}")
    with pytest.raises(SealUnavailable, match=code) as error:
        await asyncio.to_thread(seal.unseal, b"x", BOUND)
    assert isinstance(error.value, SealFault) == is_final
    assert "planted" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{}", *(f'{{"Plaintext": {each}}}' for each in ("null", "5", '"AAA"'))],
)
async def test_an_answer_without_a_plaintext_is_not_final(aws_credentials, aiohttp_server, body):
    async def answer(request):
        return web.Response(text=body, content_type="application/x-amz-json-1.1")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    endpoint = str((await aiohttp_server(app)).make_url("/"))
    seal = AwsKms(f"awskms:k?region=us-east-1&endpoint={endpoint}")
    with pytest.raises(SealUnavailable, match="not in AWS's format") as error:
        await asyncio.to_thread(seal.unseal, b"x", BOUND)
    assert not isinstance(error.value, SealFault)


def test_without_credentials(aws_credentials, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SealUnavailable, match="NoCredentials"):
        AwsKms("awskms:k?region=us-east-1&endpoint=http://127.0.0.1:1").unseal(b"x", BOUND)


async def test_no_debug_line_has_the_key(seal, caplog):
    caplog.set_level(logging.DEBUG)
    ciphertext = await asyncio.to_thread(seal.seal, SECRET, BOUND)
    await asyncio.to_thread(seal.unseal, ciphertext, BOUND)
    assert "botocore" not in {line.name.partition(".")[0] for line in caplog.records}


def test_without_boto3_the_extra_is_named(monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "boto3":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SealFault, match="aws-seal"):
        AwsKms("awskms:k?region=us-east-1").unseal(b"x", BOUND)
