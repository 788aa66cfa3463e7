"""`minikms store seal`, `unseal` and `reseal`, and commands on a store whose key is sealed."""

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
from functools import partial

import boto3
import pytest
from filled_stores import everything, fill, options_of, write_key
from minikms_processes import refused, services
from openbao import needs_openbao, openbao
from vault import ROOT_TOKEN

from minikms.seals.key_file import read_key
from minikms.store.askar.stores import new_raw_key

pytestmark = pytest.mark.usefixtures("quick_check_value")


@pytest.fixture
def run(command):
    """Run a command on a store."""
    return partial(command, "store")


@pytest.fixture(scope="session")
def key():
    """The store key, one for all tests of a process: they copy stores that were filled once."""
    return new_raw_key()


@pytest.fixture
def file(tmp_path, key):
    return write_key(tmp_path / "store.key", key)


@pytest.fixture
def on_a_store(tmp_path, file, key):
    """The options of a store in a file."""
    url = f"sqlite://{tmp_path}/keys.db"
    asyncio.run(fill(url, key))
    return options_of(url, file)


@pytest.fixture
def seal(run, file):
    """Seal the key file."""

    def seal_by(*uris):
        by = [part for uri in uris for part in ("--by", uri)]
        ended = run("seal", "--store-key-file", file, *by)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
        return ended.stdout

    return seal_by


def test_a_sealed_key_opens_its_store(run, seal, file, key, on_a_store, one, two, caplog):
    os.chmod(file, 0o640)
    written = seal(one.uri, two.uri)
    with open(file) as opened:
        content = opened.read()
    assert key not in content + written
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o640
    assert [each["uri"] for each in json.loads(content)["seals"]] == [one.uri, two.uri]
    one.begin("away")
    assert run("info", *on_a_store).returncode == 0
    assert "It is away" in caplog.text
    two.begin("away")
    assert "No seal opens" in refused(run("info", *on_a_store))


def test_each_seal_is_tried(run, seal, file, key, one, two):
    seal(one.uri, two.uri)
    options = "seals", "--store-key-file", file
    ended = run(*options)
    opened = [f"{each.uri}: opens the store key" for each in (one, two)]
    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", opened)
    two.begin("away")
    ended = run(*options)
    expected = [opened[0], f"{two.uri}: It is away"]
    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (1, "", expected)


def test_a_seal_that_opens_another_key_is_named(run, seal, file, on_a_store, one, two, caplog):
    seal(one.uri, two.uri)
    one.begin("lies")
    assert run("info", *on_a_store).returncode == 0
    assert f"{two.uri} opened the store key, but not {one.uri}: It opens something" in caplog.text
    ended = run("seals", "--store-key-file", file)
    assert ended.returncode == 1
    first, second = ended.stdout.splitlines()
    assert first.startswith(f"{one.uri}: It opens something else")
    assert second == f"{two.uri}: opens the store key"


def test_one_seal_alone_comes_with_a_warning(seal, one, two):
    assert "If this seal is lost" in seal(one.uri)
    assert "Without" not in seal(one.uri, two.uri)


def test_other_seals_replace_the_seals_of_a_file(run, seal, file, key, one, two):
    seal(one.uri)
    seal(two.uri)
    one.begin("away")
    assert read_key(file, "", "raw").secret == key


def test_a_seal_that_fails_leaves_the_file_as_it_is(run, file, one, two):
    def change(*options):
        return refused(run(*options, "--store-key-file", file))

    with open(file) as opened:
        before = opened.read()
    two.begin("away")
    assert "It is away" in change("seal", "--by", one.uri, "--by", two.uri)
    assert "begins with an installed one: awskms" in change("seal", "--by", "s.token")
    for command in ("reseal", "seals"):
        assert "is not sealed" in change(command)
    assert "is not sealed" in change("unseal", "--to", f"{file}.plain")
    with open(file) as opened:
        assert opened.read() == before
    assert sorted(os.listdir(os.path.dirname(file))) == ["one", "site", "store.key", "two"]
    assert "--store-key-file" in refused(run("reseal"))


