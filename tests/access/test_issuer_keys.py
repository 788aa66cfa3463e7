"""An issuer's keys are read in time from a real server and from a file; faults are survived."""

import asyncio
import gzip
import json
import ssl
from contextlib import asynccontextmanager

import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, Clock, Gate, Provider, SigningKey
from aiohttp import web
from base64url import jose
from tls_certificates import Authority

from minikms.access import issuer_keys
from minikms.access.issuer_keys import IssuerKeys
from minikms.access.jwt import JwtVerifier
from minikms.access.key_source import KeySource
from minikms.errors import Unauthenticated
from minikms.startup_errors import JwtError


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def provider():
    async with Provider().serving() as running:
        running.keys = [SigningKey()]
        yield running


@pytest.fixture
def running(clock):
    @asynccontextmanager
    async def start(source):
        verifier = JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(source)), clock=clock))
        async with verifier.keys.running():
            yield verifier

    return start


async def accepts(verifier, key):
    """Check that a token of this key is accepted."""
    try:
        return await verifier.verify(key.token()) is not None
    except Unauthenticated:
        return False


async def settled(verifier):
    """Wait for a read in the background."""
    await asyncio.wait([verifier.keys._read_task])


async def test_keys_are_read_at_the_start_and_then_known(provider, running):
    async with running(provider.url) as verifier:
        assert provider.asked == 1
        for _ in range(3):
            assert await accepts(verifier, provider.keys[0])
        assert (provider.asked, verifier.keys.failed_reads) == (1, 0)


async def test_an_unknown_kid_has_them_read_once_a_minute(provider, running, clock):
    async with running(provider.url) as verifier:
        for passed, asked in [(0, 1), (59, 1), (1, 2), (0, 2), (59, 2), (1, 3)]:
            clock.now += passed
            for number in range(5):
                assert not await accepts(verifier, SigningKey(kid=f"unknown-{number}"))
            assert provider.asked == asked


async def test_a_token_under_a_new_key_is_accepted(provider, running, clock):
    first, second = SigningKey(), SigningKey(kid="two")
    provider.keys = [first]
    async with running(provider.url) as verifier:
        provider.keys = [first, second]
        assert not await accepts(verifier, second)
        clock.now += 60
        assert await accepts(verifier, first)
        assert provider.asked == 1
        assert await accepts(verifier, second)
        assert await accepts(verifier, first)
        assert provider.asked == 2


async def test_a_key_that_is_taken_back_is_forgotten(provider, running, clock):
    first, second = SigningKey(), SigningKey(kid="two")
    provider.keys = [first, second]
    async with running(provider.url) as verifier:
        provider.keys = [second]
        clock.now += 299
        assert await accepts(verifier, first)
        assert provider.asked == 1
        clock.now += 1
        assert await accepts(verifier, second)
        await settled(verifier)
        assert provider.asked == 2
        assert not await accepts(verifier, first)
        assert await accepts(verifier, second)


async def test_many_unknown_kids_make_one_request_and_known_ones_do_not_wait(
    provider, running, clock
):
    first, second = provider.keys[0], SigningKey(kid="two")
    async with running(provider.url) as verifier:
        clock.now += 60
        provider.keys.append(second)
        provider.answer = gate = Gate(provider.publish)
        waiting = [asyncio.create_task(accepts(verifier, second)) for _ in range(50)]
        await gate.reached.wait()
        # The running read cannot end before the gate opens.
        assert await accepts(verifier, first)
        clock.now += 600
        assert await accepts(verifier, first)
        assert not any(task.done() for task in waiting)
        gate.opened.set()
        assert all(await asyncio.gather(*waiting))
        assert provider.asked == 2


async def test_a_caller_that_leaves_takes_no_answer_from_others(provider, running, clock):
    second = SigningKey(kid="two")
    async with running(provider.url) as verifier:
        clock.now += 60
        provider.keys.append(second)
        provider.answer = gate = Gate(provider.publish)
        leaving, staying = (asyncio.create_task(accepts(verifier, second)) for _ in range(2))
        await gate.reached.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        gate.opened.set()
        assert await staying
        assert (provider.asked, verifier.keys.failed_reads) == (2, 0)


async def test_the_end_does_not_wait_for_an_answer(provider, running, clock):
    async with running(provider.url) as verifier:
        clock.now += 300
        provider.answer = gate = Gate(provider.publish)
        assert await accepts(verifier, provider.keys[0])
        await gate.reached.wait()
    assert verifier.keys._read_task.cancelled()
    gate.opened.set()


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:1/jwks.json", "http://[::1]:1", "https://localhost:1"]
)
async def test_a_provider_that_is_not_there_yet_is_no_reason_not_to_start(source, running, caplog):
    async with running(source) as verifier:
        assert verifier.keys.failed_reads == 1
        assert "Cannot connect" in caplog.text
        assert not await accepts(verifier, SigningKey())
        assert verifier.keys.failed_reads == 1


