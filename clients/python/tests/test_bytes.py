"""Parameters of bytes: all forms of bytes are sent as they are, and nothing else is sent."""

import array
import inspect

import pytest
from answering import answering

from minikms_client import AsyncClient, Client

DATA = b"h\0\xffi"
FORMS = [DATA, bytearray(DATA), memoryview(b"-" + DATA + b"-")[1:5], array.array("H", DATA)]
OTHERS = ["text", 5, True, [104, 105], (b"text",), {"data": b"text"}, object()]
# The values of other arguments.
NEEDED = {
    "alg": "a256gcm",
    "enc": "A256GCM",
    "from_": {"kty": "OKP"},
    "jws": "a.b.c",
    "recipients": [],
    "to": {"kty": "OKP"},
}


def parameters():
    """Methods of the client, each with the name of a parameter that takes bytes."""
    for method, function in inspect.getmembers(Client, inspect.isfunction):
        if not method.startswith("_"):
            for name, parameter in inspect.signature(function).parameters.items():
                if "bytes" in str(parameter.annotation):
                    yield method, name


def arguments(method, name, value):
    """The arguments of a call, with this value of one of them."""
    taken = inspect.signature(getattr(Client, method)).parameters
    given = {
        each: NEEDED.get(each, DATA)
        for each, parameter in taken.items()
        if parameter.default is parameter.empty and each != "self"
    }
    if "kid" in taken:
        given["kid"] = "a"
    items = {"sign_batch": [value], "verify_batch": [(DATA, value)]}
    return given | {name: items.get(method, value)}


def test_the_parameters_of_bytes_are_known():
    found = set(parameters())
    assert len(found) > 40
    assert {("sign", "data"), ("decrypt", "nonce"), ("verify_batch", "items")} < found


@pytest.mark.parametrize(("method", "name"), list(parameters()))
async def test_nothing_but_bytes_is_sent(method, name):
    async def text():
        return DATA

    with answering() as (url, asked):
        with Client(url) as client:
            for other in OTHERS:
                with pytest.raises(TypeError):
                    getattr(client, method)(**arguments(method, name, other))
        async with AsyncClient(url) as client:
            not_awaited = text()
            with pytest.raises(TypeError):
                await getattr(client, method)(**arguments(method, name, not_awaited))
            not_awaited.close()
        assert asked == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_all_forms_of_bytes_are_sent_as_they_are(minikms, form):
    kid = minikms.generate_key("ed25519").kid
    assert minikms.verify(DATA, minikms.sign(form, kid=kid).sig, kid=kid)
    assert not minikms.verify(b"", minikms.sign(form, kid=kid).sig, kid=kid)
    (signed,) = minikms.sign_batch([form], kid=kid)
    (verified,) = minikms.verify_batch([(form, bytearray(signed.sig))], kid=kid)
    assert verified.valid
    assert minikms.verify_jws(minikms.sign_jws(form, kid=kid), kid=kid).payload == DATA
    secret = minikms.generate_key("a256gcm").kid
    made = minikms.encrypt(form, aad=form, kid=secret)
    opened = minikms.decrypt(made.ciphertext, made.nonce, made.tag, aad=DATA, kid=secret)
    assert opened == DATA
