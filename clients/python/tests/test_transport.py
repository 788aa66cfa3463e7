"""Tokens, TLS, refusals and missing answers between the client and the service."""

import asyncio
import inspect
import pickle
import socket
import threading
import time
from datetime import timedelta

import httpx
import pytest
import trustme
from access.pods import Pod
from answering import OK, answering, refusal

from minikms_client import (
    AsyncClient,
    Client,
    Forbidden,
    InvalidSetting,
    KeyNotFound,
    OverRate,
    StoreUnavailable,
    TooBusy,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)
from minikms_client.pytest_plugin import serve
from minikms_client.retries import Retries
from minikms_client.wire import Call


def test_a_call_that_is_refused_for_now_is_made_again():
    with answering(refusal("store-unavailable"), refusal("too-busy"), OK) as (url, asked):
        with Client(url) as kms:
            assert kms.get_key("a").kid == "a"
        assert len(asked) == 3


async def test_a_call_without_an_answer_is_made_again():
    with answering(None, OK) as (url, asked):
        async with AsyncClient(url) as kms:
            assert (await kms.find_key("a b")).kid == "a"
        assert [path for _, path, _ in asked] == ["/key?alias=a+b"] * 2


def test_the_client_gives_up_after_its_retries():
    with answering(*[refusal("store-unavailable")] * 3) as (url, asked):
        with Client(url, retries=2) as kms, pytest.raises(StoreUnavailable):
            kms.get_key("a")
        assert len(asked) == 3
    with answering(refusal("over-rate", 429, retry_after="3600")) as (url, asked):
        with Client(url) as kms, pytest.raises(OverRate) as caught:
            kms.get_key("a")
        assert caught.value.retry_after == 3600
        assert len(asked) == 1


@pytest.mark.parametrize("retry_after", ["", "1"])
def test_the_longest_pause_shortens_pauses_and_does_not_end_the_attempts(retry_after):
    answers = [refusal("too-busy", retry_after=retry_after)] * 21
    with answering(*answers) as (url, asked):
        with Client(url, retries=20, longest_wait=0.01) as kms, pytest.raises(TooBusy):
            kms.get_key("a")
        assert len(asked) == 21


def test_the_pauses_survive_a_restart_of_six_seconds():
    taken = inspect.signature(Client).parameters
    retries = Retries(taken["retries"].default, taken["longest_wait"].default)
    call = Call("POST", "/key/generate", is_repeatable=False)
    pauses = []
    while (pause := retries.after_failure(call, httpx.ConnectError(""), len(pauses))) is not None:
        pauses.append(pause)
    assert 6 <= sum(pauses) < 8
    assert Retries(5000, 10).after_failure(call, httpx.ConnectError(""), 4999) == 10


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_answer_of_a_proxy_is_repeated_if_the_call_may_be(status):
    proxy = (status, {"Retry-After": "0"}, "<html>")
    other = (status, {}, '{"type": "about:blank"}')
    with answering(proxy, other, OK, proxy, proxy, proxy) as (url, asked):
        with Client(url, retries=2) as kms:
            assert kms.get_key("a").kid == "a"
            assert len(asked) == 3
            with pytest.raises(UnexpectedAnswer) as caught:
                kms.generate_key("ed25519")
            assert len(asked) == 4
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (copy.status, copy.retry_after) == (status, 0)
        with Client(url, retries=1) as kms, pytest.raises(UnexpectedAnswer):
            kms.get_key("a")
        assert len(asked) == 6


# A repeated call would change more than one call, or get the answer that nothing is left to do.
ONCE = [
    ("generateKey", lambda kms: kms.generate_key("ed25519")),
    ("generateKey", lambda kms: kms.generate_key("ed25519", alias="a")),
    ("generateKey", lambda kms: kms.generate_key("ed25519", alias_taken="refuse")),
    ("generateKeys", lambda kms: kms.generate_keys("ed25519", 2)),
    ("importKey", lambda kms: kms.import_key(alg="ed25519", seed=bytes(32))),
    ("importKey", lambda kms: kms.import_key(jwk={"kty": "OKP"}, alias="a")),
    ("importKey", lambda kms: kms.import_key(jwk={"kty": "oct", "k": "AA"}, if_exists="keep")),
    ("importKey", lambda kms: kms.import_key(alg="hs256", secret=b"a", if_exists="keep")),
    ("rotateKey", lambda kms: kms.rotate_key("a")),
    ("deleteKey", lambda kms: kms.delete_key("a")),
    ("deleteKeyByAlias", lambda kms: kms.delete_key_by_alias("a", after=timedelta(days=7))),
    ("dissociateAlias", lambda kms: kms.dissociate_alias("a", "b")),
    ("createProfile", lambda kms: kms.create_profile("alice")),
    ("deleteProfile", lambda kms: kms.delete_profile("alice")),
    ("createToken", lambda kms: kms.create_token("signer", ["sign"])),
    ("revokeToken", lambda kms: kms.revoke_token("a")),
]
REPEATABLE = {"associateAlias", "nextKey", "removeCertificates", "restoreKey"}


