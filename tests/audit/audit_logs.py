"""Audit logs that tests write."""

import asyncio
import contextlib

import pytest

from minikms.audit.log import AuditLog
from minikms.events import AuditEvent

TORN = "it was cut short: its writer ended while it wrote"


def event(number=0, **facts):
    caller = {"request_id": f"request {number}", "who": "issuer", "address": "127.0.0.1"}
    return AuditEvent("sign", pytest.fail, **caller | facts)


async def write(path, store, lines):
    """A log that is opened, written, and ended."""
    async with AuditLog.open(str(path), store) as log:
        for number in range(lines):
            log.write([event(number)], "success")


async def head(store, ready):
    """A head of the only chain, once it is `ready`."""
    async with asyncio.timeout(60):
        while not ((heads := await store.heads()) and ready(heads[-1])):
            await asyncio.sleep(0.01)
    return heads[-1]


@contextlib.asynccontextmanager
async def killed(path, store, lines, vouched):
    """A log that is written, and given as it is while nothing ends it."""
    async with AuditLog.open(str(path), store) as log:
        for number in range(vouched - 1):
            log.write([event(number)], "success")
        await head(store, lambda head: head.count == vouched)
        for number in range(lines - vouched):
            log.write([event(number)], "success")
        yield log
