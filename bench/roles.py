"""Mini KMS with a caller whose JWT has a role, as a contender of turns.py."""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mini_kms import MiniKms
from service import bearer

from minikms.access.callers import SCOPES

PARTY = "https://issuer.example"  # as issuer and as audience
HOUR = 3600
KEY = Ed25519PrivateKey.generate()


def part(content: bytes) -> str:
    """A part of a JWT."""
    return urlsafe_b64encode(content).decode().rstrip("=")


def signed() -> str:
    """A JWT of the issuer, with the claims of a service account."""
    now = int(time.time())
    name = {"namespace": "pid", "serviceaccount": {"name": "issuer"}}
    of_account = {"sub": "system:serviceaccount:pid:issuer", "kubernetes.io": name}
    claims = {"iss": PARTY, "aud": [PARTY], "iat": now, "exp": now + HOUR, **of_account}
    signing_input = ".".join(part(json.dumps(each).encode()) for each in ({"alg": "EdDSA"}, claims))
    return f"{signing_input}.{part(KEY.sign(signing_input.encode()))}"


@dataclass(frozen=True)
class MiniKmsWithRole(MiniKms):
    """Mini KMS, called with a JWT, which is verified once and then cached."""

    jwt: str = field(default_factory=signed, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, **bearer(self.jwt)}

    async def prepare(self, folder: Path) -> None:
        await super().prepare(folder)
        public = part(KEY.public_key().public_bytes_raw())
        jwks = folder / "jwks.json"
        jwks.write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": public}]}))
        issuer = {"issuer": PARTY, "audience": PARTY, "jwks": str(jwks)}
        role = {"issuer": "cluster", "scopes": SCOPES, "profiles": ["*"]}
        lines = ["[issuers.cluster]", *map(member, issuer.items())]
        lines += ["[roles.issuer]", *map(member, role.items())]
        lines += ['claims = { sub = ["system:serviceaccount:pid:*"] }', ""]
        (folder / "roles.toml").write_text("\n".join(lines))

    def environment(self, folder: Path) -> dict[str, str]:
        return {**super().environment(folder), "MINIKMS_ROLES": f"{folder}/roles.toml"}


def member(pair: tuple[str, Any]) -> str:
    """A member of a table in TOML."""
    name, value = pair
    return f"{name} = {json.dumps(value)}"
