"""If a key with rules signs a mutated signing input, verifiers read it as the rules did."""

import asyncio
import json
import random
import shutil
import time
from pathlib import Path

import pytest
from base64url import jose, raw
from environments import environment

pytestmark = [
    pytest.mark.shared_service,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # it installs parsers, and sends thousands of calls
]

ISSUER, EVIL = "https://issuer.example", "https://evil.example"
RULES = {"jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}, "max_lifetime": 3600}}
PARSERS = (
    "json5==0.17.3",
    "msgspec==0.23.0",
    "python-rapidjson==1.25",
    "simplejson==4.3.0",
    "ujson==6.1.0",
)
INPUTS = 6000
NODE = """
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const read = (texts) => {
  try {
    const [header, payload] = texts.map((text) => JSON.parse(text));
    return [header.typ ?? null, header.alg ?? null, payload.iss ?? null, payload.exp ?? null];
  } catch {
    return [];
  }
};
console.log(JSON.stringify({ node: asked.map(read) }));
"""

# Values that a thief wants verifiers to read, by the member.
STOLEN = {
    "typ": ["JWT", "openid4vci-proof+jwt", None, ["dc+sd-jwt", "JWT"]],
    "alg": ["none", "HS256"],
    "iss": [EVIL, None, [ISSUER, EVIL], {"": EVIL}],
    "exp": [2**62, -1, 1e300, "9", None],
}


def spelt(name, chance):
    """A name as a lax parser may read it, or as it is with escapes."""
    ways = (
        lambda: name,
        lambda: name.upper(),
        lambda: name.title(),
        lambda: f"{name}\0",
        lambda: f"{name}\0x",
        lambda: f" {name}",
        lambda: f"{name}\u200b",
        lambda: "".join(chr(0xFEE0 + ord(each)) for each in name),
        lambda: name[0] + "\u0301" + name[1:],
    )
    return chance.choice(ways)()


def escaped(text, chance):
    """A string of JSON, with some characters escaped."""
    return (
        '"'
        + "".join(
            f"\\u{ord(each):04x}" if chance.random() < 0.3 or each in '"\\' or each < " " else each
            for each in text
        )
        + '"'
    )


def written(members, chance):
    """An object of JSON, in one of its spellings."""
    gap = chance.choice(["", " ", "\n\t"])
    parts = (f"{escaped(name, chance)}{gap}:{gap}{json.dumps(value)}" for name, value in members)
    return f"{gap}{{{','.join(parts)}}}{gap}".encode()


def mutated(allowed, chance):
    """JSON of the allowed members, changed by chance: members, spelling or bytes."""
    members = list(allowed.items())
    if chance.random() < 0.6:
        name = chance.choice([each for each in STOLEN if each in allowed])
        stolen = spelt(name, chance), chance.choice(STOLEN[name])
        members.insert(chance.randint(0, len(members)), stolen)
    if chance.random() < 0.2:
        members[chance.randrange(len(members))] = (members[0][0], chance.choice([1, [], {}, EVIL]))
    data = bytearray(written(members, chance))
    if chance.random() < 0.3:
        at = chance.randrange(len(data))
        pieces = (
            b"",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xff",
            b'"',
            b",",
            b"}",
            b"//",
            b"\xed\xa0\x80",
            b"1e999",
        )
        data[at : at + chance.randint(0, 1)] = chance.choice(pieces)
    return bytes(data)


def part(data, chance):
    """base64url of bytes, at times in a form that only lax decoders read."""
    text = jose(data)
    if chance.random() < 0.9:
        return text
    at = chance.randint(0, len(text))
    return text[:at] + chance.choice(["=", " ", "\n", "+", "/", ".", "A", "\u00e9"]) + text[at:]


async def read_by(command, texts, folder):
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(texts).encode())
    assert process.returncode == 0
    return json.loads(output)


async def test_a_verifier_reads_what_the_rules_have_read(client, generate, tmp_path):
    kid = (await generate("p256", rules=RULES))["kid"]
    chance = random.Random(45)
    exp = int(time.time()) + 3000
    header = {"alg": "ES256", "typ": "dc+sd-jwt", "kid": "did:example:1#0"}
    claims = {"iss": ISSUER, "vct": f"{ISSUER}/pid", "exp": exp, "cnf": {"jwk": {}}}
    inputs = [
        f"{part(mutated(header, chance), chance)}.{part(mutated(claims, chance), chance)}"
        if each % 3 == 0
        else f"{part(mutated(header, chance), chance)}.{jose(json.dumps(claims).encode())}"
        if each % 3 == 1
        else f"{jose(json.dumps(header).encode())}.{part(mutated(claims, chance), chance)}"
        for each in range(INPUTS)
    ]

    async def sign(text):
        body = {"kid": kid, "signing_input": text}
        async with client.post("/jws/sign", json=body) as answer:
            assert answer.status in (200, 403, 422), await answer.text()
            return answer.status == 200

    signed = []
    for start in range(0, INPUTS, 50):
        some = inputs[start : start + 50]
        outcomes = await asyncio.gather(*map(sign, some))
        signed += [text for text, is_signed in zip(some, outcomes, strict=True) if is_signed]
    assert INPUTS / 20 < len(signed) < INPUTS / 2
    texts = [[raw(each).decode() for each in text.split(".")] for text in signed]
    python = environment(tmp_path / "venv", *PARSERS)
    found = await read_by([python, Path(__file__).with_name("json_readers.py")], texts, tmp_path)
    if node := shutil.which("node"):
        found |= await read_by([node, "-e", NODE], texts, tmp_path)
    for parser, answers in found.items():
        for text, read in zip(texts, answers, strict=True):
            assert read == ["dc+sd-jwt", "ES256", ISSUER, exp], (parser, text)
