"""URIs of tokens (RFC 7512): the parts, and refusals that repeat no secret."""

import pytest

from minikms_pkcs11.uri import TokenUri

QUERY = "?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/minikms/pin"


def test_a_label_and_a_serial_number():
    assert TokenUri.parse(f"pkcs11:token=The%20token;serial=1f{QUERY}") == TokenUri(
        module_path="/usr/lib/libhsm.so",
        pin_file="/etc/minikms/pin",
        token="The token",
        serial="1f",
    )


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("token=a:b@c[d]!$'()*+,=&e", "a:b@c[d]!$'()*+,=&e"),
        ("token=%C3%9F%3b%3F", "ß;?"),
        ("token=100%25", "100%"),
    ],
)
def test_encoded_values(path, token):
    assert TokenUri.parse(f"pkcs11:{path}{QUERY}").token == token


@pytest.mark.parametrize("source", ["file:/etc/pin", "file:///etc/pin", "file:%2Fetc/pin"])
def test_files_of_pins(source):
    uri = TokenUri.parse(f"pkcs11:serial=1?pin-source={source}&module-path=/lib/a.so")
    assert uri.pin_file == "/etc/pin"


def test_an_object_is_named_only_where_it_is_expected():
    uri = f"pkcs11:token=t;object=seal{QUERY}"
    assert TokenUri.parse(uri, with_object=True).object == "seal"
    for given, with_object in ((uri, False), (f"pkcs11:token=t{QUERY}", True)):
        with pytest.raises(ValueError, match=r"only|no object"):
            TokenUri.parse(given, with_object=with_object)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("PKCS11:token=t" + QUERY, "does not begin"),
        ("http://hsm/", "does not begin"),
        ("pkcs11:" + QUERY, "neither token nor serial"),
        ("pkcs11:token=t", "no pin-source"),
        ("pkcs11:token=t?module-path=/a", "no pin-source"),
        ("pkcs11:token=t?pin-source=file:/a", "no module-path"),
        ("pkcs11:token=t?pin-source=file:/a&module-path=a.so", "not an absolute path"),
        ("pkcs11:token=t?pin-source=file:a&module-path=/a.so", "not an absolute path"),
        ("pkcs11:token=t?pin-source=file://host/a&module-path=/a.so", "not an absolute path"),
        ("pkcs11:token=t?pin-source=/a&module-path=/a.so", "not a file: URI"),
        ("pkcs11:token=t?pin-source=|cat&module-path=/a.so", "not a file: URI"),
        ("pkcs11:token=t;token=u" + QUERY, "token twice"),
        ("pkcs11:token=t;model=m" + QUERY, "may have only"),
        ("pkcs11:token=t" + QUERY + "&module-name=hsm", "may have only"),
        ("pkcs11:token=" + QUERY, "empty"),
        ("pkcs11:token" + QUERY, "empty"),
        ("pkcs11:token=a b" + QUERY, "to be encoded"),
        ("pkcs11:token=a%" + QUERY, "to be encoded"),
        ("pkcs11:token=a%0" + QUERY, "to be encoded"),
        ("pkcs11:token=ß" + QUERY, "to be encoded"),
        ("pkcs11:token=%FF" + QUERY, "not UTF-8"),
        ("pkcs11:token=a%00" + QUERY, "cannot be printed"),
        ("pkcs11:token=a%0A" + QUERY, "cannot be printed"),
        ("pkcs11:;token=a" + QUERY, "may have only"),
    ],
)
def test_refused_uris(uri, reason):
    with pytest.raises(ValueError, match=reason):
        TokenUri.parse(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=t?pin-value=SECRET&module-path=/a.so",
        "pkcs11:token=t;pin-value=SECRET?module-path=/a.so",
        "pkcs11:token=t?pin-value=SECRET",
        "pkcs11:token=t?module-path=/a.so&pin-source=SECRET",
        "pkcs11:token=t?SECRET&module-path=/a.so",
        "pkcs11:token=SECRET%",
        "SECRET",
    ],
)
def test_a_refusal_repeats_no_value(uri):
    with pytest.raises(ValueError, match=r".") as refusal:
        TokenUri.parse(uri)
    assert "SECRET" not in repr(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_pin_in_a_uri_is_refused():
    with pytest.raises(ValueError, match="name a file by pin-source"):
        TokenUri.parse("pkcs11:token=t?pin-value=1234&module-path=/a.so")
