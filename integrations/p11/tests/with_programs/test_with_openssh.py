"""OpenSSH: ssh-keygen, and ssh-agent with a login."""

import contextlib
import subprocess

import pytest
from commands import Shell, need
from waiting import wait_until

ALGS = {"p256": "ecdsa-sha2-nistp256", "p384": "ecdsa-sha2-nistp384", "rsa2048": "ssh-rsa"}


@pytest.fixture
def public_keys(profile, shell, module):
    """The lines of ssh-keygen for the keys of the profile, by their alias."""
    for alg in ALGS:
        profile.generate(alg, alias=f"ssh {alg}")
    lines = shell.run(need("ssh-keygen", "openssh-client"), "-D", module).splitlines()
    return {line.split(" ", 2)[2]: line for line in lines}


@pytest.fixture
def begin_agent(module):
    """Start an agent that may load p11-kit's module, for the programs of a shell."""
    with contextlib.ExitStack() as ended:

        def begin(shell):
            path = shell.folder / "agent"
            program = [need("ssh-agent", "openssh-client"), "-D", "-a", path, "-P", module]
            streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            agent = subprocess.Popen(program, env=shell.environment, **streams)
            ended.callback(agent.wait, timeout=30)
            ended.callback(agent.terminate)
            wait_until("ssh-agent", path.exists)
            shell.environment["SSH_AUTH_SOCK"] = str(path)

        yield begin


def load(shell, module, pin):
    """Give an agent the module, and the PIN that ssh-add asks for."""
    ask = shell.write("ask", f"#!/bin/sh\necho '{pin}'\n")
    ask.chmod(0o700)
    shell.environment.update(SSH_ASKPASS=str(ask), SSH_ASKPASS_REQUIRE="force")
    return shell.done("ssh-add", "-s", module)


def sign_and_verify(shell, public_key):
    shell.write("key.pub", public_key)
    shell.write("allowed", f"someone {public_key}")
    shell.write("data", "what a person signs")
    (shell.folder / "data.sig").unlink(missing_ok=True)
    shell.run("ssh-keygen", "-Y", "sign", "-f", "key.pub", "-n", "file", "data")
    check = "ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "someone", "-n", "file"
    said = shell.run(*check, "-s", "data.sig", content="what a person signs")
    assert "Good" in said


def test_ssh_keygen_shows_the_public_keys(public_keys):
    shown = {name: line.split(" ")[0] for name, line in public_keys.items()}
    assert shown == {f"ssh {alg}": kind for alg, kind in ALGS.items()}


def test_an_agent_signs_with_each_key(public_keys, begin_agent, shell, module, sidecar):
    begin_agent(shell)
    assert load(shell, module, "none is needed").returncode == 0
    for public_key in public_keys.values():
        sign_and_verify(shell, public_key)
    sidecar.restart()
    for public_key in public_keys.values():
        sign_and_verify(shell, public_key)


def test_an_agent_logs_in_with_a_token(
    kms, profile, start, slot, tmp_path_factory, public_keys, begin_agent, module
):
    shell = Shell(tmp_path_factory.mktemp("user"), start("--slot", slot))
    begin_agent(shell)
    assert load(shell, module, "mkms-wrong").returncode == 1
    token, _ = kms.token(profile.name, ["keys:read", "sign"])
    assert load(shell, module, token).returncode == 0
    sign_and_verify(shell, public_keys["ssh p256"])


def test_after_a_kill_of_the_sidecar_an_agent_needs_the_module_again(
    public_keys, begin_agent, shell, module, replace
):
    begin_agent(shell)
    load(shell, module, "none is needed")
    public_key = public_keys["ssh p256"]
    sign_and_verify(shell, public_key)
    replace()
    shell.refused("ssh-keygen", "-Y", "sign", "-f", "key.pub", "-n", "file", "data")
    assert load(shell, module, "none is needed").returncode == 1
    shell.done("ssh-add", "-e", module)
    assert load(shell, module, "none is needed").returncode == 0
    sign_and_verify(shell, public_key)
