"""A sidecar outlives random messages, and its memory does not grow.

MINIKMS_TEST_FUZZ_SECONDS makes it longer, and MINIKMS_TEST_FUZZ_SEED repeats a run.
"""

import os
import random
import time

import pytest
from fuzzing import Fuzzer
from pkcs11 import Attribute, ObjectClass

SECONDS = float(os.environ.get("MINIKMS_TEST_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("MINIKMS_TEST_FUZZ_SEED") or random.randrange(1 << 32))
READ_ONLY = ["keys:read", "sign", "decrypt", "derive", "random"]
GROWTH = 24 << 20  # bytes


@pytest.mark.timeout(SECONDS + 90)
def test_random_messages(kms, start, profile):
    print(f"MINIKMS_TEST_FUZZ_SEED={SEED}")
    for alg in ("p256", "p384", "rsa2048", "hs256"):
        profile.generate(alg)
    profile.certify(profile.generate())
    token, _ = kms.token(profile.name, READ_ONLY)
    slots = f"fuzz={profile.name}", f"all={profile.name},alg=p256+ed25519+hs256"
    sidecar = start("--slot", slots[0], "--slot", slots[1], "--allow-delete")
    fuzzer = Fuzzer(sidecar.path, SEED, token)
    begun = time.monotonic()
    memory = []
    while (passed := time.monotonic() - begun) < SECONDS:
        fuzzer.round()
        if passed > SECONDS / 3:
            memory.append(sidecar.memory())
    with sidecar.connect() as program:
        session = program.open()
        program.login(session, token)
        (handle, *_) = program.find(session, **{"class": ObjectClass.PRIVATE_KEY})
        assert program.get(session, handle, Attribute.CLASS) == ObjectClass.PRIVATE_KEY
    print(f"{fuzzer.messages} messages, memory {memory[0]} to {memory[-1]} bytes")
    assert memory[-1] - memory[0] < GROWTH
