"""Rules of keys: read strictly, and only made tighter."""

import sys
import unicodedata
from dataclasses import fields

import pytest

from minikms.basics.claim_names import is_taken_for, readings
from minikms.errors import RulesLoosened, RuleViolated
from minikms.rule_members import MAX_RULE_TEXT, MAX_RULE_VALUES, RulesError
from minikms.rules import (
    MAX_LIFETIME,
    MAX_RATE,
    MAX_RULE_BYTES,
    MAX_RULED_CLAIMS,
    PRESETS,
    JwsRules,
    Rules,
    kind_of,
)

ALL = {
    "raw": False,
    "algs": ["ES256", "ES384"],
    "jws": {
        "typ": ["JWT", "dc+sd-jwt"],
        "claims": {"aud": ["a"], "iss": ["https://issuer.example"]},
        "max_lifetime": 3600,
        "disclosures": "shown",
    },
    "cose": True,
    "per_minute": 60,
    "per_day": 1000,
    "approval": {
        "approvers": [
            {"name": "ann", "jwk": {"crv": "Ed25519", "kty": "OKP", "x": "YQ"}},
            {"name": "bob", "jwk": {"crv": "Ed25519", "kty": "OKP", "x": "Yg"}},
        ],
        "threshold": 1,
        "expires_in": 300,
        "wait": 0,
        "delete": False,
    },
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
    assert Rules.parse({"jws": {}}).cose is False
    assert Rules.parse({"raw": False}).cose is True
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
        ({"jws": {"disclosures": "all"}}, ("jws", "disclosures")),
        ({"jws": {"disclosures": None}}, ("jws", "disclosures")),
        ({"jws": {"disclosures": ["none"]}}, ("jws", "disclosures")),
        ({"disclosures": "none"}, ("disclosures",)),
        ({"cose": None}, ("cose",)),
        ({"cose": 1, "jws": {}}, ("cose",)),
        ({"jws": {"cose": True}}, ("jws", "cose")),
        ({"jws": {"claims": {"iss": ["a"], "iss\b": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"iss": ["a"], "i\u20ddss": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"iss": ["a"], "i\0ss": ["a"]}}}, ("jws", "claims")),
        ({"jws": {"claims": {"vct": ["a"], "Aka_VCTs": ["a"]}}}, ("jws", "claims")),
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
    ("algs", ["ES384"]),
    ("jws/typ", ["dc+sd-jwt"]),
    ("jws/max_lifetime", 1),
    ("jws/claims/vct", ["x"]),
    ("raw", None),  # false with jws
    ("jws/disclosures", "none"),
    ("cose", False),
    ("cose", None),  # false with jws
    ("approval/threshold", 2),
    ("approval/expires_in", 299),
    ("approval/wait", 60),
    ("approval/delete", True),
]
LOOSER = [
    ("raw", True),
    ("algs", None),
    ("algs", ["ES256", "ES384", "ES512"]),
    ("algs", ["ES512"]),
    ("jws", None),
    ("jws/typ", None),
    ("jws/typ", ["dc+sd-jwt", "JWT", "vc+sd-jwt"]),
    ("jws/typ", ["DC+SD-JWT"]),
    ("jws/claims", None),
    ("jws/claims", {}),
    ("jws/claims/iss", None),
    ("jws/claims/iss", ["https://issuer.example", "https://other.example"]),
    ("jws/claims/iss", ["https://issuer.example/"]),
    ("jws/max_lifetime", None),
    ("jws/max_lifetime", 3601),
    ("jws/disclosures", "any"),
    ("jws/disclosures", None),
    ("per_minute", None),
    ("per_minute", 61),
    ("per_day", None),
    ("per_day", 1001),
    ("approval", None),
]


@pytest.mark.parametrize(
    ("cases", "elsewhere"),
    [(TIGHTER, set()), (LOOSER, {"cose"})],  # `cose` is true in ALL, and has a test below
    ids=["tighter", "looser"],
)
def test_each_rule_has_a_case(cases, elsewhere):
    rules = {each.name for each in fields(Rules)} | {
        f"jws/{each.name}" for each in fields(JwsRules)
    }
    paths = [f"{path}/" for path, _ in cases]
    without = {rule for rule in rules if not any(path.startswith(f"{rule}/") for path in paths)}
    assert without == elsewhere


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


