"""HTTP that parses and still cannot be served: its problem, and the connection goes on."""

import gzip
import re
import zlib
from pathlib import Path

import orjson
import pytest

from minikms.config import Config
from minikms.web.routes import ROUTES

pytestmark = pytest.mark.shared_service

JSON = "Content-Type: application/json"
MALFORMED = (400, "malformed-json")
BAD_REQUEST = (400, "bad-request")
MEDIA_TYPE = (415, "unsupported-media-type")
TOO_LARGE = (413, "body-too-large")
INVALID = (422, "validation-failed")
ALGORITHM = (422, "unsupported-algorithm")
NO_ROUTE = (404, "route-not-found")
NO_ALIAS = (404, "alias-not-found")
NO_PROFILE = (404, "profile-not-found")
METHOD = (405, "method-not-allowed")

GOOD = b'{"alg":"ed25519"}'
GZIP = gzip.compress(GOOD)
DEEP = 5_000

# What `POST /key/generate` is sent, as JSON.
BODIES = {
    "empty": (b"", MALFORMED),
    "cut short": (b'{"alg":', MALFORMED),
    "something behind": (GOOD + b"x", MALFORMED),
    "not a number": (b'{"alg":NaN}', MALFORMED),
    "UTF-16": (GOOD.decode().encode("utf-16"), MALFORMED),
    "UTF-8 with a byte order mark": (b"\xef\xbb\xbf" + GOOD, MALFORMED),
    "a byte that is no UTF-8": (b'{"alg":"\xff"}', MALFORMED),
    "a surrogate in UTF-8": (b'{"alg":"\xed\xa0\x80"}', MALFORMED),
    "a lone high surrogate": (rb'{"alg":"\ud800"}', MALFORMED),
    "a lone low surrogate": (rb'{"alg":"\udc00x"}', MALFORMED),
    "a lone surrogate for a name": (rb'{"\ud800":"ed25519"}', MALFORMED),
    "deep arrays": (b"[" * DEEP + b"]" * DEEP, MALFORMED),
    "deep objects": (b'{"alg":' * DEEP + b"1" + b"}" * DEEP, MALFORMED),
    "a number of 5,000 digits": (b'{"alg":' + b"1" * 5000 + b"}", MALFORMED),
    "an array": (b"[]", INVALID),
    "an array of bodies": (b"[" + GOOD + b"]", INVALID),
    "null": (b"null", INVALID),
    "a number": (b"1", INVALID),
    "a string": (b'"ed25519"', INVALID),
    "a field missing": (b"{}", INVALID),
    "a field null": (b'{"alg":null}', INVALID),
    "a field mistyped": (b'{"alg":25519}', INVALID),
    "a field in an array": (b'{"alg":["ed25519"]}', INVALID),
    "a field unknown": (b'{"alg":"ed25519","seed":"x"}', INVALID),
    "a field of a long name": (b'{"alg":"ed25519","' + b"x" * 5000 + b'":1}', INVALID),
    "a NUL": (rb'{"alg":"ed25519\u0000"}', ALGORITHM),
    "no name": (b'{"alg":""}', ALGORITHM),
    "nothing but hyphens": (b'{"alg":"-_-"}', ALGORITHM),
    "a name of 100,000 characters": (b'{"alg":"' + b"e" * 100_000 + b'"}', ALGORITHM),
    "a name of 200,000 characters": (b'{"alg":"' + b"e" * 200_000 + b'"}', TOO_LARGE),
    "a prototype": (b'{"alg":"__class__"}', ALGORITHM),
    "8 MB": (b" " * 8 * 1024 * 1024, TOO_LARGE),
}

