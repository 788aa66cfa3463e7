"""Tokens with the same label: together, or one in the place of another."""

import asyncio
import secrets
import time
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from token_service import DATA, call, done, make, sign, slug, until_connected
from waiting import waiting_for

from minikms.plugin import KeyUnreadable, ProviderUnavailable, Scheme
from minikms_pkcs11 import Pkcs11Provider, connection
from minikms_pkcs11.signing import verify

ECDSA = Scheme("ecdsa", "sha256")
DIGEST = sha256(b"hello").digest()


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(connection, "_PAUSE", 0.0)


def made(provider):
    return provider.make("p256", secrets.token_bytes(16))


def signs(provider, key):
    signature = provider.sign(key, DIGEST, ECDSA)
    verify(load_der_public_key(key.public), DIGEST, ECDSA, signature)
    return True


def after_loss(call, *arguments):
    """Call until the provider has connected again."""
    until = time.monotonic() + 60
    while True:
        try:
            return call(*arguments)
        except ProviderUnavailable:
            assert time.monotonic() < until


def test_several_tokens_with_the_label_need_a_serial_number(softhsm):
    softhsm.make_token()
    provider = Pkcs11Provider(softhsm.uri)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="serial"):
            provider.open()
    assert not provider.status().available
    provider.close()


def test_the_serial_number_tells_tokens_with_one_label_apart(softhsm, connect):
    first = made(connect(softhsm))
    softhsm.make_token()
    softhsm.serial = first.token
    provider = connect(softhsm)
    assert provider.find() == {first.key_id}
    assert signs(provider, first)
    assert made(provider).token == first.token
    softhsm.serial = first.token[::-1]
    with pytest.raises(ProviderUnavailable):
        connect(softhsm)


def test_a_key_of_another_token_is_unavailable_and_waits_for_its_destruction(softhsm, connect):
    provider = connect(softhsm)
    key, gone = made(provider), made(provider)
    provider.destroy(gone.key_id)
    with softhsm.exchanged():
        other = after_loss(made, provider)
        assert other.token != key.token
        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                provider.sign(key, DIGEST, ECDSA)
        assert not provider.destroy_in(key.token, key.key_id)
        assert signs(provider, other)
        assert provider.status().reconnects == 1  # nothing took that for a loss
        assert provider.destroy_in(other.token, other.key_id)
        assert provider.destroy_in(other.token, other.key_id)
        with pytest.raises(KeyUnreadable):
            provider.sign(other, DIGEST, ECDSA)
    assert set(after_loss(provider.find)) == {key.key_id}
    assert signs(provider, key)
    assert provider.destroy_in(key.token, key.key_id)
    assert set(provider.find()) == set()


def test_a_key_that_was_copied_to_another_token_is_used_and_destroyed_there(softhsm, connect):
    provider = connect(softhsm)
    key = made(provider)
    copied = type(key)("another", key.key_id, key.public)
    assert signs(provider, copied)
    assert provider.destroy_in("another", key.key_id)
    assert set(provider.find()) == set()


async def test_a_service_whose_token_was_exchanged(begin, softhsm, stored, connect):
    _, session = await begin(softhsm, **stored)
    async with session:
        await until_connected(session)
        key, kept = await make(session), await make(session)
        with softhsm.exchanged():
            async with waiting_for("the other token"):
                while (await call(session, "GET", "/readyz"))[1].get("away") != ["hsm"]:
                    await call(session, "POST", "/sign", {"kid": key["kid"], "data": DATA})
            await until_connected(session)
            for each in (key, kept, key):
                body = {"kid": each["kid"], "data": DATA}
                status, problem = await call(session, "POST", "/sign", body)
                assert (status, slug(problem)) == (503, "provider-unavailable")
            await done(session, "DELETE", f"/key/{key['kid']}")
            await sign(session, await make(session))
        provider = connect(softhsm)
        async with waiting_for("the destruction of the deleted key"):
            while len(after_loss(provider.find)) > 1:
                await asyncio.sleep(0.1)
        await sign(session, kept)
