"""TLS with real certificates: which callers are accepted, and how certificates are renewed."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from filled_stores import new_store
from tls_certificates import Authority

from minikms.config import Config
from minikms.http.gate import certificate_subject
from minikms.serve.assembly import create_service
from minikms.serve.listener import read_certificates
from minikms.startup_errors import TlsError

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def one(tmp_path):
    return Authority(tmp_path, "one")


@pytest.fixture
def two(tmp_path):
    return Authority(tmp_path, "two")


def caller(authority, certificate=None, version=None):
    """The CA that a client trusts, and its certificate."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate:
        context.load_cert_chain(*certificate)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def flags(certificate, client_ca=None):
    given = ["--tls-cert", certificate[0], "--tls-key", certificate[1]]
    return [*given, *(["--tls-client-ca", client_ca.file] if client_ca else [])]


def replace(certificate, by):
    """Replace files, as a renewal does."""
    for old, new in zip(certificate, by, strict=True):
        os.replace(new, old)


def hang_up(service, expected="read again"):
    service.process.send_signal(signal.SIGHUP)
    return service.read_until(expected)


def shown(service, context, host="127.0.0.1"):
    """The name in the certificate that a new connection is shown."""
    connection = socket.create_connection((service.host, service.port), timeout=60)
    with context.wrap_socket(connection, server_hostname=host) as secured:
        return dict(pair for (pair,) in secured.getpeercert()["subject"])["commonName"]


def is_accepted(service, context):
    """Check a call on a new connection; a bad handshake may show only then."""
    service.tls = context
    try:
        return service.status("GET", "/readyz") == 200
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return False


@pytest.mark.interpreter
@pytest.mark.process
def test_a_service_with_a_certificate_serves_tls_alone(serve, one):
    service = serve("--port", "0", *flags(one.issue("kms")))
    assert f"documentation on https://127.0.0.1:{service.port}/docs" in service.first
    service.tls = caller(one)
    assert service.status("POST", "/key/generate", b'{"alg":"ed25519"}') == 200
    with socket.create_connection((service.host, service.port), timeout=60) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(100)
    assert service.status("GET", "/healthz") == 200
    code, written = service.stop()
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.interpreter
@pytest.mark.process
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_is_late(serve, one, sent):
    service = serve("--port", "0", "--header-timeout", "1", *flags(one.issue("kms")))
    with socket.create_connection((service.host, service.port), timeout=60) as connection:
        connection.sendall(sent)
        assert connection.recv(1) == b""


@pytest.mark.process
def test_a_key_may_be_in_the_file_of_its_certificate(serve, one, tmp_path):
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(file).read_text() for file in one.issue("kms")))
    service = serve("--port", "0", TLS_CERT=str(both))
    assert shown(service, caller(one)) == "kms"


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        (ssl.TLSVersion.TLSv1_1, "UNSUPPORTED_PROTOCOL"),
        (ssl.TLSVersion.TLSv1_2, None),
        (ssl.TLSVersion.TLSv1_3, None),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_versions_before_tls_1_2_are_refused(one, version, refused):
    cert, key = one.issue("kms")
    context = caller(one, version=version)
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this OpenSSL would not even offer TLS 1.1
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = read_certificates(Config(tls_cert=cert, tls_key=key))
    ends = [
        context.wrap_bio(back, there, server_hostname="localhost"),
        server.wrap_bio(there, back, server_side=True),
    ]
    with pytest.raises(ssl.SSLError) if refused else contextlib.nullcontext() as caught:
        for end in ends * 2:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert not refused or caught.value.reason == refused
    assert ends[1].version() == (None if refused else version.name.replace("_", "."))


@pytest.mark.interpreter
@pytest.mark.process
def test_a_client_needs_a_certificate_of_the_ca(serve, one, two):
    service = serve("--port", "0", *flags(one.issue("kms"), client_ca=two))
    assert is_accepted(service, caller(one, two.issue("good")))
    for certificate in (None, one.issue("other")):
        assert not is_accepted(service, caller(one, certificate))
    assert is_accepted(service, caller(one, two.issue("good")))
    code, written = service.stop()
    assert (code, "Traceback" in written) == (0, False)


