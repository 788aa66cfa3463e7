"""NSS: its tools and a database that has p11-kit's module."""

import pytest
from commands import need

TOKEN = "minikms"


@pytest.fixture
def database(shell, module):
    """A database, as options of the tools."""
    need("modutil", "libnss3-tools")
    database = "-d", f"sql:{shell.folder}"
    shell.run("certutil", "-N", *database, "--empty-password")
    shell.run("modutil", "-dbdir", database[1], "-force", "-add", TOKEN, "-libfile", module)
    return database


def test_it_signs_a_message(profile, shell, database):
    key = profile.generate("p256", alias="signer")
    trusted = shell.write(
        "trusted.pem", profile.certify(key, "CN=signer,emailAddress=signer@example.org")
    )
    shell.run("certutil", "-A", *database, "-n", "signer", "-t", "CT,CT,CT", "-i", trusted)
    shell.write("data", "what a program signs")
    shell.run("cmsutil", "-S", *database, "-N", f"{TOKEN}:signer", "-i", "data", "-o", "message")
    said = shell.run(
        *("openssl", "cms", "-verify", "-inform", "DER", "-in", "message"),
        *("-CAfile", trusted, "-purpose", "any"),
    )
    assert "what a program signs" in said


@pytest.mark.parametrize(
    ("alg", "kind"), [("p256", ["ec", "-q", "nistp256"]), ("rsa2048", ["rsa", "-g", "2048"])]
)
def test_certutil_makes_a_key_and_its_certificate(profile, shell, database, alg, kind):
    noise = shell.write("noise", b"\0" * 32)
    shell.run(
        *("certutil", "-S", *database, "-h", TOKEN, "-n", "made", "-k", *kind),
        *("-s", "CN=made", "-x", "-t", ",,", "-z", noise),
    )
    (key,) = profile.call("GET", "/keys")
    assert (key["alg"], len(key["certificates"])) == (alg, 1)
    assert f"{TOKEN}:made" in shell.run("certutil", "-L", *database, "-h", TOKEN)
