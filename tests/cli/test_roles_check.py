"""`minikms roles check` tells which roles a token or a certificate has, and why not."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

import pytest
from access.jwt_issuer import LEFT_OUT, Provider, SigningKey, compact
from access.spiffe_documents import TrustDomain
from click.testing import CliRunner

from minikms.cli.main import main

ROLES = """
[issuers.cluster]
issuer = "https://cluster.example"
audience = "https://kms.example"
jwks = JWKS

[roles.signer]
issuer = "cluster"
claims = { sub = ["system:serviceaccount:pid:*"] }
scopes = ["sign", "keys:read"]
profiles = ["pid"]
max_age = 3600

[roles.reader]
issuer = "cluster"
claims = { "/kubernetes.io/namespace" = ["wallet"] }
scopes = ["keys:read"]
profiles = ["*"]

[roles.mesh]
certificate = { uri = ["spiffe://example.org/ns/wallet/*"] }
scopes = ["sign"]
profiles = ["wallet"]
"""
POD = {
    "iss": "https://cluster.example",
    "sub": "system:serviceaccount:pid:issuer",
    "kubernetes.io": {"namespace": "pid"},
}


@pytest.fixture
def key():
    return SigningKey("p256")


@pytest.fixture
def roles(tmp_path, key):
    """Write the file of roles, with the place of the keys, and return its path."""

    def write(place=None, text=ROLES):
        jwks = tmp_path / "jwks.json"
        jwks.write_text(json.dumps({"keys": [key.jwk]}))
        path = tmp_path / "roles.toml"
        path.write_text(text.replace("JWKS", json.dumps(place or str(jwks))))
        return str(path)

    return write


@pytest.fixture
def check(roles):
    """Run the command."""

    def run(*args, file=None, **options):
        words = ["roles", "check", file or roles(), *args]
        done = CliRunner().invoke(main, words, catch_exceptions=False, **options)
        return done.exit_code, done.output

    return run


def test_a_token_that_has_a_role_and_not_another(check, key):
    now = int(time.time())
    times = {"iat": now, "exp": now + 86400}
    code, output = check(key.token({**POD, **times}))
    assert code == 0
    claims, _, verdicts = output.partition("\n}\n")
    assert json.loads(claims + "}") == {**POD, **times, "aud": "https://kms.example"}
    end = datetime.fromtimestamp(now + 3630, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert verdicts.splitlines() == [
        f"signer: yes, keys:read sign in pid until {end}.",
        "reader: no. The role does not allow the value of /kubernetes.io/namespace.",
    ]


def test_the_token_comes_from_a_pipe(check, key):
    code, output = check("-", input=key.token(POD) + "\n")
    assert (code, "signer: yes" in output) == (0, True)
    assert check("-", input=b"\xff\x00") == (1, refused_as_no_jwt())


@pytest.mark.process
def test_a_closed_input(run, roles):
    closed = ["bash", "-c", 'exec "$@" <&-', "bash", sys.executable, "-m", "minikms"]
    ended = run("roles", "check", roles(), "-", command=closed)
    assert ended.returncode == 2
    assert ended.stderr.endswith("There is no standard input.\n")


def refused_as_no_jwt():
    return "Refused: It is not a JWT of at most 16 KiB with a header of at most 512 bytes.\n"


def test_no_role(check, key, roles):
    code, output = check(key.token({**POD, "sub": "\x1b[2J"}))
    assert code == 1
    assert "signer: no. The role does not allow the value of sub." in output
    assert "\x1b" not in output
    code, output = check(key.token({**POD, "iat": time.time() - 9000}))
    assert (code, "signer: no. The token is older than 3600 seconds." in output) == (1, True)
    code, output = check(key.token(POD), file=roles(text=ROLES.split("[roles")[0]))
    assert (code, output.endswith("The file has no role for such a caller.\n")) == (1, True)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://cluster.example/"}, "No issuer in the file has its iss, 'https://clus"),
        ({"iss": 7}, "No issuer in the file has its iss, ''."),
        ({"aud": ["vault"]}, 'aud is ["vault"], and the audience of cluster is https://kms.ex'),
        ({"exp": 1_700_000_000}, "Its claim exp is 1700000000, and the time is "),
        ({"nbf": 9_000_000_000}, "Its claim nbf is 9000000000, and the time is "),
        ({"iat": 9_000_000_000}, "Its claim iat is 9000000000, and the time is "),
        ({"exp": "soon"}, 'Its claim exp is "soon", and the time is'),
        ({"sub": 7}, "Its claim sub is 7, which is not a name."),
        ({"sub": LEFT_OUT, "exp": LEFT_OUT}, "the claims that are needed: exp,sub."),
        ({"cnf": {"jkt": "x"}}, 'Its claim cnf is {"jkt": "x"}: it needs a proof'),
    ],
)
def test_claims_that_no_role_helps(check, key, claims, why):
    code, output = check(key.token({**POD, **claims}))
    assert (code, output.startswith("Refused: "), why in output) == (1, True, True), output


def test_tokens_that_the_issuer_did_not_sign(check, key):
    other = SigningKey("p256")
    for token, why in (
        (other.token(POD), "Its signature is not by the key of the issuer that it names."),
        (SigningKey("p256", kid="x").token(POD), "Its kid and alg do not name one key of the"),
        (key.token(POD, alg="ES384"), "Its kid and alg do not name one key of the issuer."),
        (compact({"alg": "none"}, POD, lambda _: b""), "Its alg is none of ES256, "),
        (compact({"alg": "HS256"}, POD, lambda _: b""), "Its alg is none of ES256, "),
        (key.token(POD, crit=["x"]), "It is malformed: unsupported_header."),
    ):
        code, output = check(token)
        assert (code, output.startswith("Refused: "), why in output) == (1, True, True), output
    for token in ("x", "mkms_x", key.token({**POD, "x": "x" * 16384}), ""):
        assert check(token) == (1, refused_as_no_jwt())


async def test_the_keys_come_from_the_issuer(check, key, roles):
    async with Provider().serving() as provider:
        provider.keys = [key]
        file = roles(provider.url)
        code, output = await asyncio.to_thread(check, key.token(POD), file=file)
        assert (code, "signer: yes" in output, provider.asked) == (0, True, 1)
        provider.keys = []
        code, output = await asyncio.to_thread(check, key.token(POD), file=file)
        assert (code, provider.asked) == (1, 2)
    code, output = await asyncio.to_thread(check, key.token(POD), file=file)
    assert code == 2
    assert "minikms: --roles, issuer cluster: Cannot connect to host" in output


def test_the_roles_of_a_certificate_are_told(check, tmp_path):
    domain, backend = TrustDomain(tmp_path), "/ns/wallet/sa/backend"
    code, output = check("--certificate", domain.x509_svid(backend)[0])
    assert (code, "mesh: yes, sign in wallet until " in output) == (0, True)
    for paths in ([backend, f"{backend}/2"], ["/ns/pid/sa/x"]):
        code, output = check("--certificate", domain.x509_svid(*paths)[0])
        assert (code, "mesh: no. The role does not allow the names" in output) == (1, True)
    assert "spiffe://example.org/ns/pid/sa/x" in output
    for file, why in (
        (domain.x509_svid(backend)[1], "It is not a certificate in PEM that"),
        (domain.x509_svid(backend, life=-5)[0], "The certificate is valid from "),
    ):
        code, output = check("--certificate", file)
        assert (code, output.startswith(f"Refused: {why}")) == (1, True)
    code, output = check("--certificate", str(tmp_path / "none"))
    assert (code, "cannot be read: No such file" in output) == (2, True)


def test_faults_of_the_file_and_of_the_words(check, roles):
    wrong = roles(text=ROLES.replace('"keys:read"', '"keys:reed"', 1))
    code, output = check("x", file=wrong)
    assert code == 2
    assert "roles.toml, line 10: roles.signer.scopes: There is no scope keys:reed." in output
    for words in ([], ["x", "--certificate", "y"]):
        code, output = check(*words)
        assert code == 2
        assert "Name a token, - for one in standard input, or --certificate." in output
