"""`minikms serve` with keys in tokens: calls, workers, and kills."""

import asyncio
import base64
import os
import random
import signal
from contextlib import suppress

from aiohttp import ClientError, ClientSession
from cryptography import x509
from joserfc import jws
from joserfc.jwk import ECKey
from token_service import (
    DATA,
    MESSAGE,
    call,
    check,
    done,
    make,
    public_of,
    run,
    sign,
    slug,
    until_connected,
)
from waiting import waiting_for

from minikms.plugin import ProviderUnavailable

ROUNDS = int(os.environ.get("MINIKMS_TEST_KILL_ROUNDS", "2"))


class Unavailable(Exception):
    """The token did not answer."""


async def done_or_unavailable(session, method, path, body=None):
    status, answer = await call(session, method, path, body)
    if status == 503 and slug(answer) == "provider-unavailable":
        raise Unavailable
    assert status in (200, 204), answer
    return answer


async def until_it_has(provider, number):
    async with waiting_for(f"a token with {number} keys"):
        while True:
            with suppress(ProviderUnavailable):  # SoftHSM fails at times beside another process
                if len(provider.find()) == number:
                    return
            await asyncio.sleep(0.1)


async def test_calls_with_keys_of_a_token(begin, token, connect):
    provider = connect(token)
    before = len(provider.find())  # opencryptoki's token is the same one for all tests
    _, session = await begin(token)
    async with session:
        await until_connected(session)
        listed = {each["name"]: each for each in await done(session, "GET", "/algorithms")}
        assert listed["p256"]["providers"] == ["hsm"]
        assert "providers" not in listed["x25519"]

        key = await make(session, alias="issuer")
        assert (key["provider"], key["exportable"]) == ("hsm", False)
        assert set(key["operations"]) == {"sign", "verify"}
        await sign(session, key)

        made = await done(session, "POST", "/jws/sign", {"alias": "issuer", "payload": DATA})
        assert jws.deserialize_compact(made["jws"], ECKey.import_key(key["jwk"])).payload == MESSAGE

        items = [{"data": base64.urlsafe_b64encode(b"%d" % n).decode()} for n in range(30)]
        batch = await done(session, "POST", "/sign/batch", {"kid": key["kid"], "items": items})
        for n, result in enumerate(batch["results"]):
            check(key, result["sig"], b"%d" % n)

        csr = await done(session, "POST", "/csr", {"kid": key["kid"], "subject": "CN=issuer"})
        request = x509.load_pem_x509_csr(csr["csr"].encode())
        assert request.is_signature_valid
        assert request.public_key() == public_of(key)

        rotated = await done(session, "POST", f"/key/{key['kid']}/rotate")
        after = await done(session, "GET", "/key?alias=issuer")
        assert after["provider"] == "hsm"
        assert after["kid"] != key["kid"]
        assert rotated
        await sign(session, after)

        many = await done(
            session, "POST", "/key/generate/batch", {"alg": "p256", "count": 5, "provider": "hsm"}
        )
        kids = [each["kid"] for each in (many["keys"] if isinstance(many, dict) else many)]
        assert len(set(kids)) == 5

        for refused in ({"exportable": True}, {"provider": "other"}, {"alg": "x25519"}):
            body = {"alg": "p256", "provider": "hsm", **refused}
            status, problem = await call(session, "POST", "/key/generate", body)
            assert (status, slug(problem)) == (422, "unsupported-option")

        assert len(provider.find()) == before + 7
        for kid in [key["kid"], after["kid"], *kids]:
            await done(session, "DELETE", f"/key/{kid}")
        await until_it_has(provider, before)


async def test_two_workers(begin, softhsm, stored):
    _, session = await begin(softhsm, "--workers", "2", **stored)
    async with session:
        await until_connected(session)
        keys = [await make(session) for _ in range(3)]

        async def use(each):
            # A connection of its own, so that both workers are called.
            async with ClientSession(session._base_url) as other:
                for _ in range(10):
                    await sign(other, each)

        await asyncio.gather(*(use(keys[n % 3]) for n in range(12)))


async def test_kills_leave_only_key_pairs_that_were_being_made(begin, softhsm, stored, connect):
    chance, unanswered = random.Random(1), 0
    for _ in range(ROUNDS):
        service, session = await begin(softhsm, **stored)
        async with session:
            await until_connected(session)
            stop = asyncio.Event()

            async def client(session, stop, seed):
                own, choice = [], random.Random(seed)
                while not stop.is_set():
                    try:
                        body = {"alg": "p256", "provider": "hsm"}
                        own.append(
                            await done_or_unavailable(session, "POST", "/key/generate", body)
                        )
                        if choice.random() < 0.5:
                            kid = own.pop(choice.randrange(len(own)))["kid"]
                            await done_or_unavailable(session, "DELETE", f"/key/{kid}")
                    except Unavailable:  # after a kill it may find half an object
                        continue
                    except ClientError:
                        return 1
                return 0

            clients = [
                asyncio.create_task(client(session, stop, chance.random())) for _ in range(8)
            ]
            await asyncio.sleep(0.3 + 0.3 * chance.random())
            service.process.send_signal(signal.SIGKILL)
            unanswered += sum(await asyncio.gather(*clients))
        service.end()
        run("store", "verify", "--provider", f"hsm={softhsm.uri}", **stored)
    assert unanswered
    run("store", "destroy-orphans", "--yes", "--provider", f"hsm={softhsm.uri}", **stored)
    _, session = await begin(softhsm, **stored)
    async with session:
        await until_connected(session)
        keys = await done(session, "GET", "/keys?limit=1000")
        await until_it_has(connect(softhsm), len(keys))
        for key in keys:
            await sign(session, key)
