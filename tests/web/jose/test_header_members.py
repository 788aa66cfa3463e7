"""Header members with values of another type than the registered one."""

from base64 import urlsafe_b64encode

import pytest
from base64url import part

pytestmark = pytest.mark.shared_service

VALUES = {"text": "AAAA", "list": ["AAAA"], "object": {}, "number": 7, "truth": True, "null": None}
# The type of each (RFC 7515 section 4.1).
OF_JWS = {
    **dict.fromkeys(("jku", "kid", "x5u", "x5t", "x5t#S256", "typ", "cty"), "text"),
    "jwk": "object",
    "x5c": "list",
}
# Besides these (RFC 7518 section 4, DIDComm v2).
OF_JWE = OF_JWS | {
    **dict.fromkeys(("apu", "apv", "iv", "tag", "p2s", "skid"), "text"),
    "epk": "object",
    "p2c": "number",
}


def wrong_values(members):
    """Each name, with values that do not have its type."""
    for name, right in members.items():
        yield from ((name, value) for kind, value in VALUES.items() if kind != right)
    yield from (("x5c", [7]), ("x5c", [[]]), ("kid", [[]]), ("kid", {"a": []}))


PARTS = {"iv": "AAAA", "ciphertext": "AAAA", "tag": "AAAA"}


async def test_jwe_headers_with_wrong_members_are_refused(refuses, generate):
    kid = (await generate("a128kw"))["kid"]
    header = {"alg": "A128KW", "enc": "A128GCM"}
    for name, value in wrong_values(OF_JWE):
        wrong = {name: value}
        for jwe in (
            f"{part(header | wrong)}....",
            {"protected": part(header | wrong), **PARTS},
            {"protected": part(header), "unprotected": wrong, **PARTS},
            {"protected": part(header), "header": wrong, **PARTS},
            {"protected": part(header), "recipients": [{}, {"header": wrong}], **PARTS},
        ):
            problem = await refuses(
                "/jwe/decrypt", {"kid": kid, "jwe": jwe}, 422, "validation-failed"
            )
            assert problem["errors"][0]["pointer"] == "#/jwe"
            assert f" {name} " in problem["errors"][0]["detail"]


async def test_jws_headers_with_wrong_members_do_not_verify(refuses, post, generate):
    kid = (await generate("hs256"))["kid"]
    of_the_service = (("alg", []), ("alg", {}), ("crit", {}), ("b64", []))
    for name, value in (*wrong_values(OF_JWS), *of_the_service):
        message = f"{part({'alg': 'HS256', name: value})}.AAAA"
        data = urlsafe_b64encode(message.encode()).decode()
        mac = (await post("/mac", {"kid": kid, "data": data}))["mac"].rstrip("=")
        result = await post("/jws/verify", {"kid": kid, "jws": f"{message}.{mac}"})
        assert result == {"valid": False, "header": None, "payload": None}, (name, value)
        body = {"kid": kid, "payload": "", "header": {name: value}}
        problem = await refuses("/jws/sign", body, 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "#/header"


async def test_a_new_jwe_with_wrong_header_members_is_refused(refuses, generate):
    kid = (await generate("x25519"))["kid"]
    to = {"kid": kid, "alg": "ECDH-ES+A128KW"}
    body = {"plaintext": "", "enc": "A128GCM", "serialization": "general"}
    for name, value in wrong_values(OF_JWE):
        for more, pointer in (
            ({"recipients": [to], "header": {name: value}}, "#/header"),
            ({"recipients": [to | {"header": {name: value}}]}, "#/recipients/0/header"),
        ):
            problem = await refuses("/jwe/encrypt", body | more, 422, "validation-failed")
            assert problem["errors"][0]["pointer"] == pointer


async def test_didcomm_messages_with_wrong_members_are_refused(refuses):
    for name in ("enc", "typ", "alg", "recipients"):
        for value in (*VALUES.values(), [{}], [{"header": []}], [{"header": {"kid": []}}]):
            packed = {"protected": part({name: value}), **PARTS}
            await refuses("/didcomm/unpack", {"packed": packed}, 422, "validation-failed")
