"""`minikms serve` with keys in tokens: calls, workers, kills, losses and wrong PINs."""

import asyncio
import base64
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from joserfc import jws
from joserfc.jwk import ECKey
from service_process import MINIKMS, begin_and_answer, begin_process, services
from tokens import PIN
from waiting import waiting_for

from minikms.plugin import ProviderUnavailable

ROUNDS = int(os.environ.get("MINIKMS_TEST_KILL_ROUNDS", "2"))
AWAY = [float(each) for each in os.environ.get("MINIKMS_TEST_AWAY_SECONDS", "1").split(",")]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
MESSAGE = b"hello"
DATA = base64.urlsafe_b64encode(MESSAGE).decode()


@pytest.fixture
def begin():
    """Start services with a token as their provider `hsm`, each ended at the end of the test."""
    with services() as start:

        async def run(token, *args, **options):
            provider = "--provider", f"hsm={token.uri}"
            service, address = await begin_and_answer(
                start, {"AUTH": "none", **options}, *provider, *args
            )
            return service, ClientSession(address)

        yield run


def run(*args, **options):
    """Run a command that succeeds."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = begin_process(args, None, options, **streams)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


@pytest.fixture
def stored(tmp_path):
    """The options of a new store in a file."""
    options = {
        "STORE": f"sqlite://{tmp_path}/keys.db",
        "STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    run("store", "init", "--generate-key", **options)
    return options


async def call(session, method, path, body=None):
    """The status and the body of an answer."""
    async with session.request(method, path, json=body) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None


def slug(problem):
    return problem["type"].rpartition(":")[2]


async def done(session, method, path, body=None):
    """The body of an answer to a call that succeeds."""
    status, answer = await call(session, method, path, body)
    assert status in (200, 204), answer
    return answer


class Unavailable(Exception):
    """The token did not answer."""


async def done_or_unavailable(session, method, path, body=None):
    status, answer = await call(session, method, path, body)
    if status == 503 and slug(answer) == "provider-unavailable":
        raise Unavailable
    if status == 422 and "does not make keys" in answer["detail"]:  # SoftHSM, for half an object
        raise Unavailable
    assert status in (200, 204), answer
    return answer


async def until_connected(session):
    async with waiting_for("the token"):
        while "away" in await done(session, "GET", "/readyz"):
            await asyncio.sleep(0.02)


async def until_it_has(provider, number):
    async with waiting_for(f"a token with {number} keys"):
        while True:
            with suppress(ProviderUnavailable):  # SoftHSM fails at times beside another process
                if len(provider.find()) == number:
                    return
            await asyncio.sleep(0.1)


async def make(session, alg="p256", **more):
    return await done(session, "POST", "/key/generate", {"alg": alg, "provider": "hsm", **more})


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


def public_of(key):
    point = ec.EllipticCurvePublicNumbers(
        number(key["jwk"]["x"]), number(key["jwk"]["y"]), ec.SECP256R1()
    )
    return point.public_key()


def check(key, sig, message=MESSAGE):
    """Verify a signature of a P-256 key in software."""
    raw = base64.urlsafe_b64decode(sig + "==")
    assert len(raw) == 64
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    der = utils.encode_dss_signature(r, s)
    public_of(key).verify(der, message, ec.ECDSA(hashes.SHA256()))


async def sign(session, key):
    answer = await done(session, "POST", "/sign", {"kid": key["kid"], "data": DATA})
    check(key, answer["sig"])


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


@pytest.mark.skipif(not FAKETIME, reason="faketime is missing: apt-get install faketime")
async def test_kills_leave_the_token_with_the_keys_of_the_store(begin, softhsm, stored, connect):
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
    # Once calls that were under way can no longer end, only objects of keys are left.
    later = ["env", f"LD_PRELOAD={FAKETIME}", "FAKETIME=+1h", *MINIKMS]
    _, session = await begin(softhsm, command=later, **stored)
    async with session:
        await until_connected(session)
        keys = await done(session, "GET", "/keys?limit=1000")
        await until_it_has(connect(softhsm), len(keys))
        for key in keys:
            await sign(session, key)


@pytest.mark.parametrize("seconds", AWAY)
async def test_a_token_is_away_under_load(begin, softhsm, seconds):
    _, session = await begin(softhsm)
    async with session:
        await until_connected(session)
        key = await make(session)
        own = await done(session, "POST", "/key/generate", {"alg": "p256"})
        stop, outcomes, delays = asyncio.Event(), Counter(), []

        async def use_token():
            while not stop.is_set():
                body = {"kid": key["kid"], "data": DATA}
                status, answer = await call(session, "POST", "/sign", body)
                if status == 200:
                    check(key, answer["sig"])
                    outcomes[200] += 1
                else:
                    outcomes[status, slug(answer)] += 1
                    await asyncio.sleep(0.01)

        async def use_own():
            while not stop.is_set():
                begun = time.perf_counter()
                await sign(session, own)
                delays.append(time.perf_counter() - begun)
                await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(use_token()) for _ in range(8)]
        tasks.append(asyncio.create_task(use_own()))
        await asyncio.sleep(0.3)
        with softhsm.away():
            await asyncio.sleep(seconds)
            ready = await done(session, "GET", "/readyz")
            assert ready["away"] == ["hsm"]
        before, back = outcomes[200], time.monotonic()
        while outcomes[200] == before:
            assert time.monotonic() - back < 10
            await asyncio.sleep(0.01)
        await until_connected(session)
        stop.set()
        await asyncio.gather(*tasks)
        assert outcomes.keys() == {200, (503, "provider-unavailable")}, outcomes
        delays.sort()
        print(f"own keys: p99 {delays[len(delays) * 99 // 100] * 1000:.0f} ms, {outcomes}")


async def test_workers_with_a_wrong_pin_do_not_lock_the_token(begin, softhsm, connect):
    softhsm.pin_file.write_text("87654329")
    _, session = await begin(softhsm, "--workers", "3")
    async with session:
        for _ in range(20):
            status, problem = await call(
                session, "POST", "/key/generate", {"alg": "p256", "provider": "hsm"}
            )
            assert status == 503
            assert slug(problem) == "provider-unavailable"
            assert "87654329" not in str(problem)
        assert (await done(session, "GET", "/readyz"))["away"] == ["hsm"]
        softhsm.pin_file.unlink()
        softhsm.pin_file.write_text(PIN)
        assert connect(softhsm).status().available


async def test_a_token_that_hangs(begin, softhsm):
    """Another process holds the locks of the token's files, for which SoftHSM waits."""
    _, session = await begin(softhsm, "--provider-timeout", "1")
    async with session:
        await until_connected(session)
        key = await make(session)
        own = await done(session, "POST", "/key/generate", {"alg": "p256"})
        code = (
            "import fcntl, pathlib, sys\n"
            "files = [open(path, 'r+b') for path in pathlib.Path(sys.argv[1]).rglob('*')"
            " if path.is_file()]\n"
            "[fcntl.lockf(file, fcntl.LOCK_EX) for file in files]\n"
            "print('locked', flush=True); sys.stdin.read()\n"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(softhsm.tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            await asyncio.to_thread(holder.stdout.readline)
            body = {"kid": key["kid"], "data": DATA}
            calls = [call(session, "POST", "/sign", body) for _ in range(12)]
            hanging = asyncio.gather(*calls)
            for _ in range(50):
                await sign(session, own)
                await asyncio.sleep(0.01)
            for status, problem in await hanging:
                assert status == 503
                assert slug(problem) == "provider-unavailable"
        finally:
            holder.communicate(timeout=20)
        async with waiting_for("a signature"):
            while (await call(session, "POST", "/sign", body))[0] != 200:
                await asyncio.sleep(0.05)
        await sign(session, key)
