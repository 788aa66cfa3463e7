"""The contract of all providers, on each kind of token, and on a token selected by name."""

import os

import pytest

from minikms.testing import ProviderContract
from minikms_pkcs11 import Pkcs11Provider

LARGE = {"rsa3072", "rsa4096"}
NAMED = os.environ.get("MINIKMS_TEST_TOKEN")


class TestSoftHsm(ProviderContract):
    @pytest.fixture(autouse=True)
    def _token(self, softhsm):
        self.uri = softhsm.uri

    def new_provider(self):
        return Pkcs11Provider(self.uri)

    def bound(self, provider):
        # To find the primes of one takes seconds; test_provider.py makes some.
        return [each for each in super().bound(provider) if each.name not in LARGE]


class TestOpencryptoki(TestSoftHsm):
    @pytest.fixture(autouse=True)
    def _token(self, opencryptoki):
        self.uri = opencryptoki.uri


@pytest.mark.skipif(not NAMED, reason="MINIKMS_TEST_TOKEN names no token")
class TestNamed(TestSoftHsm):
    @pytest.fixture(autouse=True)
    def _token(self):
        self.uri = NAMED
