"""Variables that a service does not know, and a store key without a store."""

import re

import pytest
from deploy.deployment import ROOT
from filled_stores import write_key

from minikms.cli.door_options import ServeCommand
from minikms.cli.main import serve as serve_command
from minikms.cli.variables import unknown_variables
from minikms.store.askar.stores import new_raw_key

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def unknown(monkeypatch, **variables):
    """The variables that a service with only these would name, each with a similar one."""
    monkeypatch.setattr("os.environ", variables)
    assert isinstance(serve_command, ServeCommand)
    params = serve_command.get_params(serve_command.make_context("serve", []))
    return dict(unknown_variables(param.envvar for param in params if param.envvar))


def test_a_misspelt_variable_is_named_with_a_similar_one(monkeypatch):
    found = unknown(
        monkeypatch,
        MINIKMS_STROE="sqlite:///keys.db",
        MINIKMS_STOREKEY_FILE="store.key",
        MINIKMS_VAULT_PROT="8200",
        MINIKMS_XYZZY="1",
        MINIKMS_STORE="memory",
        OTHER_STROE="x",
    )
    assert found == {
        "MINIKMS_STROE": "MINIKMS_STORE",
        "MINIKMS_STOREKEY_FILE": "MINIKMS_STORE_KEY_FILE",
        "MINIKMS_VAULT_PROT": "MINIKMS_VAULT_PORT",
        "MINIKMS_XYZZY": "",
    }


def test_the_links_of_services_in_kubernetes_are_not_named(monkeypatch):
    links = {
        f"MINIKMS_{name}{part}": "tcp://10.0.0.1:8080"
        for name in ("", "HEADLESS_")
        for part in (
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT_8080_TCP",
            "PORT_8080_TCP_ADDR",
            "PORT_8080_TCP_PORT",
            "PORT_8080_TCP_PROTO",
        )
    }
    links["MINIKMS_HEADLESS_PORT"] = "tcp://10.0.0.1:8080"
    assert unknown(monkeypatch, **links) == {}
    assert unknown(monkeypatch, MINIKMS_METRCS_PORT="1") == {
        "MINIKMS_METRCS_PORT": "MINIKMS_METRICS_PORT"
    }


def test_no_variable_of_this_repository_is_named(monkeypatch):
    files = [
        path
        for folder in ("clients/python", "integrations", "deploy", "docs")
        for ending in ("*.py", "*.ts", "*.md", "*.env", "*.service", "*.yaml", "*.yml")
        for path in (ROOT / folder).rglob(ending)
        if not {"node_modules", ".venv"} & set(path.parts)
    ]
    texts = [path.read_text("utf-8") for path in (*files, ROOT / "Dockerfile", ROOT / "README.md")]
    variables = {name for text in texts for name in re.findall(r"MINIKMS_[A-Z_]+[A-Z]\b", text)}
    assert {"MINIKMS_URL", "MINIKMS_STORE_KEY", "MINIKMS_TO_STORE_KEY"} < variables
    variables.remove("MINIKMS_NAME_OPTION")  # of a door to be written
    assert unknown(monkeypatch, **dict.fromkeys(variables - {"MINIKMS_PORT"}, "")) == {}


@pytest.mark.process
@WORKERS
def test_a_service_logs_a_variable_without_effect_once(serve, workers):
    service = serve("--port", "0", workers=str(workers), CACHE_SIEZ="secret-value")
    lines = [line for line in service.lines if "MINIKMS_CACHE_SIEZ" in line]
    assert len(lines) == 1
    assert "MINIKMS_CACHE_SIZE" in lines[0]
    assert "secret-value" not in "".join(service.lines)


@pytest.mark.process
@WORKERS
@pytest.mark.parametrize("how", ["file", "variable"])
def test_a_service_does_not_start_with_a_store_key_and_no_store(run, tmp_path, how, workers):
    key = new_raw_key()
    if how == "file":
        given = {"store_key_file": write_key(tmp_path / "store.key", key)}
    else:
        given = {"store_key": key}
    ended = run(
        "serve", "--port", "0", workers=str(workers), STROE=f"sqlite://{tmp_path}/k.db", **given
    )
    assert ended.returncode == 2
    assert "MINIKMS_STROE" in ended.stderr
    assert "did you mean MINIKMS_STORE?" in ended.stderr
    assert key not in ended.stderr
