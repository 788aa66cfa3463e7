"""p11-kit's proxy, which begins a sidecar for each program."""

import sys
from pathlib import Path

import pytest
from commands import need

MODULES = "/usr/share/p11-kit/modules"


@pytest.fixture
def configured(shell):
    """Run p11-kit with configurations of modules of the test's own."""
    if shell.done("unshare", "--mount", "true").returncode:
        pytest.skip("no mount can be made here")
    folder = shell.folder / "modules"
    folder.mkdir()
    mount = f'mount --bind {folder} {MODULES} && exec "$@"'
    return lambda *command: shell.run("unshare", "--mount", "sh", "-c", mount, "sh", *command)


def test_the_proxy_begins_a_sidecar_for_each_program(
    kms, profile, slot, token_file, shell, module, configured
):
    profile.generate("p256", alias="web")
    sidecar = f"{sys.executable} -m minikms_p11 --url {kms.url}"
    configuration = f"remote: |{sidecar} --token-file {token_file} --slot {slot}\n"
    (shell.folder / "modules/minikms.module").write_text(configuration)
    tool = need("pkcs11-tool", "opensc")
    proxy = f"{Path(module).parent.parent}/p11-kit-proxy.so"
    use = tool, "--module", proxy, "--token-label", "minikms"
    assert "label:      web\n" in configured(*use, "--list-objects", "--type", "privkey")
    data, sig = shell.write("data", "what a program signs"), shell.folder / "sig"
    sign = "--sign", "--mechanism", "ECDSA-SHA256", "--label", "web", "-i", data, "-o", sig
    configured(*use, *sign)
    assert len(sig.read_bytes()) == 64