@pytest.mark.parametrize("call", [call for _, call in ONCE], ids=[name for name, _ in ONCE])
def test_a_change_that_may_have_been_made_is_not_sent_again(call):
    with answering(refusal("store-unavailable"), None) as (url, asked), Client(url) as kms:
        with pytest.raises(StoreUnavailable):
            call(kms)
        with pytest.raises(Unreachable):
            call(kms)
        assert len(asked) == 2


def test_every_change_is_known_to_be_repeatable_or_not(document):
    changes = {
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in ("post", "delete")
        and {"keys", "profiles", "tokens"}.intersection(operation["tags"])
    }
    assert changes == {name for name, _ in ONCE} | REPEATABLE


@pytest.mark.parametrize("members", [{}, {"outcome": "unknown"}])
def test_a_problem_says_whether_the_call_may_have_been_done(members):
    refused = answering(refusal("store-unavailable", **members))
    with refused as (url, _), Client(url) as kms, pytest.raises(StoreUnavailable) as caught:
        kms.generate_key("ed25519")
    assert pickle.loads(pickle.dumps(caught.value)).outcome == members.get("outcome")


def test_a_key_whose_alias_refuses_is_made_again():
    with answering(None, refusal("store-unavailable"), OK) as (url, asked), Client(url) as kms:
        assert kms.generate_key("ed25519", alias="a", alias_taken="refuse").kid == "a"
        assert len(asked) == 3


def test_a_busy_service_may_be_asked_again_for_anything():
    with answering(refusal("too-busy"), OK) as (url, asked), Client(url) as kms:
        assert kms.generate_key("ed25519").kid == "a"
        assert len(asked) == 2


def test_an_answer_of_another_server_is_unexpected():
    others = (500, {}, "<html>Internal error</html>"), *[(200, {}, "hello")] * 3
    with answering(*others) as (url, _), Client(url) as kms:
        with pytest.raises(UnexpectedAnswer) as caught:
            kms.get_key("a")
        assert caught.value.status == 500
        for call in (lambda: kms.get_key("a"), kms.list_keys, kms.jwks):
            with pytest.raises(UnexpectedAnswer):
                call()


def test_a_service_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, retries=1) as kms, pytest.raises(Unreachable, match=url):
            kms.readyz()


def test_a_service_that_does_not_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2, retries=0) as kms, pytest.raises(Unreachable, match="answer"):
            kms.readyz()


