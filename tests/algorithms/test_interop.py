"""Our signatures verify with other libraries, and theirs with ours."""

import secrets

import pytest
from algorithm_facts import FACTS
from aries_askar import Key as AskarKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from derived import algorithm_names

from minikms.encodings import b64url, b64url_decode
from minikms.plugin import AskarStored, SignatureOptions
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()

# The order of the base point, SEC 2 section 2.4.1.
K256_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

MESSAGES = [secrets.token_bytes(size) for size in range(100)]

each_algorithm = pytest.mark.parametrize(
    "name", [name for name in algorithm_names(AskarStored) if FACTS[name].signature]
)


class Askar:
    """Askar's own implementations, in Rust: none of ours is on them."""

    def __init__(self, name):
        self.key = AskarKey.generate(name)
        self.secret = self.key.get_secret_bytes()

    def sign(self, message):
        return self.key.sign_message(message)

    @staticmethod
    def verifies(name, jwk, message, signature):
        return AskarKey.from_jwk(jwk).verify_signature(message, signature)


class Pyca:
    """pyca/cryptography, OpenSSL: k256 is not on it; for the others it checks our encodings."""

    def __init__(self, name):
        self.name = name
        if name == "ed25519":
            self.key = ed25519.Ed25519PrivateKey.generate()
            self.secret = self.key.private_bytes_raw()
        else:
            self.curve, self.hash = FACTS[name].curve, FACTS[name].hash
            self.key = ec.generate_private_key(self.curve)
            number = self.key.private_numbers().private_value
            self.secret = number.to_bytes(FACTS[name].signature // 2, "big")

    def sign(self, message):
        if self.name == "ed25519":
            return self.key.sign(message)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(self.hash)))
        return joined(r, s, FACTS[self.name].signature)

    @staticmethod
    def verifies(name, jwk, message, signature):
        x = b64url_decode(jwk["x"])
        try:
            if name == "ed25519":
                ed25519.Ed25519PublicKey.from_public_bytes(x).verify(signature, message)
            else:
                curve, hash_ = FACTS[name].curve, FACTS[name].hash
                numbers = (int.from_bytes(b, "big") for b in (x, b64url_decode(jwk["y"])))
                public = ec.EllipticCurvePublicNumbers(*numbers, curve).public_key()
                public.verify(encode_dss_signature(*halves(signature)), message, ec.ECDSA(hash_))
        except InvalidSignature:
            return False
        return True


def halves(signature):
    middle = len(signature) // 2
    return [int.from_bytes(half, "big") for half in (signature[:middle], signature[middle:])]


def joined(r, s, size):
    return b"".join(number.to_bytes(size // 2, "big") for number in (r, s))


def shorter(signature):
    """The ones of r and s that begin with a zero: one signature in 256 for each."""
    return {place for place in (0, len(signature) // 2) if signature[place] == 0}


each_library = pytest.mark.parametrize("library", [Pyca, Askar])


@each_algorithm
async def test_ours_over_http_verify_with_theirs(client, name):
    """Some in a call of their own, the others as a batch; of some, r or s is short."""

    async def post(path, **body):
        async with client.post(path, json=body) as response:
            return await response.json()

    async def sign(messages):
        items = [{"data": b64url(message)} for message in messages]
        results = (await post("/sign/batch", kid=kid, items=items))["results"]
        return [b64url_decode(result["sig"]) for result in results]

    key = await post("/key/generate", alg=name)
    kid, alone, others = key["kid"], MESSAGES[:40], MESSAGES[40:]
    signatures, valid = [], []
    for data in map(b64url, alone):
        sig = (await post("/sign", kid=kid, data=data))["sig"]
        signatures.append(b64url_decode(sig))
        valid.append((await post("/verify", kid=kid, data=data, sig=sig))["valid"])
    pairs, seen = list(zip(others, await sign(others), strict=True)), set()
    while len(seen) < 2:
        more = [secrets.token_bytes(32) for _ in range(300)]
        for message, signature in zip(more, await sign(more), strict=True):
            if shorter(signature) - seen:
                pairs.append((message, signature))
                seen |= shorter(signature)
    items = [{"data": b64url(data), "sig": b64url(signature)} for data, signature in pairs]
    found = (await post("/verify/batch", kid=kid, items=items))["results"]
    valid += [result["valid"] for result in found]

    pairs = [*zip(alone, signatures, strict=True), *pairs]
    verified = [
        (
            len(signature),
            ours,
            Pyca.verifies(name, key["jwk"], message, signature),
            Askar.verifies(name, key["jwk"], message, signature),
        )
        for (message, signature), ours in zip(pairs, valid, strict=True)
    ]
    assert verified == [(FACTS[name].signature, True, True, True)] * len(pairs)


@each_algorithm
@each_library
def test_theirs_verify_with_ours(name, library):
    algorithm, theirs = REGISTRY.get(name), library(name)
    public = algorithm.load_public(algorithm.public_jwk(algorithm.import_secret(theirs.secret)))
    alg = algorithm.signing_algs[0]
    pairs, seen = [(message, theirs.sign(message)) for message in MESSAGES], set()
    while len(seen) < 2:
        signature = theirs.sign(message := secrets.token_bytes(32))
        if shorter(signature) - seen:
            pairs.append((message, signature))
            seen |= shorter(signature)
    verified = [
        (
            algorithm.verify(public, message, signature, SignatureOptions(alg)),
            algorithm.verify(public, message + b"!", signature, SignatureOptions(alg)),
        )
        for message, signature in pairs
    ]
    assert verified == [(True, False)] * len(pairs)


@each_library
def test_k256_verifies_the_high_s_of_others_and_makes_low_s(library):
    k256, theirs = REGISTRY.get("k256"), library("k256")
    key = k256.import_secret(theirs.secret)
    public = k256.load_public(k256.public_jwk(key))
    for message in MESSAGES:
        r, s = halves(theirs.sign(message))
        for either in (s, K256_ORDER - s):
            assert k256.verify(public, message, joined(r, either, 64), SignatureOptions("ES256K"))
        assert halves(k256.sign(key, message, SignatureOptions("ES256K")))[1] <= K256_ORDER // 2


@pytest.mark.parametrize("r", [0, K256_ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, K256_ORDER, 2**256 - 1])
def test_k256_refuses_numbers_out_of_range(r, s):
    k256 = REGISTRY.get("k256")
    public = k256.load_public(k256.public_jwk(k256.generate()))
    assert not k256.verify(public, b"", joined(r, s, 64), SignatureOptions("ES256K"))
    assert not k256.verify(public, b"", joined(s, r, 64), SignatureOptions("ES256K"))
