"""Certificates of keys: sizes are checked before parsing, and the earliest expiry is found."""

import base64
import datetime
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from issued_certificates import CA, certificate_of

from minikms.credentials.x509.certificates import first_end, read_chain
from minikms.errors import TooLargeRecord
from minikms.key_bounds import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES
from minikms.records import KeyRecord

RECORD = KeyRecord("kid", "p256", "EC", None, None, None, None, (), "bytes", 1)


def test_more_certificates_than_a_key_may_have_are_not_read():
    long = MAX_CERTIFICATE_BYTES * 2 // MAX_CERTIFICATES + 1
    for texts in (["x"] * (MAX_CERTIFICATES + 1), ["x" * long] * MAX_CERTIFICATES):
        with pytest.raises(TooLargeRecord):
            read_chain(texts)


def test_the_first_end_may_be_of_any_certificate_of_a_chain():
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    ends = [now + datetime.timedelta(days=days) for days in (20, 10, 30)]
    issuer, chain = None, []
    for end in reversed(ends):
        issuer = certificate_of("CN=a", CA, issuer=issuer, end=end)
        chain.insert(0, base64.b64encode(issuer[1].public_bytes(Encoding.DER)).decode())
    for certificates, end in (
        (chain, ends[1]),
        (chain[:1], ends[0]),
        (["AAAA", chain[2]], ends[2]),
    ):
        record = replace(RECORD, certificates=tuple(certificates))
        assert first_end(record) == end.timestamp()