def test_a_key_that_is_unsealed_is_in_a_new_file(run, seal, file, key, one):
    seal(one.uri)
    options = "unseal", "--store-key-file", file, "--to"
    assert "File exists" in refused(run(*options, file))
    ended = run(*options, f"{file}.plain")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert key not in ended.stdout
    assert stat.S_IMODE(os.stat(f"{file}.plain").st_mode) == 0o600
    with open(f"{file}.plain") as plain:
        assert plain.read() == f"{key}\n"
    assert read_key(file, "", "raw").secret == key


def test_a_key_that_is_sealed_again_has_other_ciphertexts(run, seal, file, key, one, two):
    seal(one.uri, two.uri)
    os.symlink(file, f"{file}.link")
    with open(file) as opened:
        before = json.load(opened)
    assert run("reseal", "--store-key-file", f"{file}.link").returncode == 0
    assert os.path.islink(f"{file}.link")
    with open(file) as opened:
        after = json.load(opened)
    assert [each["uri"] for each in after["seals"]] == [one.uri, two.uri]
    for old, new in zip(before["seals"], after["seals"], strict=True):
        assert old["ciphertext"] != new["ciphertext"]
    two.begin("away")
    assert "It is away" in refused(run("reseal", "--store-key-file", file))
    with open(file) as opened:
        assert json.load(opened) == after
    assert read_key(file, "", "raw").secret == key


def test_a_new_key_is_sealed_by_the_seals_of_the_old(run, seal, file, key, on_a_store, one, two):
    seal(one.uri, two.uri)
    new = f"{file}.new"
    url = on_a_store[1]
    before = asyncio.run(everything(url, key))
    two.begin("away")
    options = "rekey", *on_a_store, "--new-key-file", new, "--generate-key"
    assert "It is away" in refused(run(*options))
    assert not os.path.exists(new)
    two.end("away")
    ended = run(*options)
    assert (ended.returncode, ended.stderr) == (0, "")
    with open(new) as opened:
        assert [each["uri"] for each in json.load(opened)["seals"]] == [one.uri, two.uri]
    secret = read_key(new, "", "raw").secret
    assert secret != key
    assert secret not in ended.stdout
    assert asyncio.run(everything(url, secret)) == before
    assert "does not open" in refused(run("info", *on_a_store))
    target = f"sqlite://{os.path.dirname(file)}/copy.db"
    options = "--to", target, "--to-key-file", f"{file}.copy", "--generate-key"
    assert run("copy", *options_of(url, new), *options).returncode == 0
    assert len(asyncio.run(everything(target, read_key(f"{file}.copy", "", "raw").secret))) == 4


def test_a_sealed_file_that_is_damaged(run, seal, file, one):
    seal(one.uri)
    with open(file, "r+") as opened:
        text = opened.read().replace('"version": 1', '"version": 2')
        opened.seek(0)
        opened.write(text)
    assert "newer Mini KMS" in refused(run("reseal", "--store-key-file", file))
    with open(file, "r+") as opened:
        opened.truncate(40)
    assert "damaged" in refused(run("reseal", "--store-key-file", file))