def test_a_service_that_comes_back(unused_tcp_port):
    """The call waits for the service to listen."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    found = []

    def call():
        with Client(url, retries=100, longest_wait=60) as kms:
            found.append(kms.generate_key("ed25519"))

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.3)
    with serve("--port", str(unused_tcp_port)):
        caller.join(60)
    assert found[0].alg == "ed25519"


def test_calls_carry_the_token_and_nothing_shows_it(
    guarded_url, admin_token, tmp_path, monkeypatch
):
    with Client(guarded_url) as kms, pytest.raises(Unauthenticated):
        kms.list_keys()
    with Client(guarded_url, token=admin_token) as admin:
        made = admin.create_token("signer", ["sign"], profiles=["default"])
        assert made.token not in repr(made)
        assert admin_token not in repr(admin)
        assert made.record in admin.list_tokens()
        with Client(guarded_url, token=made.token) as kms:
            own = kms.get_own_token()
        assert (own.id, own.scopes, own.profiles) == (made.record.id, ("sign",), ("default",))
        file = tmp_path / "token"
        file.write_text(f"{made.token}\n")
        with Client(guarded_url, token_file=file) as signer:
            with pytest.raises(Forbidden):
                signer.list_keys()
            # A token that replaces the one in the file counts from the next call on.
            file.write_text(admin_token)
            assert signer.list_keys().keys == ()
        for _ in range(120):
            admin.create_token("other", ["sign"], profiles=["default"])
        every = admin.list_tokens()
        assert len(every) > 120
        page = admin.list_tokens(limit=50)
        following = admin.list_tokens(limit=50, after=page.after)
        assert (*page, *following) == every[:100]
        assert every.after is None
        assert admin.revoke_token(made.record.id) == made.record.id
        monkeypatch.setenv("MINIKMS_URL", guarded_url)
        monkeypatch.setenv("MINIKMS_PROFILE", "alice")
        monkeypatch.setenv("MINIKMS_TOKEN_FILE", str(file))
        with Client() as kms:
            assert (kms.url, kms.profile) == (guarded_url, "alice")
            kms.create_profile("alice")
            assert kms.list_keys().keys == ()
        monkeypatch.setenv("MINIKMS_TOKEN", made.token)
        with Client() as kms, pytest.raises(Unauthenticated):
            kms.list_profiles()
    with pytest.raises(ValueError, match="not both"):
        Client(guarded_url, token=admin_token, token_file=file)


def passed_on(url, headers):
    """The answer of a service to a call that another server got."""
    names = ("Authorization", "X-Profile")
    answer = httpx.get(url, headers={name: headers[name] for name in names if headers[name]})
    return answer.status_code, {"Content-Type": answer.headers["Content-Type"]}, answer.content


async def test_calls_whose_token_is_renewed_meanwhile_are_sent_once_more(
    guarded_url, admin_token, tmp_path
):
    file = tmp_path / "token"
    with Client(guarded_url, token=admin_token) as admin:
        first, second = (admin.create_token("reader", ["keys:read"]) for _ in range(2))
        file.write_text(first.token)

        def renew():
            file.write_text(second.token)
            admin.revoke_token(first.record.id)

        all_sent = threading.Barrier(4, action=renew)

        def late(path, headers):
            all_sent.wait(20)
            return passed_on(guarded_url + path, headers)

        def soon(path, headers):
            return passed_on(guarded_url + path, headers)

        with answering(*[late] * 4, *[soon] * 5) as (url, asked):
            async with AsyncClient(url, token_file=file) as kms:
                await asyncio.gather(*(kms.list_keys() for _ in range(4)))
                await kms.list_keys()
    assert [headers["Authorization"] for _, _, headers in asked] == [
        *[f"Bearer {first.token}"] * 4,
        *[f"Bearer {second.token}"] * 5,
    ]


def test_a_pod_with_a_projected_token_runs_for_days(tmp_path):
    pod = Pod(tmp_path)
    with (
        serve("--auth", "token", "--roles", str(pod.roles)) as url,
        Client(url, token_file=pod.file) as kms,
    ):
        first, ended = pod.renew(5), False
        kid = kms.generate_key("ed25519").kid
        while not ended:
            headers = {"Authorization": f"Bearer {first}"}
            ended = httpx.get(f"{url}/keys", headers=headers).status_code == 401
            pod.renew(5)
            kms.sign(b"hello", kid=kid)
            time.sleep(0.05)


@pytest.mark.parametrize("content", ["", "mkms_0123456789abcdef_a", "mkms_0123456789abcdef_b"])
def test_a_call_whose_token_stays_refused_fails(guarded_url, tmp_path, content):
    file = tmp_path / "token"
    file.write_text("mkms_0123456789abcdef_a")

    def answer(path, headers):
        file.write_text(content)
        return passed_on(guarded_url + path, headers)

    with answering(answer, answer) as (url, asked), Client(url, token_file=file) as kms:
        with pytest.raises(Unauthenticated):
            kms.list_keys()
        assert len(asked) == (2 if content.endswith("b") else 1)


def test_settings_of_no_use(tmp_path):
    with pytest.raises(InvalidSetting, match="localhost:8080 must start with http"):
        Client("localhost:8080")
    kms = Client("http://localhost", profile="bób")
    with kms, pytest.raises(InvalidSetting, match="The profile"):
        kms.list_keys()
    file = tmp_path / "token"
    with Client("http://localhost", token_file=file) as kms:
        with pytest.raises(InvalidSetting, match=f"{file} cannot be read: No such file"):
            kms.list_keys()
        for content in (b"secret\nsecond line", "sécret".encode(), b"secret\xff"):
            file.write_bytes(content)
            # Errors are logged, so the token is not in them.
            with pytest.raises(InvalidSetting, match=r"^The token must be one line") as caught:
                kms.list_keys()
            assert caught.value.__cause__ is None
        for content, fault in ((b" \n", "is empty"), (b"secret" * 3000, "is larger than 17 KiB")):
            file.write_bytes(content)
            with pytest.raises(InvalidSetting, match=f"^The token file {file} {fault}.$") as caught:
                kms.list_keys()
            assert caught.value.__context__ is None


def test_tls_with_a_certificate_of_the_caller(tmp_path):
    authority = trustme.CA()
    names = {"cert": authority.issue_cert("localhost"), "caller": authority.issue_cert("alice")}
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    for name, issued in names.items():
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        (tmp_path / f"{name}.key").chmod(0o600)
    files = ["--tls-cert", f"{tmp_path}/cert.pem", "--tls-key", f"{tmp_path}/cert.key"]
    with serve(*files, "--tls-client-ca", str(ca)) as url:
        url = url.replace("127.0.0.1", "localhost")
        caller = (tmp_path / "caller.pem", tmp_path / "caller.key")
        with Client(url, ca=ca, cert=caller) as kms:
            assert kms.readyz() == "ready"
        with Client(url, ca=ca, retries=0) as kms, pytest.raises(Unreachable):
            kms.readyz()
        with Client(url, retries=0) as kms, pytest.raises(Unreachable):
            kms.readyz()


def test_a_problem_crosses_to_another_process():
    refused = answering(refusal("key-not-found", 404))
    with refused as (url, _), Client(url) as kms, pytest.raises(KeyNotFound) as caught:
        kms.get_key("a")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is type(caught.value)
    assert (copy.slug, str(copy)) == ("key-not-found", "D.")
