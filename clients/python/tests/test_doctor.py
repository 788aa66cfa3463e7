"""mkms doctor: its checks and its exit codes."""

import json
import time
from datetime import UTC, datetime
from email.utils import formatdate
from importlib.metadata import version

import pytest
import trustme
from answering import answering, refusal
from commands import on_a_terminal

from minikms_client import Client
from minikms_client.pytest_plugin import serve

CHECKS = ("settings", "service", "clock", "store", "version", "caller", "profile", "scopes")


@pytest.fixture
def examined(command):
    """Run mkms doctor; the result and the detail of each check."""

    def run(options="", code=0):
        lines = command(f"mkms doctor {options}", code=code).splitlines()
        return {check: rest for check, *rest in (line.split("\t") for line in lines)}

    return run


def results(findings):
    return {check: result for check, (result, _) in findings.items()}


def all_ok(**others):
    return {**dict.fromkeys(CHECKS, "ok"), **others}


def test_a_service_without_tokens_lets_anybody_on_the_machine_use_it(examined, minikms):
    findings = examined()
    assert results(findings) == all_ok(caller="warning")
    assert "anybody on this machine" in findings["caller"][1]
    assert minikms.url in findings["service"][1]
    assert version("minikms-client") in findings["version"][1]
    assert findings["profile"][1] == minikms.profile
    assert "keys:write" in findings["scopes"][1]


def test_findings_are_lines_of_json_or_a_table(command, minikms):
    lines = [json.loads(line) for line in command("mkms doctor --json").splitlines()]
    assert [line["check"] for line in lines] == list(CHECKS)
    assert {line["code"] for line in lines} == {0}
    assert on_a_terminal("mkms doctor", minikms).split()[:3] == ["check", "result", "detail"]


@pytest.fixture
def guarded(guarded_url, monkeypatch):
    """Use the service that needs a token, with this token."""
    monkeypatch.setenv("MINIKMS_URL", guarded_url)
    monkeypatch.setenv("MINIKMS_PROFILE", "default")

    def use(token):
        monkeypatch.setenv("MINIKMS_TOKEN", token)

    return use


def test_a_caller_with_all_scopes_is_fine(examined, guarded, admin_token):
    guarded(admin_token)
    findings = examined()
    assert results(findings) == all_ok()
    assert findings["caller"][1].startswith("admin, ")


@pytest.mark.parametrize("token", ["", "mkms_0123456789abcdef_wrong"])
def test_a_caller_without_a_valid_token_is_told_where_tokens_come_from(examined, guarded, token):
    guarded(token)
    findings = examined(code=4)
    assert results(findings) == {**dict.fromkeys(CHECKS[:5], "ok"), "caller": "problem"}
    assert "mkms login" in findings["caller"][1]


def test_a_caller_is_told_what_its_token_does_not_allow(
    examined, guarded, guarded_url, admin_token
):
    with Client(guarded_url, token=admin_token) as admin:
        made = admin.create_token("issuer", ["sign"], profiles=["default"])
    guarded(made.token)
    findings = examined()
    assert results(findings) == all_ok()
    assert "(keys:write)" in findings["scopes"][1]
    assert "(sign)" not in findings["scopes"][1]
    findings = examined("--profile other", code=4)
    assert results(findings) == all_ok(profile="problem")
    assert "--profile" in findings["profile"][1]


@pytest.mark.parametrize(("days", "result"), [(6, "warning"), (8, "ok")])
def test_the_end_of_a_token_is_announced_a_week_before(
    examined, command, guarded, admin_token, days, result
):
    guarded(admin_token)
    made = command(f"mkms token create x --scope sign --profile default --expires {days}d")
    guarded(made)
    found, detail = examined()["caller"]
    assert found == result
    assert "token expires 20" in detail


def test_the_end_of_a_jwt_is_no_warning(examined):
    """A caller without an id has a JWT, which is valid for minutes, and gets the next by itself."""
    expires = datetime.fromtimestamp(time.time() + 600, UTC).isoformat()
    with answering(*answers(caller={**CALLER, "expires": expires})) as (url, _):
        found, detail = examined(f"--url {url}")["caller"]
    assert found == "ok"
    assert "token expires 20" in detail


POD = {
    "id": None,
    "name": "cluster:pod",
    "issuer": "cluster",
    "subject": "pod",
    "roles": [
        {"name": "maker", "scopes": ["keys:write"], "profiles": ["a"]},
        {"name": "signer", "scopes": ["sign"], "profiles": None},
    ],
    "scopes": ["keys:write", "sign"],
    "profiles": None,
    "expires": "2100-01-01T00:00:00.000Z",
}


@pytest.mark.parametrize(
    ("issuer", "profile", "scopes", "what"),
    [("cluster", "a", "keys:write sign", "token"), ("certificate", "b", "sign", "certificate")],
)
def test_the_roles_of_a_caller_are_named(examined, issuer, profile, scopes, what):
    caller = {**POD, "name": f"{issuer}:pod", "issuer": issuer}
    with answering(*answers(caller=caller)) as (url, _):
        findings = examined(f"--url {url} --profile {profile}")
    detail = findings["caller"][1]
    assert detail.startswith(f"{issuer}:pod with the roles maker signer, whose {what} expires 2")
    assert findings["scopes"][1].partition(";")[0] == scopes