@pytest.mark.interpreter
@pytest.mark.process
def test_sighup_renews_the_certificate(serve, one, two):
    certificate = one.issue("first")
    service = serve("--port", "0", *flags(certificate))
    both = caller(one)
    both.load_verify_locations(two.file)
    open_one = http.client.HTTPSConnection(service.host, service.port, context=both, timeout=60)
    with contextlib.closing(open_one):
        open_one.request("GET", "/healthz")
        assert open_one.getresponse().read()
        replace(certificate, two.issue("second"))
        assert shown(service, both) == "first"
        hang_up(service)
        # With a name in the handshake (SNI), and with an address, which puts none there.
        assert [shown(service, both, host) for host in ("localhost", "127.0.0.1")] == ["second"] * 2
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(service, caller(one))
        open_one.request("GET", "/healthz")
        assert open_one.getresponse().status == 200
        assert open_one.sock.getpeercert()["subject"][1][0][1] == "first"
    assert service.stop()[0] == 0


@pytest.mark.process
def test_sighup_renews_the_ca_of_clients(serve, one, two):
    service = serve("--port", "0", *flags(one.issue("kms"), client_ca=one))
    ours, theirs = caller(one, one.issue("ours")), caller(one, two.issue("theirs"))
    assert (is_accepted(service, ours), is_accepted(service, theirs)) == (True, False)
    os.replace(two.file, one.file)
    hang_up(service)
    assert (is_accepted(service, ours), is_accepted(service, theirs)) == (False, True)


@pytest.mark.interpreter
@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_session_does_not_outlive_its_ca(serve, one, two, version):
    service = serve("--port", "0", *flags(one.issue("kms"), client_ca=one))
    context = caller(one, one.issue("ours"), version)

    def resume(session):
        """Tell whether it was resumed; gives the session to resume next."""
        connection = socket.create_connection((service.host, service.port), timeout=60)
        with context.wrap_socket(
            connection, server_hostname="127.0.0.1", session=session
        ) as secured:
            secured.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert secured.recv(12) == b"HTTP/1.1 200"
            while secured.recv(1000):
                pass
            reused, session = secured.session_reused, secured.session
            secured.unwrap()  # a connection that breaks off takes its session with it
        return reused, session

    _, session = resume(None)
    reused, session = resume(session)
    assert reused
    os.replace(two.file, one.file)
    hang_up(service)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        resume(session)


@pytest.mark.process
def test_bad_files_at_sighup_change_nothing(serve, one, two):
    certificate = one.issue("first")
    service = serve("--port", "0", *flags(certificate, client_ca=one))
    ours = caller(one, one.issue("ours"))
    cert, key, ca = map(Path, (*certificate, one.file))
    of_another_key = Path(two.issue("other")[0]).read_bytes()
    bad = [(cert, of_another_key), (cert, b"none"), (key, b""), (ca, b"none"), (ca, None)]
    for file, content in bad:
        good = file.read_bytes()
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        line = hang_up(service, "stay in use")
        assert " ERROR " in line
        assert str(file) in line
        assert shown(service, ours) == "first"
        assert is_accepted(service, ours)
        file.write_bytes(good)
    replace(certificate, one.issue("second"))
    hang_up(service)
    assert shown(service, ours) == "second"
    code, written = service.stop()
    lines = [*service.lines, *written.splitlines()]
    assert (code, sum("stay in use" in line for line in lines)) == (0, len(bad))
    assert not any("Traceback" in line for line in lines)


@pytest.mark.process
def test_no_connection_is_refused_meanwhile(serve, one):
    service = serve("--port", "0", "--log-level", "info", *flags(one.issue("kms")))
    service.tls = caller(one)
    for _ in range(50):
        service.process.send_signal(signal.SIGHUP)
        assert service.status("GET", "/healthz") == 200
    hang_up(service)
    assert service.stop()[0] == 0