async def test_a_failing_provider_is_asked_again_later(provider, running, clock):
    provider.answer, publish = fail(500), provider.answer
    async with running(provider.url) as verifier:
        provider.answer = publish
        assert not await accepts(verifier, provider.keys[0])
        clock.now += 60
        assert await accepts(verifier, provider.keys[0])
        assert (provider.asked, verifier.keys.failed_reads) == (2, 1)


PLANTED = "planted-7f3a"


def fail(status, **headers):
    async def answer(request):
        if request.path == "/moved":
            return web.json_response({"keys": [SigningKey(kid="two").jwk]})
        return web.Response(status=status, headers=headers, text=PLANTED)

    return answer


def body(content, **headers):
    async def answer(request):
        return web.Response(body=content, headers=headers)

    return answer


async def never_ends(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def breaks_off(request):
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"keys":[]}' + PLANTED.encode())
    request.transport.abort()


async def is_no_http(request):
    request.transport.write(f"{PLANTED} is no HTTP\r\n\r\n".encode())
    request.transport.close()


JWKS = json.dumps({"keys": [SigningKey(kid="two").jwk]}).encode()

FAILURES = {
    "redirect": fail(302, Location="/moved"),
    "permanent redirect": fail(308, Location="/moved"),
    "not found": fail(404),
    "error": fail(500),
    "no content": fail(204),
    "not modified": fail(304),
    "not JSON": body(PLANTED.encode()),
    "not UTF-8": body(b'{"keys":["\xff"]}'),
    "nothing": body(b""),
    "no set": body(json.dumps([PLANTED]).encode()),
    "no keys": body(json.dumps({PLANTED: []}).encode()),
    "keys that are none": body(json.dumps({"keys": {PLANTED: 1}}).encode()),
    "too large": body(JWKS + b" " * (256 * 1024 - len(JWKS) + 1)),
    "too many keys": body(json.dumps({"keys": [{"kid": PLANTED}] * 65}).encode()),
    "without end": never_ends,
    "cut off": breaks_off,
    "no HTTP": is_no_http,
    "packed": body(gzip.compress(JWKS), **{"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_an_answer_that_is_of_no_use_changes_nothing(
    provider, running, clock, caplog, failure
):
    caplog.set_level("DEBUG")
    async with running(provider.url + "?secret=" + PLANTED) as verifier:
        clock.now += 60
        provider.answer = FAILURES[failure]
        assert not await accepts(verifier, SigningKey(kid="two"))
        assert (provider.asked, verifier.keys.failed_reads) == (2, 1)
        assert await accepts(verifier, provider.keys[0])
    logged = [record for record in caplog.records if record.name == "minikms.access.issuer_keys"]
    assert [record.levelname for record in logged] == ["INFO", "WARNING"]
    assert not any(PLANTED in record.getMessage() for record in logged)


async def test_a_set_of_the_largest_size_is_read(provider, running):
    content = json.dumps({"keys": [provider.keys[0].jwk, *[{"kty": "new"}] * 63]}).encode()
    provider.answer = body(content + b" " * (256 * 1024 - len(content)))
    async with running(provider.url) as verifier:
        assert await accepts(verifier, provider.keys[0])


async def test_a_server_that_does_not_answer(provider, running, clock, monkeypatch, caplog):
    async with running(provider.url) as verifier:
        clock.now += 60
        monkeypatch.setattr(issuer_keys, "_TIMEOUT", 0.05)
        provider.answer = gate = Gate(provider.publish)
        assert not await accepts(verifier, SigningKey(kid="two"))
        assert verifier.keys.failed_reads == 1
        assert "did not answer" in caplog.text
        assert await accepts(verifier, provider.keys[0])
        gate.opened.set()


async def test_a_set_without_keys_takes_them_back(provider, running, clock):
    first = provider.keys[0]
    async with running(provider.url) as verifier:
        clock.now += 60
        provider.keys = []
        assert not await accepts(verifier, SigningKey(kid="two"))
        assert not await accepts(verifier, first)
        assert verifier.keys.failed_reads == 0


@pytest.mark.parametrize("trusted", [True, False])
async def test_https_goes_by_the_certificates_that_the_system_trusts(
    running, tmp_path, monkeypatch, caplog, trusted
):
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*ours.issue("idp"))
    monkeypatch.setenv("SSL_CERT_FILE", (ours if trusted else others).file)
    async with Provider().serving(tls) as provider:
        provider.keys = [SigningKey()]
        assert provider.url.startswith("https:")
        async with running(provider.url) as verifier:
            assert await accepts(verifier, provider.keys[0]) == trusted
            assert provider.asked == verifier.keys.failed_reads ^ 1 == trusted
    assert ("CERTIFICATE_VERIFY_FAILED" in caplog.text) != trusted


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks.json",
        "HTTP://idp.example",
        "http://127.0.0.1.idp.example",
        "http://localhost.idp.example",
        "http://localhost@idp.example",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://[::2]",
        f"https://user:{PLANTED}@idp.example",
        f"https://{PLANTED}@idp.example",
        "https://",
        "https:///jwks.json",
        "https:jwks.json",
        "http://[::1",
        "https://idp.example:99999",
    ],
)
def test_urls_that_are_refused(url):
    with pytest.raises(JwtError, match="--jwt-jwks: ") as caught:
        JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(url)))
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file or directory"), ("none", "it has no PEM")]
)
def test_a_ca_that_cannot_be_read(tmp_path, content, why):
    ca = tmp_path / "ca.pem"
    if content:
        ca.write_text(content)
    with pytest.raises(JwtError, match=f"^--jwt-jwks: The CA in {ca} cannot be read: {why}"):
        IssuerKeys(KeySource("https://idp.example", ca=str(ca)))