def test_cose_is_not_allowed_again():
    for tight in ({"jws": {}}, {"cose": False}):
        for loose in ({**tight, "cose": True}, {"raw": False}):
            with pytest.raises(RulesLoosened):
                Rules.parse(tight).tightened(Rules.parse(loose))


def test_disclosures_of_none_are_not_allowed_again():
    for loose in ({}, {"disclosures": "any"}, {"disclosures": "shown"}):
        with pytest.raises(RulesLoosened):
            Rules.parse({"jws": {"disclosures": "none"}}).tightened(Rules.parse({"jws": loose}))


def test_stored_rules_with_names_that_are_one_by_now_are_read():
    """Earlier versions accepted two names that some databases take for the same."""
    stored = {"raw": False, "jws": {"claims": {"iss": ["a"], "iss\b": ["b"]}}}
    with pytest.raises(RulesError):
        Rules.parse(stored)
    assert Rules.read(stored).document() == stored


def test_nothing_allows_more_than_no_rules():
    for new in (Rules(), Rules.parse(ALL)):
        assert Rules().tightened(new) is new
    with pytest.raises(RulesLoosened):
        Rules.parse(ALL).tightened(Rules())


@pytest.mark.parametrize("category", ["Cc", "Cf", "Co", "Me", "Mc", "Mn", "Zs", "Zl", "Zp"])
def test_no_character_that_comparisons_ignore_makes_another_name(category):
    of_it = [chr(n) for n in range(sys.maxunicode) if unicodedata.category(chr(n)) == category]
    # Some marks are variants of letters.
    ignored = [each for each in of_it if " LATIN " not in unicodedata.name(each, "")]
    assert ignored
    for each in ignored:
        for name in (f"iss{each}", f"i{each}ss", f"{each}iss"):
            assert is_taken_for(name, {"iss"}), ascii(name)


def test_no_character_without_weight_makes_another_name():
    """Unicode's collation (DUCET) gives these letters and punctuation no weight."""
    for each in "\u0640\u07fa\u0824\u0828\u115f\u1160\u180a\u1cd3\u1cf2\u1cf3\ufe73":
        for name in (f"iss{each}", f"i{each}ss", f"{each}iss"):
            assert is_taken_for(name, {"iss"}), ascii(name)


@pytest.mark.parametrize(
    "name", ["ıss", "İSS", "iſs", "iß", "ＩＳＳ", "𝐢𝐬𝐬", "í́ss", "🅘🅢🅢", "ͥss", "iss\0x", "i\0ss\0"]
)
def test_variants_of_letters_are_the_letters(name):
    assert is_taken_for(name, {"iss"})


@pytest.mark.parametrize(
    "name", ["is", "isss", "i", "iss2", "iss_", "issue", "исс", "発行者", "iss😀", ""]
)
def test_other_names_are_others(name):
    assert not is_taken_for(name, {"iss"})


def test_a_name_of_a_million_marks_is_compared():
    """Their order in a normal form takes a time that grows with the square of their number."""
    assert is_taken_for("iss" + "\u0300\u0316" * 500_000, {"iss"})


def test_names_are_compared_up_to_a_bound():
    """A ligature of eighteen letters makes a long name of a short one."""
    name = "\ufdfa" * 300
    assert is_taken_for(name, readings([name + "a"]))
    assert is_taken_for("A" * 5000, readings(["a" * 4999]))
    assert not is_taken_for("A" * 4000, readings(["a" * 3999]))
    assert {len(each) for each in readings(["\ufdfa" * 300_000])} == {4096}


def test_a_character_of_a_later_version_of_unicode_may_be_any():
    assert unicodedata.category("\U0003fffd") == "Cn"
    assert is_taken_for("\U0003fffd", {"iss"})
    assert readings(["i\U0003fffdss"]) == {"iss"}


def test_the_kind_of_a_rule_has_no_name_of_a_claim():
    assert kind_of("jws.claims.iss") == "jws.claims"
    rules = ("raw", "algs", "cose", "jws", "jws.typ", "jws.max_lifetime", "jws.disclosures")
    for rule in (*rules, "jws.detached", "per_day"):
        assert kind_of(rule) == rule


def test_a_violation_names_its_rule():
    error = RuleViolated("jws.typ", "No.")
    assert (error.rule, error.slug, error.status) == ("jws.typ", "rule-violated", 403)
    assert "jws.typ" in error.detail
