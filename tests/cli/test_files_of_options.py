"""Files that options name are regular and of a bounded size, or one sentence says what is wrong."""

import os

import pytest

MIB = 1024 * 1024
# Each option, and the other options that it needs.
OPTIONS = {
    "--store-key-file": ("--store", "sqlite://{folder}/keys.db"),
    "--admin-token-file": ("--auth", "token"),
    "--seed-keys": (),
    "--jwt-jwks": (
        *("--auth", "token", "--jwt-issuer", "https://a.example", "--jwt-audience", "a"),
    ),
    "--roles": ("--auth", "token"),
    "--tls-cert": (),
    "--tls-key": ("--tls-cert", "{folder}/cert.pem"),
    "--tls-client-ca": ("--tls-cert", "{folder}/cert.pem"),
}


def device(path):
    os.symlink("/dev/zero", path)


def large(path):
    with path.open("wb") as file:
        file.truncate(1024 * MIB)  # of holes alone
    path.chmod(0o600)


@pytest.mark.process
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_refuses_a_path_without_a_file(run, tmp_path, option):
    (tmp_path / "cert.pem").write_text("")
    os.mkfifo(tmp_path / "given")
    more = [text.format(folder=tmp_path) for text in OPTIONS[option]]
    done = run("serve", "--port", "0", option, str(tmp_path / "given"), *more)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("minikms: ")
    assert str(tmp_path / "given") in line
    assert "not a regular file" in line


@pytest.mark.process
@pytest.mark.parametrize("make", [device, large], ids=["device", "large"])
def test_a_path_without_a_bounded_file(run, tmp_path, make):
    """All options are read by the same function."""
    make(tmp_path / "given")
    url = f"sqlite://{tmp_path}/keys.db"
    done = run("store", "info", "--store", url, "--store-key-file", str(tmp_path / "given"))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert ("more than" if make is large else "not a regular file") in line


def test_heads_of_an_audit_log(command, tmp_path):
    os.mkfifo(tmp_path / "heads")
    (tmp_path / "audit.log").write_text("")
    files = str(tmp_path / "audit.log"), "--heads", str(tmp_path / "heads")
    done = command("audit", "verify", "--public-key", "A" * 43, *files)
    assert done.returncode != 0
    assert "not a regular file" in done.stderr


@pytest.mark.parametrize(
    "url", ["sqlite://[", "sqlite:///a[b", "postgres://[", "postgres://u:p@[::1/keys", "http://]["]
)
def test_a_bracket_in_the_url_of_a_store(command, url):
    done = command("store", "info", "--store", url, MINIKMS_STORE_KEY="x" * 43)
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    assert line.startswith("minikms: ")
