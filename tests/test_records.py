from hypothesis import given
from hypothesis import strategies as st

from minikms.records import KeyRecord, KeySource

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RECORDS = st.builds(
    KeyRecord,
    kid=TEXT,
    alg=TEXT,
    kty=TEXT,
    jwk=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    b58=st.none() | TEXT,
    material=st.sampled_from(["askar", "bytes"]),
    created=st.integers(0, 2**63),
    aliases=st.lists(TEXT, max_size=3, unique=True).map(tuple),
    labels=st.dictionaries(TEXT, TEXT, max_size=2),
    seq=TEXT,
)


@given(RECORDS)
def test_a_record_comes_back_as_it_was(record):
    assert KeyRecord.from_bytes(record.to_bytes()) == record


@given(RECORDS, TEXT)
def test_an_alias_comes_and_goes(record, alias):
    without = record.without_alias(alias)
    named = without.with_alias(alias)
    assert (without.aliases.count(alias), named.aliases[-1]) == (0, alias)
    assert named.without_alias(alias) == without


def test_what_a_key_is_made_from_is_not_shown():
    secret = b"planted-7f3a"
    source = KeySource("x", {"d": "planted-7f3a"}, secret, secret, secret, "k")
    assert repr(source) == "KeySource(alg='x', unwrap_kid='k')"
