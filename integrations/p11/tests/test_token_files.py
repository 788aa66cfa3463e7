"""Files of tokens that somebody renews while programs run."""

import subprocess
import time

import pytest
from access.pods import Pod
from pkcs11 import Attribute, Mechanism, ObjectClass
from sidecars import COMMAND
from waiting import wait_until

PUBLIC = {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}


@pytest.fixture
def pod(tmp_path):
    return Pod(tmp_path)


@pytest.fixture(params=["--token-file", "--pins"])
def options(request, pod, tmp_path):
    """The options of a sidecar that reads the file of the pod."""
    pins = tmp_path / "pins"
    pins.write_text("1234 token\n")
    pins.chmod(0o600)
    return request.param, str(pod.file if request.param == "--token-file" else pins)


def begin(sidecar, options):
    """A program with a session, which logs in if it must."""
    program = sidecar.connect()
    session = program.open()
    if "--pins" in options:
        program.login(session, "1234")
    return program, session


def signs(program, session):
    (handle,) = program.find(session, **{"class": ObjectClass.PRIVATE_KEY}, label=b"web")
    assert len(program.sign(session, handle, Mechanism.ECDSA, b"x" * 32)) == 64


def test_a_pod_with_a_projected_token_runs_for_days(start, start_service, pod, options):
    kms = start_service("--roles", str(pod.roles))
    kms.call("POST", "/key/generate", {"alg": "p256", "alias": "web"})
    pod.renew(600)  # for a slow start
    program, session = begin(start(*options, kms=kms), options)
    first, ended = pod.renew(5), False
    while not ended:
        ended = kms.answer("GET", "/keys", token=first)[0] == 401
        pod.renew(5)
        signs(program, session)
        time.sleep(0.05)


def test_a_renewed_token_is_used_before_the_old_one_ends(start, kms, profile, pod, options):
    profile.generate(alias="web")
    pod.put(kms.token(profile.name, name="first")[0])
    program, session = begin(start("--slot", f"web={profile.name}", *options), options)
    signs(program, session)
    pod.put(kms.token(profile.name, name="second")[0])
    signs(program, session)
    signed = [it["who"] for it in kms.events("sign") if it["profile"] == profile.name]
    assert signed == ["first", "second"]


def test_a_session_ends_its_key_pairs_with_the_renewed_token(start, kms, profile, pod, options):
    token, token_id = kms.token(profile.name)
    pod.put(token)
    program, session = begin(start("--slot", f"web={profile.name}", *options), options)
    program.call("C_GenerateKeyPair", session, Mechanism.EC_KEY_PAIR_GEN, PUBLIC, {})
    pod.put(kms.token(profile.name)[0])
    kms.revoke(token_id)
    program.call("C_CloseSession", session)
    wait_until("the end of the key pair", lambda: not profile.call("GET", "/keys"))


def test_a_key_pair_is_kept_if_its_token_is_renewed_meanwhile(start, held, keys, pod, options):
    held.body = keys.generate() | {"bytes": "eHh4eHh4eHg="}
    pod.put("first")
    program, session = begin(start(*options, kms=held), options)
    made = program.send("C_GenerateKeyPair", session, Mechanism.EC_KEY_PAIR_GEN, PUBLIC, {})
    wait_until("its call", lambda: held.waiting == 1)
    pod.put("second")
    random = program.send("C_GenerateRandom", session, 8)
    wait_until("the second call", lambda: held.waiting == 2)
    held.answer()
    program.answer("C_GenerateRandom", random)
    assert program.answer("C_GenerateKeyPair", made)
    assert held.deleted == []


def test_a_file_that_becomes_empty_keeps_its_token_and_is_logged(start, kms, profile, pod, options):
    profile.generate(alias="web")
    pod.put(kms.token(profile.name)[0])
    sidecar = start("--slot", f"web={profile.name}", *options)
    program, session = begin(sidecar, options)
    signs(program, session)
    pod.put("\n")
    for _ in range(2):
        signs(program, session)
    assert sidecar.log.count(f"the token file cannot be read: {pod.file} is empty\n") == 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (" \n", "is empty"),
        ("secret" * 3000, "is larger than 17 KiB"),
        ("secret secret", "has no token"),
        ("secr\u00e9t", "has no token"),
    ],
)
def test_a_file_without_a_token_is_refused_by_its_name_at_the_start(pod, content, fault):
    pod.put(content)
    options = "--url", "http://127.0.0.1:1", "--token-file", str(pod.file)
    ended = subprocess.run([*COMMAND, *options], capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"{pod.file} {fault}\n" in ended.stderr
    assert "secr" not in ended.stderr
