"""Models of a service: what a history of calls may contain, whatever failed meanwhile.

Each function returns a sentence for each call that a right service could not have answered so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from serve.history import Call
from serve.history_load import DAY, ROOM, WITHOUT_LINE

# The problems with which any call may be refused.
_OF_THE_STORE: Final = {"store-unavailable", "timeout"}

# The other problems with which a call about an object may be refused.
_REFUSED: Final = {
    "key": {"key-not-usable", "key-not-found"},
    "room": {"too-many-keys"},
    "counted": {"over-rate"},
    "next": {"key-not-usable"},
    "early": {"key-not-usable"},
    "token": {"unauthenticated"},
}


def violations(calls: Sequence[Call], lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Find all that no right service does, with the lines of its audit logs."""
    about: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        about[call.about.partition(" ")[0]].append(call)
    return [
        *unexpected(calls),
        *stale_reads([*about["key"], *about["alias"], *about["token"]]),
        *wrong_room(about["room"], ROOM),
        *overused(about["counted"], DAY),
        *several_next_keys(about["next"]),
        *early_signatures(about["early"], about["alias"]),
        *unrecorded(calls, lines),
    ]


def unexpected(calls: Iterable[Call]) -> list[str]:
    """Find answers that no fault explains."""
    found = []
    for call in calls:
        allowed = _REFUSED.get(call.about.partition(" ")[0], set()) | _OF_THE_STORE
        if call.status not in (0, 200) and call.slug not in allowed:
            found.append(f"{call.about}: {call.request_id} is {call.status} {call.slug}")
    return found


def stale_reads(calls: Iterable[Call]) -> list[str]:
    """Find reads of a value that the object did not have.

    Values are the state of a key, the key of an alias, and whether a token is valid. A change is
    seen at once by the process that made it and by processes started after it, and by others after
    their lag. A refused write never has an effect. A write with an unknown outcome may have one,
    but not after a later acknowledged write: the writes of a profile follow each other.
    """
    objects: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        objects[call.about].append(call)
    found = []
    for about, its in objects.items():
        writes = [call for call in its if call.writes is not None and call.may_be_done]
        acknowledged = [call for call in writes if call.is_done]
        for read in its:
            if read.shows is None:
                continue
            candidates = [write for write in writes if write.writes == read.shows]
            if not any(_may_see(read, write, acknowledged) for write in candidates):
                found.append(f"{about}: {read.request_id} shows {read.shows} of {read.begun:.3f}")
    return found


def _may_see(read: Call, write: Call, acknowledged: Sequence[Call]) -> bool:
    """Tell whether a read may see a write, which no later one has replaced for long enough."""
    return write.begun < read.ended and not any(
        later.begun > write.ended and later.ended + _lag(read, later) < read.begun
        for later in acknowledged
    )


def _lag(read: Call, write: Call) -> float:
    """The seconds for which a read may miss a write."""
    is_new = read.process.started > write.ended
    return 0 if is_new or read.process == write.process else read.process.lag


def wrong_room(calls: Iterable[Call], most: int) -> list[str]:
    """Find a profile that has more than `most` keys, or refuses one although it has room.

    A call makes the key in its answer, or deletes the key that it `writes`.
    """
    calls = list(calls)
    makers = [call for call in calls if call.writes is None and call.may_be_done]
    deleted = {call.writes: call for call in calls if call.writes is not None and call.may_be_done}
    keys = [(maker, deleted.get(maker.answer.get("kid"))) for maker in makers]
    found = []
    for call in calls:
        if call.writes is None and call.is_done:
            number = sum(
                made.is_done and made.ended <= call.ended and not (gone and gone.begun < call.ended)
                for made, gone in keys
            )
            if number > most:
                found.append(f"{call.about}: {number} keys after {call.request_id}")
        elif call.slug == "too-many-keys":
            number = sum(
                made.begun < call.ended and not (gone and gone.is_done and gone.ended < call.begun)
                for made, gone in keys
            )
            if number < most:
                found.append(f"{call.about}: {call.request_id} is refused with {number} keys")
    return found


def overused(calls: Iterable[Call], most: int) -> list[str]:
    """Find keys that were used more than `most` times."""
    uses = Counter(call.about for call in calls if call.is_done)
    return [f"{about}: {number} uses" for about, number in uses.items() if number > most]


def several_next_keys(calls: Iterable[Call]) -> list[str]:
    """Find keys with several next keys, none of which was deleted."""
    made: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        if call.is_done:
            made[call.about].add(call.answer["kid"])
    return [f"{about}: {sorted(kids)}" for about, kids in made.items() if len(kids) > 1]


def early_signatures(calls: Iterable[Call], changes: Iterable[Call]) -> list[str]:
    """Find signatures by a next key before the call that rotated to it; there may be several."""
    begun: dict[str, float] = {}
    for change in changes:
        if change.writes is not None and change.may_be_done:
            begun[change.writes] = min(begun.get(change.writes, change.begun), change.begun)
    return [
        f"{call.about}: {call.request_id} signs before the rotation"
        for call in calls
        if call.is_done and call.ended < begun.get(call.about.partition(" ")[2], call.ended + 1)
    ]


def unrecorded(calls: Iterable[Call], lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Find answers without exactly one audit line of their outcome.

    The audit log omits calls about WITHOUT_LINE. Before a change whose commit fails, there is also
    a line of its success.
    """
    recorded: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        recorded[line.get("request_id", "")].append(line)
    found = []
    for call in calls:
        if not call.status:
            continue
        its = [line["outcome"] for line in recorded[call.request_id]]
        if call.about == WITHOUT_LINE:
            if its:
                found.append(f"{call.about}: {call.request_id} is recorded as {its}")
            continue
        answered = call.slug or "success"
        failed_commit = answered == "store-unavailable" and its == ["success", answered]
        if its != [answered] and not failed_commit:
            found.append(f"{call.about}: {call.request_id} is {answered}, and recorded as {its}")
        elif kid := call.answer.get("kid"):
            its_kids = {recorded[call.request_id][-1].get(name) for name in ("kid", "new_kid")}
            if kid not in its_kids:
                found.append(f"{call.about}: {call.request_id} is recorded for {its_kids}")
    return found
