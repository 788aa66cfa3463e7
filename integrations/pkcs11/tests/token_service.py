"""Calls of a service whose provider `hsm` is a token, and the check of their answers."""

import asyncio
import base64
import subprocess

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from minikms_processes import begin_process
from waiting import SECONDS, waiting_for

MESSAGE = b"hello"
DATA = base64.urlsafe_b64encode(MESSAGE).decode()


def run(*args, **options):
    """Run a command that succeeds."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = begin_process(args, None, options, **streams)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


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


async def until_connected(session, seconds=SECONDS):
    async with waiting_for("the token", seconds):
        while "away" in await done(session, "GET", "/readyz"):
            await asyncio.sleep(0.02)


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
