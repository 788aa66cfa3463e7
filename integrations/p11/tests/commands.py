"""Find, run and talk to other PKCS #11 programs."""

import base64
import glob
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from kms import ADMIN


def need(program, package):
    """Return the program's path; skip the test if it is missing.

    MINIKMS_TEST_REQUIRE_PROGRAMS=1 lets the test fail instead, as in CI.
    """
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is missing: apt-get install {package}")
    return found


def missing(reason):
    """Skip the test, or let it fail in CI."""
    if os.environ.get("MINIKMS_TEST_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Shell:
    """Runs programs beside a sidecar, in a folder of their own."""

    def __init__(self, folder: Path, sidecar, **variables):
        self.folder = folder
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "P11_KIT_SERVER_ADDRESS": f"unix:path={sidecar.path}",
            **variables,
        }

    def done(self, *command, content=None):
        """Run a program; return its exit code and its output with its errors."""
        return subprocess.run(
            list(map(str, command)),
            input=content,
            stdin=None if content is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.folder,
            env=self.environment,
            timeout=60,
        )

    def run(self, *command, content=None):
        """The output of a program that succeeds."""
        done = self.done(*command, content=content)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def refused(self, *command, content=None):
        """The output of a program that fails, not by a signal."""
        done = self.done(*command, content=content)
        assert done.returncode > 0, done.stdout
        return done.stdout

    def write(self, name, content):
        """A new file in the folder."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def public_pem(profile, key):
    """The public key of a key of the service, in PEM."""
    headers = {
        "Accept": "application/x-pem-file",
        "Authorization": f"Bearer {ADMIN}",
        "X-Profile": profile.name,
    }
    request = urllib.request.Request(f"{profile.kms.url}/key/{key['kid']}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


OPENSSL_CONFIG = """openssl_conf = openssl_init

[openssl_init]
providers = providers

[providers]
default = default_provider
pkcs11 = pkcs11_provider

[default_provider]
activate = 1

[pkcs11_provider]
pkcs11-module-path = MODULE
activate = 1

[req]
distinguished_name = subject

[subject]
"""


def need_provider():
    """Skip the test if OpenSSL has no provider of PKCS#11."""
    need("openssl", "openssl")
    if not glob.glob("/usr/lib/*/ossl-modules/pkcs11.so"):
        missing("OpenSSL's provider is missing: apt-get install pkcs11-provider")


def openssl_config(folder, module, pin=None):
    """A configuration of OpenSSL with its provider of PKCS#11, and a PIN in a file, in a file."""
    need_provider()
    path = folder / "openssl.cnf"
    login = f"\npkcs11-module-token-pin = file:{pin}" if pin else ""
    path.write_text(OPENSSL_CONFIG.replace("MODULE", f"{module}{login}"))
    return str(path)


def uri_pem(uri):
    """The file that stands for a private key if a program wants a file."""
    text = uri.encode()
    assert len(text) < 100, "the lengths below have one byte"
    version = b"PKCS#11 Provider URI v1.0"
    content = bytes([0x1A, len(version)]) + version + bytes([0x0C, len(text)]) + text
    body = base64.encodebytes(bytes([0x30, len(content)]) + content).decode()
    return f"-----BEGIN PKCS#11 PROVIDER URI-----\n{body}-----END PKCS#11 PROVIDER URI-----\n"
