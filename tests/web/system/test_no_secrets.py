"""Only answers that are meant to return secrets have any; logs and metrics have none."""

import json
import os
from base64 import b64encode, urlsafe_b64encode
from contextlib import closing
from copy import deepcopy
from functools import partial
from itertools import count, product
from urllib.parse import urlencode

import base58
import pytest
from algorithm_facts import FACTS
from base64url import raw
from operation_calls import OTHER_BODIES, USES
from waiting import once_not_busy

from minikms.web.routes import ROUTES

pytestmark = pytest.mark.shared_service

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "seed"}
GIVES = {
    *("exportKey", "unwrap", "derive", "decrypt", "openBox", "openSealedBox", "decapsulate"),
    *("decryptJwe", "openHpke", "unpackDidcomm"),
}


def encodings(secret):
    """Every form in which bytes go into text, without what padding would hide."""
    yield secret.hex()
    yield secret.hex().upper()
    yield b64encode(secret).decode().rstrip("=")
    yield urlsafe_b64encode(secret).decode().rstrip("=")
    yield base58.b58encode(secret).decode()


def members(node):
    """The names of every object in a JSON document."""
    if isinstance(node, dict):
        yield from node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from members(child)


def bodies(kid, jwk):
    """A body for each operation, whether the key can do it or not; its peer is the key itself."""
    by, peer = {"kid": kid}, jwk or {}
    operations = {use.path: by | use.body for use in USES} | OTHER_BODIES
    for path, more in (
        ("/didcomm/pack", {"from": kid}),
        ("/jwe/encrypt", {"recipients": [by | {"alg": "dir"}]}),
    ):
        operations[path] = operations[path] | more
    return {
        **{
            route.name: {
                name: peer if isinstance(value, dict) else value
                for name, value in operations[route.path].items()
            }
            for route in ROUTES
            if route.path in operations
        },
        "associateAlias": {"alias": "a"},
        "updateKey": {"labels": {"a": "b"}},
        "createProfile": {"name": "p"},
        "generateKey": {"alg": "ed25519"},
        "importKey": {"jwk": peer},
    }


@pytest.mark.parametrize("alg", FACTS)
async def test_no_call_of_any_algorithm_answers_its_secret(client, get, post, generate, alg):
    key = await generate(alg, exportable=True)
    exported = (await get(f"/key/{key['kid']}/export"))["jwk"]
    secrets = [raw(exported[name]) for name in PRIVATE & exported.keys()]
    assert secrets
    forms = {form for secret in secrets for form in encodings(secret)}
    called = set()
    last = {"rotateKey": 1, "deleteKeyByAlias": 2, "deleteKey": 2}
    for route in sorted(ROUTES, key=lambda route: last.get(route.name, 0)):
        if route.name in GIVES or route.name == "deleteProfile":
            continue
        path = route.path.partition("{")[0] + (
            key["kid"] + route.path.rpartition("}")[2] if "{" in route.path else ""
        )
        by_alias = ("findKey", "dissociateAlias", "deleteKeyByAlias")
        query = {"alias": "a"} if route.name in by_alias else None
        body = bodies(key["kid"], key["jwk"]).get(route.name)
        call = partial(client.request, route.method, path, json=body, params=query)
        async with await once_not_busy(call) as response:
            text = await response.text()
            assert response.status < 500
        called.add(route.name)
        if route.name != "openapi":
            assert PRIVATE.isdisjoint(members(json.loads(text))), (route.name, text)
        assert not [form for form in forms if form in text], route.name
        headers = str(dict(response.headers))
        assert not [form for form in forms if form in headers], route.name
    assert called == {route.name for route in ROUTES} - GIVES - {"deleteProfile"}


# The lengths of keys are excluded.
LENGTHS = [*range(24, 32), *range(70, 91)]


@pytest.mark.parametrize(
    ("alg", "field"), [*product(["p256", "a256gcm", "hs256"], ["secret", "jwk", "seed"])]
)
async def test_a_refused_import_does_not_answer_the_secret(client, alg, field):
    """A secret of a refused import is not sent back."""
    for secret in map(os.urandom, LENGTHS):
        text = urlsafe_b64encode(secret).decode()
        value = {"kty": "EC", "crv": "P-256", "d": text, "x": text} if field == "jwk" else text
        body = {"alg": alg, field: value, "surplus": text}
        for sent in (body, {name: body[name] for name in ("alg", field)}):
            async with client.post("/key/import", json=sent) as response:
                answer = await response.text()
            if response.status == 200:
                continue  # HMAC takes a long secret
            assert response.status == 422
            assert not [form for form in encodings(secret) if form in answer]


# Base64url as it stands, and fit for an alias, a label or a name.
PLANTED = "planted-7f3a9c2b"
UNFIT = f"{PLANTED} !"
HEADERS = [
    *({"X-Profile": value} for value in (PLANTED, UNFIT)),
    *({"Content-Type": value} for value in (PLANTED, f"{PLANTED}/json", f"text/{PLANTED}")),
    *({name: PLANTED} for name in ("Content-Encoding", "Accept", "Cookie", "Origin", "Referer")),
    *({name: PLANTED} for name in ("User-Agent", "X-Forwarded-For", "Forwarded", "Expect")),
    {"X-Request-Id": UNFIT},
    {PLANTED: PLANTED},
]
# In JWTs the base64url of a JSON document, in which it stands.
_JWT = ".".join(
    urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
    for part in ({"alg": "EdDSA", "kid": PLANTED}, {"sub": PLANTED, "exp": 1}, PLANTED)
)
WRONG_TOKENS = [
    *(f"Bearer {token}" for token in (PLANTED, UNFIT, _JWT, f"mkms_0123456789abcdef_{PLANTED}")),
    *(f"{scheme} {PLANTED}" for scheme in ("Basic", "Digest", PLANTED)),
    PLANTED,
]


