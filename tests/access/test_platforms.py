"""The entries for platforms in the document give their roles to the tokens of these platforms."""

import json
import re
import time

import pytest
from access.jwt_issuer import LEFT_OUT, SigningKey
from access.spiffe_documents import TrustDomain
from deploy.deployment import ROOT
from document_blocks import blocks, section

from minikms.access.role_check import NotAccepted, check_certificate, check_token
from minikms.access.roles_file import read_roles

PAGE = section((ROOT / "docs/operations/access.md").read_text("utf-8"), "## Roles")
BLOCKS = {
    re.search(r"\[issuers\.(\w+)\]", block.text)[1]: block.text
    for block in blocks(PAGE)
    if block.language == "toml"
}
AUDIENCE = "https://kms.example"

# A token of each platform as it documents them, and the claims that a caller without the role has.
CLUSTER = {
    "aud": [AUDIENCE],
    "iss": "https://kubernetes.default.svc.cluster.local",
    "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
    "kubernetes.io": {
        "namespace": "pid",
        "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
        "pod": {"name": "issuer-69bcbb8dfb-4gf9q", "uid": "5fa9d27e-d1f4-4ea5-ba04-3e0a0b1a3d71"},
        "serviceaccount": {"name": "issuer", "uid": "49e90bb8-5f13-4b0b-a4f4-a4b1b3d9a7a1"},
    },
    "sub": "system:serviceaccount:pid:issuer",
}
GITHUB = {
    "iss": "https://token.actions.githubusercontent.com",
    "aud": AUDIENCE,
    "sub": "repo:acme@123456/wallet@456789:ref:refs/heads/main",
    "jti": "a5a0a1f1-0a52-4a40-8a6e-0c1fdd0a5a2b",
    "actor": "alice",
    "actor_id": "12",
    "base_ref": "",
    "event_name": "push",
    "head_ref": "",
    "job_workflow_ref": "acme/wallet/.github/workflows/release.yml@refs/heads/main",
    "ref": "refs/heads/main",
    "ref_protected": "true",
    "ref_type": "branch",
    "repository": "acme/wallet",
    "repository_id": "456789",
    "repository_owner": "acme",
    "repository_owner_id": "123456",
    "repository_visibility": "private",
    "run_attempt": "1",
    "run_id": "1530679972",
    "run_number": "10",
    "runner_environment": "github-hosted",
    "workflow": "release",
}
GITLAB = {
    "iss": "https://gitlab.com",
    "aud": AUDIENCE,
    "sub": "project_path:acme/wallet:ref_type:branch:ref:main",
    "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "20",
    "project_path": "acme/wallet",
    "user_id": "1",
    "user_login": "alice",
    "user_access_level": "developer",
    "pipeline_id": "574",
    "pipeline_source": "push",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "runner_id": 1,
    "runner_environment": "gitlab-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "project_visibility": "private",
}
IDP = {  # RFC 9068
    "iss": "https://idp.example/realm",
    "aud": [AUDIENCE, "account"],
    "sub": "backend",
    "client_id": "backend",
    "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
    "scope": "profile",
}
WORKLOAD = "/ns/wallet/sa/backend"


@pytest.fixture
def entry(tmp_path):
    """Write the file of a platform, whose keys are these and in a file."""

    def write(name, jwks):
        keys = tmp_path / "jwks.json"
        keys.write_text(json.dumps(jwks))
        place = f"jwks = {json.dumps(str(keys))}"
        text = re.sub(r"^(ca|token_file) = .*\n", "", BLOCKS[name], flags=re.MULTILINE)
        text, found = re.subn(r"^(jwks|discovery) = .*$", place, text, flags=re.MULTILINE)
        assert found == 1
        path = tmp_path / "roles.toml"
        path.write_text(text)
        return str(path)

    return write


def issued(key, claims, **more):
    """A token of the platform, which is valid from now on for five minutes."""
    now = int(time.time())
    return key.token({**claims, "iat": now, "nbf": now, "exp": now + 300, **more})


