"""The caller: mkms login, logout, whoami, and the versions of both sides."""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import on_a_terminal


@pytest.fixture
def guarded(command, guarded_url, monkeypatch):
    """Only the setting of a service that needs a token."""
    monkeypatch.delenv("MINIKMS_PROFILE", raising=False)
    monkeypatch.setenv("MINIKMS_URL", guarded_url)
    return guarded_url


def kept():
    return json.loads(Path(os.environ["MINIKMS_CONFIG"]).read_text())


def test_a_login_is_kept(command, guarded, admin_token, monkeypatch):
    shown = command("mkms login", given=f"{admin_token}\n".encode())
    assert shown == f"default: {guarded} as admin"
    assert kept()["contexts"]["default"] == {"url": guarded, "token": admin_token}
    monkeypatch.delenv("MINIKMS_URL")
    assert "default" in command("mkms profile list").splitlines()
    assert command("mkms whoami").startswith("admin\t")
    command("mkms logout")
    assert kept()["contexts"]["default"] == {"url": guarded}
    command("mkms profile list", code=4)
    assert "mkms login" in command.error


def test_a_token_that_is_refused_is_not_kept(command, guarded):
    command("mkms login", code=4, given=b"mkms_0123456789abcdef_wrong\n")
    assert not Path(os.environ["MINIKMS_CONFIG"]).exists()
    command("mkms login", code=2, given=b"\n")
    command("mkms login", code=2, given="tökén\n".encode())
    command("mkms logout", code=2)


def test_a_token_is_not_shown_while_it_is_typed(minikms, guarded, admin_token, monkeypatch):
    class AtGuarded:
        url, profile = guarded, ""

    # The terminal echoes characters until the program turns echo off.
    line = f"mkms login --url {guarded}"
    written = on_a_terminal(line, AtGuarded, typed=f"{admin_token}\n", after="Token: ")
    assert admin_token not in written
    assert f"default: {guarded} as admin" in written


def test_a_context_keeps_the_name_of_a_token_file(command, guarded, admin_token, tmp_path):
    (tmp_path / "token").write_text(admin_token)
    command("mkms login --context file --token-file token --profile default")
    found = kept()["contexts"]["file"]
    assert found == {
        "url": guarded,
        "profile": "default",
        "token_file": str(tmp_path / "token"),
    }
    assert command("mkms whoami --context file").startswith("admin\t")
    (tmp_path / "token").write_text("mkms_0123456789abcdef_wrong")
    command("mkms whoami --context file", code=4)


def test_a_login_elsewhere_needs_another_name(command, guarded, admin_token, minikms_url):
    token = f"{admin_token}\n".encode()
    command("mkms login", given=token)
    command(f"mkms login --url {minikms_url}", code=2, given=token)
    assert "--context" in command.error
    command(f"mkms login --url {minikms_url} --context other", given=b"any\n")
    assert kept()["current"] == "other"
    assert kept()["contexts"]["default"]["token"] == admin_token


def test_a_caller_is_shown(command, guarded, admin_token, monkeypatch):
    monkeypatch.setenv("MINIKMS_TOKEN", admin_token)
    made = json.loads(
        command("mkms token create issuer --scope sign --profile default --expires 90d --json")
    )
    monkeypatch.setenv("MINIKMS_TOKEN", made["token"])
    assert command("mkms whoami") == "issuer\tsign\tdefault"
    shown = json.loads(command("mkms whoami --json"))
    assert shown["url"] == guarded
    assert (shown["id"], shown["expires"]) == (made["record"]["id"], made["record"]["expires"])
    monkeypatch.setenv("MINIKMS_TOKEN", admin_token)
    command(f"mkms token revoke {shown['id']}")


def test_a_service_without_tokens_knows_no_caller(command, minikms):
    assert command("mkms whoami").startswith("anybody\tkeys:read ")
    shown = on_a_terminal("mkms whoami", minikms)
    assert re.search(r"^url +http", shown, re.MULTILINE)
    assert re.search(r"^name +anybody\r$", shown, re.MULTILINE)
    assert re.search(r"^profiles +all\r$", shown, re.MULTILINE)
    assert json.loads(command("mkms whoami --json"))["name"] is None


def test_both_versions_are_shown(command, minikms):
    own, service = command("mkms --version").splitlines()
    assert own == f"mkms, version {version('minikms-client')}"
    assert service == f"{minikms.url}, version {minikms.openapi()['info']['version']}"
    found = json.loads(command("mkms --version --json"))
    assert (found["mkms"], found["url"]) == (version("minikms-client"), minikms.url)
    assert command("mkms --version --url http://127.0.0.1:1") == own
    assert "does not answer" in command.error
    command("mkms --json", code=2)
    assert "Missing command" in command.error
