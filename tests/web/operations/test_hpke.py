"""HPKE in its base mode, one message at a time (RFC 9180)."""

import json
from itertools import product

import pytest
from algorithm_facts import FACTS, using
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography_vectors import open_vector_file
from problems import refused
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from minikms.algorithms.okp import X25519
from minikms.encodings import b64url, b64url_decode, jose_b64url
from minikms.plugin.protocol import HPKE_AEADS, HPKE_KDFS

pytestmark = pytest.mark.shared_service

KDFS = {1: "HKDF-SHA256", 2: "HKDF-SHA384", 3: "HKDF-SHA512"}
AEADS = {1: "AES-128-GCM", 2: "AES-256-GCM", 3: "ChaCha20Poly1305"}
PLAIN = b64url(b"hello")
BOUND = {"info": b64url(b"info"), "aad": b64url(b"aad")}

each = pytest.mark.parametrize("alg", using("hpke-open"))
each_of_pyhpke = pytest.mark.parametrize("alg", ["x25519", "x448", "p256", "p384", "p521"])


def test_every_kdf_and_aead_is_in_these_tables():
    assert (*KDFS.values(),) == HPKE_KDFS
    assert (*AEADS.values(),) == HPKE_AEADS


def in_b64url(text):
    return b64url(bytes.fromhex(text))


def published(alg):
    """The vectors of the base mode of a KEM, with KDFs and AEADs that the service has."""
    file = "hpke-pq-test-vectors.json" if alg.startswith("mlkem") else "test-vectors.json"
    with open_vector_file(f"HPKE/{file}", "r") as vectors:
        for vector in json.load(vectors):
            suite = vector["kdf_id"] in KDFS and vector["aead_id"] in AEADS
            if vector["mode"] == 0 and vector["kem_id"] == FACTS[alg].kem and suite:
                yield vector


@pytest.mark.parametrize(
    ("alg", "count"),
    [("x25519", 6), ("x448", 6), ("p256", 6), ("p521", 6), ("mlkem768", 1), ("mlkem1024", 1)],
)
async def test_hpke_opens_the_published_vectors(post, refuses, alg, count):
    """The first message of each vector of RFC 9180 (github.com/cfrg/draft-irtf-cfrg-hpke, its
    test-vectors.json) and of draft-ietf-hpke-pq, in the base mode and with AAD.

    A single-shot call has no other sequence number, so later messages do not open.
    """
    checked = 0
    for vector in published(alg):
        private, public = (bytes.fromhex(vector[name]) for name in ("skRm", "pkRm"))
        form = "seed" if alg.startswith("mlkem") else "secret"
        ours = await post("/key/import", {"alg": alg, form: b64url(private)})
        members = {name: b64url_decode(ours["jwk"].get(name, "")) for name in ("x", "y", "pub")}
        assert b"".join(members.values()) == (public[1:] if "y" in ours["jwk"] else public)
        body = {
            "kid": ours["kid"],
            "enc": in_b64url(vector["enc"]),
            "info": in_b64url(vector["info"]),
            "kdf": KDFS[vector["kdf_id"]],
            "aead": AEADS[vector["aead_id"]],
        }
        first, second = (
            {"ciphertext": in_b64url(each["ct"]), "aad": in_b64url(each["aad"])}
            for each in vector["encryptions"][:2]
        )
        plaintext = in_b64url(vector["encryptions"][0]["pt"])
        assert await post("/hpke/open", body | first) == {"plaintext": plaintext}
        await refuses("/hpke/open", body | second, 422, "decryption-failed")
        checked += 1
    assert checked == count


