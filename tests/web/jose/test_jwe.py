"""JWE in its three forms, as the service makes and opens it (RFC 7516)."""

import json
from importlib.metadata import EntryPoint

import pytest
from algorithm_facts import AEADS, FACTS, named, using
from base64url import b64, part, raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519
from problems import refused

from minikms.config import Config
from minikms.credentials.jose.jwe_forms import MAX_HEADER, MAX_RECIPIENTS
from minikms.credentials.jose.jwe_models import ALGS, ENCS
from minikms.plugin import EcAlgorithm, Pkcs8KeyAlgorithm
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service

pytestmark = pytest.mark.shared_service

PLAIN = b"a payload without a full stop"
FORMS = ("compact", "flattened", "general")
ES = [alg for alg in ALGS if alg.startswith("ECDH-ES")]
PU = [alg for alg in ALGS if alg.startswith("ECDH-1PU")]
# Ed25519 keys agree by opt-in, as X25519 keys do.
CURVES = named(lambda facts: "derive" in facts.uses and not facts.opt_in)


def protected_of(jwe):
    text = jwe.split(".")[0] if isinstance(jwe, str) else jwe["protected"]
    return json.loads(raw(text))


@pytest.fixture
def encrypt(post):
    """Make a JWE with the content of these tests, and give it."""

    async def call(*recipients, enc="A256GCM", **rest):
        body = {"plaintext": b64(PLAIN), "enc": enc, "recipients": recipients, **rest}
        return (await post("/jwe/encrypt", body))["jwe"]

    return call


@pytest.fixture
def opens(post):
    """Open a JWE that must be good, and give its header."""

    async def call(jwe, **rest):
        answer = await post("/jwe/decrypt", {"jwe": jwe, **rest})
        assert answer.keys() == {"plaintext", "header"}
        assert raw(answer["plaintext"]) == PLAIN
        return answer["header"]

    return call


@pytest.fixture
def fails(client):
    """Assert that a JWE is refused, and that nothing is said but this, or of its epk."""

    async def call(jwe, slug="decryption-failed", **rest):
        response = await client.post("/jwe/decrypt", json={"jwe": jwe, **rest})
        assert response.headers.get("Cache-Control") is None
        problem = await refused(response, 422, slug)
        if slug == "decryption-failed":
            assert problem["detail"] == "The ciphertext cannot be decrypted."
            said = [error["detail"] for error in problem.get("errors", ())]
            assert all(detail.startswith("Its epk is refused. ") for detail in said)
        return problem

    return call


# The JWE algorithms of each kind of key, each with a fitting `enc`.
KINDS = [
    *((alg, name, "A128GCM") for alg in CURVES for name in (ES[0], ES[3])),
    *((alg, name, "A256CBC-HS512") for alg in CURVES for name in (PU[0], PU[3])),
    *((alg, alg.upper(), "A192CBC-HS384") for alg in using("wrap")),
    *((alg, "RSA-OAEP-256", "C20P") for alg in named(lambda facts: facts.kty == "RSA")),
    *((alg, "dir", FACTS[alg].jose[0]) for alg in AEADS),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("alg", "name", "enc"), KINDS)
async def test_a_jwe_of_every_key_and_form_opens(
    client, generate, encrypt, opens, alg, name, enc, form
):
    key = await generate(alg, alias="did:example:bob#1")
    sender = await generate(alg, alias="did:example:alice#1") if name in PU else None
    of_sender = {"from": "did:example:alice#1"} if sender else {}
    extra = {"typ": "x", "apv": part(b"Bob"), "more": [1, {"é": None}]}
    more = {"serialization": form, "header": extra, **of_sender}
    ways = [{"kid": key["kid"]}, {"alias": "did:example:bob#1"}]
    ways += [{"jwk": key["jwk"]}] if key["jwk"] else []
    for by in ways:
        jwe = await encrypt({**by, "alg": name}, enc=enc, **more)
        header = protected_of(jwe)
        assert header.items() >= {"alg": name, "enc": enc, **extra}.items()
        assert ("epk" in header) == name.startswith("ECDH")
        found = await opens(
            jwe, alias="did:example:bob#1", **({"from": sender["jwk"]} if sender else {})
        )
        assert found == header | ({} if "jwk" in by else {"kid": next(iter(by.values()))})
        if form == "compact":
            assert jwe.count(".") == 4
        elif form == "general":
            assert jwe.keys() == {"protected", "recipients", "iv", "ciphertext", "tag"}
        else:
            assert jwe.keys() - {"header", "encrypted_key"} == {
                *("protected", "iv", "ciphertext", "tag")
            }


