"""A signer of version 1 of minikms.plugin, whose methods take `alg` and `prehashed`."""

import warnings
from importlib.metadata import EntryPoint

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey

from minikms.algorithms.okp import OkpAlgorithm
from minikms.algorithms.points import is_ed448_point
from minikms.config import Config
from minikms.encodings import b64url
from minikms.plugin import EcAlgorithm, Pkcs8KeyAlgorithm, Signer, UnsupportedOption
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.testing import AlgorithmContract

with warnings.catch_warnings(record=True, action="always") as WARNINGS:

    class OldEd448(OkpAlgorithm, Signer, Pkcs8KeyAlgorithm):
        name, crv, size = "ed448", "Ed448", 57
        signing_algs = ("Ed448", "EdDSA")
        private_class, public_class = Ed448PrivateKey, Ed448PublicKey
        is_public_key = staticmethod(is_ed448_point)

        def sign(self, key, message, alg, prehashed):
            assert alg in self.signing_algs
            if prehashed:
                raise UnsupportedOption("never a digest")
            return key.sign(message)

        def sign_many(self, key, messages, alg, prehashed):
            return [self.sign(key, message, alg, prehashed) for message in messages]

        def verify(self, public, message, signature, alg, prehashed):
            assert alg in self.signing_algs
            if prehashed:
                raise UnsupportedOption("never a digest")
            try:
                public.verify(signature, message)
            except InvalidSignature:
                return False
            return True


class TestOldEd448(AlgorithmContract):
    algorithm = OldEd448()


def test_the_author_is_warned_of_each_method():
    assert [warning.category for warning in WARNINGS] == [DeprecationWarning] * 3
    assert {warning.filename for warning in WARNINGS} == {__file__}
    methods = [str(warning.message).partition(" takes")[0] for warning in WARNINGS]
    assert methods == ["OldEd448.sign", "OldEd448.sign_many", "OldEd448.verify"]


def test_the_author_of_the_new_form_is_not_warned():
    with warnings.catch_warnings(action="error"):

        class New(EcAlgorithm):
            def sign(self, key, message, options):
                return super().sign(key, message, options)

            def sign_many(self, *args):
                return super().sign_many(*args)


async def test_its_keys_sign_and_verify_over_http(start):
    entry = EntryPoint("ed448", f"{__name__}:OldEd448", GROUP)
    client = await start(create_service(Config(), AlgorithmRegistry([entry])))

    async def post(path, **body):
        response = await client.post(path, json=body)
        return response.status, await response.json()

    _, key = await post("/key/generate", alg="ed448")
    by, data = {"kid": key["kid"]}, b64url(b"hello")
    _, signed = await post("/sign", **by, data=data, alg="EdDSA")
    assert signed["alg"] == "EdDSA"
    good = (200, {"valid": True})
    assert await post("/verify", **by, data=data, sig=signed["sig"]) == good
    assert await post("/verify", jwk=key["jwk"], data=data, sig=signed["sig"]) == good
    status, _ = await post("/sign", **by, data=data, prehashed=True)
    assert status == 422
    _, batch = await post("/sign/batch", **by, items=[{"data": data}] * 3)
    assert {item["sig"] for item in batch["results"]} == {signed["sig"]}
    _, jws = await post("/jws/sign", **by, payload=data)
    _, verified = await post("/jws/verify", **by, jws=jws["jws"])
    assert verified["valid"]