@each_of_pyhpke
@pytest.mark.parametrize(("kdf", "aead"), [*product(KDFS, AEADS)])
async def test_pyhpke_agrees_on_every_suite(post, generate, alg, kdf, aead):
    key = await generate(alg)
    suite = CipherSuite.new(KEMId(FACTS[alg].kem), KDFId(kdf), AEADId(aead))
    options = {"kdf": KDFS[kdf], "aead": AEADS[aead], **BOUND}
    enc, sender = suite.create_sender_context(KEMKey.from_jwk(key["jwk"]), info=b"info")
    ciphertext = sender.seal(b"hello", aad=b"aad")
    body = {"kid": key["kid"], "enc": b64url(enc), "ciphertext": b64url(ciphertext)}
    assert await post("/hpke/open", body | options) == {"plaintext": PLAIN}

    pair = suite.kem.derive_key_pair(bytes(range(66)))
    point = pair.public_key.to_public_bytes()
    middle = len(point) // 2
    parts = {"x": point}
    if not alg.startswith("x"):
        parts = {"x": point[1 : middle + 1], "y": point[middle + 1 :]}
    to = {**key["jwk"], **{name: jose_b64url(part) for name, part in parts.items()}}
    made = await post("/hpke/seal", {"to": to, "plaintext": PLAIN, **options})
    enc, ciphertext = (b64url_decode(made[name]) for name in ("enc", "ciphertext"))
    recipient = suite.create_recipient_context(enc, pair.private_key, info=b"info")
    assert recipient.open(ciphertext, aad=b"aad") == b"hello"


@each
async def test_a_sealed_message_opens_by_kid_and_by_alias(post, generate, alg):
    key = await generate(alg, alias="did:example:1#hpke")
    given = {"info": b64url(b"info"), "aad": b64url(bytes(5000))}
    for plaintext, options in ((b"", {}), (b"hello", given), (bytes(5000), {})):
        made = await post(
            "/hpke/seal", {"to": key["jwk"], "plaintext": b64url(plaintext), **options}
        )
        assert len(b64url_decode(made["enc"])) == FACTS[alg].enc
        assert len(b64url_decode(made["ciphertext"])) == len(plaintext) + 16
        for by in ({"kid": key["kid"]}, {"alias": "did:example:1#hpke"}):
            opened = await post("/hpke/open", by | made | options)
            assert opened == {"plaintext": b64url(plaintext)}
    # The defaults of absent members.
    default = {"info": "", "aad": "", "kdf": "HKDF-SHA256", "aead": "AES-128-GCM"}
    assert await post("/hpke/open", {"kid": key["kid"], **made, **default}) == {
        "plaintext": b64url(bytes(5000))
    }


@each
async def test_any_mismatch_is_refused_and_no_more_is_said(client, post, generate, alg):
    key, other = await generate(alg), await generate(alg)
    made = await post("/hpke/seal", {"to": key["jwk"], "plaintext": PLAIN, **BOUND})
    good = {"kid": key["kid"], **BOUND, **made}
    enc, ciphertext = (b64url_decode(made[name]) for name in ("enc", "ciphertext"))
    parts = [
        *((data, ciphertext) for data in (enc[:-1], enc + b"\0", b"", bytes(len(enc)))),
        *((b"\x04" + bytes(len(enc) - 1), ciphertext), (b"\xff" * len(enc), ciphertext)),
        (bytes([enc[0] ^ 1]) + enc[1:], ciphertext),
        *((enc, data) for data in (ciphertext[:-1], ciphertext[1:], b"", b"\0" + ciphertext)),
        (enc + ciphertext[:1], ciphertext[1:]),
        (enc[:-1], enc[-1:] + ciphertext),
    ]
    changes = [{"enc": b64url(one), "ciphertext": b64url(two)} for one, two in parts]
    changes += [{"info": ""}, {"aad": ""}, {"aad": b64url(b"aae")}]
    changes += [{"info": "", "aad": b64url(b"infoaad")}, {"info": b64url(b"infoaad"), "aad": ""}]
    changes += [{"kdf": "HKDF-SHA512"}, {"aead": "AES-256-GCM"}]
    changes += [{"aead": "ChaCha20Poly1305"}, {"kid": other["kid"]}]
    details = set()
    for change in changes:
        response = await client.post("/hpke/open", json=good | change)
        details.add((await refused(response, 422, "decryption-failed"))["detail"])
    assert len(details) == 1


# RFC 7748 sections 6.1 and 6.2: u of low order.
@pytest.mark.parametrize(
    ("alg", "u"),
    [
        *(("x25519", u) for u in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18)),
        *(("x448", u) for u in (0, 1, 2**448 - 2**224 - 2)),
    ],
)
async def test_a_low_order_point_is_refused(refuses, generate, alg, u):
    key, point = await generate(alg), u.to_bytes(FACTS[alg].enc, "little")
    body = {"kid": key["kid"], "enc": b64url(point), "ciphertext": b64url(bytes(21))}
    await refuses("/hpke/open", body, 422, "decryption-failed")
    body = {"to": {**key["jwk"], "x": jose_b64url(point)}, "plaintext": PLAIN}
    await refuses("/hpke/seal", body, 422, "invalid-key")


