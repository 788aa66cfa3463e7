"""A program whose token Kubernetes renews in a file, and the issuer of its tokens."""

import json
import time
from itertools import count

from base64url import part
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LEEWAY = 30  # seconds after its end in which the service accepts a token, since clocks differ

ROLES = """
[issuers.cluster]
issuer = "https://cluster.example"
audience = "https://kms.example"
jwks = {jwks}

[roles.pod]
issuer = "cluster"
claims = {{ sub = ["system:serviceaccount:shop:issuer"] }}
scopes = ["keys:read", "keys:write", "sign", "encrypt", "decrypt", "random"]
profiles = ["default"]
"""


class Pod:
    """A pod in a folder: `file` has its token, and `roles` is for a service that accepts it."""

    def __init__(self, folder):
        self._folder, self._key, self._count = folder, Ed25519PrivateKey.generate(), count()
        self.file, self.roles = folder / "token", folder / "roles.toml"
        jwks = folder / "jwks.json"
        x = part(self._key.public_key().public_bytes_raw())
        key = {"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}
        jwks.write_text(json.dumps({"keys": [key]}))
        self.roles.write_text(ROLES.format(jwks=json.dumps(str(jwks))))
        self.file.symlink_to("..data/token")

    def renew(self, seconds):
        """Renew the token by one that the service accepts for these seconds, and return it."""
        now = int(time.time())
        claims = {
            "iss": "https://cluster.example",
            "aud": ["https://kms.example"],
            "sub": "system:serviceaccount:shop:issuer",
            "iat": now,
            "exp": now + seconds - LEEWAY,
            "jti": str(next(self._count)),
        }
        header = {"alg": "EdDSA", "kid": "one"}
        signed = f"{part(header)}.{part(claims)}"
        token = f"{signed}.{part(self._key.sign(signed.encode()))}"
        self.put(token)
        return token

    def put(self, content):
        """Replace the content of the file as the kubelet does: by one symbolic link to a folder."""
        version = self._folder / f"..version-{next(self._count)}"
        version.mkdir()
        (version / "token").write_text(content)
        later = self._folder / "..next"
        later.symlink_to(version.name)
        later.rename(self._folder / "..data")