@pytest.mark.parametrize(
    "url",
    ["https://idp.example", "http://127.1.2.3/jwks", "http://[::1]:8000", "http://LOCALHOST:8000"],
)
def test_urls_that_are_taken(url):
    assert JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(url)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AA"}]}',
        JWKS + b" " * 256 * 1024,
        json.dumps({"keys": [SigningKey().jwk] * 65}).encode(),
    ],
    ids=range(9),  # the contents are random, so numbers name the tests
)
def test_files_that_are_refused(tmp_path, content):
    path = tmp_path / "jwks.json"
    path.write_bytes(content)
    with pytest.raises(JwtError, match="--jwt-jwks: "):
        JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))


def test_a_file_that_is_none(tmp_path):
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(JwtError, match="cannot be read"):
            JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))


async def test_a_file_of_keys_is_read_again(tmp_path, running, clock):
    path = tmp_path / "jwks.json"
    first, second = SigningKey(), SigningKey(kid="two")

    def write(*keys):
        path.write_text(json.dumps({"keys": [key.jwk for key in keys]}))

    write(first)
    async with running(path) as verifier:
        write(second)
        assert await accepts(verifier, first)
        assert not await accepts(verifier, second)
        clock.now += 60
        assert await accepts(verifier, second)
        assert not await accepts(verifier, first)
        for failed, breaking in enumerate((path.unlink, lambda: path.write_text("{")), 1):
            breaking()
            clock.now += 60
            assert not await accepts(verifier, first)
            assert verifier.keys.failed_reads == failed
        assert await accepts(verifier, second)


def of(name, **members):
    return {**SigningKey(name, "bad").jwk, **members}


BAD_KEYS = {
    "no object": "key",
    "nothing": {},
    "no type": {"kid": "bad"},
    "a type that is new": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    "a type that is none": {"kty": ["EC"]},
    "a curve that is none": of("ed25519", crv={}),
    "a curve that is new": of("ed25519", crv="Ed999"),
    "a curve of another type": of("ed25519", crv="P-256"),
    "for key agreement": {"kty": "OKP", "crv": "X25519", "x": jose(b"\x09" + bytes(31))},
    "no point": of("p256", y=jose(b"\1" * 32)),
    "too short": of("ed25519", x="AA"),
    "no base64url": of("ed25519", x="*" * 43),
    "no exponent": of("rsa2048", e=""),
    "an even exponent": of("rsa2048", e="AA"),
    "a number": of("rsa2048", n=7),
    "a small modulus": of("rsa2048", n=jose(b"\xc1" * 128)),
    "a private key": of("ed25519", d=jose(b"d" * 32)),
    "a kid that is none": of("ed25519", kid=7),
    "an alg that is none": of("ed25519", alg=7),
    "an alg of another kind": of("ed25519", alg="ES256"),
    "an alg for encryption": of("rsa2048", alg="RSA-OAEP-256"),
    "for encryption": of("rsa2048", use="enc"),
    "a use that is new": of("ed25519", use="other"),
    "a use that is none": of("ed25519", use=["sig"]),
    "for signing alone": of("ed25519", key_ops=["sign"]),
    "operations that are none": of("ed25519", key_ops=7),
    "symmetric": {"kty": "oct", "k": jose(b"k" * 32), "alg": "HS256"},
    "symmetric, with a curve": {"kty": "oct", "k": jose(b"k" * 32), "crv": "Ed25519"},
}


@pytest.mark.parametrize("bad", BAD_KEYS)
async def test_a_key_that_is_of_no_use_is_passed_over(tmp_path, bad, caplog):
    caplog.set_level("INFO")
    key, path = SigningKey(), tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [BAD_KEYS[bad], key.jwk, BAD_KEYS[bad]]}))
    verifier = JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))
    assert await accepts(verifier, key)
    assert "3 keys" in caplog.text


async def test_bad_keys_alone_are_no_set(tmp_path):
    path = tmp_path / "jwks.json"
    for bad in BAD_KEYS.values():
        path.write_text(json.dumps({"keys": [bad]}))
        with pytest.raises(JwtError, match="no key"):
            JwtVerifier(ISSUER, AUDIENCE, IssuerKeys(KeySource(str(path))))
