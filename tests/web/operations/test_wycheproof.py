"""Project Wycheproof's vectors over HTTP, all 11,024 of them; what fails is told by its number."""

import asyncio

import orjson
import pytest
from web.operations.wycheproof import (
    AEADS,
    AGREEMENTS,
    DECRYPTIONS,
    KEMS,
    SIGNATURES,
    WRAPPINGS,
    aeads,
    agreements,
    decapsulations,
    decryptions,
    encapsulations,
    signatures,
    wrappings,
)

from minikms.encodings import b64url, b64url_decode

pytestmark = pytest.mark.shared_service

# How many calls are under way, so that imports share transactions.
AT_A_TIME = 16


@pytest.fixture
async def call(connect, profile):
    """Make calls, some at a time; gives a member of each answer, and the slug of its problem.

    `slugs` are those of the problems that there may be.
    """
    connections = [await connect() for _ in range(AT_A_TIME)]
    headers = "Content-Type: application/json", f"X-Profile: {profile}"

    async def post(path, bodies, member, *slugs):
        answers = [(None, None)] * len(bodies)
        numbered = enumerate(map(orjson.dumps, bodies))

        async def send(connection):
            for number, body in numbered:
                answer = await connection.call("POST", path, body, *headers)
                if answer.status == 200:
                    answers[number] = orjson.loads(answer.body)[member], None
                else:
                    answers[number] = None, answer.problem()[1]
                    assert answers[number][1] in slugs, bodies[number]

        await asyncio.gather(*map(send, connections))
        return answers

    return post


@pytest.fixture
def import_keys(call):
    """Import keys; gives their kids, None for what is no key, by the names that they have here."""

    async def post(sources, *slugs):
        answers = await call("/key/import", [*sources.values()], "kid", *slugs)
        return dict(zip(sources, (kid for kid, _ in answers), strict=True))

    return post


def found(cases, answers):
    """The results of all cases; fails with the numbers of the wrong ones."""
    values, wrong = [], {}
    for (number, *_, right), (value, slug) in zip(cases, answers, strict=True):
        values.append(b64url_decode(value) if isinstance(value, str) else value)
        if values[-1] not in right:
            wrong[number] = values[-1], slug, right
    assert wrong == {}
    return values


@pytest.mark.parametrize("name", SIGNATURES)
async def test_every_signature_of_wycheproof_is_judged_right(call, name):
    cases = [*signatures(name)]
    bodies = [
        {"jwk": jwk, "data": b64url(message), "sig": b64url(sig), "alg": SIGNATURES[name][1]}
        for _, jwk, message, sig, _ in cases
    ]
    answers = await call("/verify", bodies, "valid", "invalid-key")
    assert {*found(cases, [(bool(valid), slug) for valid, slug in answers])} == {True, False}


@pytest.mark.parametrize("name", AGREEMENTS)
async def test_every_agreement_of_wycheproof_is_judged_right(call, import_keys, name):
    cases = [*agreements(name)]
    kids = await import_keys({private["d"]: {"jwk": private} for _, private, *_ in cases})
    bodies = [{"kid": kids[private["d"]], "peer": public} for _, private, public, _ in cases]
    results = {*found(cases, await call("/derive", bodies, "secret", "invalid-key"))}
    assert None in results
    assert len(results) > 100


@pytest.mark.parametrize("name", DECRYPTIONS)
async def test_every_decryption_of_wycheproof_is_judged_right(call, import_keys, name):
    cases = [*decryptions(name)]
    kids = await import_keys({private["d"]: {"jwk": private} for _, private, *_ in cases})
    bodies = [
        {"kid": kids[private["d"]], "ciphertext": b64url(ciphertext)}
        for _, private, ciphertext, _ in cases
    ]
    results = found(cases, await call("/decrypt", bodies, "plaintext", "decryption-failed"))
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("name", AEADS)
async def test_every_aead_case_of_wycheproof_is_judged_right(call, import_keys, name):
    cases = [*aeads(name)]
    kids = await import_keys({key: {"alg": name, "secret": b64url(key)} for _, key, *_ in cases})
    bodies = [
        {
            "kid": kids[key],
            "ciphertext": b64url(sealed.ciphertext),
            "nonce": b64url(sealed.nonce),
            "tag": b64url(sealed.tag),
            "aad": b64url(aad),
        }
        for _, key, sealed, aad, _ in cases
    ]
    results = found(cases, await call("/decrypt", bodies, "plaintext", "decryption-failed"))
    assert None in results
    assert len(results) > 50


@pytest.mark.parametrize("name", WRAPPINGS)
async def test_every_key_wrap_of_wycheproof_is_judged_right(call, import_keys, name):
    cases, alg = [*wrappings(name)], WRAPPINGS[name][0]
    kids = await import_keys({key: {"alg": alg, "secret": b64url(key)} for _, key, *_ in cases})
    bodies = [{"kid": kids[key], "wrapped": b64url(wrapped)} for _, key, wrapped, _ in cases]
    results = found(cases, await call("/unwrap", bodies, "key", "decryption-failed"))
    assert None in results
    assert len(results) > 30


@pytest.mark.parametrize("name", KEMS)
async def test_every_encapsulation_of_wycheproof_is_judged_right(call, import_keys, name):
    cases = [*decapsulations(name)]
    sources = {seed: {"alg": KEMS[name], "seed": b64url(seed)} for _, seed, *_ in cases}
    kids = await import_keys(sources, "invalid-key")
    assert all((kid is not None) == (len(seed) == 64) for seed, kid in kids.items())
    refused = [case for case in cases if kids[case[1]] is None]
    assert found(refused, [(None, "invalid-key")] * len(refused)) == [None] * len(refused)
    cases = [case for case in cases if kids[case[1]] is not None]
    bodies = [{"kid": kids[seed], "ciphertext": b64url(text)} for _, seed, text, _ in cases]
    results = found(cases, await call("/decapsulate", bodies, "secret", "decryption-failed"))
    assert None in results + [None] * len(refused)
    assert len(results) > 100


@pytest.mark.parametrize("name", KEMS)
async def test_keys_to_encapsulate_to(call, name):
    cases = [(number, jwk, (right,)) for number, jwk, right in encapsulations(name)]
    answers = await call(
        "/encapsulate", [{"to": jwk} for _, jwk, _ in cases], "ciphertext", "invalid-key"
    )
    made = [(ciphertext is not None, slug) for ciphertext, slug in answers]
    assert {*found(cases, made)} == {True, False}
