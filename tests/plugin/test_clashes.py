"""A plugin with the name of a built-in algorithm, and the ways out that the sentence names."""

import contextlib
import json

import pytest
from packages import leave_package

from minikms.plugin.registry import GROUP

pytestmark = pytest.mark.process

MODULE = """
from minikms.plugin import AskarKeyPair

class Mine(AskarKeyPair):
    name, aliases, kty, crv, askar_name = "k256", ("mine",), "EC", "secp256k1", "k256"
"""


@pytest.fixture
def clashing(tmp_path, monkeypatch):
    """Let later processes find a package whose algorithm has a built-in name, k256."""
    (tmp_path / "minikms_mine.py").write_text(MODULE)
    leave_package(tmp_path, "minikms-mine", GROUP, k256="minikms_mine:Mine")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("clashing")
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["algorithms"]], ids=str)
def test_the_sentence_names_both_packages_and_both_options(run, command):
    done = run(*command)
    assert (done.returncode, done.stdout) == (2, "")
    [sentence] = done.stderr.splitlines()
    for package in ("minikms-server", "minikms-mine"):
        assert f"the package '{package}'" in sentence
        assert f"--without-algorithm {package}:k256" in sentence


@pytest.mark.usefixtures("clashing")
@pytest.mark.parametrize(
    ("left_out", "source"),
    [("minikms-mine:k256", "minikms-server"), ("minikms-server:k256", "minikms-mine")],
)
def test_the_service_starts_without_either(serve, run, left_out, source):
    service = serve("--port", "0", "--without-algorithm", left_out)
    with contextlib.closing(service.connect()) as connection:
        connection.request("GET", "/algorithms")
        listed = {row["name"]: row["source"] for row in json.load(connection.getresponse())}
        assert listed["k256"] == source
        body = json.dumps({"alg": "k256"})
        connection.request("POST", "/key/generate", body, {"Content-Type": "application/json"})
        key = json.load(connection.getresponse())
        assert ("sign" in key["operations"]) is (source == "minikms-server")
    assert service.stop()[0] == 0
    rows = [
        line.split() for line in run("algorithms", without_algorithm=left_out).stdout.splitlines()
    ]
    assert [row[-1] for row in rows if row[0] == "k256"] == [source]


@pytest.mark.usefixtures("clashing")
def test_several_are_left_out_with_doors_open(serve):
    """By the name alone both are, and the variable has spaces between names."""
    service = serve("--port", "0", "--aws-port", "0", without_algorithm="k256 p256 ed25519")
    with contextlib.closing(service.connect()) as connection:
        connection.request("GET", "/algorithms")
        listed = {row["name"] for row in json.load(connection.getresponse())}
    assert listed.isdisjoint({"k256", "p256", "ed25519"})
    assert "p384" in listed
    assert service.stop()[0] == 0


def test_an_unknown_name_is_refused(run):
    for name in ("rot13", "minikms-none:k256"):
        done = run("serve", "--port", "0", "--without-algorithm", name)
        expected = f"minikms: --without-algorithm: no installed package has {name}.\n"
        assert (done.returncode, done.stderr) == (2, expected)
