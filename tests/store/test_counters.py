"""Change counters: their slots, and sharing between processes on an SQLite file."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from minikms.startup_errors import StoreError
from minikms.store.askar.sequence import SLOTS, slot_of
from minikms.store.cache import Bounds, Cache
from minikms.store.connections.counters import FileChangeCounters

A, B = ("category", "a"), ("category", "b")


@pytest.fixture(autouse=True)
def store(tmp_path):
    """The file of a store, whose owner owns those beside it."""
    (tmp_path / "keys.db").touch()


def remember(cache, key, value, *sources):
    cache.start_fill().fill((key,), value, *sources)


def test_slots_are_the_same_in_every_process():
    code = "import minikms.store.askar.sequence as c; print(c.slot_of('minikms.key', 'k'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(found.stdout) == slot_of("minikms.key", "k")
    spread = {slot_of("minikms.key", str(n)) for n in range(10 * SLOTS)}
    assert spread == set(range(SLOTS))


def test_processes_share_the_counters_of_a_file(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, Bounds(10))
    remember(cache, "a", "of a", A)
    remember(cache, "b", "of b", B)
    elsewhere(tmp_path, "")
    assert (cache.get("a"), cache.get("b")) == (None, "of b")
    remember(cache, "a", "of a", A)
    assert cache.get("a") == "of a"
    assert (tmp_path / "keys.db-seen").stat().st_mode & 0o777 == 0o600


def test_a_process_that_is_killed_within_a_change(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, Bounds(10))
    remember(cache, "a", "of a", A)
    elsewhere(tmp_path, "os.kill(os.getpid(), 9)", -signal.SIGKILL)
    assert cache.get("a") is None
    # The outcome is unknown, so values read now are not cached.
    remember(cache, "a", "of a", A)
    assert cache.get("a") is None
    counters.repair()
    assert cache.get("a") is None
    remember(cache, "a", "of a", A)
    assert cache.get("a") == "of a"


def elsewhere(folder, within, code=0):
    """Change A in another process, which does `within` meanwhile."""
    script = f"""
import asyncio, os
from pathlib import Path
from minikms.store.askar.sequence import slot_of
from minikms.store.connections.counters import FileChangeCounters

async def change():
    async with FileChangeCounters(Path({str(folder / "keys.db")!r})).changing([slot_of(*{A!r})]):
        {within or "pass"}

asyncio.run(change())
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == code


async def test_a_change_whose_caller_is_cancelled_still_counts(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, Bounds(10))

    async def commit():
        async with counters.changing([slot_of(*A)]):
            await asyncio.Event().wait()

    task = asyncio.create_task(commit())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    remember(cache, "a", "before", A)
    assert cache.get("a") is None
    counters.repair()
    remember(cache, "a", "after", A)
    assert cache.get("a") == "after"


async def test_nothing_is_kept_while_it_is_being_changed(tmp_path):
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, Bounds(10))
    async with counters.changing([slot_of(*A)]):
        remember(cache, "a", "before", A)
        assert cache.get("a") is None
    assert cache.get("a") is None


async def test_links_to_a_file(tmp_path):
    (tmp_path / "link.db").symlink_to("keys.db")
    counters = FileChangeCounters(tmp_path / "keys.db")
    cache = Cache(counters, Bounds(10))
    remember(cache, "a", "of a", A)
    async with FileChangeCounters(tmp_path / "link.db").changing([slot_of(*A)]):
        pass
    assert cache.get("a") is None


def test_a_file_that_cannot_be_made(tmp_path):
    os.mkdir(tmp_path / "keys.db-seen")
    with pytest.raises(StoreError, match=r"keys\.db-seen"):
        FileChangeCounters(tmp_path / "keys.db")
