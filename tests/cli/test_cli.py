"""The command line in processes of its own."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from minikms.cli.main import main
from minikms.store.askar.layout import LAYOUT

MODULE = [sys.executable, "-m", "minikms"]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
BODY = b'{"alg":"ed25519"}'


@pytest.mark.interpreter
@pytest.mark.process
@pytest.mark.parametrize("command", [None, MODULE])
def test_the_start_names_address_and_store(serve, command):
    service = serve("--port", "0", command=command)
    assert f"documentation on http://127.0.0.1:{service.port}/docs" in service.first
    assert "memory only" in service.read_until("keys")
    assert service.status("POST", "/key/generate", BODY) == 200
    assert service.status("GET", "/docs/") == 200
    code, written = service.stop()
    assert (code, "Traceback" in written) == (0, False)
    assert "POST /key/generate 200 " in written


@pytest.mark.interpreter
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_calls_finish(serve, number):
    service = serve("--port", "0")
    with contextlib.closing(service.connect()) as idle, service.under_way() as finish:
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        service.process.send_signal(number)
        service.read_until("stopping")
        assert idle.sock.recv(1) == b""  # whoever is asking nothing is let go
        answer = finish()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"alg":"ed25519"' in answer
    code, written = service.end()
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.process
def test_a_port_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("serve", "--port", port)
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert line.startswith("minikms: ")
    assert port in line


@pytest.mark.process
def test_an_address_that_is_none(run):
    ended = run("serve", "--host", "name.invalid")
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, "name.invalid" in line) == (1, True)


@pytest.mark.process
def test_serve_listens_on_the_given_host(serve):
    service = serve("--port", "0", HOST="127.0.0.2")
    assert (service.host, service.status("GET", "/healthz")) == ("127.0.0.2", 200)


@pytest.mark.process
def test_the_host_in_ipv6(serve):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("the loopback interface has no IPv6 address: enable IPv6")
    service = serve("--port", "0", "--host", "::1")
    assert (service.host, service.status("GET", "/healthz")) == ("[::1]", 200)


@pytest.mark.process
@pytest.mark.parametrize("given", ["flag", "variable", "both"])
def test_serve_listens_on_the_given_port(serve, free_port, given):
    port = free_port
    args = [] if given == "variable" else ["--port", port]
    variables = {"variable": {"PORT": port}, "both": {"PORT": "1"}}.get(given, {})
    assert serve(*args, **variables).port == int(port)


@pytest.mark.interpreter
@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "variables"), [(["--log-format", "json"], {}), ([], {"LOG_FORMAT": "json"})]
)
def test_serve_logs_in_the_given_format(serve, args, variables):
    service = serve("--port", "0", *args, **variables)
    assert json.loads(service.first)["levelname"] == "INFO"
    service.status("GET", "/healthz?planted-7f3a")
    _, written = service.stop()
    lines = [json.loads(line) for line in written.splitlines()]
    (access,) = [line for line in lines if line["name"] == "minikms.access"]
    assert (access["path"], access["status"]) == ("/healthz", 200)
    assert "planted-7f3a" not in written


@pytest.mark.process
@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_log_level_that_says_less(run, level):
    # The log does not say that it has started, but it names errors.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("serve", "--port", port, LOG_LEVEL=level)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)


@pytest.mark.interpreter
@pytest.mark.process
def test_a_log_that_nobody_reads(serve):
    # A stop and a continue interrupt a partial write, which Python itself would not finish.
    service = serve("--port", "0", command=["env", "PYTHONUNBUFFERED=1", *MODULE])
    path = "/key/" + "x" * 4000
    with contextlib.closing(service.connect()) as connection:
        for _ in range(200):  # a pipe holds 16 of them
            connection.request("GET", path)
            with connection.getresponse() as response:
                response.read()
                assert response.status == 422
    time.sleep(0.2)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        service.process.send_signal(number)
    code, written = service.stop()
    assert (code, written.count(f" GET {path} 422 ")) == (0, 200)


# RFC 8037 appendix A.1 and A.3.
SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.process
@pytest.mark.parametrize("given", ["flag", "variable"])
def test_keys_of_a_file(serve, tmp_path, given):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"alg": "ed25519", "seed": SEED}]}))
    args, variables = (["--seed-keys", file], {}) if given == "flag" else ([], {"SEED_KEYS": file})
    service = serve("--port", "0", "--log-level", "debug", *map(str, args), **variables)
    assert service.status("GET", f"/key/{KID}") == 200
    code, written = service.stop()
    assert (code, SEED in "".join(service.lines) + written) == (0, False)


@pytest.mark.process
@pytest.mark.parametrize(
    ("content", "place"),
    [
        (f'{{"keys": [{{"alg": "k256", "secret": "{SEED}"}}, {{"seed": "{SEED}"}}]}}', "keys[1]."),
        (SEED, "It is not JSON"),
    ],
)
def test_a_bad_file_of_keys(run, tmp_path, content, place):
    file = tmp_path / "keys.json"
    file.write_text(content)
    ended = run("serve", "--port", "0", "--seed-keys", str(file))
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert line.startswith(f"minikms: {file}: {place}")
    assert SEED not in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("port", value) for value in ("abc", "-1", "65536", "99999", "1.5", "")),
        *(("workers", value) for value in ("abc", "-1", "0", "1.5", "")),
        *(("max-body", value) for value in ("abc", "-1", "0", "1M", "")),
        *(("max-header", value) for value in ("abc", "0", "255")),
        *(("header-timeout", value) for value in ("abc", "0", "0.5")),
        *(("body-timeout", value) for value in ("abc", "0")),
        *(("idle-timeout", value) for value in ("abc", "0")),
        *(("max-in-flight", value) for value in ("abc", "0")),
        *(("log-format", value) for value in ("xml", "")),
        *(("log-level", value) for value in ("loud", "")),
    ],
)
def test_values_that_are_none(option, value):
    variable = "MINIKMS_" + option.replace("-", "_").upper()
    ways = [([f"--{option}={value}"], {})]
    if value:  # an empty variable counts as none
        ways.append(([], {variable: value}))
    for args, env in ways:
        ended = CliRunner().invoke(main, ["serve", *args], env=env)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert f"'--{option}'" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("args", [["keys"], ["serve", "--nope"], ["serve", "extra"]])
def test_an_unknown_command_is_refused(command, args):
    ended = command(*args)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.process
def test_the_table_of_algorithms(run, command):
    ended = command("algorithms")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert run("algorithms", command=MODULE).stdout == ended.stdout
    head, *rows = [line.split() for line in ended.stdout.splitlines()]
    assert head == ["NAME", "KTY", "JOSE", "OPERATIONS", "SOURCE"]
    assert {row[0] for row in rows} >= {"ed25519", "p384", "bls12381g2", "a256kw", "xc20p"}
    [words] = [row for row in rows if row[0] == "ed25519"]
    assert words[:7] == ["ed25519", "OKP", "EdDSA", "Ed25519", "sign", "verify", "derive*"]
    assert "minikms-server" in {row[-1] for row in rows}


def test_help_names_variables_and_version_the_layout(command):
    expected = f"minikms, version {version('minikms-server')}, store layout {LAYOUT}\n"
    assert command("--version").stdout == expected
    shown = " ".join(command("serve", "--help").stdout.split())
    for name in ("HOST", "PORT", "WORKERS", "MAX_BODY", "LOG_FORMAT", "LOG_LEVEL"):
        assert f"MINIKMS_{name}" in shown


COMMANDS = {"minikms.cli.store", "minikms.cli.token", "minikms.cli.audit"}


def test_commands_besides_serve_do_not_import_the_web():
    assert "minikms.web" not in imported_by("minikms.cli.main", *COMMANDS)


def imported_by(*names):
    """The modules of a process that imports these."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_start_imports_no_other_commands():
    imported = imported_by("minikms.cli.main", "minikms.serve.process")
    assert "minikms.web.routes" in imported
    assert COMMANDS.isdisjoint(imported)


@pytest.mark.process
@pytest.mark.timeout(120)  # it waits for 26 s besides the start
@pytest.mark.skipif(not FAKETIME, reason="faketime is missing: apt-get install faketime")
def test_keys_in_memory_outlive_a_connection(serve):
    # Askar's pool closes a connection after half an hour. Once the service has started, a minute
    # takes less than a second.
    clock = f"LD_PRELOAD={FAKETIME}", "FAKETIME=+0 x100", "FAKETIME_START_AFTER_SECONDS=8"
    service = serve("--port", "0", "--cache-size", "0", command=["env", *clock, *MODULE])

    def signs():
        for _ in range(100):  # who may wait for two seconds waits for a hundredth of that
            with contextlib.suppress(OSError):
                status = service.status("POST", "/sign", b'{"alias":"kept","data":""}')
                if status != 503:
                    return status == 200
            time.sleep(0.05)
        return False

    body = b'{"alg":"ed25519","alias":"kept"}'
    assert service.status("POST", "/key/generate", body) == 200
    time.sleep(8)
    for _ in range(9):
        time.sleep(2)
        assert signs()
