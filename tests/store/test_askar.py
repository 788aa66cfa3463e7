"""The wrapper of Askar, and a version of it that lacks a private name."""

import dataclasses

from aries_askar import bindings
from aries_askar.bindings.lib import LibLoad

from minikms.store import askar
from minikms.store.keys import KeyStore


async def test_a_store_opens_without_the_private_names(monkeypatch, caplog):
    library = bindings.get_library().loaded
    monkeypatch.delattr(library, "_handle_callback")  # ours, which the tests have set
    gone = (LibLoad, "_name_of_another_version", "a test")
    names = askar.PRIVATE_NAMES
    changed = dataclasses.replace(names, names=(*names.names, gone))
    monkeypatch.setattr(askar, "PRIVATE_NAMES", changed)
    async with KeyStore.open_memory() as store:
        await store.database.ping()
    assert "_handle_callback" not in vars(library)
    assert " has no LibLoad._name_of_another_version: calls" in caplog.text
