"""Tokens that nobody knows wait by address, and what is kept of them has a bound."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from minikms.access.newcomers import _MOST_KNOWN, _MOST_WAITING, Newcomers
from minikms.errors import TooManyAttempts


def token(number):
    return number.to_bytes(32, "big")


async def wait(newcomers, stack, number, address):
    return await stack.enter_async_context(newcomers.waiting(token(number), address))


async def test_so_many_tokens_of_an_address_wait():
    newcomers = Newcomers()
    async with AsyncExitStack() as stack:
        locks = {await wait(newcomers, stack, n, "192.0.2.1") for n in range(_MOST_WAITING)}
        assert len(locks) == 1
        with pytest.raises(TooManyAttempts) as refused:
            await wait(newcomers, stack, _MOST_WAITING, "192.0.2.1")
        assert refused.value.headers == {"Retry-After": "1"}
        # The same token, from as many callers as there are, takes one place.
        for _ in range(5):
            await wait(newcomers, stack, 0, "192.0.2.1")
        assert await wait(newcomers, stack, 0, "192.0.2.2") not in locks
    assert not newcomers._queues


async def test_a_caller_has_a_whole_network_of_ipv6():
    newcomers = Newcomers()
    async with AsyncExitStack() as stack:
        one = await wait(newcomers, stack, 0, "2001:db8::1")
        assert await wait(newcomers, stack, 1, "2001:db8::ffff") is one
        assert await wait(newcomers, stack, 2, "2001:db8:0:1::1") is not one
        assert await wait(newcomers, stack, 3, "") is not one  # of no address


async def test_nothing_is_kept_of_many_addresses():
    newcomers = Newcomers()
    for number in range(1000):
        with pytest.raises(asyncio.CancelledError):
            async with newcomers.waiting(token(number), f"192.0.2.{number}"):
                raise asyncio.CancelledError
    assert not newcomers._queues


def test_which_tokens_are_known():
    newcomers = Newcomers()
    assert token(0) in newcomers
    newcomers.let_in(token(0))
    assert token(0) not in newcomers
    newcomers.refuse(token(0))
    newcomers.refuse(token(0))
    assert token(0) in newcomers
    for number in range(_MOST_KNOWN + 1):
        newcomers.let_in(token(number))
        newcomers.let_in(token(1))
    assert token(0) in newcomers
    assert token(1) not in newcomers
    assert len(newcomers._known) == _MOST_KNOWN
