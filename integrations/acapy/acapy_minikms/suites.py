"""Signature suites for keys of Mini KMS that the agent did not make itself.

Such a key is known by its alias, which is the DID URL of its verification method.
"""

from typing import Any

from acapy_agent.core.profile import Profile
from acapy_agent.vc.ld_proofs import LinkedDataProof, WalletKeyPair
from acapy_agent.vc.vc_ld.external_suite import ExternalSuiteError, ExternalSuiteProvider
from acapy_agent.vc.vc_ld.manager import (
    PROOF_TYPE_SIGNATURE_SUITE_MAPPING,
    SIGNATURE_SUITE_KEY_TYPE_MAPPING,
)
from acapy_agent.wallet.base import BaseWallet
from acapy_agent.wallet.did_info import DIDInfo
from acapy_agent.wallet.error import WalletNotFoundError

from acapy_minikms.clients import Clients
from minikms_client import AliasNotFound, AsyncClient, MinikmsError


class AliasKeyPair(WalletKeyPair):
    """A key that signs in Mini KMS, named by an alias."""

    def __init__(self, client: AsyncClient, alias: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._client = client
        self._alias = alias

    async def sign(self, message: list[bytes] | bytes) -> bytes:
        """Sign a message."""
        if isinstance(message, list):
            raise ExternalSuiteError("Mini KMS signs one message, not a list, as BBS would.")
        try:
            return (await self._client.sign(message, alias=self._alias)).sig
        except MinikmsError as error:
            raise ExternalSuiteError(f"Mini KMS does not sign: {error}") from error


class MinikmsSuiteProvider(ExternalSuiteProvider):
    """Provides suites for verification methods whose key is in the profile, not the wallet."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def get_suite(
        self,
        profile: Profile,
        proof_type: str,
        proof: dict[str, Any],
        verification_method: str,
        did_info: DIDInfo,
    ) -> LinkedDataProof | None:
        """Return the suite of a verification method; None for a key of the agent's wallet."""
        suite = PROOF_TYPE_SIGNATURE_SUITE_MAPPING.get(proof_type)
        if suite is None:
            return None
        key_type = SIGNATURE_SUITE_KEY_TYPE_MAPPING[suite]
        async with profile.session() as session:
            try:
                await session.inject(BaseWallet).get_key_by_kid(verification_method)
            except WalletNotFoundError:
                pass
            else:
                return None
        client = await self._clients.of(profile)
        try:
            key = await client.find_key(verification_method)
        except AliasNotFound:
            return None
        if key.alg != key_type.key_type:
            raise ExternalSuiteError(f"{proof_type} does not sign with a key of {key.alg}.")
        pair = AliasKeyPair(
            client,
            verification_method,
            profile=profile,
            key_type=key_type,
            public_key_base58=key.b58,
        )
        found: LinkedDataProof = suite(
            verification_method=verification_method, proof=proof, key_pair=pair
        )
        return found
