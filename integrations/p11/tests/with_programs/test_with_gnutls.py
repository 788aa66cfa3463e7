"""GnuTLS: p11tool, certtool, and a server with a key here."""

import subprocess

import pytest
from commands import need, public_pem
from ports import free_port
from waiting import wait_until

KEY = "pkcs11:token=minikms;object=web;type=private"


@pytest.fixture
def provider(module):
    """The option that names p11-kit's module."""
    need("p11tool", "gnutls-bin")
    return "--provider", module


@pytest.mark.parametrize("alg", ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"])
def test_certtool_signs_a_certificate_with_each_key(profile, shell, provider, alg):
    profile.generate(alg, alias="web")
    shell.write("template", "cn = web\nca\ncert_signing_key\nexpiration_days = 10\n")
    options = "--load-privkey", KEY, "--template", "template", "--outfile", "web.pem"
    shell.run("certtool", *provider, "--generate-self-signed", *options)
    shell.run("openssl", "verify", "-CAfile", "web.pem", "web.pem")


def test_p11tool_lists_keys_and_certificates(profile, shell, provider):
    key = profile.generate("p256", alias="web")
    profile.certify(key)
    shown = shell.run("p11tool", *provider, "--list-all", "pkcs11:token=minikms")
    kinds = [line.split()[1] for line in shown.splitlines() if "Type: " in line]
    assert sorted(kinds) == ["Private", "Public", "X.509"]


def test_p11tool_gives_a_key_its_certificate(profile, shell, provider):
    key = profile.generate("p256", alias="web")
    made = profile.certify(key)
    profile.call("DELETE", f"/key/{key['kid']}/certificates")
    shell.write("web.pem", made)
    options = "--load-certificate", "web.pem", "--label", "web", "pkcs11:token=minikms"
    shell.run("p11tool", *provider, "--write", *options)
    assert len(profile.key(key["kid"])["certificates"]) == 1


def test_p11tool_makes_a_key_pair_renames_it_and_deletes_it(profile, shell, provider):
    def key(label):
        return f"pkcs11:token=minikms;object={label};type=private"

    wish = "--generate-privkey=ecdsa", "--curve", "secp384r1", "--label", "made"
    shell.run("p11tool", *provider, *wish, "--outfile", "made.pem", "pkcs11:token=minikms")
    (made,) = profile.call("GET", "/keys")
    assert made["alg"] == "p384"
    assert public_pem(profile, made).decode() in (shell.folder / "made.pem").read_text()
    shell.run("p11tool", *provider, "--set-label", "renamed", key("made"))
    assert "ok" in shell.run("p11tool", *provider, "--test-sign", key("renamed"))
    shell.run("p11tool", *provider, "--batch", "--delete", key("renamed"))
    assert profile.call("GET", "/keys") == []


@pytest.fixture
def begin_server(profile, shell, provider):
    """Start a server with a key of the profile; returns the call of a client."""
    begun = []
    key = profile.generate("p256", alias="web")
    trusted = profile.certify(key, "CN=localhost", alternative_names=["DNS:localhost"])
    shell.write("web.pem", trusted)

    def begin():
        port = free_port()
        command = "gnutls-serv", *provider, "--x509keyfile", KEY, "--x509certfile", "web.pem"
        server = subprocess.Popen(
            [*command, "--http", "--port", str(port), "--quiet"],
            cwd=shell.folder,
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begun.append(server)
        call = "gnutls-cli", "--x509cafile", "web.pem", "--port", port, "localhost"
        wait_until("gnutls-serv", lambda: shell.done(*call).returncode == 0)
        return call

    yield begin
    for server in begun:
        server.kill()
        server.wait()


def test_a_server_of_tls_1_3(begin_server, shell, sidecar):
    call = begin_server()
    sidecar.restart()
    assert "TLS1.3" in shell.run(*call)


def test_after_a_kill_of_the_sidecar_a_server_needs_a_restart(begin_server, shell, replace):
    call = begin_server()
    replace()
    shell.refused(*call)
    shell.refused(*call)
    begin_server()
