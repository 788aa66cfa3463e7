"""Chooses the verification method of a signing DID, also by aliases in Mini KMS."""

from collections.abc import Set

from acapy_agent.core.profile import Profile
from acapy_agent.resolver.did_resolver import DIDResolver
from acapy_agent.wallet.default_verification_key_strategy import (
    DefaultVerificationKeyStrategy,
    ProofPurposeStr,
    VerificationKeyStrategyError,
)

from acapy_minikms.clients import Clients
from minikms_client import AliasNotFound


class MinikmsVerificationKeyStrategy(DefaultVerificationKeyStrategy):
    """ACA-Py's strategy; if it finds no method, Mini KMS is searched for keys by alias."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    async def get_verification_method_id_for_did(
        self,
        did: str,
        profile: Profile,
        *,
        proof_type: str | None = None,
        proof_purpose: ProofPurposeStr | None = None,
        verification_method_id: str | None = None,
    ) -> str:
        """Return the id of the verification method; raises VerificationKeyStrategyError."""
        suitable = {
            key_type.key_type for key_type in self.key_types_mapping.get(proof_type or "", ())
        }
        named = verification_method_id or ""
        if named.startswith(f"{did}#") and await self._has_key(profile, named, suitable):
            return named
        try:
            found: str = await super().get_verification_method_id_for_did(
                did,
                profile,
                proof_type=proof_type,
                proof_purpose=proof_purpose,
                verification_method_id=verification_method_id,
            )
        except VerificationKeyStrategyError:
            document = await profile.inject(DIDResolver).resolve(profile=profile, did=did)
            for method in document.get(proof_purpose or "assertionMethod", ()):
                method_id: str = method if isinstance(method, str) else method["id"]
                if await self._has_key(profile, method_id, suitable):
                    return method_id
            raise
        return found

    async def _has_key(self, profile: Profile, method_id: str, suitable: Set[str]) -> bool:
        """Tell whether Mini KMS has a suitable key with the id of a method as its alias."""
        try:
            key = await (await self._clients.of(profile)).find_key(method_id)
        except AliasNotFound:
            return False
        return not suitable or key.alg in suitable
