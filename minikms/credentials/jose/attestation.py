"""Makes key attestations: JWTs about keys of the service (OpenID4VCI 1.0, appendix D.1)."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from minikms.credentials.jose.jws import CertificateMember, KidHeader, SignerOrMac, SignJws
from minikms.credentials.jose.jws_forms import compact
from minikms.errors import AliasNotFound, KeyNotFound, NotAttestable
from minikms.events import keep_key
from minikms.key_requests import AnyKey, KeyRef
from minikms.keys.operation import Envelope, UsableKey, Use
from minikms.keys.operations import KeyOperations
from minikms.plugin.protocol import Signer
from minikms.records import KeyRecord, OrphanRecord

_TYP: Final = "key-attestation+jwt"

OWN_CLAIMS: Final = frozenset(
    {
        *("iat", "exp", "nonce", "aud", "attested_keys"),
        *("key_storage", "user_authentication", "certification"),
    }
)
"""The claims that the service writes, from its own facts or from members of the call."""

BY_APPROVAL: Final = "approval"
"""The user authentication that the service confirms: approvers sign each use of the key."""

MAX_CLAIM_BYTES: Final = 16 * 1024
"""The bound of all further claims, in bytes of JSON."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """The claims that the caller gives an attestation; None leaves a claim out.

    `keys` are the attested keys; with `allow_imported` they may be imported. With `approval` each
    must have the rule `approval`, which `user_authentication` begins with. The attestation expires
    after `expires_in` seconds, or with the first of its keys. `claims` are further claims, and must
    not name any of OWN_CLAIMS.
    """

    keys: tuple[KeyRef | AnyKey, ...]
    expires_in: int
    nonce: str | None = None
    audience: str | None = None
    key_storage: Sequence[str] | None = None
    user_authentication: Sequence[str] | None = None
    certification: str | None = None
    allow_imported: bool = False
    approval: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict)

    def payload(self, records: Sequence[KeyRecord]) -> bytes:
        """Return the claims about these keys as JSON."""
        now = int(time.time())
        ends = [record.expires // 10**9 for record in records if record.expires is not None]
        own: dict[str, Any] = {
            "iat": now,
            "exp": min((now + self.expires_in, *ends)),
            "nonce": self.nonce,
            "aud": self.audience,
            "attested_keys": [{**(record.jwk or {}), "kid": record.kid} for record in records],
            "key_storage": self.key_storage,
            "user_authentication": self._user_authentication(),
            "certification": self.certification,
        }
        own = {name: value for name, value in own.items() if value is not None}
        return orjson.dumps(own | dict(self.claims))

    def described(self, kids: Iterable[str]) -> dict[str, Any]:
        """Describe the attestation of these keys to approvers, without its times."""
        facts = {
            "keys": list(kids),
            "expires_in": self.expires_in,
            "nonce": self.nonce,
            "aud": self.audience,
            "key_storage": self.key_storage,
            "user_authentication": self._user_authentication(),
            "certification": self.certification,
            "claims": dict(self.claims),
        }
        return {name: value for name, value in facts.items() if value}

    def _user_authentication(self) -> Sequence[str] | None:
        if not self.approval:
            return self.user_authentication
        return [BY_APPROVAL, *(self.user_authentication or ())]


@dataclass(slots=True, repr=False)
class SignAttestation(Envelope[SignerOrMac, str]):
    """Signs the claims in `payload` as a compact JWS; the key cannot be a MAC key.

    The header has a certificate chain or a kid, never both (OpenID4VCI 1.0, appendix F.1). The kid
    is never an alias, since an alias names another key after a rotation.
    """

    uses = (Use(Signer, "sign"),)
    asks = True
    certificates: Sequence[CertificateMember] = ()
    payload: bytes = b""
    described: Mapping[str, Any] = field(default_factory=dict)

    def meaning(self, key: UsableKey[Any]) -> dict[str, Any]:
        return {"type": "key-attestation", **self.described}

    def compute(self, key: UsableKey[SignerOrMac]) -> str:
        kid: KidHeader = "none" if "x5c" in self.certificates else "kid"
        jws = SignJws(self.payload, {"typ": _TYP}, kid=kid, certificates=self.certificates)
        return compact(*jws.sign(key), detached=False)


class AttestationCalls:
    """Makes attestations of keys."""

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys

    async def attest(
        self,
        profile: str,
        by: KeyRef,
        attestation: Attestation,
        certificates: Sequence[CertificateMember] = (),
    ) -> str:
        """Make a JWT with the key `by` about other keys of the profile.

        The audit event names all these keys. `certificates` names the header members for the
        certificate of `by`. Raises NotAttestable, and the errors of `perform` for the key `by`.
        """
        operation = SignAttestation(certificates)
        await self._keys.usable_key(profile, by, operation)  # raise its errors first
        records: dict[str, KeyRecord] = {}
        for place, each in enumerate(attestation.keys):
            record = await self._key_to_attest(profile, each, place)
            require_attestable(record, place, allow_imported=attestation.allow_imported)
            if attestation.approval and (record.rules is None or record.rules.approval is None):
                raise not_attestable(place, "The key has no rule approval.")
            if record.kid not in records:
                records[record.kid] = record
                keep_key()
        operation.payload = attestation.payload(list(records.values()))
        operation.described = attestation.described(records)
        return await self._keys.perform(profile, by, operation)

    async def _key_to_attest(self, profile: str, key: KeyRef | AnyKey, place: int) -> KeyRecord:
        """Find the record of a key to attest; raises NotAttestable without one."""
        for ref in key.refs if isinstance(key, AnyKey) else (key,):
            try:
                return await self._keys.get(profile, ref)
            except (KeyNotFound, AliasNotFound):
                pass
        raise not_attestable(place, "The profile has no such key.")


def require_attestable(record: KeyRecord, place: int, *, allow_imported: bool) -> None:
    """Raise NotAttestable unless only the service has the private key, and can use it.

    With `allow_imported`, others may have it as well. The error names the key by its place in the
    request. Raises KeyNotUsable if this version does not know a critical member of the record.
    """
    record.require_understood()
    if isinstance(record, OrphanRecord):
        raise not_attestable(place, "The algorithm of the key is not installed.")
    if record.jwk is None or record.material == "none":
        raise not_attestable(place, "The service does not have the private key of a key pair.")
    if record.imported and not allow_imported:
        raise not_attestable(place, "The key was imported.")
    if record.exportable:
        raise not_attestable(place, "The key is exportable.")
    if record.current_state != "enabled":
        raise not_attestable(place, "The key is not enabled.")


def not_attestable(place: int, fault: str) -> NotAttestable:
    """Make the error for the key at this place of the request."""
    return NotAttestable(errors=[(f"#/keys/{place}", fault)])
