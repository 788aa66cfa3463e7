"""The sample plugins, installed like a user's, and the contract suite's output for their author."""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from environments import environment

from minikms.encodings import b64url, b64url_decode

pytestmark = pytest.mark.process

# One of the samples needs coincurve, which has no wheel for Python 3.14.
coincurve = pytest.importorskip("coincurve")

ROOT = Path(__file__).parents[2]
ALGORITHMS = ("sample_plugin", "sample_plugin_bip340")
SAMPLES = (*ALGORITHMS, "sample_door")
UNBUILT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "conftest.py")


def run(*command, cwd, timeout=600, **env):
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new virtual environment with the service and the sample plugins, and nothing else."""
    root = tmp_path_factory.mktemp("fresh")
    # Copies: a build leaves files beside the sources.
    service, plugins = root / "service", [root / name for name in SAMPLES]
    service.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, service)
    for name in ("minikms", "doors"):
        shutil.copytree(ROOT / name, service / name, ignore=UNBUILT)
    for plugin in plugins:
        shutil.copytree(ROOT / "tests" / plugin.name, plugin, ignore=UNBUILT)
    extended = [f"{each}[test]" for each in plugins]
    return environment(root / "venv", str(service), *extended).parent


@contextlib.contextmanager
def serving(command, cwd, *options, listening="listening on"):
    """The URL of a running service, or of another of its ports; it must end well."""
    with subprocess.Popen(
        [*command, "serve", "--port", "0", *options],
        cwd=cwd,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",  # as in service_fixtures.py
    ) as process:
        try:
            seen = ""
            while not (found := re.search(rf"{listening} (http://[^,\s]+)", seen)):
                line = process.stderr.readline()
                assert line, f"it ended before it listened: {seen}"
                seen += line
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)  # without a grace period
            process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)  # the first builds and installs packages
async def test_a_plugin_lists_generates_signs_and_verifies(fresh, tmp_path):
    with serving([fresh / "minikms"], tmp_path) as url:
        async with aiohttp.ClientSession(url, raise_for_status=True) as http:

            async def post(path, **body):
                async with http.post(path, json=body) as answer:
                    return await answer.json()

            async with http.get("/algorithms") as answer:
                [listed] = [row for row in await answer.json() if row["name"] == "bp256"]
            assert listed == {
                "name": "bp256",
                "aliases": ["brainpoolP256r1"],
                "kty": "EC",
                "jose_algs": ["ESB256", "ECDH-ES"],
                "operations": [
                    *("sign", "verify", "derive", "jwe-encrypt", "jwe-decrypt"),
                    *("import-jwk", "import-secret"),
                ],
                "opt_in": [],
                "source": "minikms-bp256",
            }

            key = await post("/key/generate", alg="BrainpoolP256r1")
            kid, data = key["kid"], b64url(b"hello")
            assert (key["alg"], key["jwk"]["crv"]) == ("bp256", "BP-256")
            assert (key["multikey"], key["did"]) == (None, None)
            sig = (await post("/sign", kid=kid, data=data))["sig"]
            x, y = (int.from_bytes(b64url_decode(key["jwk"][name]), "big") for name in "xy")
            public = ec.EllipticCurvePublicNumbers(x, y, ec.BrainpoolP256R1()).public_key()
            signature = b64url_decode(sig)
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            der, scheme = utils.encode_dss_signature(r, s), ec.ECDSA(hashes.SHA256())
            public.verify(der, b"hello", scheme)
            with pytest.raises(InvalidSignature):
                public.verify(der, b"hallo", scheme)

            assert await post("/verify", kid=kid, data=data, sig=sig) == {"valid": True}
            other = b64url(b"hallo")
            assert await post("/verify", kid=kid, data=other, sig=sig) == {"valid": False}


@pytest.mark.slow
@pytest.mark.timeout(300)  # the first builds and installs packages
async def test_a_plugin_without_a_jose_name_signs(fresh, tmp_path):
    with serving([fresh / "minikms"], tmp_path) as url:
        async with aiohttp.ClientSession(url) as http:

            async def post(path, status=200, **body):
                async with http.post(path, json=body) as answer:
                    assert answer.status == status, await answer.text()
                    return await answer.json(content_type=None)

            async def get(path):
                async with http.get(path, raise_for_status=True) as answer:
                    return await answer.json()

            [listed] = [row for row in await get("/algorithms") if row["name"] == "bip340"]
            assert listed["operations"] == ["sign", "verify", "import-jwk", "import-secret"]
            assert (listed["kty"], listed["jose_algs"]) == ("OKP", [])

            key = await post("/key/generate", alg="secp256k1-schnorr")
            by, data = {"kid": key["kid"]}, b64url(b"hello")
            assert (key["jwk"]["kty"], key["jwk"]["crv"]) == ("OKP", "BIP340")
            for _ in range(3):
                signed = await post("/sign", **by, data=data)
                assert signed == {"sig": signed["sig"], "alg": None, "kid": key["kid"]}
            public = coincurve.PublicKeyXOnly(b64url_decode(key["jwk"]["x"]))
            digest, sig = hashlib.sha256(b"hello").digest(), signed["sig"]
            assert public.verify(b64url_decode(sig), digest)
            hashed = {"data": b64url(digest), "prehashed": True}
            again = (await post("/sign", **by, **hashed))["sig"]
            assert public.verify(b64url_decode(again), digest)

            for named in (by, {"jwk": key["jwk"]}):
                for asked, valid in (
                    ({"data": data, "sig": sig}, True),
                    ({"data": data, "sig": again}, True),
                    ({**hashed, "sig": sig}, True),
                    ({"data": b64url(b"hallo"), "sig": sig}, False),
                    ({"data": data, "sig": sig[:-4]}, False),
                ):
                    assert await post("/verify", **named, **asked) == {"valid": valid}
            batch = await post("/sign/batch", **by, items=[{"data": data}] * 2)
            for result in batch["results"]:
                assert public.verify(b64url_decode(result["sig"]), digest)

            # The first of BIP-340's vectors that is signed.
            secret = b64url(bytes([*bytes(31), 3]))
            known = await post("/key/import", alg="bip340", secret=secret)
            assert b64url_decode(known["jwk"]["x"]).hex().startswith("f9308a019258c310")

            for path, body in {
                "/sign": {**by, "data": data, "alg": "ES256K"},
                "/jws/sign": {**by, "payload": data},
                "/jws/verify": {**by, "jws": "eyJhbGciOiJFUzI1NksifQ..AAAA"},
            }.items():
                refused = await post(path, 422, **body)
                assert refused["type"] == "urn:minikms:problem:unsupported-option"
            # A library that does not know its type could refuse the whole set for one of them.
            assert await get("/jwks.json") == {"keys": []}
            document = await get("/openapi.json")
            alg = document["components"]["schemas"]["Signature"]["properties"]["alg"]
            assert alg["nullable"] is True


@pytest.mark.slow
@pytest.mark.timeout(300)  # the first builds and installs packages
def test_the_service_in_use_is_the_installed_one(fresh, tmp_path):
    code = "import minikms, minikms_bp256; print(minikms.__file__, minikms_bp256.__file__)"
    done = run(fresh / "python", "-c", code, cwd=tmp_path)
    assert [str(fresh.parent) in path for path in done.stdout.split()] == [True, True]


@pytest.mark.slow
@pytest.mark.timeout(300)  # the first builds and installs packages
async def test_a_door_is_opened(fresh, tmp_path):
    door = serving([fresh / "minikms"], tmp_path, "--plain-port", "0", listening="plain text on")
    with door as url:
        async with aiohttp.ClientSession(url, raise_for_status=True) as http:
            for path in ("/keys", "/sign"):
                async with http.post(path, headers={"Key": "first"}, data=b"hello") as answer:
                    text = await answer.text()
    assert len(base64.b64decode(text)) == 64


@pytest.mark.slow
@pytest.mark.timeout(300)  # the first builds and installs packages
@pytest.mark.parametrize("sample", ALGORITHMS)
def test_a_plugin_passes_its_own_contract(fresh, tmp_path, sample):
    done = run(
        fresh / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        fresh.parents[1] / sample, cwd=tmp_path, PYTEST_ADDOPTS="",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b\d\d passed", done.stdout)


BROKEN = """
from minikms.algorithms.ecdsa import P256
from minikms.testing import AlgorithmContract


class Broken(P256):
    slow = frozenset({"encrypt"})

class TestBroken(AlgorithmContract):
    algorithm = Broken()
"""


@pytest.mark.parametrize("options", [(), ("--assert=plain",)], ids=["rewritten", "plain"])
def test_a_failing_contract_shows_the_compared_values(tmp_path, options):
    (tmp_path / "test_broken.py").write_text(BROKEN)
    done = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "their_types",
        *options, str(tmp_path), cwd=tmp_path, PYTEST_ADDOPTS="",
    )  # fmt: skip
    assert "1 failed" in done.stdout
    shown = "assert frozenset({'encrypt'}) <= {" in done.stdout
    assert shown == (not options), done.stdout


def test_serving_does_not_import_pytest(tmp_path):
    code = (
        "import sys, minikms.cli.main, minikms.plugin, minikms.serve.process; "
        "print('pytest' in sys.modules)"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path).stdout == "False\n"
