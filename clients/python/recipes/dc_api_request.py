"""Make a signed request for the Digital Credentials API: docs/wallets.md."""

import base64
import hashlib
import json
import secrets
from datetime import timedelta
from pathlib import Path

from minikms_client import Client

with Client() as kms:
    verifier = kms.find_key("verifier")
    digest = hashlib.sha256(verifier.certificates[0]).digest()
    for_ten_minutes = timedelta(minutes=10)
    response_key = kms.generate_key(
        "p256", operations=["jwe-decrypt"], delete_after=for_ten_minutes
    )
    session = {"nonce": secrets.token_urlsafe(), "kid": response_key.kid}
    recipient = {**response_key.jwk, "kid": response_key.kid, "use": "enc", "alg": "ECDH-ES"}
    algs = {"sd-jwt_alg_values": ["ES256"], "kb-jwt_alg_values": ["ES256"]}
    pid = {"id": "pid", "format": "dc+sd-jwt", "meta": {"vct_values": ["urn:eudi:pid:1"]}}
    request = {
        "client_id": "x509_hash:" + base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "aud": "https://self-issued.me/v2",
        "response_type": "vp_token",
        "response_mode": "dc_api.jwt",
        "expected_origins": ["https://verifier.example"],
        "nonce": session["nonce"],
        "dcql_query": {"credentials": [{**pid, "claims": [{"path": ["given_name"]}]}]},
        "client_metadata": {
            "jwks": {"keys": [recipient]},
            "encrypted_response_enc_values_supported": ["A128GCM", "A256GCM"],
            "vp_formats_supported": {"dc+sd-jwt": algs},
        },
    }
    signed = kms.sign_jws(
        json.dumps(request).encode(),
        kid=verifier.kid,
        header={"typ": "oauth-authz-req+jwt"},
        kid_header="none",
        certificate_header="x5c",
    )
Path("session.json").write_text(json.dumps(session))
Path("request.json").write_text(
    json.dumps({"protocol": "openid4vp-v1-signed", "data": {"request": signed}})
)
