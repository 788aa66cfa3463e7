"""The files of deploy/haproxy: two stores behind one address, with a service for each."""

import contextlib
import http.client
import json
import shutil

import pytest
from document_blocks import ROOT
from filled_stores import new_store, write_key
from minikms_processes import services
from ports import free_ports
from serve.haproxy import HAProxy, needs_haproxy

from minikms.access.tokens import Token
from minikms.errors import ProfileNotFound
from minikms.http.problems import TYPE_PREFIX

pytestmark = [pytest.mark.process, needs_haproxy]

FOLDER = ROOT / "deploy/haproxy"
STORES = "1", "2"

# The statuses of a call with the token of the first store, and with the token of the second.
FIRST, SECOND = (200, 401), (401, 200)
BY_HAPROXY, WITHOUT_STORE = (400, 400), (404, 404)

ALICE, BOB = ([("X-Profile", name)] for name in ("alice", "bob"))
KEY = {"alg": "ed25519", "alias": "k"}


class Divided:
    """Two stores, a service for each, and haproxy, whose `ports` have the names of the file."""

    def __init__(self, folder, serve, stack):
        self.folder = folder
        self.ports = dict(zip(("80", "8200", "4566"), free_ports(3), strict=True))
        self.tokens = [Token.new().reveal() for _ in STORES]
        here = {
            "/run/haproxy/admin.sock": f"{folder}/haproxy.sock",
            "/etc/haproxy": str(folder),
            "default-server check port 8080 ": "default-server check ",
        }
        here |= {f"bind :{port}\n": f"bind 127.0.0.1:{own}\n" for port, own in self.ports.items()}
        for number, token in zip(STORES, self.tokens, strict=True):
            here |= self._started(serve, number, token)
        config = (FOLDER / "haproxy.cfg").read_text()
        for there, replaced in here.items():
            assert there in config
            config = config.replace(there, replaced)
        shutil.copy(FOLDER / "profiles.map", folder)
        self.haproxy = stack.enter_context(HAProxy.running(folder, config))

    def _started(self, serve, number, token):
        """Start the service of a store; return its addresses by the addresses in the file."""
        folder = self.folder / number
        folder.mkdir()
        main, vault, aws = map(str, free_ports(3))
        admin = "--admin-token-file", write_key(folder / "admin.token", token)
        ports = "--port", main, "--vault-port", vault, "--aws-port", aws
        serve(*ports, *new_store(folder), *admin)
        return {
            f"10.0.0.{number}:{there}\n": f"127.0.0.1:{here} check port {main}\n"
            for there, here in (("8080", main), ("8200", vault), ("4566", aws))
        }

    def answer(self, method, path, headers=(), body=None, port="80"):
        """The status and the body of an answer; a header may be given twice."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=60)
        content = b"" if body is None else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            if content:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            with connection.getresponse() as response:
                return response.status, response.read().decode()

    def statuses(self, method, path, headers=(), body=None):
        """The statuses of a call with the token of each store."""
        bearers = [("Authorization", f"Bearer {token}") for token in self.tokens]
        return tuple(self.answer(method, path, [*headers, each], body)[0] for each in bearers)

    def differing(self, *calls):
        """The calls whose statuses differ from the expected ones, with both."""
        found = [(call, self.statuses(*call), expected) for call, expected in calls]
        return [each for each in found if each[1] != each[2]]


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """The profiles of the map in their stores, each with a key."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("divided")
        divided = Divided(folder, stack.enter_context(services()), stack)
        assert divided.statuses("POST", "/profile", (), {"name": "alice"}) == FIRST
        assert divided.statuses("POST", "/profile", (), {"name": "bob"}) == SECOND
        for headers, expected in ((), FIRST), (ALICE, FIRST), (BOB, SECOND):
            assert divided.statuses("POST", "/key/generate", headers, KEY) == expected
        yield divided


def test_each_call_reaches_the_store_of_its_profile(divided):
    sign = {"alias": "k", "data": "aGVsbG8"}
    assert not divided.differing(
        (("POST", "/sign", (), sign), FIRST),
        (("POST", "/sign", ALICE, sign), FIRST),
        (("POST", "/sign", BOB, sign), SECOND),
        (("GET", "/keys", [("x-profile", " alice ")]), FIRST),
        (("GET", "/tokens/self", BOB), SECOND),
        (("GET", "/jwks.json?use=sig&profile=bob"), SECOND),
        (("GET", "/audit?profile=b%6Fb"), SECOND),
        (("PATCH", "/profile/b%6fb", (), {"jwks": "private"}), SECOND),
    )


