"""GenerateMac and VerifyMac, checked by Python's own hmac."""

import pytest
from algorithm_facts import FACTS, using

MESSAGE = b"what is authenticated"

ALGORITHMS = [
    (name, FACTS[name].aws, *FACTS[name].aws_usages["GENERATE_VERIFY_MAC"]) for name in using("mac")
]


@pytest.mark.parametrize(("alg", "spec", "algorithm"), ALGORITHMS)
async def test_a_mac_verifies_and_a_changed_one_does_not(aws, alg, spec, algorithm):
    key_id = await aws.make(alg)
    call = {"KeyId": key_id, "Message": MESSAGE, "MacAlgorithm": algorithm}
    for _ in range(3):  # from the store, then from the cache
        made = await aws.generate_mac(**call)
        assert (made["KeyId"], made["MacAlgorithm"]) == (aws.arn(key_id), algorithm)
        checked = await aws.verify_mac(**call, Mac=made["Mac"])
        assert (checked["KeyId"], checked["MacAlgorithm"]) == (aws.arn(key_id), algorithm)
        assert checked["MacValid"] is True
    for mac in (bytes(len(made["Mac"])), made["Mac"][:-1], made["Mac"] + b"\0"):
        assert await aws.refused("KMSInvalidMacException", "verify_mac", **call, Mac=mac) == ""
    call["Message"] = b"another"
    await aws.refused("KMSInvalidMacException", "verify_mac", **call, Mac=made["Mac"])


@pytest.mark.parametrize("algorithm", ["HMAC_SHA_224", "HMAC_SHA_384", "HMAC_SHA_512"])
async def test_the_algorithm_of_another_key(aws, algorithm):
    call = {"KeyId": await aws.make("hs256"), "Message": MESSAGE, "MacAlgorithm": algorithm}
    said = f"Algorithm {algorithm} is incompatible with key spec HMAC_256."
    assert await aws.refused("InvalidKeyUsageException", "generate_mac", **call) == said
    assert await aws.refused("InvalidKeyUsageException", "verify_mac", **call, Mac=b"m") == said


async def test_a_code_from_before_a_rotation(aws):
    key_id = await aws.make("hs256")
    call = {"KeyId": key_id, "Message": MESSAGE, "MacAlgorithm": "HMAC_SHA_256"}
    before = (await aws.generate_mac(**call))["Mac"]
    await aws.rotate(key_id)
    after = (await aws.generate_mac(**call))["Mac"]
    assert before != after
    for mac in (before, after):
        assert (await aws.verify_mac(**call, Mac=mac))["MacValid"]


async def test_a_key_that_verifies_alone(aws):
    call = {"KeyId": await aws.make("hs256"), "Message": MESSAGE, "MacAlgorithm": "HMAC_SHA_256"}
    mac = (await aws.generate_mac(**call))["Mac"]
    await aws.change(call["KeyId"], state="verify-only")
    await aws.refused("DisabledException", "generate_mac", **call)
    assert (await aws.verify_mac(**call, Mac=mac))["MacValid"]
