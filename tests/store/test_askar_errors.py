"""Errors of Askar's calls, with its private names and without them."""

import subprocess
import sys

import pytest

from minikms.store.askar.errors import PRIVATE_NAMES

WITHOUT = """
import asyncio
import logging
from dataclasses import replace

from aries_askar import AskarError, bindings

from minikms.errors import KeyExists, KeyNotFound, ProfileExists
from minikms.basics.private_names import PrivateNames
from minikms.records import KeyRecord
from minikms.key_requests import KeyRef
from minikms.startup_errors import StoreError
from minikms.store.askar import errors as askar_errors
from minikms.store.keys.key_store import KeyStore
from minikms.store.askar.location import StoreKey, StoreLocation

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


async def raised(call):
    try:
        await call
    except (KeyExists, KeyNotFound, ProfileExists) as exc:
        return type(exc).__name__


async def main():
    async with KeyStore.open_memory() as store:
        await store.insert("default", RECORD, b"")
        print(await raised(store.insert("default", RECORD, b"")))
        print(await raised(store.record("default", KeyRef(kid="kid-2"))))
        print(await raised(store.directory.create("default")))
        calls = store.database._calls
        try:
            async with calls.transaction() as session:
                await session.insert("c", "n", b"")
                await session.insert("c", "n", b"")
        except AskarError as exc:
            print(type(exc).__name__, exc)
    try:
        async with KeyStore.open(StoreLocation.parse("sqlite:///absent/keys.db"), StoreKey("x")):
            pass
    except StoreError as exc:
        print(exc)
    print("_handle_callback" in vars(bindings.get_library().loaded))


logging.basicConfig(format="%(message)s")
{change}
asyncio.run(main())
"""
MISSING = 'PrivateNames.missing = lambda self: "aries-askar 9 has no _handle_callback"'
OTHERWISE = """
def handle(self, callback_id, error, result=None):
    self._callbacks.pop(callback_id)


askar_errors._handle, askar_errors._TRIAL_TIMEOUT = handle, 0.1
"""


def test_the_private_names_are_there():
    assert PRIVATE_NAMES.missing() == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (MISSING, "aries-askar 9 has no _handle_callback"),
        (OTHERWISE, "a callback of Askar's did not come"),
    ],
)
def test_errors_keep_their_meaning_without_askars_codes(change, why):
    """In a process of its own: each of Askar's functions keeps its first callback."""
    code = WITHOUT.replace("{change}", change)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines() == [
        "KeyExists",
        "KeyNotFound",
        "ProfileExists",
        "DuplicateError Duplicate entry",
        "The directory /absent does not exist.",
        "False",
    ], ended.stderr
    assert ended.stderr.splitlines() == [f"{why}: {PRIVATE_NAMES.without}"]
