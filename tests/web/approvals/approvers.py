"""Approvers of the tests: one signs a JWS, and one has a passkey. Neither uses Mini KMS."""

import hashlib
import json
import secrets
from typing import Any

from base64url import b64, raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

RP_ID, ORIGIN = "kms.example", "https://kms.example"


class Signer:
    """An approver who signs JWSs with a key of joserfc."""

    def __init__(self, name: str = "ann", alg: str = "ES256") -> None:
        self.name, self.alg = name, alg
        if alg == "Ed25519":
            self.key: Any = OKPKey.generate_key("Ed25519")
        else:
            self.key = ECKey.generate_key("P-256")

    @property
    def jwk(self) -> dict[str, Any]:
        public: dict[str, Any] = self.key.as_dict(private=False)
        return {name: public[name] for name in ("kty", "crv", "x", "y") if name in public}

    def approver(self) -> dict[str, Any]:
        return {"name": self.name, "jwk": self.jwk}

    def proof(self, approval: dict[str, Any], **header: Any) -> dict[str, Any]:
        document = raw(approval["document"])
        header = {"alg": self.alg, "typ": "approval+jwt", **header}
        return {"jws": jws.serialize_compact(header, document, self.key, [self.alg])}


class Passkey:
    """An authenticator with one credential, as a browser would show it."""

    def __init__(self, name: str = "eve", rp_id: str = RP_ID, origin: str = ORIGIN) -> None:
        self.name, self.rp_id, self.origin = name, rp_id, origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_urlsafe(16)

    def approver(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        x, y = (b64(each.to_bytes(32, "big")).rstrip("=") for each in (numbers.x, numbers.y))
        jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        passkey = {"id": self.id, "rp_id": self.rp_id, "origins": [self.origin]}
        return {"name": self.name, "jwk": jwk, "passkey": passkey}

    def proof(
        self,
        approval: dict[str, Any],
        *,
        kind: str = "webauthn.get",
        challenge: str = "",
        origin: str = "",
        rp_id: str = "",
        flags: int = 0x05,
        **client: Any,
    ) -> dict[str, Any]:
        """The assertion for an approval; each argument makes it one for something else."""
        facts = {
            "type": kind,
            "challenge": challenge or approval["challenge"],
            "origin": origin or self.origin,
            "crossOrigin": False,
            **client,
        }
        data = json.dumps(facts).encode()
        party = hashlib.sha256((rp_id or self.rp_id).encode()).digest()
        authenticator = party + bytes([flags]) + (7).to_bytes(4, "big")
        signed = authenticator + hashlib.sha256(data).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        plain = {
            "clientDataJSON": data,
            "authenticatorData": authenticator,
            "signature": signature,
        }
        response = {name: b64(value).rstrip("=") for name, value in plain.items()}
        return {
            "webauthn": {
                "id": self.id,
                "rawId": self.id,
                "type": "public-key",
                "authenticatorAttachment": "platform",
                "clientExtensionResults": {},
                "response": {**response, "userHandle": "YQ"},
            }
        }


def rule(*approvers: Any, **members: Any) -> dict[str, Any]:
    """The rules of a key with these approvers."""
    return {"approval": {"approvers": [each.approver() for each in approvers], **members}}


CALLS = {"getApproval", "approve", "withdrawApproval"}
"""The calls on one approval, whose id depends on the caller."""


async def example_of(
    client: Any, name: str, path: str, body: Any, **options: Any
) -> tuple[str, Any]:
    """The path and the body of a call; one on an approval gets an approval that waits.

    It belongs to the profile `default`.
    """
    if name not in CALLS:
        return path, body
    ann, own = Signer(), {"X-Profile": "default"}
    asked = {"alg": "ed25519", "rules": rule(ann)}
    async with client.post("/key/generate", json=asked, headers=own, **options) as answer:
        kid = (await answer.json())["kid"]
    asked = {"kid": kid, "data": "aGVsbG8"}
    async with client.post("/sign", json=asked, headers=own, **options) as answer:
        approval = (await answer.json())["approval"]
    return f"/approvals/{approval['id']}", ann.proof(approval) if name == "approve" else body
