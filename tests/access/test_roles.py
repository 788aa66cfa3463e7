"""Roles: which claims and certificates have them, and what they permit."""

import pytest

from minikms.access.callers import Caller, Grant, granted
from minikms.access.roles import Role, claim_at, claim_of_profile
from minikms.errors import Forbidden, ProfileNotFound

NOW = 1_800_000_000
POD = {
    "sub": "system:serviceaccount:pid:issuer",
    "aud": ["a", "b"],
    "kubernetes.io": {"namespace": "pid", "a/b": {"~": ["x", "y"]}},
    "groups": ["one", 2, None],
    "number": 7,
    "iat": NOW,
}


def role(claims, profiles=("one",), **members):
    return Role("r", frozenset(["sign"]), tuple(profiles), "i", claims, **members)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": ["other", "system:serviceaccount:pid:issuer"]},
        {"sub": ["system:serviceaccount:pid:*"]},
        {"sub": ["*"]},
        {"aud": ["b"]},
        {"groups": ["one"]},
        {"/kubernetes.io/namespace": ["pid"]},
        {"/kubernetes.io/a~1b/~0/1": ["y"]},
        {"sub": ["*"], "aud": ["a"]},
    ],
)
def test_claims_that_have_a_role(claims):
    assert role(claims).refusal(POD, NOW) is None


@pytest.mark.parametrize(
    ("claims", "place"),
    [
        ({"sub": ["system"]}, "sub"),
        ({"sub": ["*:issuer"]}, "sub"),
        ({"sub": ["system:*:issuer"]}, "sub"),
        ({"sub": ["System:*"]}, "sub"),
        ({"aud": ["c"]}, "aud"),
        ({"number": ["7"]}, "number"),
        ({"number": ["*"]}, "number"),
        ({"groups": ["2"]}, "groups"),
        ({"kubernetes.io": ["*"]}, "kubernetes.io"),
        ({"none": ["*"]}, "none"),
        ({"/kubernetes.io/none": ["*"]}, "/kubernetes.io/none"),
        ({"/aud/2": ["*"]}, "/aud/2"),
        ({"/aud/-1": ["*"]}, "/aud/-1"),
        ({"/sub/0": ["*"]}, "/sub/0"),
        ({"sub": ["*"], "aud": ["c"]}, "aud"),
    ],
)
def test_claims_that_do_not_have_a_role(claims, place):
    assert place in role(claims).refusal(POD, NOW)


def test_the_whole_of_the_claims_is_no_claim():
    assert role({"/": ["*"]}).refusal(POD, NOW)
    assert claim_at(POD, "sub") == POD["sub"]


@pytest.mark.parametrize(
    ("age", "iat", "fits"),
    [
        (9, NOW - 39, True),
        (9, NOW - 41, False),
        (9, None, False),
        (9, "1", False),
        (9, True, False),
    ],
)
def test_the_age_of_a_token(age, iat, fits):
    claims = {name: value for name, value in {**POD, "iat": iat}.items() if value is not None}
    assert (role({"sub": ["*"]}, max_age=age).refusal(claims, NOW) is None) == fits


@pytest.mark.parametrize(
    ("profile", "claim", "found"),
    [
        ("{sub}", "pid", {"pid"}),
        ("{/a/b}", {"b": "pid"}, {"pid"}),
        ("{/a/b}", {"b": "PID"}, {"PID"}),
        ("{sub}", "*", {"*"}),
        ("{sub}", "a b", None),
        ("{sub}", "", None),
        ("{sub}", "x" * 129, None),
        ("{sub}", ["pid"], None),
        ("{none}", "pid", None),
    ],
)
def test_a_profile_that_a_claim_names(profile, claim, found):
    claims = {"sub": claim, "a": claim, "x": "y"}
    named = role({"x": ["y"]}, [profile])
    if found is None:
        assert named.refusal(claims, NOW) == "No claim names a profile."
    else:
        assert named.refusal(claims, NOW) is None
        assert named.grant_to(claims).profiles == found


def test_every_profile_is_said_by_the_role_alone():
    assert role({"sub": ["*"]}, ["*"]).grant_to(POD).profiles is None
    assert claim_of_profile("pid") is None


CERTIFICATE = {
    "uri": ["spiffe://example.org/ns/wallet/sa/backend"],
    "dns": ["a.example", "b.example"],
    "email": [],
}


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        ({"uri": ["spiffe://example.org/ns/wallet/*"]}, CERTIFICATE["uri"][0]),
        ({"dns": ["b.example"]}, "b.example"),
        ({"dns": ["b.example"], "uri": ["spiffe://example.org/*"]}, "b.example"),
        ({"dns": ["b.example"], "uri": ["spiffe://example.com/*"]}, None),
        ({"email": ["*"]}, None),
        ({"dns": ["*.example"]}, None),
        ({}, None),
    ],
)
def test_names_of_certificates(allowed, found):
    wanted = Role("r", frozenset(), (), certificate=allowed)
    assert wanted.fits_certificate(CERTIFICATE) == found


# What several roles permit together


def grant(scopes, *profiles):
    return Grant(frozenset(scopes.split()), frozenset(profiles) if profiles else None)


def caller(*grants):
    return Caller("i:s", issuer="i", subject="s", roles=("r",), **granted(grants))


def test_roles_do_not_lend_each_other_profiles():
    both = caller(grant("sign", "pid"), grant("keys:write verify", "wallet"))
    assert both.scopes == {"sign", "keys:write", "verify"}
    assert both.profiles == {"pid", "wallet"}
    assert both.in_profile("pid").scopes == {"sign"}
    assert both.in_profile("wallet").scopes == {"keys:write", "verify"}
    assert both.with_scopes(["sign"]).profiles == {"pid"}
    assert both.with_scopes(["keys:delete"]).profiles == {"wallet"}
    with pytest.raises(ProfileNotFound):
        both.in_profile("other")
    with pytest.raises(ProfileNotFound):
        both.with_scopes(["sign"]).in_profile("wallet")
    with pytest.raises(Forbidden):
        both.with_scopes(["sign", "verify"])
    with pytest.raises(Forbidden):
        both.with_scopes(["admin"])


@pytest.mark.parametrize(
    "grants",
    [
        [grant("sign", "a")],
        [grant("sign", "a"), grant("verify", "a")],
        [grant("sign", "a"), grant("sign", "b")],
        [grant("sign", "a"), grant("sign")],
    ],
)
def test_roles_that_differ_in_one_way(grants):
    """Scopes or profiles are the union; nothing has to be compared at each call."""
    found = caller(*grants)
    for each in grants:
        for profile in each.profiles or ("other",):
            assert found.in_profile(profile).scopes >= each.scopes


def test_a_role_in_every_profile_beside_another():
    found = caller(grant("sign"), grant("verify", "a"))
    assert found.profiles is None
    assert found.in_profile("b").scopes == {"sign"}
    assert found.in_profile("a").scopes == {"sign", "verify"}
    assert found.with_scopes(["verify"]).profiles == {"a"}


def test_a_caller_without_a_role_may_do_nothing():
    nobody = Caller("i:s", issuer="i", subject="s", **granted([]))
    with pytest.raises(Forbidden) as caught:
        nobody.with_scopes([])
    assert caught.value.detail == "No role fits the caller."
