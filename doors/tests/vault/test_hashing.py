"""hash and random."""

import base64
import hashlib
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.shared_service

INPUT = base64.b64encode(b"a message").decode()
HASHES = {
    "sha2-224": "sha224",
    "sha2-256": "sha256",
    "sha2-384": "sha384",
    "sha2-512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}


@pytest.mark.parametrize(("name", "known"), HASHES.items())
async def test_each_hash_is_computed(vault, name, known):
    digest = hashlib.new(known, b"a message").digest()
    by_path = await vault.data("POST", f"transit/hash/{name}", {"input": INPUT})
    assert by_path == {"sum": digest.hex()}
    body = {"input": INPUT, "algorithm": name, "format": "base64"}
    by_body = await vault.data("POST", "transit/hash", body)
    assert by_body == {"sum": base64.b64encode(digest).decode()}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("hash", {}),
        ("hash", {"input": "***"}),
        ("hash", {"input": {}}),
        ("hash", {"input": INPUT, "format": "x"}),
        ("hash", {"input": INPUT, "algorithm": "md5"}),
        ("hash/sha1", {"input": INPUT}),
        ("hash/none", {"input": INPUT}),
        ("random", {"bytes": 0}),
        ("random", {"bytes": 131073}),
        ("random", {"bytes": "x"}),
        ("random", {"format": "x"}),
        ("random/0", {}),
        ("random/x", {}),
        ("random/x/4", {}),
        ("random/platform/x", {}),
        ("random/" + "9" * 5000, {}),
    ],
)
async def test_a_wrong_member_is_refused(vault, path, body):
    status, answer = await vault.call("POST", f"transit/{path}", body)
    assert (status, len(answer["errors"])) == (400, 1)


@pytest.mark.parametrize(
    ("path", "body", "size"),
    [
        ("random", {}, 32),
        ("random", {"bytes": "7"}, 7),
        ("random/12", {}, 12),
        ("random/platform", {"bytes": 5}, 5),
        ("random/all/8", {}, 8),
        ("random/131072", {}, 131072),
    ],
)
async def test_random_bytes_have_the_number_that_is_asked_for(vault, path, body, size):
    one, other = [await vault.data("POST", f"transit/{path}", body) for _ in range(2)]
    assert len(base64.b64decode(one["random_bytes"], validate=True)) == size
    assert one != other
    in_hex = await vault.data("POST", f"transit/{path}", {**body, "format": "hex"})
    assert len(bytes.fromhex(in_hex["random_bytes"])) == size


@pytest.mark.parametrize("number", ["1_0", " 5", "5 ", "٥", "５", "1" * 19, "0x10", "1.0"])
async def test_a_number_is_written_in_ascii_digits(vault, number):
    assert "invalid syntax" in await vault.refused(f"random/{quote(number)}")
    assert "cannot parse" in await vault.refused("random", bytes=number)


async def test_the_source_of_a_seal_is_the_platform_with_a_warning(vault):
    status, answer = await vault.call("POST", "transit/random/seal/4")
    assert (status, len(answer["warnings"])) == (200, 1)


async def test_an_answer_warns_of_members_that_are_not_taken(vault):
    status, answer = await vault.call(
        "POST", "transit/hash", {"input": INPUT, "nonce": "x", "colour": "red"}
    )
    assert status == 200
    assert answer["warnings"] == ["Endpoint ignored these unrecognized parameters: [colour nonce]"]
    status, answer = await vault.call("POST", "transit/random/seal/4", {"colour": "red"})
    assert (status, len(answer["warnings"])) == (200, 2)
