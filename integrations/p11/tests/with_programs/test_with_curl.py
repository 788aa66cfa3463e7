"""curl with a client's certificate whose key is here."""

import subprocess

import pytest
from commands import Shell, need, openssl_config, uri_pem
from ports import free_port
from tls_certificates import Authority
from waiting import wait_until


@pytest.fixture
def shell(tmp_path, sidecar, module):
    return Shell(tmp_path, sidecar, OPENSSL_CONF=openssl_config(tmp_path, module))


@pytest.mark.parametrize("alg", ["p256", "rsa2048"])
def test_it_shows_a_server_its_certificate(profile, shell, alg):
    curl = need("curl", "curl")
    key = profile.generate(alg, alias="client")
    shell.write("client.pem", profile.certify(key, "CN=client"))
    shell.write("client.key", uri_pem("pkcs11:token=minikms;object=client;type=private"))
    authority = Authority(shell.folder, "ca")
    certificate, private = authority.issue("localhost")
    port = free_port()
    server = subprocess.Popen(
        [
            *("openssl", "s_server", "-accept", str(port), "-cert", certificate, "-key", private),
            *("-Verify", "1", "-verify_return_error", "-CAfile", "client.pem", "-www", "-quiet"),
        ],
        cwd=shell.folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    call = curl, "--silent", "--cacert", authority.file, f"https://localhost:{port}/"
    own = "--cert", "client.pem", "--key", "client.key"
    try:
        wait_until("a server", lambda: "CN=client" in shell.done(*call, *own).stdout)
        shell.refused(*call)
    finally:
        server.kill()
        server.wait()
