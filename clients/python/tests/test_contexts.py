"""Named contexts: their file, the order of settings, and the token, which is for one service."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from answering import KEY, answering
from commands import on_a_terminal

from minikms_client.cli.context_file import Contexts, Settings

TOKEN = "mkms_0123456789abcdef_secret"


@pytest.fixture
def config():
    return Path(os.environ["MINIKMS_CONFIG"])


@pytest.fixture
def write(config):
    """Write the file of contexts."""

    def write(text, mode=0o600):
        config.parent.mkdir(exist_ok=True)
        config.write_text(text if isinstance(text, str) else json.dumps(text))
        config.chmod(mode)

    return write


def sent(asked):
    """The token of the last request, as the service got it."""
    return asked[-1][2].get("Authorization")


def test_only_the_user_may_enter_the_folders_that_are_made(command, tmp_path, monkeypatch):
    """Somebody else could exchange the file of contexts, and so the service that gets the token."""
    monkeypatch.setenv("MINIKMS_CONFIG", str(tmp_path / "home/.config/mkms/config.json"))
    before = os.umask(0)
    try:
        command("mkms context set prod --url https://kms.example")
    finally:
        os.umask(before)
    made = [tmp_path / name for name in ("home", "home/.config", "home/.config/mkms")]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700] * 3


def test_contexts_are_kept_listed_chosen_and_deleted(command, config):
    assert command("mkms context list") == ""
    command("mkms context set dev --url http://127.0.0.1:8080")
    command("mkms context set prod --url https://kms.example --profile alice --ca ca.pem")
    assert command("mkms context list").splitlines() == [
        "dev\thttp://127.0.0.1:8080\t\t*",
        "prod\thttps://kms.example\talice\t",
    ]
    command("mkms context use prod")
    command("mkms context set prod --profile bob")
    kept = json.loads(config.read_text())
    assert kept["current"] == "prod"
    prod = kept["contexts"]["prod"]
    assert (prod["url"], prod["profile"]) == ("https://kms.example", "bob")
    assert Path(prod["ca"]) == Path.cwd() / "ca.pem"
    command("mkms context delete prod")
    assert json.loads(config.read_text())["current"] is None
    for line in ("context use prod", "context delete prod", "status --context prod"):
        command(f"mkms {line}", code=2)
        assert "There is no context 'prod'" in command.error


def test_only_the_user_can_read_the_file(command, config):
    command("mkms context set dev")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    left = {file.name for file in config.parent.iterdir()}
    assert left == {config.name, f"{config.name}.lock"}


def test_changes_at_the_same_time_are_all_kept():
    """A command that changes contexts waits for another one."""

    def add(name):
        with Contexts.changed() as contexts:
            contexts.by_name[name] = Settings(url="http://127.0.0.1:1")

    with ThreadPoolExecutor() as pool:
        with Contexts.changed() as contexts:
            other = pool.submit(add, "second")
            contexts.by_name["first"] = Settings(url="http://127.0.0.1:1")
        other.result()
    assert Contexts.read().by_name.keys() == {"first", "second"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused(command, write, monkeypatch, mode):
    write({"current": "dev", "contexts": {"dev": {"url": "http://127.0.0.1:1"}}}, mode)
    monkeypatch.delenv("MINIKMS_URL")
    for line in ("status", "context list", "context set dev", "login"):
        command(f"mkms {line}", code=2, given=b"token\n")
        assert "chmod 600" in command.error


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"current": 1, "contexts": {}}',
        '{"current": null, "contexts": []}',
        '{"current": "a", "contexts": {"a": {}}}',
        '{"current": "a", "contexts": {"a": {"url": 1}}}',
        f'{{"current": "a", "contexts": {{"a": {{"url": "http://a", "{TOKEN}": "{TOKEN}"}}}}}}',
        f'{{"current": "a", "contexts": {{"a": {{"url": "http://a", "token": "{TOKEN}"}}}}',
    ],
)
def test_a_file_of_another_form_is_refused_without_its_content(command, write, text):
    write(text)
    command("mkms context list", code=2)
    assert "does not have the contexts of mkms" in command.error
    assert TOKEN not in command.error


def test_a_linked_file_stays_a_link(command, config, tmp_path):
    config.parent.mkdir()
    config.symlink_to(tmp_path / "real.json")
    command("mkms context set dev")
    assert config.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["current"] == "dev"


def test_a_token_is_for_the_service_of_its_context(command, write, monkeypatch, tmp_path):
    """An option or a variable with another URL does not get the token of the current context."""
    answer = (200, {}, json.dumps({**KEY, "kid": "k" * 43}))
    show = f"key show {'k' * 43}"
    monkeypatch.delenv("MINIKMS_PROFILE")
    with answering(*[answer] * 9) as (own, asked), answering(*[answer] * 9) as (other, others):
        context = {"url": own, "token": TOKEN, "profile": "alice"}
        write({"current": "own", "contexts": {"own": context, "bare": {"url": other}}})
        command(f"mkms {show}", code=3)  # at MINIKMS_URL, which the fixture sets
        assert asked == []
        monkeypatch.setenv("MINIKMS_URL", other)
        command(f"mkms {show}")
        assert sent(others) is None
        assert others[-1][2].get("X-Profile") is None
        command(f"mkms {show} --context own")
        assert sent(asked) == f"Bearer {TOKEN}"
        monkeypatch.delenv("MINIKMS_URL")
        command(f"mkms {show}")
        assert (sent(asked), asked[-1][2]["X-Profile"]) == (f"Bearer {TOKEN}", "alice")
        command(f"mkms {show} --profile bob")
        assert (sent(asked), asked[-1][2]["X-Profile"]) == (f"Bearer {TOKEN}", "bob")
        command(f"mkms {show} --url {other}")
        assert sent(others) is None
        command(f"mkms {show} --context own --url {other}", code=2)
        assert "not both" in command.error
        monkeypatch.setenv("MINIKMS_CONTEXT", "bare")
        command(f"mkms {show}")
        assert sent(others) is None
        monkeypatch.delenv("MINIKMS_CONTEXT")
        monkeypatch.setenv("MINIKMS_URL", own)
        monkeypatch.setenv("MINIKMS_TOKEN", TOKEN)
        command(f"mkms {show} --context bare")
        assert sent(others) is None
        monkeypatch.setenv("MINIKMS_URL", other)
        command("mkms login", code=2, given=b"token\n")
        assert f"is for {own}" in command.error


def test_options_come_before_the_context_and_the_context_before_the_environment(
    command, write, monkeypatch, tmp_path
):
    answer = (200, {}, json.dumps({**KEY, "kid": "k" * 43}))
    (tmp_path / "token").write_text("of-a-file\n")
    with answering(*[answer] * 9) as (url, asked):
        write({"current": "own", "contexts": {"own": {"url": url, "token": TOKEN}}})
        monkeypatch.setenv("MINIKMS_TOKEN", "of-the-environment")
        monkeypatch.delenv("MINIKMS_URL")
        for options, token in {
            "": "of-the-environment",
            "--context own": TOKEN,
            "--context own --token-file token": "of-a-file",
        }.items():
            command(f"mkms key show {'k' * 43} {options}")
            assert sent(asked) == f"Bearer {token}"


def test_another_url_takes_the_token_from_a_context(command, write, config):
    write({"current": "a", "contexts": {"a": {"url": "http://a", "token": TOKEN}}})
    command("mkms context set a --profile alice")
    assert json.loads(config.read_text())["contexts"]["a"]["token"] == TOKEN
    command("mkms context set a --url http://b")
    assert json.loads(config.read_text())["contexts"]["a"] == {
        "url": "http://b",
        "profile": "alice",
    }


def test_no_output_has_a_token(command, write, minikms):
    write({"current": "a", "contexts": {"a": {"url": "http://127.0.0.1:1", "token": TOKEN}}})
    for line in (
        "context list",
        "context list --json",
        "context use a --json",
        "context set a --json",
        "status --context a --timeout 1",
        "logout --json",
    ):
        code = 6 if line.startswith("status") else 0
        assert TOKEN not in command(f"mkms {line}", code=code) + command.error
    assert TOKEN not in on_a_terminal("mkms context list", minikms)
