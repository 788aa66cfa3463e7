from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import KeyExists, KeyNotFound, KeyNotUsable
from minikms.key_requests import KeySource
from minikms.records import KeyRecord
from minikms.rules import Rules

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PUBLIC = TEXT.filter(lambda name: name not in PRIVATE_MEMBERS)
RECORDS = st.builds(
    KeyRecord,
    kid=TEXT,
    alg=TEXT,
    kty=TEXT,
    jwk=st.none() | st.dictionaries(PUBLIC, TEXT, max_size=3),
    b58=st.none() | TEXT,
    material=st.sampled_from(["askar", "bytes", "none"]),
    created=st.integers(0, 2**63),
    aliases=st.lists(TEXT, max_size=3, unique=True).map(tuple),
    labels=st.dictionaries(TEXT, TEXT, max_size=2),
    seq=TEXT,
    provider=st.sampled_from([None, "hsm"]),
    state=st.sampled_from(["enabled", "disabled", "verify-only"]),
    expires=st.none() | st.integers(0, 2**63),
    deletes=st.none() | st.integers(0, 2**63),
    rules=st.none()
    | st.builds(
        Rules,
        st.booleans(),
        per_day=st.none() | st.integers(1, 9),
        algs=st.none() | st.just(("A",)),
        cose=st.booleans(),
    ),
    named_by=st.none() | st.integers(0, 3),
    replaced=st.booleans(),
    unknown=st.none() | st.fixed_dictionaries({"x-later": st.lists(TEXT) | st.integers(0, 9)}),
    sealed=st.binary(max_size=99),
)


@given(RECORDS)
def test_a_record_comes_back_as_it_was(record):
    again = KeyRecord.from_bytes(record.to_bytes())
    assert (again, again.sealed) == (record, record.sealed)


def test_members_of_a_later_version_are_kept_where_they_were():
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    later = {**orjson.loads(record.to_bytes()), "purposes": {"raw": False}, "place": None}
    read = KeyRecord.from_bytes(orjson.dumps(later) + b"\0sealed\0")
    assert read.sealed == b"sealed\0"
    changed, _, sealed = replace(read, labels={"n": "1"}).to_bytes().partition(b"\0")
    assert orjson.loads(changed) == {**later, "labels": {"n": "1"}}
    assert sealed == b"sealed\0"
    read.require_usable("sign", 1)


@pytest.mark.parametrize(
    ("crit", "understood"),
    [
        (["purposes"], False),
        (["labels", "purposes"], False),
        (["rules"], False),
        (["labels"], True),
    ],
)
def test_a_key_with_a_critical_member_that_is_not_understood_is_not_used(crit, understood):
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    later = {**orjson.loads(record.to_bytes()), "crit": crit, "purposes": {"raw": False}}
    read = KeyRecord.from_bytes(orjson.dumps(later))
    if understood:
        read.require_usable("sign", 1)
        return
    for operation in ("sign", "verify"):
        with pytest.raises(KeyNotUsable):
            read.require_usable(operation, 1)


def test_the_repr_of_a_record_shows_neither_material_nor_unknown_members():
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    shown = repr(replace(record, sealed=b"planted-7f3a", unknown={"x": "planted-7f3a"}))
    assert "planted" not in shown


def test_a_record_of_before_keys_had_a_life():
    old = {
        **{"kid": "k", "alg": "x", "kty": "oct", "jwk": None, "b58": None, "multikey": None},
        **{"did": None, "operations": ["sign"], "material": "bytes", "created": 1},
        **{"exportable": False, "aliases": ["a"], "labels": {}, "state": "enabled", "seq": "1"},
    }
    record = KeyRecord.from_bytes(orjson.dumps(old))
    assert (record.expires, record.deletes) == (None, None)
    record.require_usable("sign", 2**63)
    assert record.is_always_usable
    assert orjson.loads(record.to_bytes()).items() >= old.items()


@given(RECORDS, st.integers(0, 2**63), st.sampled_from(["sign", "verify"]))
def test_a_state_is_that_of_a_moment(record, now, operation):
    state, expired = record.state_at(now), record.expires is not None and record.expires <= now
    if record.deletes is not None or record.state == "disabled":
        assert state == "disabled"
    else:
        assert state == ("verify-only" if expired else record.state)
    if record.deletes is not None and record.deletes <= now:
        with pytest.raises(KeyNotFound):
            record.require_usable(operation, now)
    elif state == "enabled" or (state, operation) == ("verify-only", "verify"):
        record.require_usable(operation, now)
    else:
        with pytest.raises(KeyNotUsable) as refusal:
            record.require_usable(operation, now)
        assert state in refusal.value.detail
        assert not record.is_always_usable


@given(RECORDS, RECORDS)
def test_a_key_in_the_place_of_another(old, new):
    after = new.succeeding(old)
    assert (after.aliases, after.labels) == (old.aliases, old.labels)
    assert (after.kid, after.state, after.expires) == (new.kid, new.state, new.expires)


@given(RECORDS, TEXT)
def test_an_alias_comes_and_goes(record, alias):
    record = replace(record, replaced=False)  # a key with an alias is not
    without = record.without_alias(alias)
    named = without.with_alias(alias)
    assert (without.aliases.count(alias), named.aliases[-1]) == (0, alias)
    assert named.without_alias(alias).released() == without


@given(RECORDS, st.sampled_from(["askar", "bytes", "none"]), st.booleans())
def test_a_key_that_exists_is_the_same_as_an_import(record, material, same_alg):
    imported = replace(record, material=material, alg=record.alg if same_alg else record.alg + "x")
    if same_alg and (record.material != "none" or material == "none"):
        record.require_same(imported)
    else:
        with pytest.raises(KeyExists):
            record.require_same(imported)


def test_the_repr_of_a_key_source_shows_no_secret():
    secret = b"planted-7f3a"
    source = KeySource("x", {"d": "planted-7f3a"}, secret, secret, secret, "k")
    assert repr(source) == "KeySource(alg='x', unwrap_kid='k')"


def test_a_record_without_rules_has_no_member_for_them():
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    assert b"rules" not in record.to_bytes()


def test_rules_are_critical_and_equal_ones_are_one_object():
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    ruled = record.with_rules(Rules.parse("sd-jwt-vc"))
    one, two = (KeyRecord.from_bytes(ruled.to_bytes()) for _ in range(2))
    assert one == ruled
    assert one.crit == ("rules",)
    assert one.rules is two.rules
    one.require_usable("sign", 1)


@pytest.mark.parametrize("rules", [{"later": 1}, {"raw": "no"}, {"jws": {"later": 1}}, "later", 7])
def test_a_key_whose_rules_cannot_be_read_keeps_them_and_is_not_used(rules):
    record = KeyRecord("k", "x", "oct", None, None, None, None, ("sign",), "bytes", 1)
    later = {**orjson.loads(record.to_bytes()), "crit": ["rules"], "rules": rules}
    read = KeyRecord.from_bytes(orjson.dumps(later))
    with pytest.raises(KeyNotUsable):
        read.require_usable("verify", 1)
    with pytest.raises(KeyNotUsable):
        read.with_rules(Rules(raw=False))
    assert orjson.loads(replace(read, labels={"n": "1"}).to_bytes())["rules"] == rules