def permitted(checked):
    """The scopes and profiles of each role that fits."""
    return {
        verdict.role: (sorted(verdict.grant.scopes), verdict.grant.profiles)
        for verdict in checked.verdicts
        if verdict.grant
    }


@pytest.mark.parametrize("name", BLOCKS)
def test_the_service_reads_the_file(tmp_path, name):
    path = tmp_path / "roles.toml"
    path.write_text(BLOCKS[name])
    found = read_roles(str(path))
    assert [issuer.name for issuer in found.issuers] == [name]
    assert {issuer.audience for issuer in found.issuers} == {AUDIENCE}
    assert found.roles


def test_every_platform_has_a_file():
    assert list(BLOCKS) == ["cluster", "github", "gitlab", "spire", "idp"]


@pytest.mark.parametrize(
    ("name", "alg", "claims", "role", "strangers"),
    [
        (
            "cluster",
            "rsa2048",
            CLUSTER,
            ("pid-issuer", ["keys:read", "sign"], {"pid"}),
            [{"sub": "system:serviceaccount:pid:default"}, {"iat": 1_700_000_000}],
        ),
        (
            "github",
            "rsa2048",
            GITHUB,
            ("release", ["sign"], {"release"}),
            [
                {"sub": "repo:acme@123456/wallet@456789:pull_request"},
                {"sub": "repo:acme@99/wallet@456790:ref:refs/heads/main"},
            ],
        ),
        (
            "gitlab",
            "rsa2048",
            GITLAB,
            ("deploy", ["sign"], {"release"}),
            [{"ref": "other"}, {"ref_protected": "false"}, {"project_path": "mallory/wallet"}],
        ),
        (
            "idp",
            "p256",
            IDP,
            ("backend", ["sign"], {"default"}),
            [{"client_id": "other"}, {"client_id": LEFT_OUT}],
        ),
    ],
)
async def test_a_token_of_the_platform(entry, name, alg, claims, role, strangers):
    key = SigningKey(alg, use="sig")
    file = entry(name, {"keys": [key.jwk]})
    assert permitted(await check_token(file, issued(key, claims))) == {role[0]: role[1:]}
    for stranger in strangers:
        assert permitted(await check_token(file, issued(key, claims, **stranger))) == {}
    for wrong in (
        {"aud": "sts.amazonaws.com"},
        {"exp": 1_700_000_000},
        {"iss": f"{claims['iss']}/"},
    ):
        with pytest.raises(NotAccepted):
            await check_token(file, issued(key, claims, **wrong))


async def test_a_jwt_svid(entry, tmp_path):
    domain = TrustDomain(tmp_path)
    spire = {"iss": "https://oidc.example.org"}
    for keys in ({"keys": [domain.jwt_key.jwk]}, domain.bundle):
        file = entry("spire", keys)
        checked = await check_token(file, domain.jwt_svid(WORKLOAD, AUDIENCE, **spire))
        assert permitted(checked) == {"wallet": (["keys:write", "sign"], {"wallet"})}
        other = await check_token(file, domain.jwt_svid("/ns/pid", AUDIENCE, "x", **spire))
        assert permitted(other) == {}
        for refused in (
            domain.jwt_svid(WORKLOAD, AUDIENCE),
            domain.jwt_svid(WORKLOAD, "reports", **spire),
            domain.jwt_svid(WORKLOAD, AUDIENCE, life=-60, **spire),
        ):
            with pytest.raises(NotAccepted):
                await check_token(file, refused)


def test_an_x509_svid(entry, tmp_path):
    domain = TrustDomain(tmp_path)
    file = entry("spire", {"keys": [domain.jwt_key.jwk]})

    def check(path):
        with open(path, "rb") as pem:
            return permitted(check_certificate(file, pem.read()))

    expected = {"mesh-wallet": (["keys:write", "sign"], {"wallet"})}
    assert check(domain.x509_svid(WORKLOAD)[0]) == expected
    assert check(domain.x509_svid("/ns/wallet")[0]) == {}
    assert check(domain.x509_svid(WORKLOAD, WORKLOAD)[0]) == {}
    assert check(domain.x509_svid(WORKLOAD, ca=True)[0]) == {}
