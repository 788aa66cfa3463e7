"""Sign a status list token as JWT and as CWT: docs/wallets.md, Status lists."""

import base64
import json
import time
import zlib
from pathlib import Path

import cbor2

from minikms_client import Client

uri, now = "https://issuer.example/status/1", int(time.time())
statuses = bytearray(8192 // 8)  # one bit for each credential
statuses[420 // 8] |= 1 << 420 % 8  # the credential with the index 420 is revoked
lst = zlib.compress(statuses, 9)

with Client() as kms:
    text = base64.urlsafe_b64encode(lst).decode().rstrip("=")
    claims = {
        "sub": uri,
        "iat": now,
        "exp": now + 86400,
        "ttl": 3600,
        "status_list": {"bits": 1, "lst": text},
    }
    header = {"typ": "statuslist+jwt"}
    jwt = kms.sign_jws(json.dumps(claims).encode(), alias="status", header=header)
    # sub, iat, exp, ttl and status_list
    labels = {2: uri, 6: now, 4: now + 86400, 65534: 3600, 65533: {"bits": 1, "lst": lst}}
    cwt = kms.sign_cose(cbor2.dumps(labels), alias="status", typ="application/statuslist+cwt")
Path("status.jwt").write_text(jwt)
Path("status.cwt").write_bytes(cwt)
