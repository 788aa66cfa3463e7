"""Heads of requests that no SDK of AWS's sends."""

import asyncio
from urllib.parse import urlsplit

import orjson
import pytest


async def answer(aws, *head, body=b"{}", line=b"POST / HTTP/1.1"):
    """The status and the body of the answer to a request with these lines of its head."""
    fields = b"\r\n".join([line, b"Host: localhost", b"Content-Length: %d" % len(body), *head])
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(aws.url).port)
    writer.write(fields + b"\r\nConnection: close\r\n\r\n" + body)
    found, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"\r\nContent-Type: application/x-amz-json-1.1" in found
    assert b"\r\nx-amzn-RequestId: " in found
    return int(found.split()[1]), orjson.loads(content or b"{}")


def signed_by(access_key, scope=b"20260101/us-east-1/kms/aws4_request"):
    credential = b"Authorization: AWS4-HMAC-SHA256 Credential=" + access_key + b"/" + scope
    return credential + b", SignedHeaders=host, Signature=00"


LIST = b"X-Amz-Target: TrentService.ListKeys"
UNKNOWN = 400, "UnknownOperationException"
NOBODY = 400, "UnrecognizedClientException"
UNSIGNED = 400, "IncompleteSignatureException"


@pytest.mark.parametrize(
    ("head", "error"),
    [
        ([], UNKNOWN),
        ([b"X-Amz-Target:"], UNKNOWN),
        ([b"X-Amz-Target: TrentService."], UNKNOWN),
        ([b"X-Amz-Target: TrentService.\xff"], UNKNOWN),
        ([b"X-Amz-Target: trentservice.ListKeys"], UNKNOWN),
        ([b"X-Amz-Target: TrentService.ListKeys.ListKeys"], UNKNOWN),
        ([b"X-Amz-Target: TrentService.None", LIST], UNKNOWN),
        ([LIST, signed_by(b"profile-")], NOBODY),
        ([LIST, signed_by(b"profile-\xff")], NOBODY),
        ([LIST, signed_by(b"profile-\xc3\xa9")], NOBODY),
        ([LIST, signed_by(b"profile-a b")], NOBODY),
        ([LIST, signed_by(b"profile-" + b"a" * 5000)], NOBODY),
        ([LIST, signed_by(b"profile-nobody")], NOBODY),
        ([LIST, signed_by(b"")], UNSIGNED),
        ([LIST, signed_by(b"a", b"20260101/us-east-1/s3/aws4_request")], UNSIGNED),
        ([LIST, signed_by(b"a", b"20260101/\xff/kms/aws4_request")], UNSIGNED),
        ([LIST, b"Authorization: AWS4-" + b"/" * 5000], UNSIGNED),
        ([LIST, b"Content-Length: 2"], (400, "ValidationException")),
        ([LIST, b"Expect: 200-ok"], (400, "ValidationException")),
        ([b"X-Amz-Target: " + b"a" * 60_000], (431, "ValidationException")),
    ],
)
async def test_a_head_that_is_refused(aws, head, error):
    status, body = await answer(aws, *head)
    assert (status, body["__type"]) == error


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"PUT", b"DELETE"])
async def test_another_method_than_post_is_refused(aws, method):
    status, body = await answer(aws, LIST, line=method + b" / HTTP/1.1")
    assert (status, body["__type"]) == UNKNOWN


async def test_unusual_http_is_answered(aws):
    there = {"Keys": [], "Truncated": False}
    assert await answer(aws, LIST, body=b"") == (200, there)
    assert await answer(aws, LIST, line=b"POST / HTTP/1.0") == (200, there)
    assert await answer(aws, LIST, b"X-Amz-Security-Token: \xff") == (200, there)
    assert await answer(aws, LIST, line=b"HEAD / HTTP/1.1") == (400, {})
    status, body = await answer(aws, LIST, b"Content-Encoding: gzip", body=b"\x1f\x8b\0")
    assert (status, body["__type"]) == (400, "SerializationException")


@pytest.mark.parametrize("size", [128 * 1024, 128 * 1024 + 1])
async def test_a_body_is_bounded(aws, size):
    status, body = await answer(aws, LIST, body=b'{"z":[{},{}]}'.ljust(size))
    refused = 413, "RequestEntityTooLargeException"
    assert (status, body.get("__type")) == ((200, None) if size == 128 * 1024 else refused)


async def test_a_token_of_no_text(start_aws, admin):
    aws = await start_aws(auth="token", admin_token_file=admin[1])
    status, body = await answer(aws, LIST, b"X-Amz-Security-Token: \xff")
    assert (status, body["__type"]) == NOBODY