@pytest.mark.parametrize("enc", ENCS)
async def test_every_content_encryption_opens(generate, encrypt, opens, fails, enc):
    key = await generate("x25519")
    to = {"jwk": key["jwk"], "alg": "ECDH-ES+A256KW"}
    for form in ({}, {"aad": b64(b"bound")}, {"aad": b64(b"bound"), "serialization": "flattened"}):
        jwe = await encrypt(to, enc=enc, **form)
        assert (await opens(jwe, kid=key["kid"]))["enc"] == enc
        if form:
            assert raw(jwe["aad"]) == b"bound"
            for aad in (part(b"other"), ""):
                await fails({**jwe, "aad": aad}, kid=key["kid"])
    direct = await encrypt({"jwk": key["jwk"], "alg": "ECDH-ES"}, enc=enc)
    await opens(direct, kid=key["kid"])


@pytest.mark.parametrize("enc", ENCS)
async def test_no_byte_moves_between_ciphertext_and_tag(generate, encrypt, fails, enc):
    """Libraries take both as one."""
    kid = (await generate("a256kw"))["kid"]
    jwe = await encrypt({"kid": kid, "alg": "A256KW"}, enc=enc, serialization="flattened")
    whole, length = raw(jwe["ciphertext"]) + raw(jwe["tag"]), len(raw(jwe["ciphertext"]))
    for place in (length - 1, length + 1, 0, len(whole)):
        moved = {"ciphertext": part(whole[:place]), "tag": part(whole[place:])}
        await fails({**jwe, **moved}, kid=kid)


async def test_no_form_is_asked_for(generate, encrypt):
    key = await generate("x25519")
    to = {"kid": key["kid"], "alg": "ECDH-ES+A128KW"}
    assert isinstance(await encrypt(to), str)
    assert "recipients" in await encrypt(to, aad=b64(b"a"))
    assert "recipients" in await encrypt(to, to)
    assert isinstance(await encrypt(to, aad=""), str)


async def test_each_jwe_has_keys_and_a_nonce_of_its_own(generate, encrypt):
    key = await generate("x25519")
    wrapped, direct = await generate("a128kw"), await generate("a128gcm")
    for to in (
        {"kid": key["kid"], "alg": "ECDH-ES+A128KW"},
        {"kid": wrapped["kid"], "alg": "A128KW"},
        {"kid": direct["kid"], "alg": "dir"},
    ):
        made = [await encrypt(to, enc="A128GCM", serialization="general") for _ in range(20)]
        assert len({jwe["iv"] for jwe in made}) == 20
        assert len({jwe["ciphertext"] for jwe in made}) == 20
        keys = {jwe["recipients"][0].get("encrypted_key") for jwe in made}
        assert len(keys) == (1 if to["alg"] == "dir" else 20)
        if to["alg"].startswith("ECDH"):
            assert len({protected_of(jwe)["epk"]["x"] for jwe in made}) == 20


async def test_recipients_of_every_kind(generate, encrypt, opens, fails):
    """One JWE for keys of several curves, a secret key and RSA, each with its own alg and kid."""
    x25519, p256 = await generate("x25519"), await generate("p256", alias="did:example:p256#1")
    p256b, kw, rsa = await generate("p256"), await generate("a256kw"), await generate("rsa2048")
    stranger = await generate("x25519")
    jwe = await encrypt(
        {"jwk": x25519["jwk"] | {"kid": "its own"}, "alg": "ECDH-ES+A256KW"},
        {"alias": "did:example:p256#1", "alg": "ECDH-ES+A128KW", "header": {"apu": part(b"A")}},
        {"jwk": p256b["jwk"], "alg": "ECDH-ES+A256KW"},
        {"kid": kw["kid"], "alg": "A256KW"},
        {"kid": rsa["kid"], "alg": "RSA-OAEP-256", "header": {"kid": "another"}},
        enc="A128CBC-HS256",
        header={"cty": "text/plain"},
    )
    assert protected_of(jwe) == {"enc": "A128CBC-HS256", "cty": "text/plain"}
    headers = [one["header"] for one in jwe["recipients"]]
    assert [header.get("kid") for header in headers] == [
        *("its own", "did:example:p256#1", None, kw["kid"], "another")
    ]
    assert [header["alg"] for header in headers] == [
        *("ECDH-ES+A256KW", "ECDH-ES+A128KW", "ECDH-ES+A256KW", "A256KW", "RSA-OAEP-256")
    ]
    epks = [header["epk"]["x"] for header in headers if "epk" in header]
    assert len({*epks}) == len(epks) == 3
    for key, header in zip((x25519, p256, p256b, kw, rsa), headers, strict=True):
        assert await opens(jwe, kid=key["kid"]) == {**protected_of(jwe), **header}
    await fails(jwe, kid=stranger["kid"])
    # The kid selects the recipient: with another recipient's kid, that entry is not tried.
    renamed = [{**one, "header": {**one["header"], "kid": "x"}} for one in jwe["recipients"]]
    await opens({**jwe, "recipients": renamed}, kid=p256b["kid"])
    wrong = [{**one, "header": {**one["header"], "kid": p256["kid"]}} for one in renamed[:1]]
    await opens({**jwe, "recipients": [*renamed[1:], *wrong]}, kid=p256b["kid"])
    await fails({**jwe, "recipients": wrong}, kid=p256["kid"])


