"""The file of roles: what it may have, and what a fault of it is called."""

import pytest

from minikms.access.roles import Roles
from minikms.access.roles_file import read_roles
from minikms.startup_errors import AccessError

GOOD = """\
[issuers.cluster]
issuer = "https://cluster.example"
audience = "https://kms.example"
jwks = "https://cluster.example/jwks"

[roles.reader]
issuer = "cluster"
claims = { sub = ["a"] }
scopes = ["keys:read"]
profiles = ["one"]

[roles.mesh]
certificate = { uri = ["spiffe://example.org/*"] }
scopes = ["sign"]
profiles = ["*"]
"""


@pytest.fixture
def read(tmp_path):
    def parse(text):
        path = tmp_path / "roles.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_roles(str(path))

    return parse


def test_issuers_and_roles_are_read(read):
    found = read(GOOD)
    assert [issuer.name for issuer in found.issuers] == ["cluster"]
    assert [role.name for role in found.roles] == ["reader", "mesh"]
    assert read("") == Roles()


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("[roles.mesh]", "[rules.mesh]", 12, "rules: The file has only"),
        ("[roles.mesh]", '[roles."m:esh"]', 1, "A name has 1 to 64"),
        ("[issuers.cluster]", "[issuers.certificate]", 1, "have this name"),
        ("jwks =", "jwk =", 4, "issuers.cluster.jwk: Unknown field."),
        ('jwks = "https://cluster.example/jwks"', "", 1, "either jwks or discovery"),
        ("jwks =", "discovery = true\njwks =", 1, "either jwks or discovery"),
        ("jwks =", 'discovery = "yes"\njwks =', 4, "discovery: Not a valid boolean"),
        ('"https://cluster.example/jwks"', '"/jwks.json"\nca = "/ca.pem"', 5, "ca: A JWK Set in"),
        ('audience = "https://kms.example"', "", 1, "audience: Missing data"),
        ('["keys:read"]', '["keys:reed"]', 9, "scopes: There is no scope keys:reed."),
        ('["keys:read"]', "[]", 9, "scopes: Shorter than"),
        ('["one"]', '["one", "*"]', 10, "stands alone"),
        ('["one"]', '["a b"]', 10, "visible ASCII"),
        ('["*"]', '["{/sub}"]', 15, "A certificate has no claims"),
        ('issuer = "cluster"', 'issuer = "other"', 7, "There is no issuer 'other'."),
        ('issuer = "cluster"', "", 6, "issuer: There is no issuer ''."),
        ("claims = { sub = ", "claims = { sub = [], b = ", 8, "claims: Shorter than"),
        ('claims = { sub = ["a"] }', "", 6, "claims: Name the claims"),
        ('["a"]', '"a"', 8, "claims: Not a valid list"),
        ('["a"]', "[1]", 8, "claims: Not a valid string"),
        ("certificate = { uri", "certificate = { ip", 13, "certificate: Must be one of: uri"),
        ("certificate =", 'issuer = "cluster"\ncertificate =', 12, "either issuer and claims"),
        ("certificate =", "max_age = 0\ncertificate =", 13, "max_age: Must be greater"),
        ("certificate =", "max_age = true\ncertificate =", 13, "max_age: Not a valid integer"),
        ("certificate =", "max_age = 9\ncertificate =", 12, "either issuer and claims"),
    ],
)
def test_a_fault_has_its_line_and_its_reason(read, old, new, line, why):
    assert old in GOOD
    with pytest.raises(AccessError, match=rf"^--roles: .*roles\.toml, line {line}: ") as caught:
        read(GOOD.replace(old, new, 1))
    assert why in str(caught.value)


def test_two_issuers_of_one_name_are_refused(read):
    again = GOOD.split("\n\n", 1)[0].replace("cluster]", "again]")
    with pytest.raises(AccessError, match=r"line 7: issuers\.again\.issuer: cluster has the same"):
        read(again.replace("again]", "cluster]") + "\n\n" + again)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[roles\n", "line 1"),
        ("[roles.a]\n[roles.a]", "line 2"),
        (b"\xff", "not in UTF-8"),
        (b"#" * (1024 * 1024 + 1), "more than 1,048,576 bytes"),
        ("roles = 1", "roles: It must be a table."),
        ("roles.a = 1", "roles.a: It must be a table."),
    ],
)
def test_files_that_are_no_tables(read, content, why):
    with pytest.raises(AccessError, match="--roles: ") as caught:
        read(content)
    assert why in str(caught.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(AccessError, match="cannot be read: No such file"):
        read_roles(str(tmp_path / "none"))
