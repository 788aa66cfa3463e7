"""A plugin's authentication code that JOSE has no name for."""

from importlib.metadata import EntryPoint

import pytest

from minikms.algorithms.symmetric import Hs256
from minikms.config import Config
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service


class Nameless(Hs256):
    name, jose_algs = "nameless", ()


@pytest.fixture
async def client(start):
    entry = EntryPoint(Nameless.name, f"{__name__}:Nameless", GROUP)
    return await start(create_service(Config(), AlgorithmRegistry([entry])))


async def test_a_mac_without_jose_name_makes_no_jws(refuses, post, generate):
    by = {"kid": (await generate("nameless"))["kid"]}
    mac = await post("/mac", {**by, "data": "aGVsbG8="})
    assert await post("/mac/verify", {**by, "data": "aGVsbG8=", **mac}) == {"valid": True}
    for alg in ({}, {"alg": "HS256"}):
        body = {**by, "payload": "", **alg}
        await refuses("/jws/sign", body, 422, "unsupported-option")
    jws = "eyJhbGciOiJIUzI1NiJ9..AAAA"
    assert not (await post("/jws/verify", {**by, "jws": jws}))["valid"]
