"""Open the response to the request, and delete its key: docs/wallets.md."""

import json
from pathlib import Path

from minikms_client import Client

session, response = (
    json.loads(Path(name).read_text()) for name in ("session.json", "response.json")
)
with Client() as kms:
    opened = kms.decrypt_jwe(response["data"]["response"], kid=session["kid"])
    kms.delete_key(session["kid"])
[presentation] = json.loads(opened.plaintext)["vp_token"]["pid"]
Path("presentation.txt").write_text(presentation)
print(opened.header["alg"], opened.header["enc"], presentation.count("~"))
