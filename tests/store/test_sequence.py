"""The entry of a profile's last place and last changes."""

import pytest

from minikms.store.askar.sequence import Sequence


def test_an_entry_of_an_older_layout_has_only_the_place():
    old = Sequence.of(b"00000000000000000042")
    assert old == Sequence(42)
    assert old.changes_since(Sequence(41).position) == set()


def test_an_entry_is_read_as_it_was_stored():
    sequence = Sequence(7).with_change([4095, 0]).with_change([])
    assert Sequence.of(sequence.to_bytes()) == sequence


def test_the_changes_since_a_moment():
    first = Sequence(7).with_change([1])
    later = first.with_change([2, 3])._replace(place=9).with_change([]).with_change([3, 4])
    assert later.changes_since(first.position) == {2, 3, 4}
    assert later.changes_since(later.position) == set()


def test_the_last_hundred_changes_are_kept():
    entries = [Sequence(7).with_change([0])]
    for number in range(1, 200):
        entries.append(entries[-1].with_change([number, 4095]))
    last = entries[-1]
    assert last.changes_since(entries[-100].position) == {*range(101, 200), 4095}
    assert last.changes_since(entries[0].position) is None
    assert len(last.to_bytes()) < 1600  # else PostgreSQL would not keep it in its row


def test_a_change_of_more_than_the_log_holds():
    before = Sequence(7).with_change([1])
    large = before.with_change(range(4096))
    assert large.changes_since(before.position) is None
    assert large.with_change([5]).changes_since(large.position) == {5}
    assert len(large.to_bytes()) < 100


@pytest.mark.parametrize(
    "restored",
    [Sequence(7), Sequence(6).with_change([1]), Sequence(8).with_change([1]).with_change([2])],
    ids=["without a log", "an earlier place", "with other changes"],
)
def test_the_changes_since_a_moment_that_never_was(restored):
    assert restored.changes_since(Sequence(7).with_change([1]).position) is None


def test_an_entry_may_have_the_number_of_keys():
    for keys in (0, 7, 10**9):
        sequence = Sequence(7, keys=keys)
        assert Sequence.of(sequence.to_bytes()) == sequence
        logged = sequence.with_change([4095]).with_change([1])
        assert Sequence.of(logged.to_bytes()) == logged
    assert logged.changes_since(sequence.with_change([2]).position) is None
    assert len(logged.to_bytes()) < 100
