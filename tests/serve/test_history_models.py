"""The models of histories find what no right service does, and nothing else."""

import pytest
from serve.history import Call, Process
from serve.history_load import DAY, ROOM, WITHOUT_LINE
from serve.history_models import violations

ONE, OTHER = Process(0, 2), Process(0, 2)


def call(about, begun, process=ONE, *, ended=None, status=200, slug="", **facts):
    """A call that takes a second, and its audit line."""
    number = f"{about} {begun}"
    ended = begun + 1 if ended is None else ended
    return Call(about, process, begun, number, ended=ended, status=status, slug=slug, **facts)


def line(each):
    return {
        "request_id": each.request_id,
        "outcome": each.slug or "success",
        "kid": each.answer.get("kid"),
    }


def found(*calls):
    return violations(calls, [line(each) for each in calls if each.status])


def write(value, begun, process=ONE, about="alias a", **facts):
    return call(about, begun, process, writes=value, **facts)


def read(value, begun, process=ONE, about="alias a", **facts):
    return call(about, begun, process, shows=value, **facts)


UNKNOWN = {"status": 503, "slug": "store-unavailable", "answer": {"outcome": "unknown"}}
REFUSED = {"status": 503, "slug": "store-unavailable"}
LOST = {"status": 0}


def test_changes_are_seen_at_once_and_by_others_after_a_lag():
    first, second = write("1", 0), write("2", 10)
    assert found(first, second, read("2", 11.1), read("1", 12.9, OTHER), read("2", 20, OTHER)) == []
    assert len(found(first, second, read("1", 11.1))) == 1
    assert len(found(first, second, read("1", 13.1, OTHER))) == 1
    assert len(found(first, second, read("1", 12, Process(11.5, 2)))) == 1
    assert found(first, second, read("2", 10.2), read("1", 10.3)) == []


@pytest.mark.parametrize("outcome", [UNKNOWN, LOST])
def test_a_change_with_an_unknown_outcome_may_be_there_until_the_next_one(outcome):
    writes = write("1", 0), write("2", 10, **outcome)
    assert found(*writes, read("1", 20), read("2", 30)) == []
    writes = *writes, write("3", 40)
    assert found(*writes, read("3", 45)) == []
    assert len(found(*writes, read("2", 45))) == 1


def test_a_refused_change_is_never_seen():
    assert len(found(write("1", 0), write("2", 10, **REFUSED), read("2", 20))) == 1
    unsent = {"status": 0, "slug": "unsent"}
    assert len(found(write("1", 0), write("2", 10, **unsent), read("2", 20))) == 1


def test_a_hidden_move_is_found_although_the_alias_named_that_key_before():
    moves = write("1", 0), write("2", 10), write("1", 20), write("2", 30)
    assert found(*moves, read("2", 35)) == []
    assert len(found(*moves, read("2", 35), read("1", 40))) == 1


def test_the_number_of_keys():
    made = [call("room", n, answer={"kid": str(n)}) for n in range(ROOM)]
    full = call("room", 20, status=422, slug="too-many-keys")
    more = call("room", 20, answer={"kid": "more"})
    gone = call("room", 15, writes="0")
    assert found(*made, full) == found(*made, gone, more) == []
    assert len(found(*made, more)) == 1
    assert len(found(*made, gone, full)) == 1
    lost = call("room", 15, writes="0", **LOST)
    assert found(*made, lost, full) == found(*made, lost, more) == []


def test_the_uses_of_a_day():
    uses = [call("counted k", n) for n in range(DAY)]
    over = call("counted k", DAY, status=429, slug="over-rate")
    assert found(*uses, over) == []
    assert len(found(*uses, call("counted k", DAY))) == 1


def test_an_answer_has_one_line():
    sign = call("alias a", 10, shows="1", answer={"kid": "1"})
    calls, right = [write("1", 0), sign], [line(write("1", 0)), line(sign)]
    assert violations(calls, right) == []
    assert len(violations(calls, right[:1])) == 1
    assert len(violations(calls, [*right, right[1]])) == 1
    assert len(violations(calls, [right[0], right[1] | {"outcome": "forbidden"}])) == 1
    assert len(violations(calls, [right[0], right[1] | {"kid": "2"}])) == 1
    failed = write("2", 20, **UNKNOWN)
    its = line(failed)
    assert violations([*calls, failed], [*right, its]) == []
    assert violations([*calls, failed], [*right, its | {"outcome": "success"}, its]) == []
    assert violations([write("1", 0, **LOST)], []) == []


def test_a_call_that_the_audit_log_omits_has_no_line():
    state = call(WITHOUT_LINE, 0)
    assert violations([state], []) == []
    assert len(violations([state], [line(state)])) == 1


def test_an_answer_that_no_fault_explains():
    assert len(found(call("alias a", 0, status=500, slug="internal-error"))) == 1
    assert len(found(call("alias a", 0, status=404, slug="alias-not-found"))) == 1


def test_a_key_has_one_next_key_which_does_not_sign_before_the_rotation():
    def asked(kid, begun, **facts):
        return call("next 1", begun, answer={"kid": kid}, **facts)

    assert found(asked("2", 0), asked("2", 1, process=OTHER), call("next 1", 5, **REFUSED)) == []
    assert len(found(asked("2", 0), asked("3", 5))) == 1
    usable, refused = call("early 2", 12), {"status": 409, "slug": "key-not-usable"}
    assert found(call("early 2", 5, **refused), write("2", 10), usable) == []
    assert len(found(usable)) == 1
    assert len(found(write("2", 20), usable)) == 1
    assert found(write("2", 10, **LOST), usable) == []
    assert len(found(write("2", 10, **REFUSED), usable)) == 1