def nodes(document, path=()):
    """The paths of all values in a JSON document."""
    yield path
    if isinstance(document, dict | list):
        children = document.items() if isinstance(document, dict) else enumerate(document)
        for name, child in children:
            yield from nodes(child, (*path, name))


def planted_in(document):
    """Yield the document with the planted text in place of each value, and beside it."""
    for *path, last in filter(None, nodes(document)):
        for planted in PLANTED, [PLANTED], {PLANTED: PLANTED}:
            copy = parent = deepcopy(document)
            for name in path:
                parent = parent[name]
            parent[last] = planted
            yield copy
    yield document | {PLANTED: PLANTED}


def strings(node):
    if isinstance(node, str):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from strings(child)


class Guarded:
    """A service that asks for a token, and tells all that it can."""

    def __init__(self, service, connection, token, audit):
        self.service = service
        self.connection = connection  # it connects again where an answer ends it
        self.audit = audit
        self.token = token
        self.numbers = count()
        self.last = None

    def call(self, method, target, body=None, headers=()):
        """Send a request, and give status and answer."""
        known = f"request-{next(self.numbers)}."
        headers = {
            "X-Request-Id": known,
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.token}",
            **dict(headers),
        }
        self.connection.request(method, target, body, headers)
        with self.connection.getresponse() as response:
            self.last, text = response.headers["X-Request-Id"], response.read()
            return response.status, text

    def wait(self):
        """Wait until the log has the line of the last call."""
        while self.last:
            if '"name": "minikms.access"' in self.service.read_until(self.last):
                self.last = None

    def told(self):
        """All output for the operator, by its place."""
        self.wait()
        self.service.metrics()
        return {
            "log": "".join(self.service.lines),
            "metrics": self.service.exposed,
            "audit": "".join(map(self._without_names, self.audit.read_text().splitlines())),
        }

    def _without_names(self, line):
        """A line of the audit log, without the profile and key that it should name."""
        return json.dumps({**json.loads(line), "profile": None, "kid": None, "alias": None})


@pytest.fixture
def guarded(serve, free_port, tmp_path, admin):
    token, file = admin
    options = ["--log-level", "debug", "--log-format", "json", "--metrics-port", free_port]
    options += ["--auth", "token", "--admin-token-file", file, "--max-wrong-tokens", "100000"]
    options += ["--audit-log", str(tmp_path / "audit.log")]
    service = serve("--port", "0", *options)
    with closing(service.connect()) as connection:
        yield Guarded(service, connection, token, tmp_path / "audit.log")


def calls_of(document):
    """Each call that the document has, with bodies that work; what removes comes last."""
    parameters = document["components"]["parameters"]
    turn = {"importKey": 0, "deleteKey": 2, "revokeToken": 2, "deleteProfile": 2}
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            query = {}
            for ref in operation.get("parameters", ()):
                parameter = parameters[ref["$ref"].rpartition("/")[2]]
                if parameter["in"] == "path":
                    path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
                elif parameter["in"] == "query":
                    query[parameter["name"]] = PLANTED
            body = operation.get("requestBody", {"content": {"application/json": {}}})
            examples = body["content"]["application/json"].get("examples", {"": {"value": None}})
            values = [example["value"] for example in examples.values()]
            found.append((operation["operationId"], method.upper(), path, query, values))
    return sorted(found, key=lambda call: turn.get(call[0], 1))


@pytest.mark.process
def test_nothing_that_is_sent_or_given_is_told(guarded):
    """A path alone is in the log; whoever calls chooses the kid or name in it, and nothing else."""
    status, document = guarded.call("GET", "/openapi.json")
    calls, secrets = calls_of(json.loads(document)), set()
    assert {name for name, *_ in calls} == {route.name for route in ROUTES}
    for name, method, path, _, examples in calls:
        for example in examples:
            status, answer = guarded.call(method, path, example and json.dumps(example))
            if name in (*GIVES, "encapsulate", "createToken", "random") and status == 200:
                secrets.update(text for text in strings(json.loads(answer)) if len(text) > 20)
    for _, method, path, query, examples in calls:
        targets = [path, f"{path}?{urlencode(query | {PLANTED: PLANTED})}"]
        targets += [f"{path}?{urlencode({one: PLANTED})}" for one in query]
        bodies = [f'"{PLANTED}"', PLANTED, f'{{"{PLANTED}']
        for example in filter(None, examples):
            bodies += map(json.dumps, planted_in(example))
        for target in targets:
            guarded.call(method, target, examples[0] and json.dumps(examples[0]))
        for body in bodies:
            guarded.call(method, path, body)
        for headers in [*HEADERS, *({"Authorization": token} for token in WRONG_TOKENS)]:
            guarded.call(method, path, examples[0] and json.dumps(examples[0]), headers)
        guarded.wait()
    found = guarded.service.metrics()
    counted = {dict(labels).get("route") for kind, labels in found if kind == "requests_total"}
    assert {name for name, *_ in calls} <= counted
    assert len(secrets) > 4
    forms = {PLANTED, guarded.token, *_JWT.split("."), *secrets, repr(raw(PLANTED))[2:-1]}
    forms.update(encodings(PLANTED.encode()), encodings(raw(PLANTED)))
    for where, told in guarded.told().items():
        assert not [form for form in forms if form in told], where
    guarded.call("GET", f"/key/{PLANTED}")
    assert PLANTED in guarded.told()["log"]
