import os
import shlex
import shutil

import pytest
from agents import Agent, Server, Webhooks


@pytest.fixture(scope="session")
def minikms_command():
    """The command that starts Mini KMS, in whatever environment it is."""
    given = os.environ.get("MINIKMS_COMMAND") or shutil.which("minikms")
    if given is None:
        pytest.skip("Mini KMS is not installed: set MINIKMS_COMMAND to the command that starts it")
    return shlex.split(given)


@pytest.fixture(scope="session")
def server(minikms_command):
    """A Mini KMS with keys in memory."""
    with Server(minikms_command) as server:
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