@pytest.mark.interpreter
@pytest.mark.process
def test_each_worker_renews_its_certificate(serve, one, tmp_path):
    certificate = one.issue("first")
    service = serve("--port", "0", "--workers", "2", *new_store(tmp_path), *flags(certificate))
    assert "https://" in service.first
    replace(certificate, one.issue("second"))
    renewed = {re.search(r"\[(\d+)\]", hang_up(service))[1]}
    renewed.add(re.search(r"\[(\d+)\]", service.read_until("read again"))[1])
    assert renewed == set(re.findall(r"is process (\d+)", "".join(service.lines)))
    assert {shown(service, caller(one)) for _ in range(20)} == {"second"}
    # A worker that replaces a killed one loads the newest certificate.
    replace(certificate, one.issue("third"))
    os.kill(int(renewed.pop()), signal.SIGKILL)
    service.read_until(" is process ")
    hang_up(service)
    service.read_until("read again")
    assert {shown(service, caller(one)) for _ in range(20)} == {"third"}
    code, written = service.stop()
    assert (code, "Traceback" in written) == (0, False)


def test_bad_certificate_files_are_refused_by_name(one, two, tmp_path):
    cert, key = one.issue("kms")
    none, folder = str(tmp_path / "none.pem"), str(tmp_path)
    others_key = two.issue("other")[1]
    encrypted = two.issue("encrypted", encrypt=b"planted-7f3a")[1]
    for *files, said in (
        ("", key, "", "--tls-cert"),
        ("", "", one.file, "--tls-cert"),
        (none, key, "", f"{none} cannot be read: No such file"),
        (cert, none, "", f"{none} cannot be read: No such file"),
        (cert, key, none, f"{none} cannot be read: No such file"),
        (folder, key, "", f"{folder} cannot be read: Is a directory"),
        (cert, "", "", cert),
        (key, key, "", key),
        (cert, cert, "", cert),
        (cert, others_key, "", others_key),
        (cert, encrypted, "", "unencrypted"),
        (cert, key, key, key),
    ):
        names = ("tls_cert", "tls_key", "tls_client_ca")
        with pytest.raises(TlsError) as caught:
            read_certificates(Config(**dict(zip(names, files, strict=True))))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.interpreter
@pytest.mark.process
def test_bad_files_stop_the_start(run, one, tmp_path):
    _, key = one.issue("kms")
    for workers in ([], ["--workers", "2", "--store", f"sqlite://{tmp_path}/keys.db"]):
        ended = run("serve", "--port", "0", "--tls-cert", key, "--tls-key", key, *workers)
        line, *logged = ended.stderr.splitlines()
        assert (ended.returncode, ended.stdout, len(logged)) == (2, "", bool(workers))
        assert line.startswith(f"minikms: {key} and {key} do not contain a certificate")


async def who(request):
    return web.json_response(certificate_subject(request.get_extra_info("ssl_object")))


@pytest.mark.parametrize(
    ("tls", "asked", "subject"),
    [(True, True, r"CN=wallet,O=Wallets\, Inc."), (True, False, None), (False, False, None)],
)
async def test_the_subject_of_a_client(start, one, tls, asked, subject):
    cert, key = one.issue("kms") if tls else ("", "")
    config = Config(tls_cert=cert, tls_key=key, tls_client_ca=one.file if asked else "")
    app = create_service(config)
    app.router.add_route("GET", "/who", who)
    client = await start(app, read_certificates(config))
    answer = await client.get("/who", ssl=caller(one, one.issue("wallet")))
    assert await answer.json() == subject


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"\x0c\x06wallet", r"CN=wallet,O=Wallets\, Inc."),
        (b"\x14\x06wall\xe9t", "sha256:"),  # a TeletexString in Latin-1, as older CAs write it
        (b"\x03\x06\x00allet", "sha256:"),  # no string
    ],
)
async def test_a_call_has_its_line_whatever_its_certificate_says(
    start, one, tmp_path, raw, subject
):
    cert, key = one.issue("kms")
    log = tmp_path / "audit.log"
    config = Config(tls_cert=cert, tls_key=key, tls_client_ca=one.file, audit_log=str(log))
    client = await start(create_service(config), read_certificates(config))
    certificate = one.issue("wallet", raw=raw)
    answer = await client.post(
        "/key/generate", json={"alg": "ed25519"}, ssl=caller(one, certificate)
    )
    assert answer.status == 200
    [line] = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    if subject == "sha256:":
        found = x509.load_pem_x509_certificate(Path(certificate[0]).read_bytes())
        subject += found.fingerprint(hashes.SHA256()).hex()
    assert (line["subject"], line["outcome"]) == (subject, "success")
    assert line["request_id"] == answer.headers["X-Request-Id"]
