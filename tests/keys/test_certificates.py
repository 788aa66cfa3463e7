"""Certificates before they are read."""

import pytest

from minikms.errors import TooLargeRecord
from minikms.key_bounds import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES
from minikms.keys.x509.certificates import read_chain


def test_more_certificates_than_a_key_may_have_are_not_read():
    long = MAX_CERTIFICATE_BYTES * 2 // MAX_CERTIFICATES + 1
    for texts in (["x"] * (MAX_CERTIFICATES + 1), ["x" * long] * MAX_CERTIFICATES):
        with pytest.raises(TooLargeRecord):
            read_chain(texts)
