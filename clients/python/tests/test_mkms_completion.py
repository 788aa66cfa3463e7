"""Completion of names from the service, in the shell that asks for it."""

import json
import shlex
import sys

import pytest
from answering import KEY, answering

from minikms_client.cli.main import mkms

PATIENT = f"""#!{sys.executable}
from minikms_client.cli import completion, main
completion._SECONDS = 60
main.mkms(prog_name="mkms")
"""


@pytest.fixture
def shell(shell, tmp_path):
    """Run lines of bash in which `mkms` waits longer for a busy service than three seconds."""
    program = tmp_path / "bin" / "mkms"
    program.parent.mkdir()
    program.write_text(PATIENT)
    program.chmod(0o755)
    return lambda line: shell(f"PATH=$PWD/bin:$PATH; {line}")


@pytest.fixture
def complete(shell):
    """The completions of a line in bash, as the printed script finds them."""

    def complete(line, breaks=None):
        # The variables that bash sets before it calls a completion function.
        script = "source <(mkms completion bash)"
        if breaks is not None:
            script += f"; COMP_WORDBREAKS={shlex.quote(breaks)}"
        script += f"; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}"
        return shell(
            f"{script}; _mkms_completion mkms; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ).splitlines()

    return complete


def test_names_of_keys_are_completed(complete, minikms):
    # Of fixed bytes, since a kid may begin with a hyphen, as an option does, or with `si`.
    named = minikms.import_key(alg="p256", secret=b"\1" * 32, alias="signer").kid
    unnamed = minikms.import_key(alg="p256", secret=b"\2" * 32).kid
    assert sorted(complete("mkms sign ")) == sorted(["signer", unnamed])
    assert complete("mkms sign si") == ["signer"]
    assert complete(f"mkms key show {named[:9]}") == [named]
    assert complete("mkms jwe encrypt hello --to sig") == ["signer"]
    assert complete("mkms key list --alias s") == ["signer"]


def test_bash_keeps_a_did_before_its_last_colon(complete, minikms):
    minikms.generate_key("p256", alias="did:example:123#key-1")
    assert complete("mkms sign did:exa") == ["example:123#key-1"]
    assert complete("mkms sign did:example:1") == ["123#key-1"]
    assert complete("mkms jwe encrypt hello --to=did:example:1") == ["123#key-1"]
    assert complete("mkms sign did:example:1", breaks=" \t\n") == ["did:example:123#key-1"]


HOSTILE = ("$(reboot)", "`reboot`", "a b", "a;b", "a\nplain,b", "'", "a*", "~root", "#a", "--url=a")


def test_names_that_a_shell_would_interpret_are_not_offered(complete, minikms):
    kid = minikms.generate_key("p256", alias="good").kid
    for alias in HOSTILE:
        if alias.isprintable():
            minikms.associate_alias(kid, alias)
    assert complete("mkms sign ") == ["good"]
    with answering((200, {}, json.dumps([{**KEY, "aliases": [*HOSTILE, "good"]}]))) as (url, _):
        assert complete(f"mkms --url {url} sign ") == ["good"]


def test_algorithms_scopes_and_profiles_are_completed(complete, minikms):
    assert complete("mkms key generate ed2") == ["ed25519"]
    assert complete("mkms key generate p256 --operation der") == ["derive"]
    assert complete("mkms sign signer hello --alg EdD") == ["EdDSA"]
    assert {"read", "write"} <= set(complete("mkms token create x --scope keys:"))
    assert complete(f"mkms key list --profile {minikms.profile}") == [minikms.profile]


def test_options_after_the_command_name_the_service(complete, minikms):
    minikms.generate_key("p256", alias="signer")
    assert complete("mkms sign --profile nobody ") == []
    assert complete(f"mkms --profile nobody sign --profile {minikms.profile} ") == ["signer"]


def test_contexts_are_completed(complete, command):
    command("mkms context set production")
    assert complete("mkms context use pro") == ["production"]
    assert complete("mkms status --context pro") == ["production"]


def test_a_service_that_does_not_answer_completes_nothing(complete):
    assert complete("mkms --url http://127.0.0.1:1 sign si") == []


def test_a_script_of_an_earlier_version_still_completes(shell, minikms):
    minikms.import_key(alg="p256", secret=b"\1" * 32, alias="signer")
    line = "COMP_WORDS='mkms sign si' COMP_CWORD=2 _MKMS_COMPLETE=bash_complete mkms"
    assert shell(line) == "plain,signer"


@pytest.mark.parametrize("shell_name", ["zsh", "fish"])
def test_other_shells_complete_names(shell, minikms, shell_name):
    minikms.generate_key("p256", alias="signer")
    words = "'mkms sign '" if shell_name == "fish" else "'mkms sign si'"
    line = f"COMP_WORDS={words} COMP_CWORD={'si' if shell_name == 'fish' else 2}"
    assert "signer" in shell(f"{line} _MKMS_COMPLETE={shell_name}_complete mkms")


def test_the_arguments_that_name_a_key_are_completed():
    """A new command with an argument NAME has a completion."""
    missing = [
        path
        for path, parameter in parameters(mkms, "mkms")
        if parameter.name == "name" and parameter._custom_shell_complete is None
    ]
    assert missing == [
        "mkms key generate",
        "mkms key import",
        "mkms profile create",
        "mkms token create",
    ]


def parameters(group, path):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from parameters(command, f"{path} {name}")
        else:
            yield from ((f"{path} {name}", parameter) for parameter in command.params)
