"""Rules of keys: read strictly, and only made tighter."""

import pytest

from minikms.errors import RulesLoosened, RuleViolated
from minikms.rules import (
    MAX_LIFETIME,
    MAX_RATE,
    MAX_RULE_BYTES,
    MAX_RULE_TEXT,
    MAX_RULE_VALUES,
    MAX_RULED_CLAIMS,
    PRESETS,
    Rules,
    RulesError,
    kind_of,
)

ALL = {
    "raw": False,
    "algs": ["ES256"],
    "jws": {
        "typ": ["dc+sd-jwt"],
        "claims": {"aud": ["a"], "iss": ["https://issuer.example"]},
        "max_lifetime": 3600,
    },
    "per_minute": 60,
    "per_day": 1000,
}


def test_rules_are_written_as_they_were_read():
    assert Rules.parse(ALL).document() == ALL
    assert Rules.parse({}) == Rules()
    assert Rules().document() == {"raw": True}


def test_lists_are_written_in_order_and_without_duplicates():
    assert Rules.parse({"algs": ["b", "a", "b"]}).document()["algs"] == ["a", "b"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_expanded(name):
    written = Rules.parse(name).document()
    assert written["raw"] is False
    assert written["jws"]["typ"]
    assert Rules.parse(written) == Rules.parse(name)


def test_rules_of_jws_exclude_raw_signatures():
    assert Rules.parse({"jws": {}}).raw is False
    with pytest.raises(RulesError):
        Rules.parse({"raw": True, "jws": {}})


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, ()),
        ([], ()),
        (1, ()),
        ("sd-jwt", ()),
        ("", ()),
        ({"raw": None}, ("raw",)),
        ({"raw": 0}, ("raw",)),
        ({"raw": "false"}, ("raw",)),
        ({"Raw": False}, ("Raw",)),
        ({"typ": []}, ("typ",)),
        ({"algs": []}, ("algs",)),
        ({"algs": "ES256"}, ("algs",)),
        ({"algs": None}, ("algs",)),
        ({"algs": ["ES256", 1]}, ("algs", "1")),
        ({"algs": [""]}, ("algs", "0")),
        ({"algs": ["x" * (MAX_RULE_TEXT + 1)]}, ("algs", "0")),
        ({"algs": [f"{n}" for n in range(MAX_RULE_VALUES + 1)]}, ("algs",)),
        ({"jws": None}, ("jws",)),
        ({"jws": []}, ("jws",)),
        ({"jws": {"iss": ["a"]}}, ("jws", "iss")),
        ({"jws": {"typ": {}}}, ("jws", "typ")),
        ({"jws": {"claims": []}}, ("jws", "claims")),
        ({"jws": {"claims": {"iss": "a"}}}, ("jws", "claims", "iss")),
        ({"jws": {"claims": {"iss": []}}}, ("jws", "claims", "iss")),
        ({"jws": {"claims": {"iss": [1]}}}, ("jws", "claims", "iss", "0")),
        ({"jws": {"claims": {"": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {f"{n}": ["a"] for n in range(MAX_RULED_CLAIMS + 1)}}},
         ("jws", "claims")),
        ({"jws": {"claims": {"iss": ["a"], "ISS": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"iss": ["a"], "iss\0": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"caf\u00e9": ["a"], "cafe\u0301": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"Exp": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"max_lifetime": 0}}, ("jws", "max_lifetime")),
        ({"jws": {"max_lifetime": 1.5}}, ("jws", "max_lifetime")),
        ({"jws": {"max_lifetime": True}}, ("jws", "max_lifetime")),
        ({"jws": {"max_lifetime": MAX_LIFETIME + 1}}, ("jws", "max_lifetime")),
        ({"jws": {"max_lifetime": None}}, ("jws", "max_lifetime")),
        ({"per_minute": 0}, ("per_minute",)),
        ({"per_minute": "60"}, ("per_minute",)),
        ({"per_day": -1}, ("per_day",)),
        ({"per_day": MAX_RATE + 1}, ("per_day",)),
    ],
)  # fmt: skip
def test_a_fault_is_refused_at_its_place(document, place):
    with pytest.raises(RulesError) as error:
        Rules.parse(document)
    assert error.value.place == place


def test_all_texts_together_are_bounded_in_bytes():
    def rules(size):
        whole, rest = divmod(size, MAX_RULE_TEXT)
        texts = [f"{n}".zfill(MAX_RULE_TEXT) for n in range(whole)] + ["x" * rest] * bool(rest)
        return {"jws": {"typ": texts}}

    assert Rules.parse(rules(MAX_RULE_BYTES)).size == MAX_RULE_BYTES
    with pytest.raises(RulesError):
        Rules.parse(rules(MAX_RULE_BYTES + 1))
    with pytest.raises(RulesError):
        Rules.parse({"jws": {"claims": {"é" * MAX_RULE_TEXT: ["é" * MAX_RULE_TEXT] * 1,
                                        **{f"{n}": ["é" * MAX_RULE_TEXT] for n in range(3)}}}}
                    )  # fmt: skip


def changed(path, value):
    """ALL with another value at a path; None leaves the member out."""
    *parents, last = path.split("/")
    document = {**ALL, "jws": {**ALL["jws"], "claims": {**ALL["jws"]["claims"]}}}
    place = document
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


TIGHTER = [
    ("per_minute", 59),
    ("per_day", 1),
    ("jws/max_lifetime", 1),
    ("jws/claims/vct", ["x"]),
    ("raw", None),  # false with jws
]
LOOSER = [
    ("raw", True),
    ("algs", None),
    ("algs", ["ES256", "ES384"]),
    ("algs", ["ES384"]),
    ("jws", None),
    ("jws/typ", None),
    ("jws/typ", ["dc+sd-jwt", "JWT"]),
    ("jws/typ", ["DC+SD-JWT"]),
    ("jws/claims", None),
    ("jws/claims", {}),
    ("jws/claims/iss", None),
    ("jws/claims/iss", ["https://issuer.example", "https://other.example"]),
    ("jws/claims/iss", ["https://issuer.example/"]),
    ("jws/max_lifetime", None),
    ("jws/max_lifetime", 3601),
    ("per_minute", None),
    ("per_minute", 61),
    ("per_day", None),
    ("per_day", 1001),
]


@pytest.mark.parametrize(("path", "value"), TIGHTER)
def test_rules_become_tighter(path, value):
    new = Rules.parse(changed(path, value))
    assert Rules.parse(ALL).tightened(new) == new
    assert Rules().tightened(new) == new


@pytest.mark.parametrize(("path", "value"), LOOSER)
def test_rules_do_not_become_looser(path, value):
    document = changed(path, value)
    if path == "raw":  # with jws, it cannot be said
        document.pop("jws")
    with pytest.raises(RulesLoosened):
        Rules.parse(ALL).tightened(Rules.parse(document))


def test_nothing_allows_more_than_no_rules():
    for new in (Rules(), Rules.parse(ALL)):
        assert Rules().tightened(new) is new
    with pytest.raises(RulesLoosened):
        Rules.parse(ALL).tightened(Rules())


def test_the_kind_of_a_rule_has_no_name_of_a_claim():
    assert kind_of("jws.claims.iss") == "jws.claims"
    for rule in ("raw", "algs", "jws", "jws.typ", "jws.max_lifetime", "per_day"):
        assert kind_of(rule) == rule


def test_a_violation_names_its_rule():
    error = RuleViolated("jws.typ", "No.")
    assert (error.rule, error.slug, error.status) == ("jws.typ", "rule-violated", 403)
    assert "jws.typ" in error.detail
