"""HMAC with every key: its secret is the key's own, and needs no place in the store."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from minikms.encodings import b64url_decode
from minikms.errors import InvalidKey, KeyNotUsable, UnsupportedOperation
from minikms.keys.exporting import Export
from minikms.keys.hmac import ComputeHmac, VerifyHmac
from minikms.keys.operation import Each
from minikms.keys.service import KeyService
from minikms.plugin import HASHES
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import DEFAULT_PROFILE, KeyPolicy, KeyRef, KeySource
from minikms.store.keys import KeyStore

MESSAGE = b"a message"
# A secret key, and keys of each kind of JWK with a private member of its own.
DERIVED = ["a256gcm", "xc20p", "ed25519", "p256", "p521", "k256", "rsa2048", "mldsa44", "x25519"]


def derived(secret):
    """The HMAC secret of a private member, computed again."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"minikms hmac 1").derive(secret)


@pytest.fixture
async def keys():
    async with KeyStore.open_memory() as store:
        yield KeyService(AlgorithmRegistry.from_installed(), store)


async def generate(keys, alg, **policy):
    return await keys.generate(DEFAULT_PROFILE, alg, KeyPolicy(**policy))


async def perform(keys, record, operation):
    return await keys.perform(DEFAULT_PROFILE, KeyRef(kid=record.kid), operation)


@pytest.mark.parametrize("alg", DERIVED)
async def test_every_key_has_a_secret_that_follows_from_its_private_part(keys, alg):
    record = await generate(keys, alg, exportable=True)
    jwk = await perform(keys, record, Export())
    private = next(jwk[name] for name in ("priv", "k", "d") if name in jwk)
    secret = derived(b64url_decode(private))
    made = await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    assert made == hmac.digest(secret, MESSAGE, "sha256")
    assert await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))
    assert not await perform(keys, record, VerifyHmac(b"another", "sha256", made))
    assert not await perform(keys, record, VerifyHmac(MESSAGE, "sha512", made))


@pytest.mark.parametrize("name", HASHES)
async def test_an_hmac_key_is_its_own_secret_with_each_hash(keys, name):
    secret = bytes(range(48))
    source = KeySource(alg="hs256", secret=secret)
    record = await keys.import_key(DEFAULT_PROFILE, source, KeyPolicy())
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
    await keys.update(DEFAULT_PROFILE, record.kid, {"state": "verify-only"})
    assert await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))
    with pytest.raises(KeyNotUsable):
        await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))
    await keys.update(DEFAULT_PROFILE, record.kid, {"state": "disabled"})
    with pytest.raises(KeyNotUsable):
        await perform(keys, record, VerifyHmac(MESSAGE, "sha256", made))


async def test_a_public_key_alone_has_no_secret(keys):
    pair = await generate(keys, "p384")
    await keys.delete(DEFAULT_PROFILE, KeyRef(kid=pair.kid))
    record = await keys.import_key(DEFAULT_PROFILE, KeySource(jwk=pair.jwk), KeyPolicy())
    with pytest.raises(UnsupportedOperation):
        await perform(keys, record, ComputeHmac(MESSAGE, "sha256"))


async def test_many_are_computed_in_order(keys):
    record = await generate(keys, "p256")
    by, messages = KeyRef(kid=record.kid), [b"a", b"b", b"c"]
    items = [ComputeHmac(each, "sha256") for each in messages]
    made = await keys.perform_batch(DEFAULT_PROFILE, by, Each(ComputeHmac.uses), items)
    assert made == [await perform(keys, record, each) for each in items]
    pairs = [VerifyHmac(*pair) for pair in zip(messages, ["sha256"] * 3, made, strict=True)]
    broken = [*pairs[:2], InvalidKey(), VerifyHmac(b"d", "sha256", made[2])]
    results = await keys.perform_batch(DEFAULT_PROFILE, by, Each(VerifyHmac.uses), broken)
    assert results == [True, True, broken[2], False]
