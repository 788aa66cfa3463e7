"""Functions of python-cwt and pycose on COSE messages; JSON on standard input names one.

test_cose_interop.py runs it with the Python of an environment that has both.
"""

import json
import sys

import cbor2
from cwt import COSE, COSEKey
from pycose import algorithms, headers, keys, messages

PAYLOAD, AAD = b"This is the content.", b"external"


def python_cwt(question):
    """Verify an attached and a detached payload, and sign one."""
    theirs = verifier = COSEKey.from_jwk(question["jwk"])
    kid = question["jwk"]["kid"].encode()
    if question["public"]:
        public = cbor2.loads(bytes.fromhex(question["public"]))
        verifier = COSEKey.new({**public, 2: kid, 3: theirs.alg})
    attached, detached = (bytes.fromhex(question[way]) for way in ("attached", "detached"))
    payloads = [
        COSE.new().decode(attached, verifier, external_aad=AAD),
        COSE.new().decode(detached, verifier, external_aad=AAD, detached_payload=PAYLOAD),
    ]
    protected = {1: theirs.alg, 3: "text/plain"}
    made = COSE.new().encode(PAYLOAD, theirs, protected, {4: b"1"}, external_aad=AAD)
    return {"payloads": [each.hex() for each in payloads], "made": made.hex(), "alg": theirs.alg}


def pycose_both_ways(question):
    """Verify two messages, the second detached, and make one."""
    alg, secret = getattr(algorithms, question["alg"]), bytes.fromhex(question["secret"])
    if question["public"]:
        theirs = keys.CoseKey.from_dict({**_loaded(question["public"]), -4: secret})
        kind = messages.Sign1Message
    else:
        theirs, kind = keys.CoseKey.from_dict({1: 4, -1: secret}), messages.Mac0Message
    seen = []
    ways = ({}, {"detached_payload": PAYLOAD})
    for cose, more in zip(question["messages"], ways, strict=False):  # codes are attached alone
        message = messages.CoseMessage.decode(bytes.fromhex(cose))
        message.key, message.external_aad = theirs, AAD
        verify = message.verify_signature if question["public"] else message.verify_tag
        assert set(message.phdr) == {headers.Algorithm}
        assert set(message.uhdr) == {headers.KID}
        seen.append(
            {
                "kind": type(message).__name__,
                "valid": verify(**more),
                "alg": message.phdr[headers.Algorithm].__name__,
                "kid": message.uhdr[headers.KID].decode(),
            }
        )
    made = kind({headers.Algorithm: alg}, {headers.KID: b"1"}, PAYLOAD, external_aad=AAD)
    made.key = theirs
    return {"seen": seen, "made": made.encode().hex()}


def pycose_rsa(question):
    """Verify a signature by an RSA key."""
    theirs = keys.CoseKey.from_dict(_loaded(question["public"]))
    message = messages.CoseMessage.decode(bytes.fromhex(question["cose"]))
    message.key = theirs
    return {"kind": type(theirs).__name__, "valid": message.verify_signature()}


def _loaded(key):
    return cbor2.loads(bytes.fromhex(key))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answer = {each.__name__: each for each in (python_cwt, pycose_both_ways, pycose_rsa)}
    function = answer[asked["function"]]
    print(json.dumps([function(question) for question in asked["questions"]]))
