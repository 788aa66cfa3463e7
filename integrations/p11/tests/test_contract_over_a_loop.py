"""The contract of providers over a loop: minikms-pkcs11, p11-kit's client, a sidecar, a service.

So a second Mini KMS keeps the keys of the first. Some parts of the contract cannot pass through
p11-kit, the sidecar and the service: keys on edwards25519, and RSA signatures with a hash or salt
that JOSE lacks.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from sidecars import sidecars

from minikms.plugin import SignatureOptions, UnsupportedOption
from minikms.testing import ProviderContract
from minikms_pkcs11 import Pkcs11Provider

SLOT = "loop,alg=p256+p384+p521+k256+rsa2048"


@pytest.fixture(scope="module")
def one_list(module, tmp_path_factory):
    """A module with p11-kit's client in it, which minikms-pkcs11 can use."""
    if not shutil.which("cc"):
        pytest.skip("a C compiler is missing: apt-get install gcc libc6-dev")
    made = tmp_path_factory.mktemp("module") / "one_list.so"
    source = Path(__file__).with_name("one_list.c")
    options = "-Wall", "-Werror", "-shared", "-fPIC", f'-DMODULE="{module}"'
    subprocess.run(["cc", *options, "-o", made, source], check=True)
    return made


@pytest.fixture(scope="module")
def uri(kms, one_list, tmp_path_factory):
    """The URI of a slot of a sidecar, in the environment of this process."""
    profile = kms.profile()
    pin = tmp_path_factory.mktemp("pin") / "pin"
    pin.write_text(kms.token(profile.name)[0])
    pin.chmod(0o600)
    slot = SLOT.replace("loop", f"loop={profile.name}")
    with sidecars(tmp_path_factory.mktemp, kms) as start, pytest.MonkeyPatch.context() as patched:
        sidecar = start("--slot", slot, "--allow-delete", "--cache", "0")
        patched.setenv("P11_KIT_SERVER_ADDRESS", f"unix:path={sidecar.path}")
        yield f"pkcs11:token=loop?module-path={one_list}&pin-source=file:{pin}"


class TestLoop(ProviderContract):
    @pytest.fixture(autouse=True)
    def _token(self, uri):
        self.uri = uri

    def new_provider(self):
        return Pkcs11Provider(self.uri)

    def test_the_hash_of_a_signature_may_be_chosen(self, provider, made, monkeypatch):
        """On curves."""
        curves = [each for each in self.bound(provider) if not each.name.startswith("rsa")]
        monkeypatch.setattr(self, "bound", lambda _: curves)
        super().test_the_hash_of_a_signature_may_be_chosen(provider, made)

    def test_rsa_signs_no_bytes_without_their_hash(self, provider, made):
        (rsa,) = [each for each in self.bound(provider) if each.name.startswith("rsa")]
        key = self.new_key(rsa, made)
        with pytest.raises(UnsupportedOption):
            rsa.sign(key, b"hello", SignatureOptions("RS256", hash="none"))
