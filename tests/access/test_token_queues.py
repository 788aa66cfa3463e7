"""Tokens that were not accepted recently wait by address, and their queues are bounded."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from minikms.access.token_queues import (
    _MOST_ACCEPTED,
    _MOST_CALLS,
    _MOST_WAITING,
    TokenQueues,
)
from minikms.errors import TooManyAttempts


def token(number):
    return number.to_bytes(32, "big")


async def wait(queues, stack, number, address):
    return await stack.enter_async_context(queues.waiting(token(number), address))


async def test_so_many_tokens_of_an_address_wait():
    queues = TokenQueues()
    async with AsyncExitStack() as stack:
        locks = {await wait(queues, stack, n, "192.0.2.1") for n in range(_MOST_WAITING)}
        assert len(locks) == 1
        with pytest.raises(TooManyAttempts) as refused:
            await wait(queues, stack, _MOST_WAITING, "192.0.2.1")
        assert refused.value.headers == {"Retry-After": "1"}
        # The same token, from as many callers as there are, takes one place.
        for _ in range(5):
            await wait(queues, stack, 0, "192.0.2.1")
        assert await wait(queues, stack, 0, "192.0.2.2") not in locks
    assert not queues._queues


async def test_so_many_calls_of_an_address_wait_even_with_one_token():
    queues = TokenQueues()
    async with AsyncExitStack() as stack:
        for _ in range(_MOST_CALLS):
            await wait(queues, stack, 0, "192.0.2.1")
        with pytest.raises(TooManyAttempts):
            await wait(queues, stack, 0, "192.0.2.1")
        await wait(queues, stack, 0, "192.0.2.2")


async def test_a_caller_has_a_whole_network_of_ipv6():
    queues = TokenQueues()
    async with AsyncExitStack() as stack:
        one = await wait(queues, stack, 0, "2001:db8::1")
        assert await wait(queues, stack, 1, "2001:db8::ffff") is one
        assert await wait(queues, stack, 2, "2001:db8:0:1::1") is not one
        assert await wait(queues, stack, 3, "") is not one  # of no address


async def test_nothing_is_kept_of_many_addresses():
    queues = TokenQueues()
    for number in range(1000):
        with pytest.raises(asyncio.CancelledError):
            async with queues.waiting(token(number), f"192.0.2.{number}"):
                raise asyncio.CancelledError
    assert not queues._queues


def test_accepted_tokens_do_not_wait():
    queues = TokenQueues()
    assert queues.must_wait(token(0))
    queues.accept(token(0))
    assert not queues.must_wait(token(0))
    queues.forget(token(0))
    queues.forget(token(0))
    assert queues.must_wait(token(0))
    for number in range(_MOST_ACCEPTED + 1):
        queues.accept(token(number))
        queues.accept(token(1))
    assert queues.must_wait(token(0))
    assert not queues.must_wait(token(1))
    assert len(queues._accepted) == _MOST_ACCEPTED
