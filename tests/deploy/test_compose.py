"""Compose: both files are valid, and name options of the service."""

import re
import subprocess

import pytest
import yaml
from deploy.deployment import DEPLOY, ROOT, named_variables, tool, variables

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
def test_services_keep_an_audit_log_under_a_name_that_stays(file):
    """A log is known by its path and the host name, by default the id of a container."""
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    served = [one for one in services.values() if "ports" in one]
    assert len({one["hostname"] for one in served}) == len(served)
    assert len({volume for one in served for volume in one["volumes"]}) == len(served)
    for one in served:
        _, folder = one["volumes"][0].split(":")
        assert one["environment"]["MINIKMS_AUDIT_LOG"].startswith(f"{folder}/")


@each_file
def test_services_have_no_rights_and_write_to_their_volume_alone(file):
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    for one in services.values():
        if one["image"] == "mini-kms":
            assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])
            assert one["security_opt"] == ["no-new-privileges:true"]


@each_file
def test_the_first_token_is_in_a_file_that_the_comment_shows(file):
    """A log of a container would keep it."""
    text = file.read_text("utf-8")
    services = yaml.safe_load(text)["services"]
    command = services["init"]["command"]
    made = command[command.index("--admin-token-file") + 1]
    (service, shown) = re.search(r" cp (\S+):(\S+) - \| tar -xO$", text, re.MULTILINE).groups()
    assert shown == made
    assert services[service]["volumes"] == services["init"]["volumes"]


@each_file
def test_build_begins_at_the_dockerfile(file):
    built = yaml.safe_load(file.read_text("utf-8"))["x-minikms"]["build"]
    assert (file.parent / built / "Dockerfile").resolve() == ROOT / "Dockerfile"
