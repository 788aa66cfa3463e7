import os
import shlex
import shutil

import pytest
from agents import Agent, Server, Webhooks


@pytest.fixture(scope="session")
def minikms_command():
    """The command that starts Mini KMS, which may be installed in another environment."""
    given = os.environ.get("MINIKMS_COMMAND") or shutil.which("minikms")
    if given is None:
        pytest.skip("Mini KMS is not installed: set MINIKMS_COMMAND to the command that starts it")
    return shlex.split(given)


@pytest.fixture(scope="session")
def server(minikms_command, tmp_path_factory):
    """A Mini KMS with its keys in a file, so that it may be away for a while."""
    folder = tmp_path_factory.mktemp("server")
    store = {
        "MINIKMS_STORE": f"sqlite://{folder}/keys.db",
        "MINIKMS_STORE_KEY_FILE": str(folder / "store.key"),
    }
    Server.output([*minikms_command, "store", "init", "--generate-key"], **store)
    with Server(minikms_command, "--auth", "none", **store) as server:
        yield server


@pytest.fixture(scope="session")
def webhooks():
    with Webhooks() as webhooks:
        yield webhooks


@pytest.fixture(scope="session")
def alice(server, webhooks, tmp_path_factory):
    """An agent whose keys are in Mini KMS."""
    with Agent("alice", tmp_path_factory.mktemp("alice"), webhooks, kms=server.url) as agent:
        yield agent


@pytest.fixture(scope="session")
def bob(webhooks, tmp_path_factory):
    """An agent as it comes, with its keys in its own store."""
    with Agent("bob", tmp_path_factory.mktemp("bob"), webhooks) as agent:
        yield agent
