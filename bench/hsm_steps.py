"""The steps of a signature by a token's key, in microseconds of processor time.

Run it with the Python that Mini KMS and minikms-pkcs11 are installed in. Needs softhsm2. It signs
in this process. The last lines are steps of other ways.
"""

import asyncio
import importlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hsm import SoftHsm
from pieces import microseconds
from rows import MESSAGE

from minikms.keys.providers.threads import Call, ProviderThreads
from minikms.plugin import KEY_ID_SIZE, SignatureOptions
from minikms.plugin.bound import BoundSigner
from minikms.plugin.providers import make_providers
from minikms.plugin.registry import AlgorithmRegistry

CALLS = 200
ROUNDS = 20

timed = partial(microseconds, calls=CALLS, rounds=ROUNDS)


@click.command(help=__doc__)
@click.option("--algs", default="p256,ed25519,rsa2048", show_default=True)
@click.option("--callers", default=8, show_default=True, type=click.IntRange(1), help="At once.")
def main(algs: str, callers: int) -> None:
    """Measure, and print a line for each step."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        contender = SoftHsm("token")
        asyncio.run(contender.prepare(Path(folder)))
        environment = contender.environment(Path(folder))
        os.environ["SOFTHSM2_CONF"] = environment["SOFTHSM2_CONF"]
        providers = make_providers([environment["MINIKMS_PROVIDER"]])
        registry = AlgorithmRegistry.from_installed().with_providers(providers)
        [(name, provider)] = providers.items()
        provider.open()
        for alg in algs.split(","):
            found[alg] = dict(steps(registry.bound(name, registry.get(alg)), provider, callers))
        provider.close()
    print(f"{'':44}", *(f"{alg:>9}" for alg in found))
    for step in next(iter(found.values())):
        print(f"{step:44}", *(f"{times[step]:9.1f}" for times in found.values()))


def steps(algorithm: BoundSigner, provider: Any, callers: int) -> Iterator[tuple[str, float]]:
    """The steps by name."""
    package, pkcs11 = "minikms_pkcs11", importlib.import_module("pkcs11")
    schemes = importlib.import_module(f"{package}.signing")
    options = SignatureOptions((algorithm.signing_algs or ("",))[0])
    key = algorithm.make(secrets.token_bytes(KEY_ID_SIZE))
    data, scheme = algorithm._software.prepare(MESSAGE, options)
    call, public = schemes.signing(data, scheme), load_der_public_key(key.public)
    signature = provider.sign(key, data, scheme)

    def borrow() -> None:
        with provider._connection.session():
            pass

    def sign() -> bytes:
        return algorithm.sign(key, MESSAGE, options)

    yield "hash", timed(lambda: algorithm._software.prepare(MESSAGE, options))
    yield "borrow a session", timed(borrow)
    with provider._connection.session() as session:
        functions, where = session.module.functions, session.raw.handle
        handle = session.keys[key.key_id].handle
        whole = timed(lambda: functions.sign(where, handle, key.key_id, call))
        by_id = timed(lambda: functions._id_of(where, handle))
        [private] = session.raw.get_objects(
            {pkcs11.Attribute.ID: key.key_id, pkcs11.Attribute.SIGN: True}
        )
        arguments = {"mechanism": call.mechanism, "mechanism_param": call.parameter}
        otherwise = {
            "C_SignInit and C_Sign by python-pkcs11": lambda: private.sign(call.data, **arguments),
            "CKA_ID by python-pkcs11": lambda: private[pkcs11.Attribute.ID],
            "verify in software": lambda: schemes.verify(public, data, scheme, signature),
        }
        others = {name: timed(work) for name, work in otherwise.items()}
    yield "C_SignInit and C_Sign", whole - by_id
    yield "read CKA_ID", by_id
    yield "all, on one thread", timed(sign)
    yield f"all, in threads, {callers} callers", run_in_threads(sign, callers)
    yield from others.items()


def run_in_threads(work: Callable[[], object], callers: int) -> float:
    """Measure microseconds of a call in a provider's threads, from the event loop and back."""

    async def one(threads: ProviderThreads) -> None:
        for _ in range(CALLS // callers):
            call = Call(work, Call.end)
            threads.submit(call)
            await call.outcome

    async def all_of_them() -> float:
        threads, rounds = ProviderThreads("provider"), []
        for _ in range(ROUNDS):
            begin = time.process_time()
            await asyncio.gather(*(one(threads) for _ in range(callers)))
            rounds.append((time.process_time() - begin) / CALLS * 1e6)
        threads.stop()
        return min(rounds)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(all_of_them())


if __name__ == "__main__":
    main()