async def test_a_point_off_the_curve_is_refused(refuses, generate):
    key = await generate("p256")
    enc = b"\x04" + b64url_decode(key["jwk"]["x"]) * 2
    body = {"kid": key["kid"], "enc": b64url(enc), "ciphertext": b64url(bytes(21))}
    await refuses("/hpke/open", body, 422, "decryption-failed")
    body = {"to": {**key["jwk"], "y": key["jwk"]["x"]}, "plaintext": PLAIN}
    await refuses("/hpke/seal", body, 422, "invalid-key")


async def test_pyca_agrees_on_the_other_side(post, generate):
    """Open its ciphertexts, and let it open the service's."""
    for alg, private, kem in (
        ("x25519", x25519.X25519PrivateKey.generate(), hpke.KEM.X25519),
        ("p256", ec.generate_private_key(ec.SECP256R1()), hpke.KEM.P256),
    ):
        suite = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
        public = private.public_key()
        if alg == "p256":
            numbers = public.public_numbers()
            parts = {name: getattr(numbers, name).to_bytes(32, "big") for name in ("x", "y")}
            facts = {"kty": "EC", "crv": "P-256"}
        else:
            parts, facts = {"x": public.public_bytes_raw()}, {"kty": "OKP", "crv": "X25519"}
        to = facts | {name: jose_b64url(part) for name, part in parts.items()}
        made = await post("/hpke/seal", {"to": to, "plaintext": PLAIN})
        whole = b64url_decode(made["enc"]) + b64url_decode(made["ciphertext"])
        assert suite.decrypt(whole, private) == b"hello"


async def test_bodies_that_are_refused(refuses, post, generate):
    key, plain = await generate("p256"), {"plaintext": PLAIN}
    made = await post("/hpke/seal", {"to": key["jwk"], **plain})
    for extra in ({"kdf": "SHA-256"}, {"aead": "AES-192-GCM"}, {"info": "*"}, {"aad": "*"}):
        for path, body in (
            ("/hpke/seal", {"to": key["jwk"], **plain}),
            ("/hpke/open", {"kid": key["kid"], **made}),
        ):
            await refuses(path, body | extra, 422, "validation-failed")
    for to, slug in (
        ({**key["jwk"], "d": key["jwk"]["x"]}, "invalid-key"),
        ({}, "invalid-key"),
        ((await generate("k256"))["jwk"], "unsupported-operation"),
        ((await generate("ed25519"))["jwk"], "unsupported-operation"),
        ((await generate("ed448"))["jwk"], "unsupported-operation"),
        ((await generate("mldsa44"))["jwk"], "unsupported-operation"),
    ):
        await refuses("/hpke/seal", {"to": to, **plain}, 422, slug)
    await refuses("/hpke/seal", {"kid": key["kid"], **plain}, 422, "validation-failed")


async def test_aad_is_refused_for_an_algorithm_without_it(refuses, post, generate, monkeypatch):
    """As for a plugin that was written before HPKE had AAD, and would ignore it."""
    key = await generate("x25519")
    made = await post("/hpke/seal", {"to": key["jwk"], "plaintext": PLAIN, **BOUND})
    monkeypatch.setattr(X25519, "hpke_aad", False)
    opens = {"kid": key["kid"], **made, **BOUND}
    await refuses("/hpke/open", opens, 422, "unsupported-option")
    seals = {"to": key["jwk"], "plaintext": PLAIN, **BOUND}
    await refuses("/hpke/seal", seals, 422, "unsupported-option")
    without = {"info": BOUND["info"], "plaintext": PLAIN}
    await post("/hpke/seal", {"to": key["jwk"], **without})


async def test_a_key_that_only_opens(refuses, post, generate):
    key = await generate("x25519", operations=["hpke-open"])
    assert key["operations"] == ["hpke-open"]
    made = await post("/hpke/seal", {"to": key["jwk"], "plaintext": PLAIN})
    assert await post("/hpke/open", {"kid": key["kid"], **made}) == {"plaintext": PLAIN}
    body = {"kid": key["kid"], "peer": key["jwk"]}
    await refuses("/derive", body, 422, "unsupported-operation")
