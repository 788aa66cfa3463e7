"""The words of the console for bytes of any form: they say only what the bytes say."""

import hashlib
import json

import pytest
from base64url import jose, part

# Chromium runs the module of the words.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TYPED = {"alg": "ES256", "typ": "JWT"}
READ = """async ([approval, name]) => {
    const { inWords } = await import("./approval_words.js");
    return (await inWords(approval, name)).lines;
}"""


def described(data):
    return f"{len(data)} bytes with the SHA-256 {jose(hashlib.sha256(data).digest())}"


def approval(what, data, operation="sign"):
    document = json.dumps({"sub": "kid", "operation": operation, "what": what}).encode()
    return {
        "kid": "kid",
        "document": jose(document),
        "challenge": jose(hashlib.sha256(document).digest()),
        "data": [jose(each) for each in data],
    }


@pytest.fixture
async def words(client, page):
    """Return the words for bytes that a key signs."""
    await page.goto(str(client.make_url("/console/")))

    async def read(data, name="issuer"):
        what = {"alg": "ES256", "sha256": jose(hashlib.sha256(data).digest())}
        [line] = await page.evaluate(READ, [approval([what], [data]), name])
        return line.removeprefix("sign with ")

    return read


async def test_a_jws_is_read(words):
    for claims, shown in (
        ({"iss": "a", "exp": 0, "x": 1}, "iss a, exp 1970-01-01T00:00:00Z"),
        ({"vct": "urn:a", "aud": ["b", "c"]}, 'aud ["b","c"], vct urn:a'),
        ({"iss": {"a": "\u202eb"}}, 'iss {"a":"\\u{202e}b"}'),
        ({"iss": "a, exp 2027-01-01T00:00:00Z"}, 'iss "a, exp 2027-01-01T00:00:00Z"'),
        ({"exp": 1e300}, "exp 1e+300"),
        ({"exp": "1"}, "exp 1"),
        ({"iss": "a" * 201}, f'iss "{"a" * 199}… (203 characters)'),
    ):
        data = f"{part(TYPED)}.{part(claims)}".encode()
        assert await words(data) == f"issuer: JWS of type JWT, {shown}"
    data = f"{part({'alg': 'ES256'})}.{part({'iss': 'a'})}".encode()
    assert await words(data) == "issuer: JWS, iss a"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iss": "a", "iss": "b"}',
        b'{"iss": "a", "i\\u0073s": "b"}',
        b'{"iss": {"a": 1, "a": 2}}',
        b"[1]",
        b"null",
        b"\xff",
        b"[" * 9000,
    ],
)
async def test_a_payload_that_readers_read_differently_is_bytes(words, payload):
    data = f"{part(TYPED)}.{part(payload)}".encode()
    assert await words(data) == f"issuer: JWS of type JWT, {described(payload)}"


async def test_names_in_strings_are_no_names(words):
    claims = {"iss": '"a": "b', "c": ["\\", {"d": '":"'}], "__proto__": {"iss": 1}}
    data = f"{part(TYPED)}.{part(claims)}".encode()
    assert await words(data) == 'issuer: JWS of type JWT, iss "\\"a\\": \\"b"'


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", 'the text ""'),
        (b"hello", "the text hello"),
        ("é\u202e\n".encode(), 'the text "é\\u{202e}\\n"'),
        (b"a" * 201, None),
        (b"\0" * 32, None),
        (b"\xff", None),
        (b"\xef\xbb\xbfa", 'the text "\\u{feff}a"'),
        (b"e30.a", "the text e30.a"),
        (b"bnVsbA.e30", "the text bnVsbA.e30"),
        (b"W10.W10", "the text W10.W10"),
    ],
)
async def test_other_bytes_are_a_text_or_a_digest(words, data, shown):
    assert await words(data) == f"issuer: {shown or described(data)}"


async def test_a_cose_message_is_named(words):
    data = b"\x84\x6aSignature1\x40\x40\xff"
    assert await words(data) == f"issuer: COSE_Sign1, {described(data)}"


async def test_the_name_of_a_key_cannot_pass_for_words(words):
    assert await words(b"", "a: the text b") == '"a: the text b": the text ""'


@pytest.mark.parametrize("data", [[b"digest"], []])
async def test_a_digest_is_shown(client, page, data):
    await page.goto(str(client.make_url("/console/")))
    what = {"alg": "ES256", "prehashed": jose(b"digest")}
    found = await page.evaluate(READ, [approval([what], data), "issuer"])
    assert found == [f"sign with issuer: the digest {jose(b'digest')}"]