def test_a_profile_that_does_not_exist_is_a_problem(examined):
    assert examined("--profile nobody", code=3)["profile"][0] == "problem"


def test_a_service_that_is_not_there_ends_the_checks(examined):
    findings = examined("--url http://127.0.0.1:1", code=6)
    assert results(findings) == {"settings": "ok", "service": "problem"}
    assert "minikms serve" in findings["service"][1]


def test_an_answer_of_another_program_is_a_problem(examined):
    with answering((404, {}, "<html>")) as (url, _):
        assert examined(f"--url {url}", code=6)["service"][0] == "problem"


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ("--token-file nowhere", "caller"),
        ("--context nowhere", "settings"),
        ("--url localhost:8080", "settings"),
        ("--ca nowhere.pem", "settings"),
        ("--cert nowhere.pem", "settings"),
    ],
)
def test_a_setting_that_cannot_be_used_is_a_problem(examined, options, check):
    assert examined(options, code=2)[check][0] == "problem"


def test_the_source_of_the_settings_is_named(examined, command, minikms, monkeypatch):
    assert "MINIKMS_URL" in examined()["settings"][1]
    command(f"mkms context set production --url {minikms.url}")
    assert "production" in examined("--context production")["settings"][1]
    monkeypatch.delenv("MINIKMS_URL")
    assert "production" in examined()["settings"][1]
    command("mkms context delete production")
    monkeypatch.setattr("minikms_client.settings.DEFAULT_URL", minikms.url)
    assert "no context" in examined()["settings"][1]


@pytest.mark.parametrize(("days", "result"), [(None, "ok"), (2, "warning")])
def test_the_end_of_the_certificate_is_shown(examined, tmp_path, monkeypatch, days, result):
    authority = trustme.CA()
    end = None if days is None else datetime.fromtimestamp(time.time() + days * 86_400, UTC)
    leaf = authority.issue_cert("127.0.0.1", not_after=end)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "chain")
    leaf.private_key_pem.write_to_path(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("MINIKMS_PROFILE", "default")
    with serve("--tls-cert", str(tmp_path / "chain"), "--tls-key", str(tmp_path / "key")) as url:
        url = url.replace("http://", "https://")
        findings = examined(f"--url {url} --ca ca.pem")
        untrusted = examined(f"--url {url}", code=6)
    assert results(findings) == all_ok(caller="warning", certificate=result)
    assert findings["certificate"][1].startswith("ends ")
    assert untrusted["service"][0] == "problem"
    assert "--ca" in untrusted["service"][1]


CALLER = {"id": None, "name": "x", "scopes": ["sign"], "profiles": None, "expires": None}


def answers(headers=None, ready=None, caller=CALLER):
    """Return the answers of a service of another version to mkms doctor."""
    ready = ready or {"status": "ready"}
    bodies = ({"status": "alive"}, ready, {"info": {"version": "1.0"}}, caller)
    return [(200, headers or {}, json.dumps(body)) for body in bodies]


@pytest.mark.parametrize(
    ("seconds", "result", "word"), [(3600, "warning", "ahead"), (-3600, "warning", "behind")]
)
def test_a_clock_that_differs_is_a_warning(examined, seconds, result, word):
    date = formatdate(time.time() + seconds, usegmt=True)
    with answering(*answers({"Date": date})) as (url, _):
        findings = examined(f"--url {url}")
    assert findings["clock"][0] == result
    assert word in findings["clock"][1]


@pytest.mark.parametrize("headers", [{}, {"Date": "Mon, 99 Nov 2026 12:00:00 GMT"}])
def test_a_clock_that_is_not_known_is_a_warning(examined, headers):
    with answering(*answers(headers)) as (url, _):
        found, detail = examined(f"--url {url}")["clock"]
    assert found == "warning"
    assert "unknown" in detail


def test_a_service_elsewhere_without_tls_or_tokens_is_a_warning(examined):
    # A real one answers without tokens at names of its machine alone, unless others are allowed.
    with answering(*answers(caller={**CALLER, "name": None})) as (url, _):
        findings = examined(f"--url {url.replace('127.0.0.1', '0.0.0.0')}")
    assert (findings["service"][0], findings["caller"][0]) == ("warning", "warning")
    assert "TLS" in findings["service"][1]
    assert "everybody who reaches it" in findings["caller"][1]


def test_another_version_and_absent_providers_are_warnings(examined):
    with answering(*answers(ready={"status": "ready", "away": ["hsm"]})) as (url, _):
        findings = examined(f"--url {url}")
    assert (findings["version"][0], findings["store"][0]) == ("warning", "warning")
    assert "1.0" in findings["version"][1]
    assert "hsm" in findings["store"][1]


def test_a_store_that_does_not_answer_is_a_problem_beside_other_findings(examined):
    alive, _, *others = answers()
    with answering(alive, refusal("store-unavailable"), *others) as (url, _):
        findings = examined(f"--url {url}", code=6)
    assert findings["store"] == ["problem", "D."]
    assert findings["caller"][0] == "ok"
