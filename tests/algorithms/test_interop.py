"""Our signatures verify with other libraries, and theirs with ours."""

import secrets

import pytest
from aries_askar import Key as AskarKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from derived import algorithm_names

from minikms.encodings import b64url, b64url_decode
from minikms.plugin import AskarStored, Signer
from minikms.plugin.registry import AlgorithmRegistry

REGISTRY = AlgorithmRegistry.from_installed()

SIGNATURE_BYTES = {"ed25519": 64, "k256": 64, "p256": 64, "p384": 96}
CURVES = {
    "k256": (ec.SECP256K1(), hashes.SHA256()),
    "p256": (ec.SECP256R1(), hashes.SHA256()),
    "p384": (ec.SECP384R1(), hashes.SHA384()),
}
# The order of the base point, SEC 2 section 2.4.1.
K256_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

# So many that of each curve some r or s is shorter than the others.
MESSAGES = [secrets.token_bytes(size % 200) for size in range(400)]

each_algorithm = pytest.mark.parametrize(
    "name", [name for name in algorithm_names(AskarStored) if name in algorithm_names(Signer)]
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
            self.curve, self.hash = CURVES[name]
            self.key = ec.generate_private_key(self.curve)
            number = self.key.private_numbers().private_value
            self.secret = number.to_bytes(SIGNATURE_BYTES[name] // 2, "big")

    def sign(self, message):
        if self.name == "ed25519":
            return self.key.sign(message)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(self.hash)))
        return joined(r, s, SIGNATURE_BYTES[self.name])

    @staticmethod
    def verifies(name, jwk, message, signature):
        x = b64url_decode(jwk["x"])
        try:
            if name == "ed25519":
                ed25519.Ed25519PublicKey.from_public_bytes(x).verify(signature, message)
            else:
                curve, hash_ = CURVES[name]
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


each_library = pytest.mark.parametrize("library", [Pyca, Askar])


@each_algorithm
async def test_ours_over_http_verify_with_theirs(client, name):
    """Some in a call of their own, the others as a batch."""

    async def post(path, **body):
        async with client.post(path, json=body) as response:
            return await response.json()

    key = await post("/key/generate", alg=name)
    kid, alone, others = key["kid"], MESSAGES[:40], [b64url(message) for message in MESSAGES[40:]]
    sigs, valid = [], []
    for data in map(b64url, alone):
        sigs.append((await post("/sign", kid=kid, data=data))["sig"])
        valid.append((await post("/verify", kid=kid, data=data, sig=sigs[-1]))["valid"])
    items = [{"data": data} for data in others]
    made = [
        result["sig"] for result in (await post("/sign/batch", kid=kid, items=items))["results"]
    ]
    items = [{"data": data, "sig": sig} for data, sig in zip(others, made, strict=True)]
    found = (await post("/verify/batch", kid=kid, items=items))["results"]
    valid += [result["valid"] for result in found]

    verified = [
        (
            len(signature),
            ours,
            Pyca.verifies(name, key["jwk"], message, signature),
            Askar.verifies(name, key["jwk"], message, signature),
        )
        for message, signature, ours in zip(
            MESSAGES, map(b64url_decode, sigs + made), valid, strict=True
        )
    ]
    assert verified == [(SIGNATURE_BYTES[name], True, True, True)] * len(MESSAGES)


@each_algorithm
@each_library
def test_theirs_verify_with_ours(name, library):
    algorithm, theirs = REGISTRY.get(name), library(name)
    public = algorithm.load_public(algorithm.public_jwk(algorithm.import_secret(theirs.secret)))
    alg = algorithm.signing_algs[0]
    verified = []
    for message in MESSAGES:
        signature = theirs.sign(message)
        verified.append(
            (
                algorithm.verify(public, message, signature, alg, False),
                algorithm.verify(public, message + b"!", signature, alg, False),
            )
        )
    assert verified == [(True, False)] * len(MESSAGES)


@each_library
def test_k256_verifies_the_high_s_of_others_and_makes_low_s(library):
    k256, theirs = REGISTRY.get("k256"), library("k256")
    key = k256.import_secret(theirs.secret)
    public = k256.load_public(k256.public_jwk(key))
    for message in MESSAGES[:100]:
        r, s = halves(theirs.sign(message))
        for either in (s, K256_ORDER - s):
            assert k256.verify(public, message, joined(r, either, 64), "ES256K", False)
        assert halves(k256.sign(key, message, "ES256K", False))[1] <= K256_ORDER // 2


@pytest.mark.parametrize("r", [0, K256_ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, K256_ORDER, 2**256 - 1])
def test_k256_refuses_numbers_out_of_range(r, s):
    k256 = REGISTRY.get("k256")
    public = k256.load_public(k256.public_jwk(k256.generate()))
    assert not k256.verify(public, b"", joined(r, s, 64), "ES256K", False)
    assert not k256.verify(public, b"", joined(s, r, 64), "ES256K", False)