# Bodies with other content types than JSON.
HEADERS = {
    "a form": (b"alg=ed25519", ["Content-Type: application/x-www-form-urlencoded"], MEDIA_TYPE),
    "plain text": (GOOD, ["Content-Type: text/plain"], MEDIA_TYPE),
    "no type at all": (GOOD, ["Content-Type: "], MEDIA_TYPE),
    "8 MB of text": (b" " * 8 * 1024 * 1024, ["Content-Type: text/plain"], MEDIA_TYPE),
    "another charset": (
        GOOD.decode().encode("utf-16"),
        ["Content-Type: application/json; charset=utf-16"],
        MALFORMED,
    ),
    "gzip that is none": (GOOD, [JSON, "Content-Encoding: gzip"], BAD_REQUEST),
    "gzip that is zlib's": (zlib.compress(GOOD), [JSON, "Content-Encoding: br"], MEDIA_TYPE),
    "gzip cut short": (GZIP[:-6], [JSON, "Content-Encoding: gzip"], BAD_REQUEST),
    "gzip with a wrong sum": (GZIP[:-8] + bytes(8), [JSON, "Content-Encoding: gzip"], BAD_REQUEST),
    "gzip and more": (GZIP + b"x", [JSON, "Content-Encoding: gzip"], BAD_REQUEST),
    "gzip of nothing": (b"", [JSON, "Content-Encoding: gzip"], BAD_REQUEST),
    "gzip of what is no JSON": (gzip.compress(b"{"), [JSON, "Content-Encoding: gzip"], MALFORMED),
    "deflate that is none": (GOOD, [JSON, "Content-Encoding: deflate"], BAD_REQUEST),
    "brotli": (GOOD, [JSON, "Content-Encoding: br"], MEDIA_TYPE),
    "an encoding unheard of": (GOOD, [JSON, "Content-Encoding: x"], MEDIA_TYPE),
    "64 MB in 300 KB": (
        lambda: gzip.compress(b" " * 64 * 1024 * 1024, 1),  # which takes long
        [JSON, "Content-Encoding: gzip"],
        TOO_LARGE,
    ),
    "an expectation": (GOOD, [JSON, "Expect: foo"], BAD_REQUEST),
    "an empty profile": (GOOD, [JSON, "X-Profile:"], INVALID),
    "a blank profile": (GOOD, [JSON, "X-Profile:    "], INVALID),
    "two profiles": (GOOD, [JSON, "X-Profile: default", "X-Profile: default"], INVALID),
    "a profile with a space": (GOOD, [JSON, "X-Profile: a b"], INVALID),
    "a profile with a tab": (GOOD, [JSON, "X-Profile: a\tb"], INVALID),
    "a profile beyond ASCII": (GOOD, [JSON, "X-Profile: \xe9"], INVALID),
    "a profile too long": (GOOD, [JSON, "X-Profile: " + "a" * 129], INVALID),
    "an unknown profile": (GOOD, [JSON, "X-Profile: nobody"], NO_PROFILE),
}

TARGETS = {
    "/nothing/here": NO_ROUTE,
    "//": NO_ROUTE,
    "/keys/": NO_ROUTE,
    "/key/a/b": NO_ROUTE,
    "/key//associate": NO_ROUTE,
    "/key/../keys": NO_ROUTE,
    "/Keys": NO_ROUTE,
    "/key/generate": METHOD,
    "/key/gener%61te": METHOD,
    "/key": INVALID,
    "/key?alias": INVALID,
    "/key?alias=": INVALID,
    "/key?Alias=a": INVALID,
    "/key?alias=%00": INVALID,
    "/key?alias=a%0A": INVALID,
    "/key?alias=%C2%85": INVALID,
    "/key?alias=" + "a" * 4097: INVALID,
    "/key?alias=%FF": NO_ALIAS,
    "/key?alias=%ED%A0%80": NO_ALIAS,
    "/key?alias=%zz%": NO_ALIAS,
    "/key?%FF=%FF&alias=absent": INVALID,
    **{
        f"/key/{kid}": INVALID
        for kid in ("a%2Fb", "%FF", "%ED%A0%80", "%00", "abc%0A", "%", "%zz", "a{b}", "a.b", "~")
    },
    "/key/" + "a" * 128: (404, "key-not-found"),
    "/key/" + "a" * 129: INVALID,
    "/key/" + "a" * 5000: INVALID,
}

# Each path with the methods that it has, as `Allow` lists them.
METHODS = {}
for route in ROUTES:
    methods = METHODS.setdefault(re.sub(r"{\w+:[^{}]*}", "abc", route.path), [])
    methods += ["GET", "HEAD"] if route.method == "GET" else [route.method]


async def goes_on(connection):
    """Check the next request on the same connection."""
    return (await connection.call("POST", "/key/generate", GOOD, JSON)).status == 200


async def test_each_bad_body_is_its_problem(connection):
    for name, (body, problem) in BODIES.items():
        response = await connection.call("POST", "/key/generate", body, JSON)
        assert (name, *response.problem()) == (name, *problem)
        assert await goes_on(connection), name


async def test_each_bad_header_is_its_problem(connection):
    for name, (body, headers, problem) in HEADERS.items():
        sent = body() if callable(body) else body
        response = await connection.call("POST", "/key/generate", sent, *headers)
        assert (name, *response.problem()) == (name, *problem)
        assert await goes_on(connection), name


async def test_each_bad_target_is_its_problem(connection):
    for target, problem in TARGETS.items():
        response = await connection.call("GET", target)
        assert (target, *response.problem()) == (target, *problem)
        assert await goes_on(connection), target


