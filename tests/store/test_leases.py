"""Leases that a process keeps; test_unannounced_changes.py tries them with a service."""

import asyncio

from waiting import until

from minikms.basics import clocks
from minikms.basics.background import in_background
from minikms.store.askar.sequence import Sequence, slot_of
from minikms.store.categories import PROFILE
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.leases import Leases


async def test_each_profile_that_cannot_be_checked_is_logged_once(caplog):
    leases, damaged, failures = Leases(ChangeCounters()), {"a", "b"}, []

    async def read(profile):
        if profile in damaged:
            failures.append(profile)
            raise ValueError
        return Sequence(1)

    async def use(times):
        failures.clear()

        def used():
            for profile in (*sorted(damaged), "c"):
                leases.of(profile).ask()
            return all(failures.count(profile) >= times for profile in damaged)

        await until("failures", used)

    async with in_background(leases.keep(read, 0.05)):
        await use(4)
        assert caplog.text.count("no check of a profile, ValueError") == 2
        await until("a check of another", lambda: leases.of("c").ask())
        damaged.clear()
        await until("a check", lambda: leases.of("a").ask())
        damaged.add("a")
        await use(2)
    assert caplog.text.count("no check of a profile, ValueError") == 3
    assert "no check of the store" not in caplog.text


async def test_late_checks_are_counted():
    leases, fails = Leases(ChangeCounters()), False

    async def read(profile):
        if fails:
            raise ValueError
        return Sequence(1)

    async with in_background(leases.keep(read, 10.0)):
        await until("a check", lambda: leases.of("a").ask())
    assert leases.late == 0
    fails = True
    async with in_background(leases.keep(read, 0.05)):

        def late():
            leases.of("a").ask()
            return leases.late

        await until("a late check", late)


async def test_a_store_that_fails_is_not_logged_for_each_profile(caplog):
    leases, fails, rounds = Leases(ChangeCounters()), False, []

    async def read(profile):
        if fails:
            rounds.append(profile)
            raise ValueError
        return Sequence(1)

    profiles = [str(number) for number in range(50)]
    async with in_background(leases.keep(read, 0.05)):
        await until("checks", lambda: {leases.of(each).ask() for each in profiles} == {True})
        fails = True
        for _ in range(20):
            for each in profiles:
                leases.of(each).ask()
            await asyncio.sleep(0.01)
    assert rounds.count(None) > 1
    assert len(caplog.messages) <= 5  # the store, and the profiles that were checked side by side


async def test_a_write_during_a_check_does_not_end_all_values_of_its_profile():
    counters, sequences = ChangeCounters(), [Sequence(1).with_change({1})]
    leases, checks = Leases(counters), []

    async def read(profile):
        found = sequences[-1]
        if profile == "a":
            checks.append(found)
            sequences.append(found.with_change({2}))
            leases.note_write("a", found, sequences[-1])  # after the answer, and before it arrives
        return found

    def used():
        leases.of("a").ask()
        return len(checks) > 3

    async with in_background(leases.keep(read, 0.05)):
        await until("the first check", lambda: leases.of("a").ask())
        counter = counters.values[slot_of(PROFILE, "a")]
        await until("checks", used)
    assert counters.values[slot_of(PROFILE, "a")] == counter


async def test_a_change_that_cannot_be_read_confirms_nothing():
    """The rows are the same again at the next comparison, and the change is not counted yet."""

    class Compared(ChangeCounters):
        compares_rows = True

        async def unchanged(self, rows):
            comparisons.append(len(rows))
            return set() if changes else set(rows)

    leases, changes, comparisons, reads, fails = Leases(Compared()), [], [], [], False

    async def read(profile):
        if profile is not None:
            reads.append(profile)
            if fails:
                raise ValueError
        return Sequence(1)

    def used(times):
        reads.clear()
        comparisons.clear()
        return lambda: leases.of("a").ask() and len(comparisons) >= times

    async with in_background(leases.keep(read, 0.05, lambda name: name)):
        await until("the first check", used(2))
        await until("comparisons", used(4))
        assert not reads
        fails = True
        changes.append(1)
        await until("a change", used(2))
        changes.clear()
        await until("reads", used(4))
        checked = leases._tenants["a"].checked
        await until("more reads", used(4))
        assert len(reads) >= 3
        assert leases._tenants["a"].checked == checked
        fails = False
        await until("a check", used(2))
        await until("comparisons", used(4))
        assert not reads


async def test_a_check_of_a_profile_confirms_it_up_to_the_last_check_of_the_directory():
    """A cached key is also gone with its profile, which the check of the profile cannot tell."""
    leases = Leases(ChangeCounters())
    lease = leases.of("a")

    async def read(profile):
        return Sequence(1)

    async def check(profile, of):
        assert await leases._check(profile, of, read)
        return clocks.now()

    await check(None, leases._own)
    was_read = await check("a", lease)
    checked = await check(None, leases._own)
    await check("a", lease)
    assert was_read < lease.confirmed(was_read) <= checked
