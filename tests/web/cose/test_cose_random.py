"""Random and changed CBOR: each call is answered, with bounded work and memory."""

import random
import tracemalloc

import cbor2
import pytest
from base64url import b64, raw

from minikms.credentials.cbor import MAX_DEPTH, MAX_ITEMS
from minikms.credentials.cose.messages import SIGN1, Cose
from minikms.errors import InvalidCose

pytestmark = pytest.mark.shared_service

# Heads that readers of CBOR are often wrong about.
TOKENS = [
    *(b"\xff", b"\x9f", b"\xbf", b"\x5f", b"\x7f", b"\xf6", b"\xf7", b"\xf8\x01", b"\xf8\xff"),
    *(b"\x81" * 20, b"\xa1\x01" * 20, b"\xc1" * 20, b"\xd2", b"\xd1", b"\x84", b"\x43\xa1\x01\x27"),
    *(b"\x9b" + b"\xff" * 8, b"\xbb" + b"\xff" * 8, b"\x5b" + b"\xff" * 8, b"\x7b" + b"\x7f" * 8),
    *(b"\xc2\x58\x40" + b"\xff" * 64, b"\xc3\x40", b"\xc4\x82\x1b" + b"\xff" * 8 + b"\x01"),
    *(b"\xc5\x82\x3b" + b"\xff" * 8 + b"\x01", b"\xd8\x23\x68(a+)+$x", b"\xd8\x1c\x81\xd8\x1d\x00"),
    *(
        b"\xd9\x01\x00\x80",
        b"\xd9\x01\x02\x82\x01\x01",
        b"\xd9\xd9\xf7",
        b"\xc0\x61x",
        b"\xc1\xf9\x7e\0",
    ),
    *(
        b"\xa2\x01\x01\x01\x01",
        b"\xf9\x7e\x00",
        b"\xfb\x7f\xf0" + b"\0" * 6,
        b"\xa1\xf9\x3c\x00\x01",
    ),
]


def changed(message, chance):
    """A message with a few bytes changed, removed or put in."""
    data = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at:at] = chance.choice(TOKENS)
            case 3:
                data[at : at + chance.randint(1, 4)] = chance.choice(TOKENS)
            case _:
                data[at:at] = data[at : at + 16]
    return bytes(data)


def value(chance, depth=0):
    """Any value that cbor2 encodes."""
    simple = [
        lambda: chance.randint(-(2**70), 2**70),
        lambda: chance.randbytes(chance.randrange(40)),
        lambda: "é" * chance.randrange(10),
        lambda: chance.choice([None, True, 1.5, float("nan"), cbor2.undefined]),
        lambda: chance.randint(-40, 40),
    ]
    if depth < chance.randrange(20):
        simple += [
            lambda: [value(chance, depth + 1) for _ in range(chance.randrange(4))],
            lambda: {chance.randint(-20, 20): value(chance, depth + 1) for _ in range(3)},
            lambda: cbor2.CBORTag(chance.randrange(300), value(chance, depth + 1)),
        ]
    return chance.choice(simple)()


class Counted(bytes):
    """Bytes that note the size of each part that is read of them, and of their slices."""

    def __init__(self, _, copied=None):
        self.copied = [] if copied is None else copied

    def __new__(cls, data, _=None):
        return super().__new__(cls, data)

    def __getitem__(self, where):
        part = super().__getitem__(where)
        if isinstance(part, int):
            self.copied.append(1)
            return part
        self.copied.append(len(part))
        return Counted(part, self.copied)


@pytest.mark.slow
@pytest.mark.timeout(180)  # 5,000 calls
async def test_5000_inputs_are_answered(client, generate):
    chance = random.Random(9052)
    kid = (await generate("ed25519"))["kid"]
    async with client.post("/cose/sign", json={"kid": kid, "payload": "AAAA"}) as response:
        good = raw((await response.json())["cose"])
    seen = {200: 0, 422: 0}
    for number in range(5000):
        match number % 4:
            case 0:
                data = changed(good, chance)
            case 1:
                head = cbor2.dumps({1: -8} | {16: value(chance), 100: value(chance)})
                data = cbor2.dumps([head, {4: b"1", 100: value(chance)}, b"", b""])
                data = changed(data, chance) if chance.random() < 0.5 else data
            case 2:
                data = cbor2.dumps(value(chance))
            case _:
                data = b"".join(chance.choices(TOKENS, k=chance.randint(1, 9)))
        path, body = "/cose/verify", {"kid": kid, "cose": b64(data)}
        if number % 8 > 3:
            bucket = chance.choice(["protected", "unprotected"])
            path, body = "/cose/sign", {"kid": kid, "payload": "", bucket: b64(data)}
        async with client.post(path, json=body) as response:
            text = await response.text()
            assert response.status in seen, (path, data.hex(), text)
            assert response.status == 200 or "invalid-cose" in text, (path, data.hex(), text)
            seen[response.status] += 1
    assert min(seen.values()) > 50, seen


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x84\x5a\x00\x10\x00\x00" + b"\x81" * 2**20, id="nesting in the header"),
        pytest.param(b"\x84\x40\xa1\x01" + b"\x9a\x00\x10\x00\x00" + b"\x80" * 2**20, id="items"),
        pytest.param(b"\x84\x40\xba\x00\x10\x00\x00" + b"\x20\x80" * 2**19, id="a label twice"),
        pytest.param(
            b"\x84\x40\xba\x00\x04\x00\x00"
            + b"".join(cbor2.dumps(label) + b"\x80" for label in range(100, 2**17)),
            id="labels",
        ),
        pytest.param(b"\x84\x40\xa1\x01\xc2\x5a\x00\x10\x00\x00" + bytes(2**20), id="a bignum"),
        pytest.param(
            b"\x84\x40\xa1\x01" + b"\xa1" * 13 + b"\x5a\x00\x0a\xf0\x00" + bytes(0xAF010),
            id="a key of maps in maps",
        ),
        pytest.param(b"\x84\x40\xbb" + b"\xff" * 8, id="a length that is not there"),
    ],
)
def test_large_inputs_cost_little(data):
    message = Counted(data)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidCose):
            Cose.parse(message, SIGN1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # At most, the message once, and a header map once for each of its levels.
    assert sum(message.copied) < len(data) + MAX_DEPTH * 65_536
    assert len(message.copied) < 6 * MAX_ITEMS
    assert peak < 3 * 2**20
