"""python-cwt opens and makes COSE_Encrypt0 messages by HPKE, as JSON on standard input asks.

test_hpke_interop.py runs it with the Python of an environment that has python-cwt.
"""

import json
import sys

from cwt import COSE, COSEKey

asked = json.load(sys.stdin)
plain, aad = bytes.fromhex(asked["plain"]), bytes.fromhex(asked["aad"])
answers = []
for question in asked["questions"]:
    private, public = ({**jwk, "alg": question["name"]} for jwk in question["jwks"])
    cose, key = bytes.fromhex(question["cose"]), COSEKey.from_jwk(private)
    opened = COSE.new().decode(cose, key, external_aad=aad)
    protected, recipient = {1: question["alg"]}, COSEKey.from_jwk(public)
    made = COSE.new().encode(plain, recipient, protected, {}, external_aad=aad)
    answers.append({"opened": opened.hex(), "made": made.hex()})
print(json.dumps(answers))
