"""docs/console.md: its commands answer the questions of an operator."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from commands import COMMANDS
from document_blocks import blocks, section

from minikms_client import Client, ProblemError
from minikms_client.pytest_plugin import serve

PAGE = (Path(__file__).parents[3] / "docs/console.md").read_text("utf-8")
NAMED = "did:example:123#key-1"


@pytest.fixture(scope="module")
def admin_file(tmp_path_factory, admin_token):
    """The file of the operator's token, which has every scope in all profiles."""
    file = tmp_path_factory.mktemp("questions") / "admin"
    file.touch(0o600)
    file.write_text(admin_token)
    return file


@pytest.fixture(scope="module")
def kms(admin_file):
    """The operator's client of a service that records its calls."""
    log = str(admin_file.with_name("audit.log"))
    options = ("--auth", "token", "--admin-token-file", str(admin_file), "--audit-log", log)
    with serve(*options) as url, Client(url, token_file=str(admin_file)) as client:
        yield client


@pytest.fixture(scope="module")
def made(kms):
    """The ids of keys and of a token by name, after the calls that the questions are about."""
    rules = {"raw": False}
    kids = {
        name: kms.generate_key("p256", alias=name, rules=rules).kid
        for name in (NAMED, "due", "certified")
    }
    kids["signer"] = kms.generate_key("p256", alias="signer", labels={"use": "login"}).kid
    kms.sign(b"hello", alias="signer")
    kms.delete_key(kids["due"], after=timedelta(days=7))
    kids["replaced"] = kids[NAMED]
    kids[NAMED] = kms.rotate_key(kids[NAMED]).kid
    kms.associate_alias(kids[NAMED], "another")
    subject = {"alias": "certified", "subject": "CN=a"}
    chain = [kms.issue_certificate("self-signed", 30, **subject)]
    kms.set_certificates(kids["certified"], chain)
    kms.create_profile("bob")
    filler = kms.create_token("filler", ["keys:write"], profiles=["bob"])
    with Client(kms.url, token=filler.token, profile="bob") as other:
        other.generate_keys("ed25519", 9)
    token = kms.create_token("issuer", ["sign"], profiles=["default"])
    with Client(kms.url, token=token.token) as issuer:
        for name in (NAMED, "nope"):
            with pytest.raises(ProblemError):
                issuer.sign(b"hello", alias=name)
    return {**kids, "issuer": token.record.id}


@pytest.fixture
def answer(kms, admin_file, made):
    """Run the commands below a question, with texts of it replaced; the cells of their lines."""

    def run(question, **replaced):
        [block] = [text for _, text in blocks(section(PAGE, f"### {question}"))]
        for old, new in replaced.items():
            assert old in block
            block = block.replace(old, new)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": f"{COMMANDS}:{os.environ['PATH']}",
                "HOME": str(admin_file.parent),
                "MINIKMS_URL": kms.url,
                "MINIKMS_TOKEN_FILE": str(admin_file),
            },
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    return run


def test_the_uses_of_a_key_on_a_day(answer, made):
    used = "Who used a key yesterday?"
    assert answer(used) == []
    days = {"yesterday": "-2days", "date -u +": "date -ud 2days +"}
    calls = [cells[1:6] for cells in answer(used, **days)]
    assert ["admin", "sign", "success", "default", made["signer"]] in calls
    assert ["admin", "generateKey", "success", "default", made["signer"]] in calls


def test_failed_calls_of_a_token(answer, made):
    calls = answer("Which calls of a token failed, and why?")
    assert [cells[2:4] for cells in calls] == [
        ["sign", "alias-not-found"],
        ["sign", "rule-violated raw"],
    ]


def test_ends_of_keys_and_certificates(answer, made):
    [(_, event, kid, alias)] = answer("Which keys are due for deletion?")
    assert (event, kid, alias) == ("key is deleted", made["due"], "due")
    [(_, event, kid, alias)] = answer("Which certificate ends first?")
    assert (event, kid, alias) == ("certificate ends", made["certified"], "certified")


def test_keys_that_were_not_used(answer, made):
    assert answer("Which keys were not used for 90 days?") == []


def test_keys_without_rules_and_of_an_application(answer, made):
    for question in ("Which keys have no rules?", "Which keys does an application have?"):
        [(kid, *_)] = answer(question)
        assert kid == made["signer"]


def test_the_last_move_of_an_alias_and_rotation_of_its_key(answer, made):
    [cells] = answer("When was an alias moved?")
    assert cells[2:6] == ["associateAlias", "success", "default", made[NAMED]]
    [cells] = answer("When was the key of an alias rotated?")
    both = f"{made['replaced']} -> {made[NAMED]}"
    assert cells[2:6] == ["rotateKey", "success", "default", both]


def test_tokens_and_their_maker(answer, made):
    tokens = answer("Which tokens exist, and what may they do?")
    assert {cells[1]: cells[2:4] for cells in tokens}["issuer"] == ["sign", "default"]
    [(_, who, operation, *_, token, _)] = answer("Who made a token?")
    assert (who, operation, token) == ("admin", "createToken", made["issuer"])


def test_the_profile_with_the_most_keys(answer, made):
    assert answer("Which profile has the most keys?") == [["9 bob"]]
