# /// script
# requires-python = ">=3.11"
# dependencies = ["jwcrypto", "minikms-client", "sd-jwt>=0.10.4,<0.11"]
# [tool.uv.sources]
# minikms-client = { path = "../../clients/python" }
# ///
"""Issue an SD-JWT VC with a status, have a verifier check it, and revoke it."""

import base64
import hashlib
import json
import secrets
import time
import zlib

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.holder import SDJWTHolder
from sd_jwt.verifier import SDJWTVerifier

from minikms_client import Client

ISSUER = "https://issuer.example"
VCT, STATUS_LIST, INDEX = f"{ISSUER}/pid", f"{ISSUER}/status/1", 420
VERIFIER, NONCE = "https://verifier.example", secrets.token_urlsafe()
# The key signs credentials of this type, for two weeks at most, and nothing else.
JWS_RULES = {
    "typ": ["dc+sd-jwt"],
    "claims": {"iss": [ISSUER], "vct": [VCT]},
    "max_lifetime": 14 * 86400,
    "disclosures": "shown",
}


def b64(data):
    """Encode as base64url."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def issue(kms, claims, holder):
    """Return the credential, in which each claim can be shown alone, bound to the holder's JWK."""
    salted = ([secrets.token_urlsafe(16), *claim] for claim in claims.items())
    disclosures = [b64(json.dumps(each).encode()) for each in salted]
    payload = {
        "iss": ISSUER,
        "vct": VCT,
        "exp": int(time.time()) + 86400,
        "cnf": {"jwk": holder},
        "status": {"status_list": {"uri": STATUS_LIST, "idx": INDEX}},
        "_sd": sorted(b64(hashlib.sha256(each.encode()).digest()) for each in disclosures),
        "_sd_alg": "sha-256",
    }
    options = {"header": {"typ": "dc+sd-jwt"}, "kid_header": "kid", "disclosures": disclosures}
    jwt = kms.sign_jws(json.dumps(payload).encode(), alias="issuer", **options)
    return "~".join([jwt, *disclosures, ""])


def list_statuses(kms, revoked):
    """Return the status list token: a bit for each credential."""
    statuses, now = bytearray(8192 // 8), int(time.time())
    for index in revoked:
        statuses[index // 8] |= 1 << index % 8
    lst = {"bits": 1, "lst": b64(zlib.compress(statuses, 9))}
    payload = {"sub": STATUS_LIST, "iat": now, "exp": now + 3600, "status_list": lst}
    options = {"header": {"typ": "statuslist+jwt"}, "kid_header": "kid"}
    return kms.sign_jws(json.dumps(payload).encode(), alias="status", **options)


def verify(presentation, status_list, issuer_key, status_key):
    """Return the claims and the status; raise an error if anything is wrong."""
    sd_jwt = SDJWTVerifier(presentation, lambda *_: issuer_key, VERIFIER, NONCE)
    claims = sd_jwt.get_verified_payload()
    token = JWS.from_jose_token(status_list)
    token.verify(status_key)
    published, own = json.loads(token.payload), claims["status"]["status_list"]
    if (claims["iss"], claims["vct"]) != (ISSUER, VCT):
        raise ValueError("another issuer or type")
    if (token.jose_header["typ"], published["sub"]) != ("statuslist+jwt", own["uri"]):
        raise ValueError("not the status list of the credential")
    if min(claims["exp"], published["exp"]) <= time.time():
        raise ValueError("expired")
    text = published["status_list"]["lst"]
    statuses = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims, "revoked" if statuses[own["idx"] // 8] >> own["idx"] % 8 & 1 else "valid"


with Client() as kms:
    issuer = kms.generate_key("p256", alias="issuer", rules={"jws": JWS_RULES})
    status = kms.generate_key("p256", alias="status", rules="status-list")
    keys = [JWK(**key.jwk) for key in (issuer, status)]

    # The wallet shows one of two claims.
    device = JWK.generate(kty="EC", crv="P-256")
    claims = {"given_name": "Erika", "family_name": "Mustermann"}
    wallet = SDJWTHolder(issue(kms, claims, device.export_public(as_dict=True)))
    wallet.create_presentation({"given_name": True}, NONCE, VERIFIER, device)

    for revoked in ([], [INDEX]):
        shown, state = verify(wallet.sd_jwt_presentation, list_statuses(kms, revoked), *keys)
        print(f"The verifier sees {sorted(claims.keys() & shown)}: the credential is {state}.")