async def test_other_methods_of_a_path_are_refused(connection):
    for path, allowed in METHODS.items():
        allow = ", ".join(sorted(allowed))
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"}:
            if method in allowed:
                continue
            response = await connection.call(method, path)
            found = method, path, response.status, response.headers["Allow"]
            assert found == (method, path, 405, allow)
            assert response.headers["Content-Type"] == "application/problem+json"
            if method != "HEAD":
                assert response.problem() == METHOD
    assert await goes_on(connection)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_bodies_may_be_compressed(connection, encoding):
    body = {"gzip": GZIP, "deflate": zlib.compress(GOOD), "identity": GOOD}[encoding]
    headers = JSON, f"Content-Encoding: {encoding}"
    assert (await connection.call("POST", "/key/generate", body, *headers)).status == 200


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/x+json", None])
async def test_types_that_are_json(connection, kind):
    headers = [f"Content-Type: {kind}"] if kind else []
    assert (await connection.call("POST", "/key/generate", GOOD, *headers)).status == 200


async def test_a_body_of_the_limit_is_read(connection):
    made = orjson.loads((await connection.call("POST", "/key/generate", GOOD, JSON)).body)
    call, limit = orjson.dumps({"kid": made["kid"], "data": ""}), Config().max_body
    for size, status in ((limit, 200), (limit + 1, 413)):
        assert (await connection.call("POST", "/sign", call.ljust(size), JSON)).status == status


# Fields of every request: the pointer names the field, and no answer contains the sent value.
MARK = "planted-7f3a"
FIELDS = {
    "/sign": {"kid": "k", "data": ""},
    "/verify": {"kid": "k", "data": "", "sig": ""},
    "/key/k/associate": {"alias": "a"},
    "/profile": {"name": "p"},
}
VALUES = (None, 1, True, [MARK], {MARK: MARK}, MARK + "\x00", MARK + "!", MARK + " \n", "\x7f")


@pytest.mark.parametrize(("path", "good"), FIELDS.items())
async def test_bad_fields_are_pointed_at(connection, path, good):
    async def pointers(body):
        response = await connection.call("POST", path, orjson.dumps(body), JSON)
        assert (body, *response.problem()) == (body, *INVALID)
        assert MARK.encode() not in response.body
        return [error["pointer"] for error in orjson.loads(response.body)["errors"]]

    for field in good:
        assert await pointers({k: v for k, v in good.items() if k != field}) == [f"#/{field}"]
        for value in VALUES:
            if field in ("alias", "name") and value == MARK + "!":
                continue  # good for these
            assert await pointers({**good, field: value}) == [f"#/{field}"]
    assert await pointers({**good, "a/b~c": MARK}) == ["#/a~1b~0c"]
    assert await goes_on(connection)


NOT_BASE64URL = "!!!!", "AA+A", "AA/A", "AA A", "AAAA\n", "A", "AAAAA", "AA=", "AAA==", "AAAA=", "="


@pytest.mark.parametrize(("path", "fields"), [("/sign", ["data"]), ("/verify", ["data", "sig"])])
async def test_text_that_is_not_base64url_is_refused(refuses, generate, path, fields):
    good = {"kid": (await generate())["kid"], **dict.fromkeys(fields, "AA")}
    for field in fields:
        for text in NOT_BASE64URL:
            found = await refuses(path, {**good, field: text}, *INVALID)
            assert [error["pointer"] for error in found["errors"]] == [f"#/{field}"]


async def test_no_answer_quotes_the_request(connection, generate):
    kid = (await generate())["kid"]
    x25519 = (await generate("x25519"))["kid"]
    calls = {
        "/key/generate": [{"alg": MARK}],
        "/sign": [{"kid": x25519, "data": MARK}, {"kid": kid, "data": MARK + "!"}],
        "/verify": [{"kid": k, "data": "", "sig": MARK} for k in (MARK, kid, x25519)],
    }
    for path, bodies in calls.items():
        for body in bodies:
            response = await connection.call("POST", path, orjson.dumps(body), JSON)
            assert MARK.encode() not in response.body
    for target in (f"/{MARK}", f"/key/{MARK}", f"/key?alias={MARK}", f"/keys?alg={MARK}"):
        response = await connection.call("GET", f"{target}&limit={MARK}&after={MARK}")
        assert response.problem()
        assert MARK.encode() not in response.body


@pytest.mark.process
def test_a_bomb_of_gzip_is_refused_as_it_grows(serve):
    """Not once it is whole: 256 KiB would become 256 MiB."""
    member = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(member.compress(bytes(2**20)) for _ in range(256)) + member.flush()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    service = serve("--port", "0")
    connection = service.connect()

    def call(body, **headers):
        connection.request("POST", "/key/generate", body, headers)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status

    def most():
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024

    assert call(GOOD, **{"Content-Type": "application/json"}) == 200
    before = most()
    assert call(bomb, **headers) == 413
    assert most() - before < 32
    connection.close()
