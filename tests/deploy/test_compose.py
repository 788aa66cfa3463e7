"""Compose: both files are valid, and name options of the service."""

import subprocess

import pytest
import yaml
from deployment import DEPLOY, ROOT, named_variables, tool, variables

from minikms.config import Config
from minikms.serve.lifecycle import LAST_CALLS, SHUTDOWN_TIMEOUT

FILES = [ROOT / "docker-compose.yml", DEPLOY / "compose/sqlite.yaml"]
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


@each_file
@tool("docker-compose", "docker-compose")
def test_compose_accepts_it(file, tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "STORE_KEY": "s", "POSTGRES_PASSWORD": "p"}
    done = subprocess.run(
        ("docker-compose", "--file", file, "config", "--quiet"),
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@each_file
def test_variables_are_options(file):
    assert named_variables(file.read_text("utf-8")) <= variables()


@each_file
def test_services_have_the_time_to_stop(file):
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    stops = [one["stop_grace_period"] for one in services.values() if "ports" in one]
    assert stops
    for stop in stops:
        assert int(stop.removesuffix("s")) > (
            Config().shutdown_grace + LAST_CALLS + SHUTDOWN_TIMEOUT
        )


@each_file
def test_build_begins_at_the_dockerfile(file):
    built = yaml.safe_load(file.read_text("utf-8"))["x-minikms"]["build"]
    assert (file.parent / built / "Dockerfile").resolve() == ROOT / "Dockerfile"
