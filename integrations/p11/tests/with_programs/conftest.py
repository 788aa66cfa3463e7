"""Fixtures: a sidecar of a new profile, and a shell beside it."""

import signal

import pytest
from commands import Shell


@pytest.fixture
def slot(profile):
    """The slot of the new profile, with the algorithms that it shows by default."""
    return f"minikms={profile.name}"


@pytest.fixture
def options():
    """More options of the sidecar."""
    return []


@pytest.fixture
def begin_sidecar(start, token_file, slot, options):
    """Start the sidecar, whose programs need no login."""

    def begin(**more):
        given = "--token-file", str(token_file), "--allow-delete", "--slot", slot, *options
        return start(*given, **more)

    return begin


@pytest.fixture
def sidecar(begin_sidecar, module):
    """The sidecar."""
    return begin_sidecar()


@pytest.fixture
def replace(sidecar, begin_sidecar):
    """Kill the sidecar, and start another one in its place."""

    def kill_and_start():
        sidecar.stop(signal.SIGKILL)
        sidecar.log_file.unlink()
        return begin_sidecar(folder=sidecar.path.parent)

    return kill_and_start


@pytest.fixture
def shell(tmp_path, sidecar):
    """Runs programs beside the sidecar."""
    return Shell(tmp_path, sidecar)