async def test_the_recipient_that_names_the_key_is_opened(generate, encrypt, opens):
    """Of two for one key: it is named by its kid, or by an alias."""
    key = await generate("x25519", alias="did:example:x#1")
    jwk, alg = key["jwk"], "ECDH-ES+A256KW"
    for name in (key["kid"], "did:example:x#1"):
        to = [{"jwk": jwk | {"kid": kid}, "alg": alg} for kid in ("another", name)]
        assert (await opens(await encrypt(*to), kid=key["kid"]))["kid"] == name


@pytest.mark.parametrize(("length", "fits"), [(12, True), (11, False), (16, False)])
async def test_an_iv_has_the_length_of_its_enc(post, opens, fails, length, fits):
    """AES-GCM takes others (RFC 7518 section 5.3)."""
    secret, content_key, iv = (bytes([number]) * 32 for number in range(3))
    kid = (await post("/key/import", {"alg": "a256kw", "secret": b64(secret)}))["kid"]
    protected = part({"alg": "A256KW", "enc": "A256GCM"})
    sealed = AESGCM(content_key).encrypt(iv[:length], PLAIN, protected.encode())
    parts = (aes_key_wrap(secret, content_key), iv[:length], sealed[:-16], sealed[-16:])
    jwe = ".".join((protected, *map(part, parts)))
    if fits:
        await opens(jwe, kid=kid)
    else:
        await fails(jwe, kid=kid)


async def test_jwes_have_the_form_of_didcomm_v2(generate, encrypt, opens, fails):
    """One epk in the protected header; each recipient has its DID URL as kid, and no more."""
    bobs = [await generate("x25519", alias=f"did:example:bob#key-{n}") for n in range(3)]
    alice = await generate("x25519", alias="did:example:alice#key-1")
    header = {
        "typ": "application/didcomm-encrypted+json",
        "skid": "did:example:alice#key-1",
        "apu": part(b"did:example:alice#key-1"),
        "apv": part(b"a digest of the kids"),
    }
    by_jwk = [
        {"jwk": bob["jwk"], "alg": "ECDH-1PU+A256KW", "header": {"kid": bob["aliases"][0]}}
        for bob in bobs
    ]
    by_alias = [{"alias": bob["aliases"][0], "alg": "ECDH-1PU+A256KW"} for bob in bobs]
    for recipients in (by_jwk, by_alias):
        jwe = await encrypt(
            *recipients,
            enc="A256CBC-HS512",
            header=header,
            serialization="general",
            **{"from": "did:example:alice#key-1"},
        )
        protected = protected_of(jwe)
        assert protected.keys() == {"alg", "enc", "epk", *header}
        assert protected["epk"].keys() == {"kty", "crv", "x"}
        assert [one["header"] for one in jwe["recipients"]] == [
            {"kid": f"did:example:bob#key-{n}"} for n in range(3)
        ]
        for bob in bobs:
            found = await opens(jwe, alias=bob["aliases"][0], **{"from": alice["jwk"]})
            assert found == {**protected, "kid": bob["aliases"][0]}
            await fails(jwe, kid=bob["kid"], **{"from": bob["jwk"]})


async def test_a_jwe_by_ecdh_1pu_is_bound_to_its_tag(generate, encrypt, fails):
    """A recipient, who has the content key, cannot make other content for the other recipients."""
    alice, bob = await generate("p256"), await generate("p256")
    made = [
        await encrypt(
            {"jwk": bob["jwk"], "alg": "ECDH-1PU+A128KW"},
            enc="A128CBC-HS256",
            serialization="flattened",
            **{"from": alice["kid"]},
        )
        for _ in range(2)
    ]
    one, two = made
    for name in ("tag", "encrypted_key", "ciphertext", "iv", "protected"):
        await fails({**one, name: two[name]}, kid=bob["kid"], **{"from": alice["jwk"]})


SENDERS = {
    "no sender is given": (PU[3], {}, "#/from"),
    "one is given that the JWE does not have": (ES[3], {"from": "alice"}, "#/from"),
}