# Kills itself at each step of a command in turn, once the seals have worked: wherever Python opens,
# makes, changes, replaces or removes a file, and before and after each fsync. Its check
# values are as quick as the test's.
KILLED = """
import hashlib, os, signal, sys
from minikms.cli import store_seal
from minikms.cli.main import main
from minikms.seals.key_file import read_key

file, key, *command = sys.argv[1:]
seal, sync, derive = store_seal.seal_key, os.fsync, hashlib.scrypt
hashlib.scrypt = lambda secret, **costs: derive(secret, **{**costs, "n": 2})


def kill_at(step):
    def count(event, args):
        nonlocal step
        if event.partition(".")[0] in ("os", "open", "tempfile", "sync"):
            step -= 1
            if step == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(*args):
        envelope = seal(*args)
        sys.addaudithook(count)
        return envelope

    def synced(number):
        sys.audit("sync")
        sync(number)
        sys.audit("sync")

    store_seal.seal_key, os.fsync = counted, synced


step, status = 0, signal.SIGKILL
while status == signal.SIGKILL:
    step += 1
    child = os.fork()
    if child == 0:
        kill_at(step)
        sys.exit(main(command))
    status = os.waitpid(child, 0)[1]
    assert read_key(file, "", "raw").secret == key, step
    with open(file) as opened:
        print("seals" in opened.read(), flush=True)
assert status == 0, status
"""


@pytest.mark.kill
@pytest.mark.parametrize("sealing", ["seal", "reseal"])
def test_a_file_opens_whenever_its_sealing_is_killed(seal, file, key, one, two, sealing):
    options = [sealing, "--store-key-file", file]
    if sealing == "seal":
        options += ["--by", one.uri, "--by", two.uri]
    else:
        seal(one.uri, two.uri)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, file, key, "store", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    is_sealed = [line for line in ended.stdout.splitlines() if line in ("True", "False")]
    assert len(is_sealed) > 8
    assert is_sealed == sorted(is_sealed)  # plain, then sealed
    assert (is_sealed[0], is_sealed[-1]) == (str(sealing == "reseal"), "True")
    left = [each for each in os.scandir(os.path.dirname(file)) if each.name.endswith(".part")]
    assert left
    for each in left:
        with open(each) as opened:
            assert key not in opened.read()


@needs_openbao
@pytest.mark.process
@pytest.mark.timeout(60)  # starts OpenBao and a service
def test_openbao_and_aws_seal_a_store_together(
    run, seal, file, key, on_a_store, tmp_path, aws_credentials, caplog
):
    """Either seal opens the store; without both, the store stays closed."""
    token_file = write_key(tmp_path / "vault.token", ROOT_TOKEN)
    folder = tmp_path / "openbao"
    folder.mkdir()
    with services() as start:
        aws = start("--port", "0", "--aws-port", "0")
        (aws_url,) = re.findall(r"https?://\S+", aws.read_until("AWS"))
        client = boto3.client("kms", region_name="us-east-1", endpoint_url=aws_url)
        key_id = client.create_key()["KeyMetadata"]["KeyId"]
        by_aws = f"awskms:{key_id}?region=us-east-1&endpoint={aws_url}"
        with openbao(folder) as bao:
            assert bao.ask("POST", "transit/keys/kms", {}).status in (200, 204)
            by_bao = f"vault-transit:{bao.url}/v1/transit/keys/kms?token-file={token_file}"
            for by in ((by_aws,), (by_bao,), (by_bao, by_aws)):
                seal(*by)
                ended = run("info", *on_a_store)
                assert (ended.returncode, ended.stderr) == (0, "")
            assert bao.ask("POST", "transit/keys/kms/rotate", {}).status in (200, 204)
            assert run("reseal", "--store-key-file", file).returncode == 0
            with open(file) as opened:
                content = opened.read()
            assert "dmF1bHQ6djI6" in content  # `vault:v2:`, in base64
            for secret in (key, ROOT_TOKEN + "\n"):
                assert secret not in content
            new = f"{file}.new"
            options = "rekey", *on_a_store, "--new-key-file", new, "--generate-key"
            assert run(*options).returncode == 0
            assert len(run("seals", "--store-key-file", new).stdout.splitlines()) == 2
        on_a_store = options_of(on_a_store[1], new)
        assert run("info", *on_a_store).returncode == 0
        assert "Cannot connect" in caplog.text
    assert "EndpointConnectionError" in refused(run("info", *on_a_store))