def test_of_two_names_the_service_and_haproxy_take_the_same(divided):
    private = {"jwks": "private"}
    assert not divided.differing(
        (("GET", "/jwks.json?profile=bob", ALICE), SECOND),
        (("GET", "/%6Awks.json?profile=bob", ALICE), SECOND),
        (("GET", "http://kms/jwks.json?profile=bob", ALICE), SECOND),
        (("PATCH", "/profile/bob", ALICE, private), SECOND),
        (("PATCH", "/%70rofile/bob", ALICE, private), SECOND),
        (("PATCH", "/profile/alice?profile=bob", BOB, private), (422, 401)),
        (("GET", "/jwks.json?profile=alice&profile=bob", ALICE), (401, 422)),
        (("GET", "/jwks.json?use=sig;profile=bob", ALICE), (422, 401)),
        (("POST", "/profile", ALICE, {"name": "bob"}), (401, 400)),  # it exists
        (("POST", "/profile", ALICE, {"a": {"name": "alice"}, "name": "bob"}), (401, 422)),
    )


def test_a_request_that_names_no_store_is_refused(divided):
    assert not divided.differing(
        (("GET", "/keys", [*ALICE, *BOB]), BY_HAPROXY),
        (("GET", "/keys", [*ALICE, *ALICE]), BY_HAPROXY),
        (("GET", "/jwks.json?%70rofile=bob", ALICE), BY_HAPROXY),
        (("GET", "/keys", [("X-Profile", "alice,bob")]), WITHOUT_STORE),
        (("GET", "/keys", [("X-Profile", "Alice")]), WITHOUT_STORE),
        (("GET", "/keys", [("X-Profile", "")]), WITHOUT_STORE),
        (("GET", "/jwks.json?profile=", ALICE), WITHOUT_STORE),
        (("GET", "/jwks.json?profile=alice;", ALICE), WITHOUT_STORE),
        (("PATCH", "/profile/alice%2Fbob", ALICE, {}), WITHOUT_STORE),
        (("POST", "/profile", ALICE, {"name": "nobody"}), WITHOUT_STORE),
        (("POST", "/profile", ALICE, {}), WITHOUT_STORE),
        (("POST", "/profile", ALICE), WITHOUT_STORE),
    )
    status, body = divided.answer("GET", "/keys", [("X-Profile", "nobody")])
    assert (status, json.loads(body)["type"]) == (404, TYPE_PREFIX + ProfileNotFound.slug)


def test_the_vault_door_of_each_store(divided):
    def statuses(*namespaces):
        headers = [("X-Vault-Namespace", each) for each in namespaces]
        return tuple(
            divided.answer("GET", path, [*headers, ("X-Vault-Token", token)], port="8200")[0]
            for token in divided.tokens
        )

    path, first, second = "/v1/auth/token/lookup-self", (200, 403), (403, 200)
    expected = {(): first}
    expected |= {(name,): first for name in ("", "/", "root", "alice", "alice/")}
    expected |= {("bob",): second, ("/bob/",): second}
    expected |= {("nobody",): WITHOUT_STORE, ("alice/bob",): WITHOUT_STORE}
    expected |= {("alice", "bob"): BY_HAPROXY}
    assert {names: statuses(*names) for names in expected} == expected


def test_the_aws_door_of_each_store(divided):
    def answers(*key_ids):
        scope = "20260101/eu-north-1/kms/aws4_request"
        signed = "SignedHeaders=host;x-amz-date, Signature=00"
        headers = [("X-Amz-Target", "TrentService.ListKeys")]
        for each in key_ids:
            credential = f"AWS4-HMAC-SHA256 Credential={each}/{scope}, {signed}"
            headers.append(("Authorization", credential))
        tokens = [("X-Amz-Security-Token", token) for token in divided.tokens]
        found = [divided.answer("POST", "/", [*headers, each], {}, "4566") for each in tokens]
        return tuple(status for status, _ in found), found[0][1]

    first, second = (200, 400), (400, 200)
    for key_ids in (), ("any",), ("profile-default",), ("profile-alice",):
        assert answers(*key_ids)[0] == first
    assert answers("profile-bob")[0] == second
    for key_id in "profile-nobody", "profile-alice/profile-bob":
        statuses, body = answers(key_id)
        assert statuses == BY_HAPROXY
        assert json.loads(body)["message"] == "No store has this profile."
    statuses, body = answers("profile-alice", "profile-bob")
    assert statuses == BY_HAPROXY
    assert "<h1>400 Bad request</h1>" in body


def test_the_map_of_a_running_haproxy(divided):
    path, carol = divided.folder / "profiles.map", {"name": "carol"}
    assert divided.statuses("POST", "/profile", (), carol) == WITHOUT_STORE
    divided.haproxy.command(f"add map {path} carol store-2")
    assert divided.statuses("POST", "/profile", (), carol) == SECOND
    divided.haproxy.command(f"set map {path} carol store-1")
    assert divided.statuses("GET", "/keys", [("X-Profile", "carol")]) == (404, 401)
