"""HMAC with every key: its secret is the key's own, and needs no place in the store."""

import hashlib
import hmac
import math

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from minikms.encodings import b64url, b64url_decode
from minikms.errors import InvalidKey, KeyNotUsable, UnsupportedOperation
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.keys.exporting import Export
from minikms.keys.hmac import ComputeHmac, VerifyHmac
from minikms.keys.operation import Each
from minikms.keys.service import KeyService
from minikms.plugin import HASHES
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.keys.key_store import KeyStore

MESSAGE = b"a message"
# A secret key, and keys of each kind of JWK with a private member of its own.
DERIVED = ["a256gcm", "xc20p", "ed25519", "p256", "p521", "k256", "rsa2048", "mldsa44", "x25519"]


def derived(alg, jwk):
    """The HMAC secret of a private JWK, computed again."""
    members = ("p", "q") if jwk["kty"] == "RSA" else ({"priv", "k", "d"} & jwk.keys())
    secret = b"".join(sorted(b64url_decode(jwk[name]) for name in members))
    info = f"minikms hmac 1 {alg}".encode()
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret)


@pytest.fixture
async def keys():
    async with KeyStore.open_memory() as store:
        yield KeyService(AlgorithmRegistry.from_installed(), store)


async def generate(keys, alg, **policy):
    return await keys.creation.generate(DEFAULT_PROFILE, alg, KeyPolicy(**policy))


async def perform(keys, record, operation):
    return await keys.operations.perform(DEFAULT_PROFILE, KeyRef(kid=record.kid), operation)


@pytest.mark.parametrize("alg", DERIVED)
async def test_every_key_has_a_secret_that_follows_from_its_private_part(keys, alg):
    record = await generate(keys, alg, exportable=True)
    jwk = await perform(keys, record, Export())
    secret = derived(alg, jwk)
    made = await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    assert made == hmac.digest(secret, MESSAGE, "sha256")
    assert await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))
    assert not await perform(keys, record, VerifyHmac(b"another", "sha256", made))
    assert not await perform(keys, record, VerifyHmac(MESSAGE, "sha512", made))


async def test_equal_bytes_of_two_algorithms_have_two_secrets(keys):
    macs = set()
    for alg in ("a256gcm", "c20p", "xc20p", "ed25519", "x25519"):
        source = KeySource(alg=alg, secret=bytes(range(32)))
        record = await keys.creation.import_key(DEFAULT_PROFILE, source, KeyPolicy())
        macs.add(await perform(keys, record, ComputeHmac(MESSAGE, "sha256")))
    assert len(macs) == 5


async def test_each_form_of_an_rsa_key_has_the_same_secret(keys):
    record = await generate(keys, "rsa2048", exportable=True)
    made = await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    jwk = await perform(keys, record, Export())
    p, q = (int.from_bytes(b64url_decode(jwk[prime])) for prime in "pq")
    period = math.lcm(p - 1, q - 1)
    least = pow(65537, -1, period)
    swapped = {"p": jwk["q"], "q": jwk["p"], "dp": jwk["dq"], "dq": jwk["dp"]}
    forms = [
        jwk | {"d": _text(least)},
        jwk | {"d": _text(least + period)},
        jwk | swapped | {"qi": _text(pow(p, -1, q))},
    ]
    for form in forms:
        await keys.changes.delete(DEFAULT_PROFILE, KeyRef(kid=record.kid))
        await keys.creation.import_key(DEFAULT_PROFILE, KeySource(jwk=form), KeyPolicy())
        assert await perform(keys, record, ComputeHmac(MESSAGE, "sha256")) == made


def _text(number):
    return b64url(number.to_bytes((number.bit_length() + 7) // 8))


@pytest.mark.parametrize("name", HASHES)
async def test_an_hmac_key_is_its_own_secret_with_each_hash(keys, name):
    secret = bytes(range(48))
    source = KeySource(alg="hs256", secret=secret)
    record = await keys.creation.import_key(DEFAULT_PROFILE, source, KeyPolicy())
    made = await perform(keys, record, ComputeHmac(MESSAGE, name))
    assert made == hmac.new(secret, MESSAGE, getattr(hashlib, name)).digest()


async def test_only_an_hmac_key_needs_the_operation(keys):
    signer = await generate(keys, "p256", operations=("sign",))
    assert len(await perform(keys, signer, ComputeHmac(MESSAGE, "sha384"))) == 48
    checker = await generate(keys, "hs256", operations=("mac-verify",))
    with pytest.raises(UnsupportedOperation):
        await perform(keys, checker, ComputeHmac(MESSAGE, "sha256"))


async def test_the_state_of_the_key_decides(keys):
    record = await generate(keys, "ed25519")
    made = await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    await keys.changes.update(DEFAULT_PROFILE, record.kid, {"state": "verify-only"})
    assert await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))
    with pytest.raises(KeyNotUsable):
        await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    await keys.changes.update(DEFAULT_PROFILE, record.kid, {"state": "disabled"})
    with pytest.raises(KeyNotUsable):
        await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))


async def test_a_public_key_alone_has_no_secret(keys):
    pair = await generate(keys, "p384")
    await keys.changes.delete(DEFAULT_PROFILE, KeyRef(kid=pair.kid))
    record = await keys.creation.import_key(DEFAULT_PROFILE, KeySource(jwk=pair.jwk), KeyPolicy())
    with pytest.raises(UnsupportedOperation):
        await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))


async def test_many_are_computed_in_order(keys):
    record = await generate(keys, "p256")
    by, messages = KeyRef(kid=record.kid), [b"a", b"b", b"c"]
    items = [ComputeHmac(each, "sha256") for each in messages]
    made = await keys.batches.perform(DEFAULT_PROFILE, by, Each(ComputeHmac.uses), items)
    assert made == [await perform(keys, record, each) for each in items]
    pairs = [VerifyHmac(*pair) for pair in zip(messages, ["sha256"] * 3, made, strict=True)]
    broken = [*pairs[:2], InvalidKey(), VerifyHmac(b"d", "sha256", made[2])]
    results = await keys.batches.perform(DEFAULT_PROFILE, by, Each(VerifyHmac.uses), broken)
    assert results == [True, True, broken[2], False]
