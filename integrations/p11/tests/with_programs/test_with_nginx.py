"""nginx with a key here: two workers, which another user runs, and each restart."""

import contextlib
import os
import pwd
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from commands import Shell, need, openssl_config, uri_pem
from ports import free_port
from proc_files import needs_root
from waiting import wait_until

CONFIG = """
daemon off;
worker_processes 2;
user nobody nogroup;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log info;
env P11_KIT_SERVER_ADDRESS;
env OPENSSL_CONF;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/temp;
  proxy_temp_path FOLDER/temp;
  fastcgi_temp_path FOLDER/temp;
  uwsgi_temp_path FOLDER/temp;
  scgi_temp_path FOLDER/temp;
  server {
    listen 127.0.0.1:PORT ssl reuseport;
    ssl_certificate FOLDER/web.pem;
    ssl_certificate_key FOLDER/web.key;
    return 200 "$pid";
  }
}
"""
# The master loads the key, and its workers sign.
USERS = 0, pwd.getpwnam("nobody").pw_uid

pytestmark = needs_root


@pytest.fixture
def options():
    return [text for uid in USERS for text in ("--uid", str(uid))]


@pytest.fixture
def open_folder():
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture
def sidecar(open_folder, begin_sidecar, module):
    return begin_sidecar(folder=open_folder)


@pytest.fixture
def shell(tmp_path, sidecar, module):
    return Shell(tmp_path, sidecar, OPENSSL_CONF=openssl_config(tmp_path, module))


class Nginx:
    """A running nginx."""

    def __init__(self, shell, trusted):
        self.shell, self.port = shell, free_port()
        self.context = ssl.create_default_context(cadata=trusted)
        text = CONFIG.replace("FOLDER", str(shell.folder)).replace("PORT", str(self.port))
        self.config = shell.write("nginx.conf", text)
        self.begin()

    def begin(self):
        self.process = subprocess.Popen(
            [
                need("nginx", "nginx-light"),
                "-c",
                self.config,
                "-e",
                self.shell.folder / "error.log",
            ],
            env=self.shell.environment,
            cwd=self.shell.folder,
        )
        wait_until("nginx", self.listens)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def worker(self):
        """The pid of the worker that answers."""
        with (
            socket.create_connection(("localhost", self.port), timeout=30) as connection,
            self.context.wrap_socket(connection, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = tls.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        return int(answer.rpartition(b"\r\n\r\n")[2])

    def workers(self):
        """The pids of both workers, by as many answers as that needs."""
        found = set()

        def both():
            found.add(self.worker())
            return len(found) == 2

        wait_until("an answer of each worker", both)
        return found

    def reload(self):
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        wait_until("new workers", lambda: self.workers().isdisjoint(before))

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture
def begin_nginx(profile):
    """Start nginx beside a sidecar, with a new key."""
    with contextlib.ExitStack() as ended:

        def begin(shell):
            key = profile.generate("p256", alias="web")
            trusted = profile.certify(key, "CN=localhost", alternative_names=["DNS:localhost"])
            shell.write("web.pem", trusted)
            shell.write("web.key", uri_pem("pkcs11:token=minikms;object=web;type=private"))
            running = Nginx(shell, trusted)
            ended.callback(running.end)
            return running

        yield begin


@pytest.fixture
def nginx(shell, begin_nginx):
    return begin_nginx(shell)


def test_its_workers_log_in_with_a_pin(
    open_folder, kms, profile, start, slot, options, tmp_path, module, begin_nginx
):
    (tmp_path / "token").write_text(kms.token(profile.name, ["keys:read", "sign"])[0])
    pins, pin = tmp_path / "pins", tmp_path / "pin"
    pins.write_text("nginx-5d81f0c2 token\n")
    pins.chmod(0o600)
    pin.write_text("nginx-5d81f0c2\n")
    pin.chmod(0o600)  # the master reads it
    sidecar = start("--slot", slot, "--pins", str(pins), *options, folder=open_folder)
    config = openssl_config(tmp_path, module, pin)
    nginx = begin_nginx(Shell(tmp_path, sidecar, OPENSSL_CONF=config))
    before = nginx.workers()
    sidecar.restart()
    assert nginx.workers() == before
    nginx.reload()


def test_its_workers_answer_after_each_restart(nginx, sidecar, kms):
    before = nginx.workers()
    sidecar.restart()
    assert nginx.workers() == before
    nginx.reload()
    sidecar.restart()
    after = nginx.workers()
    # The audit log has the process that signed.
    signed = {event["request_id"].split(":")[1] for event in kms.events("sign")}
    assert {str(pid) for pid in before | after} <= signed


def test_a_program_of_another_user_is_refused_and_ends_by_itself(shell, sidecar, module):
    """The program ends by an error, not by a signal."""
    tool = need("pkcs11-tool", "opensc"), "--module", module, "--list-token-slots"
    assert "token label" in shell.run("setpriv", "--reuid=nobody", "--clear-groups", *tool)
    said = shell.refused("setpriv", "--reuid=daemon", "--clear-groups", *tool)
    assert "CKR_DEVICE_ERROR" in said
    assert "refused process" in sidecar.log


def test_after_a_kill_of_the_sidecar_it_needs_a_restart(nginx, replace):
    nginx.workers()
    replace()
    for _ in range(3):
        with pytest.raises(ssl.SSLError):
            nginx.worker()
    # The master loads a new configuration; its connection has also ended.
    nginx.process.send_signal(signal.SIGHUP)
    with pytest.raises(ssl.SSLError):
        nginx.worker()
    nginx.end()
    nginx.begin()
    nginx.workers()
