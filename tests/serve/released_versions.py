"""Released versions of Mini KMS, from the history of this repository."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# The folder with the git history; tests in a copy of the files set another one.
HISTORY = str(Path(__file__).parents[2])


def command_of(commit, folder):
    """The command of the version of a commit, whose files go into a folder; skip without them."""
    command = ["env", "-C", str(folder), sys.executable, "-m", "minikms"]
    archive = folder / "archive.tar"
    for step in (
        ["git", "-C", HISTORY, "archive", "-o", archive, commit, "minikms", "setup.cfg"],
        ["tar", "-x", "-C", folder, "-f", archive],
        # Write its entry points to where Python looks for the entry points of packages.
        ["env", "-C", folder, sys.executable, "-c", "__import__('setuptools').setup()", "egg_info"],
        [*command, "algorithms"],
    ):
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"the released version is not to be had: {done.stderr[-500:]}")
    return command


def call(service, method, path, body=None, **headers):
    """Call a service; give the status and the value of its answer."""
    connection = service.connect()
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        with connection.getresponse() as response:
            return response.status, json.loads(response.read() or "null")
    finally:
        connection.close()
