import base64
import itertools
from secrets import token_bytes

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikms.encodings import (
    b58,
    b64url,
    b64url_decode,
    decode_canonical,
    jose_b64url,
    thumbprint,
)


@given(st.binary(max_size=100))
def test_base64url_is_read_with_padding_and_without(data):
    padded = base64.urlsafe_b64encode(data).decode()
    assert (b64url(data), jose_b64url(data)) == (padded, padded.rstrip("="))
    assert b64url_decode(padded) == b64url_decode(padded.rstrip("=")) == data


@given(st.text(st.sampled_from("AZaz09-_+/= \n.é"), max_size=12))
def test_nothing_but_base64url_is_read(text):
    body = text.rstrip("=")
    good = (
        set(body) <= set("AZaz09-_")
        and len(body) % 4 != 1
        and len(text) - len(body) in (0, -len(body) % 4)
    )
    if good:
        assert b64url_decode(text) == base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    else:
        with pytest.raises(ValueError, match="not base64url"):
            b64url_decode(text)


@pytest.mark.parametrize("length", range(1, 5))
def test_only_the_canonical_form_is_read_where_text_is_signed(length):
    alphabet = [jose_b64url(bytes([number << 2]))[0] for number in range(64)]
    for end in [*map("".join, itertools.product(alphabet, repeat=min(length, 2))), "=", "A=", "=="]:
        text = end.rjust(length, "A")
        try:
            expected = b64url_decode(text)
        except ValueError:
            expected = None
        if expected is not None and jose_b64url(expected) == text:
            assert decode_canonical(text) == expected
        else:
            with pytest.raises(ValueError, match="not"):
                decode_canonical(text)
    assert decode_canonical("") == b""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # draft-msporny-base58 section 5
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
        (b"", ""),
    ],
)
def test_bytes_are_encoded_as_base58(data, text):
    assert b58(data) == text


def test_base58_of_any_length_is_that_of_the_library():
    for size in (*range(100), 270, 1186):
        for data in (b"\xff" * size, b"\1" + bytes(size), bytes(70) + token_bytes(size)):
            assert b58(data) == base58.b58encode(data).decode()


def test_the_thumbprints_of_the_rfcs():
    # RFC 7638 section 3.1
    rsa = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSo"
        "c_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4v"
        "MQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(rsa) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    # RFC 8037 appendix A.3
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(okp) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("kty", ["EC", "OKP", "AKP", "new"])
def test_a_thumbprint_covers_only_members_of_the_key(kty):
    jwk = {"kty": kty, "crv": "c", "x": "x", "y": "y", "pub": "p", "alg": "a"}
    described = {**jwk, "kid": "k", "use": "sig", "key_ops": ["sign"]}
    assert thumbprint(described) == thumbprint(dict(reversed(jwk.items())))
    assert thumbprint({**jwk, "crv" if kty != "AKP" else "pub": "other"}) != thumbprint(jwk)