@pytest.mark.parametrize(("alg", "given", "pointer"), SENDERS.values(), ids=SENDERS)
async def test_a_sender_is_there_or_not(refuses, generate, encrypt, fails, alg, given, pointer):
    bob, alice = await generate("x25519"), await generate("x25519", alias="alice")
    to = {"jwk": bob["jwk"], "alg": alg}
    body = {"plaintext": "", "enc": "A128CBC-HS256", "recipients": [to], **given}
    problem = await refuses("/jwe/encrypt", body, 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == pointer
    right = {"from": "alice"} if alg in PU else {}
    jwe = await encrypt(to, enc="A128CBC-HS256", **right)
    wrong = {} if alg in PU else {"from": alice["jwk"]}
    problem = await fails(jwe, "validation-failed", kid=bob["kid"], **wrong)
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_private_jwk_of_a_sender_is_refused(generate, encrypt, opens, fails):
    """Nobody should send a private key to name a sender."""
    bob, alice = await generate("x25519"), await generate("x25519")
    jwe = await encrypt(
        {"jwk": bob["jwk"], "alg": PU[3]}, enc="A128CBC-HS256", **{"from": alice["kid"]}
    )
    await opens(jwe, kid=bob["kid"], **{"from": alice["jwk"]})
    private = alice["jwk"] | {"d": b64(bytes(32))}
    await fails(jwe, "invalid-key", kid=bob["kid"], **{"from": private})


async def test_a_sender_by_its_kid_or_an_alias(generate, encrypt, opens, client, refuses):
    bob, alice = await generate("x25519"), await generate("x25519", alias="a")
    # Aliases that look like kids: one has a kid's length, another is the kid of another key.
    other = await generate("x25519", alias="A" * 43)
    await client.post(f"/key/{other['kid']}/associate", json={"alias": alice["kid"]})
    to = {"jwk": bob["jwk"], "alg": "ECDH-1PU"}
    for name, sender in ((alice["kid"], alice), ("a", alice), ("A" * 43, other)):
        for _ in range(3):  # from the second time on the key is in memory
            jwe = await encrypt(to, **{"from": name})
        await opens(jwe, kid=bob["kid"], **{"from": sender["jwk"]})
    for name in ("nobody", "B" * 43):
        body = {"plaintext": "", "enc": "A128GCM", "recipients": [to], "from": name}
        await refuses("/jwe/encrypt", body, 404, "alias-not-found")


async def test_a_changed_jwe_does_not_open(generate, encrypt, fails, opens):
    key = await generate("p256")
    jwe = await encrypt(
        {"jwk": key["jwk"], "alg": "ECDH-ES+A128KW"},
        enc="A128GCM",
        header={"apu": part(b"Alice"), "apv": part(b"Bob")},
        serialization="flattened",
    )
    kid = key["kid"]
    for name in ("encrypted_key", "iv", "ciphertext", "tag"):
        data = raw(jwe[name])
        changed = (
            bytes([data[0] ^ 1, *data[1:]]), data[:-1], data[1:], data + b"\0", b"", data * 2
        )  # fmt: skip
        for other in changed:
            await fails({**jwe, name: part(other)}, kid=kid)
        for text in (jwe[name] + "=", jwe[name] + "*", jwe[name] + "A", f"{jwe[name]}é"):
            await fails({**jwe, name: text}, kid=kid)
    header = protected_of(jwe)
    another = (await generate("p256"))["jwk"]
    of_curve = (await generate("p384"))["jwk"]
    for member, values in {
        "apu": [part(b"Eve"), "*", "", "A"],
        "apv": [part(b"Eve")],
        "epk": [
            *(another, of_curve, {}, {**another, "x": another["y"]}),
            *({**another, "kty": "OKP"}, {**another, "y": "AA"}, {**another, "crv": "P-384"}),
        ],
        "typ": ["other"],
    }.items():
        for value in values:
            await fails({**jwe, "protected": part({**header, member: value})}, kid=kid)
    without = {name: value for name, value in header.items() if name != "epk"}
    await fails({**jwe, "protected": part(without)}, kid=kid)
    # The same header with a blank in it is another header, and decrypts nothing.
    assert raw(jwe["protected"]) != json.dumps(header).encode()
    await fails({**jwe, "protected": part(json.dumps(header, indent=1).encode())}, kid=kid)
    await fails(jwe, kid=(await generate("p256"))["kid"])
    await fails(jwe, kid=(await generate("p384"))["kid"])
    await opens(jwe, kid=kid)


LOW_ORDER = {
    "x25519": [bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little")],
    "x448": [bytes(56), b"\1" + bytes(55)],
}


@pytest.mark.parametrize("alg", LOW_ORDER)
async def test_an_epk_or_a_sender_of_low_order(refuses, generate, encrypt, fails, alg):
    key = await generate(alg)
    jwe = await encrypt(
        {"jwk": key["jwk"], "alg": "ECDH-ES"}, enc="A128GCM", serialization="flattened"
    )
    pu = await encrypt({"jwk": key["jwk"], "alg": "ECDH-1PU"}, **{"from": key["kid"]})
    for point in LOW_ORDER[alg]:
        bad = {**key["jwk"], "x": part(point)}
        header = {**protected_of(jwe), "epk": bad}
        await fails({**jwe, "protected": part(header)}, kid=key["kid"])
        await fails(pu, "invalid-key", kid=key["kid"], **{"from": bad})
        body = {"plaintext": "", "enc": "A128GCM", "recipients": [{"jwk": bad, "alg": "ECDH-ES"}]}
        await refuses("/jwe/encrypt", body, 422, "invalid-key")


@pytest.mark.parametrize(
    ("alg", "name"), [("a128kw", "A128KW"), ("rsa2048", "RSA-OAEP-256"), ("a256gcm", "dir")]
)
async def test_a_changed_jwe_of_other_kinds_does_not_open(
    generate, encrypt, fails, opens, alg, name
):
    key = await generate(alg)
    to = {"kid": key["kid"], "alg": name}
    jwe = await encrypt(to, serialization="flattened")
    other = await encrypt(to, serialization="flattened")
    wrapped = raw(jwe.get("encrypted_key", ""))
    swapped = [other["encrypted_key"]] if wrapped else []
    for text in (part(wrapped + b"\0"), part(wrapped[:-1] or b"x"), part(bytes(24)), *swapped):
        await fails({**jwe, "encrypted_key": text}, kid=key["kid"])
    for member in ("iv", "tag", "ciphertext"):
        for data in (raw(jwe[member])[:-1], raw(jwe[member]) + b"\0", b""):
            await fails({**jwe, member: part(data)}, kid=key["kid"])
    await fails(jwe, kid=(await generate(alg))["kid"])
    await opens(jwe, kid=key["kid"])


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


HEADER = {"alg": "A128KW", "enc": "A128GCM"}


def compact(header, rest=".AAAA.AAAA.AAAA.AAAA"):
    return (header if isinstance(header, str) else part(header)) + rest


PARTS = {"iv": "AAAA", "ciphertext": "AAAA", "tag": "AAAA"}
NO_JWE = {
    "an empty text": "",
    "four parts": compact(HEADER, ".AAAA.AAAA.AAAA"),
    "six parts": compact(HEADER, ".AAAA.AAAA.AAAA.AAAA.AAAA"),
    "a JWS": "eyJhbGciOiJFZERTQSJ9.AAAA.AAAA",
    "no JSON": compact(part(b"{")),
    "no object": compact([]),
    "a header in base64 with padding": compact(part(HEADER) + "=" * (-len(part(HEADER)) % 4 or 4)),
    "a header with bits that count for nothing": compact(part(HEADER)[:-1] + "R"),
    "a lone surrogate": compact(part(b'{"alg":"A128KW","enc":"A128GCM","x":"\\ud800"}')),
    "no alg": compact({"enc": "A128GCM"}),
    "no enc": compact({"alg": "A128KW"}),
    "an alg that is no text": compact({**HEADER, "alg": ["A128KW"]}),
    "an enc that is no text": compact({**HEADER, "enc": {}}),
    "no encryption": compact({**HEADER, "alg": "none"}),
    "RSA1_5": compact({**HEADER, "alg": "RSA1_5"}),
    "RSA-OAEP with SHA-1": compact({**HEADER, "alg": "RSA-OAEP"}),
    "a password": compact({**HEADER, "alg": "PBES2-HS512+A256KW", "p2s": "AAAA", "p2c": 2**31}),
    "AES-GCM key wrap": compact({**HEADER, "alg": "A128GCMKW", "iv": "AAAA", "tag": "AAAA"}),
    "an alg in small letters": compact({**HEADER, "alg": "a128kw"}),
    "plain CBC": compact({**HEADER, "enc": "A128CBC"}),
    "an enc as alg": compact({**HEADER, "alg": "A128GCM"}),
    "compression": compact({**HEADER, "zip": "DEF"}),
    "crit": compact({**HEADER, "crit": ["exp"], "exp": 1}),
    "an empty crit": compact({**HEADER, "crit": []}),
    "a crit of what is known": compact({**HEADER, "crit": ["alg"]}),
    "a crit that is no list": compact({**HEADER, "crit": "exp"}),
    "a long header": compact({**HEADER, "x": "a" * MAX_HEADER}),
    "a deep header": compact({**HEADER, "x": deep(400)}),
    "an empty object": {},
    "a part that is no text": {"protected": part(HEADER), **PARTS, "iv": 7},
    "a part less": {"protected": part(HEADER), "iv": "AAAA", "ciphertext": "AAAA"},
    "a header that is no text": {"protected": HEADER, **PARTS},
    "no header at all": PARTS,
    "aad that is no text": {"protected": part(HEADER), **PARTS, "aad": 7},
    "an own header that is no object": {"protected": part(HEADER), **PARTS, "header": "x"},
    "a shared header that is no object": {"protected": part(HEADER), **PARTS, "unprotected": []},
    "zip in the shared header": {"protected": part(HEADER), **PARTS, "unprotected": {"zip": "DEF"}},
    "crit in the own header": {"protected": part(HEADER), **PARTS, "header": {"crit": ["x"]}},
    "alg twice": {"protected": part(HEADER), **PARTS, "header": {"alg": "A128KW"}},
    "kid twice": {
        "protected": part(HEADER), **PARTS, "header": {"kid": "a"}, "unprotected": {"kid": "a"}
    },
    "both JSON forms": {"protected": part(HEADER), **PARTS, "recipients": [{}], "header": {}},
    "both JSON forms by a key": {
        "protected": part(HEADER), **PARTS, "recipients": [{}], "encrypted_key": "AAAA"
    },
    "no recipients": {"protected": part(HEADER), **PARTS, "recipients": []},
    "recipients that are no list": {"protected": part(HEADER), **PARTS, "recipients": {}},
    "a recipient that is no object": {"protected": part(HEADER), **PARTS, "recipients": ["x"]},
    "many recipients": {
        "protected": part(HEADER), **PARTS, "recipients": [{}] * (MAX_RECIPIENTS + 1)
    },
    "two enc": {
        "protected": part({"alg": "A128KW"}), **PARTS,
        "recipients": [{"header": {"enc": "A128GCM"}}, {"header": {"enc": "A256GCM"}}],
    },
    "a long own header": {"protected": part(HEADER), **PARTS, "header": {"x": "a" * MAX_HEADER}},
    "a deep own header": {"protected": part(HEADER), **PARTS, "header": deep(400)},
}  # fmt: skip


@pytest.mark.parametrize("jwe", NO_JWE.values(), ids=NO_JWE)
async def test_a_malformed_jwe_is_refused(generate, fails, jwe):
    kid = (await generate("a128kw"))["kid"]
    for _ in range(2):  # from the store, then from the cache
        problem = await fails(jwe, "validation-failed", kid=kid)
        assert [error["pointer"] for error in problem["errors"]] == ["#/jwe"]


@pytest.mark.parametrize("jwe", [None, 7, True, ["a"], [[]]])
async def test_neither_text_nor_object(generate, fails, jwe):
    kid = (await generate("a128kw"))["kid"]
    problem = await fails(jwe, "validation-failed", kid=kid)
    assert problem["errors"][0]["pointer"] == "#/jwe"


async def test_members_that_nobody_knows_are_passed_over(generate, encrypt, opens):
    key = await generate("x25519")
    jwe = await encrypt({"jwk": key["jwk"], "alg": "ECDH-ES"}, serialization="general")
    jwe["recipients"][0]["more"] = jwe["other"] = 7
    await opens(jwe, kid=key["kid"])


NOT_MADE = {
    "no recipients": ({"recipients": []}, "validation-failed", "#/recipients"),
    "many recipients": (
        {"recipients": [{"kid": "a", "alg": "A128KW"}] * (MAX_RECIPIENTS + 1)},
        "validation-failed", "#/recipients",
    ),
    "two of ECDH-ES": ({"alg": "ECDH-ES", "times": 2}, "validation-failed", "#/recipients"),
    "two in the compact form": (
        {"times": 2, "serialization": "compact"}, "validation-failed", "#/serialization",
    ),
    "two in the flattened form": (
        {"times": 2, "serialization": "flattened"}, "validation-failed", "#/serialization",
    ),
    "aad in the compact form": (
        {"aad": "AAAA", "serialization": "compact"}, "validation-failed", "#/serialization",
    ),
    "another form": ({"serialization": "other"}, "validation-failed", "#/serialization"),
    "another enc": ({"enc": "A128CBC"}, "validation-failed", "#/enc"),
    "another alg": ({"alg": "RSA1_5"}, "validation-failed", "#/recipients/0/alg"),
    "no alg": ({"alg": None}, "validation-failed", "#/recipients/0/alg"),
    "ECDH-1PU with AES-GCM": (
        {"alg": "ECDH-1PU+A128KW", "from": "a", "enc": "A128GCM"}, "validation-failed", "#/enc",
    ),
    **{
        f"{name} in the header": ({"header": {name: "x"}}, "validation-failed", "#/header")
        for name in ("alg", "enc", "epk", "zip", "crit", "p2c", "p2s", "iv", "tag")
    },
    "enc in a recipient's header": (
        {"own": {"enc": "A128GCM"}}, "validation-failed", "#/recipients/0/header",
    ),
    "a member twice": (
        {"header": {"typ": "a"}, "own": {"typ": "a"}}, "validation-failed", "#/recipients/0/header",
    ),
    "a typ that is no text": ({"header": {"typ": 7}}, "validation-failed", "#/header"),
    "a jku that is none": ({"header": {"jku": "x"}}, "validation-failed", "#/header"),
    "an apu that is no text": ({"header": {"apu": 7}}, "validation-failed", "#/header"),
    "an apu that is not base64url": ({"header": {"apu": "*"}}, "validation-failed", "#/header"),
    "a deep header": ({"header": deep(400)}, "validation-failed", "#/header"),
    "the alg of another kind": ({"alg": "A128KW"}, "unsupported-option", None),
    "the alg of RSA": ({"alg": "RSA-OAEP-256"}, "unsupported-option", None),
    "a direct key": ({"alg": "dir"}, "unsupported-option", None),
    "a JWK for another alg": ({"jwk": {"alg": "ECDH-ES"}}, "unsupported-option", None),
    "a private JWK": ({"jwk": {"d": "AAAA"}}, "invalid-key", None),
    "a JWK of nothing": ({"jwk": {"crv": "other"}}, "invalid-key", None),
    "a JWK that signs": ({"to": "ed448"}, "unsupported-operation", None),
    "a JWK that agrees by opt-in": ({"to": "ed25519"}, "unsupported-option", None),
    "a sender on another curve": (
        {"alg": "ECDH-1PU", "from": "b"}, "unsupported-option", None,
    ),
    "a sender that signs": ({"alg": "ECDH-1PU", "from": "c"}, "unsupported-operation", None),
    "a sender that may not": ({"alg": "ECDH-1PU", "from": "d"}, "unsupported-operation", None),
    "nobody as sender": ({"alg": "ECDH-1PU", "from": "e"}, "alias-not-found", None),
}  # fmt: skip


@pytest.mark.parametrize(("change", "slug", "pointer"), NOT_MADE.values(), ids=NOT_MADE)
async def test_jwes_that_cannot_be_made_are_refused(refuses, generate, change, slug, pointer):
    change = dict(change)
    jwk = (await generate(change.pop("to", "x25519"), alias="a"))["jwk"] | change.pop("jwk", {})
    for alg, alias in (("p256", "b"), ("ed448", "c")):
        await generate(alg, alias=alias)
    await generate("x25519", alias="d", operations=["jwe-decrypt"])
    to = {"jwk": jwk, "alg": change.pop("alg", "ECDH-ES+A128KW"), "header": change.pop("own", {})}
    body = {"plaintext": "", "enc": "A128CBC-HS256", "recipients": [to] * change.pop("times", 1)}
    problem = await refuses(
        "/jwe/encrypt", {**body, **change}, 404 if "found" in slug else 422, slug
    )
    if pointer:
        assert problem["errors"][0]["pointer"] == pointer


async def test_a_key_that_the_alg_is_not_for(generate, encrypt, fails):
    keys = {alg: await generate(alg) for alg in ("x25519", "a128kw", "a256kw", "a256gcm", "c20p")}
    kids = {alg: key["kid"] for alg, key in keys.items()}
    made = {
        "x25519": await encrypt({"kid": kids["x25519"], "alg": "ECDH-ES"}),
        "a128kw": await encrypt({"kid": kids["a128kw"], "alg": "A128KW"}),
        "a256gcm": await encrypt({"kid": kids["a256gcm"], "alg": "dir"}),
    }
    for alg, jwe in made.items():
        for other in kids.keys() - {alg}:
            await fails(jwe, "unsupported-option", kid=kids[other])


async def test_a_public_key_encrypts_whatever_its_operations(
    client, refuses, generate, post, encrypt, opens
):
    """Any key pair is a recipient, by its public part; a secret key needs the operation."""
    key = await generate("x25519", operations=["jwe-decrypt"])
    assert key["operations"] == ["jwe-decrypt"]
    jwe = await encrypt({"kid": key["kid"], "alg": "ECDH-ES"})
    await opens(jwe, kid=key["kid"])
    body = {"kid": key["kid"], "peer": key["jwk"]}
    await refuses("/derive", body, 422, "unsupported-operation")
    foreign = (await generate("p256", operations=["jwe-decrypt"]))["jwk"]
    await client.post("/profile", json={"name": "other"})
    headers = {"X-Profile": "other"}
    async with client.post("/key/import", json={"jwk": foreign}, headers=headers) as response:
        public = await response.json()
    body = {
        "plaintext": b64(PLAIN), "enc": "A128GCM",
        "recipients": [{"kid": public["kid"], "alg": "ECDH-ES"}],
    }  # fmt: skip
    async with client.post("/jwe/encrypt", json=body, headers=headers) as response:
        jwe = (await response.json())["jwe"]
    await opens(jwe, kid=public["kid"])
    secret = await generate("a128kw", operations=["jwe-decrypt"])
    body = {"plaintext": "", "enc": "A128GCM"}
    for key, alg in ((secret, "A128KW"), (await generate("hs256"), "A128KW")):
        recipients = [{"kid": key["kid"], "alg": alg}]
        await refuses(
            "/jwe/encrypt", {**body, "recipients": recipients}, 422, "unsupported-operation"
        )


async def test_an_ed25519_key_opens_jwes_for_its_x25519_key(refuses, generate, encrypt, opens):
    """No JWE can be made for an Ed25519 JWK."""
    key = await generate("ed25519", operations=["sign", "jwe-decrypt"])
    x = crypto_sign_ed25519_pk_to_curve25519(raw(key["jwk"]["x"]))
    jwk = {"kty": "OKP", "crv": "X25519", "x": part(x)}
    jwe = await encrypt({"jwk": jwk, "alg": "ECDH-ES+A256KW"})
    await opens(jwe, kid=key["kid"])
    usual = await generate("ed25519")
    await refuses("/jwe/decrypt", {"jwe": jwe, "kid": usual["kid"]}, 422, "unsupported-operation")
    for by in ({"kid": key["kid"]}, {"jwk": key["jwk"]}):
        body = {"plaintext": "", "enc": "A128GCM", "recipients": [{**by, "alg": "ECDH-ES"}]}
        await refuses("/jwe/encrypt", body, 422, "unsupported-option")


async def test_keys_that_are_not_there(client, refuses, generate):
    mine = await generate("x25519", alias="here")
    await client.post("/profile", json={"name": "other"})
    body = {"plaintext": "", "enc": "A128GCM"}
    for by, headers, slug in (
        ({"kid": "unknown"}, {}, "key-not-found"),
        ({"alias": "unknown"}, {}, "alias-not-found"),
        ({"kid": mine["kid"]}, {"X-Profile": "other"}, "key-not-found"),
        ({"alias": "here"}, {"X-Profile": "other"}, "alias-not-found"),
        ({"kid": mine["kid"]}, {"X-Profile": "nobody"}, "profile-not-found"),
    ):
        recipients = [{**by, "alg": "ECDH-ES"}]
        response = await client.post(
            "/jwe/encrypt", json={**body, "recipients": recipients}, headers=headers
        )
        await refused(response, 404, slug)
    for by in ({}, {"kid": "a", "alias": "a"}, {"kid": "a", "jwk": {}}):
        recipients = [{**by, "alg": "ECDH-ES"}]
        await refuses("/jwe/encrypt", {**body, "recipients": recipients}, 422, "validation-failed")


async def test_each_of_the_most_recipients_opens(generate, encrypt, opens, fails):
    keys = [await generate("x25519") for _ in range(3)]
    to = [{"jwk": key["jwk"], "alg": "ECDH-ES+A256KW"} for key in keys]
    jwe = await encrypt(*(to * MAX_RECIPIENTS)[:MAX_RECIPIENTS])
    assert len(jwe["recipients"]) == MAX_RECIPIENTS
    for key in keys:
        await opens(jwe, kid=key["kid"])
    await fails(jwe, kid=(await generate("x25519"))["kid"])


async def test_long_content_opens_in_every_form(generate, encrypt, post):
    key = await generate("x25519")
    content = b64(bytes(500_000))
    for form in FORMS:
        body = {"plaintext": content, "enc": "A256GCM", "serialization": form}
        to = [{"jwk": key["jwk"], "alg": "ECDH-ES+A256KW"}]
        jwe = (await post("/jwe/encrypt", {**body, "recipients": to}))["jwe"]
        answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": key["kid"]})
        assert answer["plaintext"] == content


async def test_a_name_as_long_as_an_alias(generate, encrypt, opens):
    """A did:peer:4 in the header, as kid, skid and apu."""
    name = "did:peer:4" + "z" * 4080
    bob, alice = await generate("x25519", alias=name), await generate("x25519", alias=name + "#1")
    jwe = await encrypt(
        {"alias": name, "alg": "ECDH-1PU+A256KW"},
        enc="A256CBC-HS512",
        header={"skid": name, "apu": part(name.encode())},
        serialization="general",
        **{"from": alice["kid"]},
    )
    await opens(jwe, alias=name, **{"from": alice["jwk"]})
    assert bob["aliases"] == [name]


class Brainpool(EcAlgorithm, Pkcs8KeyAlgorithm[ec.EllipticCurvePrivateKey]):
    """A curve of a plugin's, which no JOSE library has."""

    name, crv = "bp384", "BP-384"
    signing_algs = ("ESB384",)
    curve, hash = ec.BrainpoolP384R1(), hashes.SHA384()


@pytest.mark.parametrize("name", [*ES, *PU])
async def test_a_curve_of_a_plugin(start, name):
    """`KeyAgreement` alone gives it JWE."""
    entry = EntryPoint("bp384", f"{__name__}:Brainpool", GROUP)
    client = await start(create_service(Config(), AlgorithmRegistry([entry])))

    async def post(path, body):
        async with client.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    bob, alice = [await post("/key/generate", {"alg": "bp384"}) for _ in range(2)]
    assert {"jwe-encrypt", "jwe-decrypt"} < {*bob["operations"]}
    body = {"plaintext": b64(PLAIN), "enc": "A256CBC-HS512"}
    to = {"jwk": bob["jwk"], "alg": name}
    sent = {"from": alice["kid"]} if name in PU else {}
    sender = {"from": alice["jwk"]} if name in PU else {}
    for form in FORMS:
        made = {**body, "recipients": [to], "serialization": form, **sent}
        jwe = (await post("/jwe/encrypt", made))["jwe"]
        assert protected_of(jwe)["epk"]["crv"] == "BP-384"
        answer = await post("/jwe/decrypt", {"jwe": jwe, "kid": bob["kid"], **sender})
        assert raw(answer["plaintext"]) == PLAIN
