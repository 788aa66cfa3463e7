"""The README's examples, as they stand."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from approving import private_jwk, rules
from joserfc import jws
from joserfc.jwk import import_key

from minikms_client.pytest_plugin import serve

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh" and "key" in text]


def run(command, url):
    variables = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MINIKMS_URL": url}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    return done.stdout.splitlines()


def test_the_programs_of_the_readme_run():
    """On a service of its own, since the first lists all keys of the default profile."""
    with serve() as url:
        programs = [text.replace("http://127.0.0.1:8080", url) for text in PYTHON]
        blocking, asynchronous, _, by_pyca, _ = programs
        first, second = run([sys.executable, "-c", blocking], url)
        assert first.endswith("('did:example:123#key-1',)")
        assert second.startswith("alias-not-found ")
        assert run([sys.executable, "-c", asynchronous], url) == ["EdDSA"]
        assert run([sys.executable, "-c", by_pyca], url) == ["{'sub': 'alice'}"]


def test_the_program_of_the_readme_waits_for_an_approval(minikms):
    ann, program = private_jwk(), {}
    exec(PYTHON[2], program)
    minikms.generate_key("p256", alias="guarded", rules=rules(ann=ann))
    signing = ThreadPoolExecutor(1).submit(program["sign"], minikms, b"hello", "guarded")
    while not (waiting := minikms.list_approvals()):
        time.sleep(0.1)
    header = {"alg": "ES256", "typ": "approval+jwt"}
    signed = jws.serialize_compact(header, waiting[0].document, import_key(ann))
    minikms.approve(waiting[0].id, jws=signed)
    assert minikms.verify(b"hello", signing.result(30), alias="guarded")


def test_the_commands_of_the_readme_run(minikms_url):
    [commands] = SHELL
    kid, valid = run(["bash", "-euc", commands], minikms_url)
    assert (len(kid), valid) == (43, "valid")


def test_the_test_of_a_program(tmp_path):
    (tmp_path / "test_it.py").write_text(PYTHON[4])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "1 passed" in done.stdout


def test_the_worked_example_of_rules_runs(shell, minikms):
    document = (Path(__file__).parents[3] / "docs/rules.md").read_text("utf-8")
    section = document.partition("## An issuer whose token is stolen")[2].partition("\n## ")[0]
    make, sign = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert minikms.get_key(shell(make)).rules["jws"]["typ"] == ["dc+sd-jwt"]
    assert shell(sign).count(".") == 2
    shell(sign.replace("issuer.example/pid", "issuer.example/other"), code=4)
    shell(sign.replace("dc+sd-jwt", "JWT"), code=4)
    shell(sign.replace("86400", "864000000"), code=4)
    shell("mkms sign issuer hello", code=4)
