"""A client of Mini KMS for each wallet."""

import logging
from datetime import timedelta

from acapy_agent.core.profile import Profile
from acapy_agent.multitenant.error import MultitenantManagerError

from acapy_minikms.settings import PluginOptions, wallet_id_of
from minikms_client import AsyncClient, MinikmsError, ProfileExists, ProfileNotFound

LOGGER = logging.getLogger(__name__)


class Clients:
    """Clients by wallet; a subwallet's profile is created when the subwallet is first used."""

    def __init__(self, options: PluginOptions) -> None:
        self._options = options
        self._by_wallet: dict[str | None, AsyncClient] = {}

    async def of(self, profile: Profile) -> AsyncClient:
        """Return the client for the wallet of an ACA-Py profile."""
        wallet_id = wallet_id_of(profile.settings)
        found = self._by_wallet.get(wallet_id)
        if found is None:
            found = self._make(wallet_id)
            if wallet_id is not None:
                await self._create_profile(found)
            self._by_wallet[wallet_id] = found
        return found

    async def remove_keys(self, profile: Profile) -> None:
        """Delete the profile of a subwallet with its keys, or schedule the deletion of its keys.

        Raises MultitenantManagerError, which ACA-Py's callers see as a sentence.
        """
        wallet_id = wallet_id_of(profile.settings)
        if wallet_id is None:
            return
        try:
            if self._options.subwallet_retention_days:
                await self._schedule_deletion(wallet_id)
            else:
                async with self._make(None) as admin:
                    await admin.delete_profile(str(self._options.profile_of(wallet_id)))
        except MinikmsError as error:
            raise MultitenantManagerError(
                f"The keys of the subwallet cannot be removed from Mini KMS: {error}"
            ) from error
        client = self._by_wallet.pop(wallet_id, None)
        if client is not None:
            await client.aclose()

    async def _schedule_deletion(self, wallet_id: str) -> None:
        after = timedelta(days=self._options.subwallet_retention_days)
        async with self._make(wallet_id) as client:
            try:
                async for key in client.keys():
                    if key.deletes is None:
                        await client.delete_key(key.kid, after=after)
            except ProfileNotFound:
                LOGGER.debug("the profile %s is not there: it never had a key", client.profile)

    async def check(self) -> None:
        """Ask the service for a key of the agent.

        Raises if the service or the profile is missing, or the token may not read keys.
        """
        async with self._make(None) as client:
            await client.list_keys(limit=1)
        LOGGER.info("keys are kept in Mini KMS at %s", client.url)

    def _make(self, wallet_id: str | None) -> AsyncClient:
        return AsyncClient(
            self._options.url,
            token_file=self._options.token_file_of(wallet_id),
            profile=self._options.profile_of(wallet_id),
            ca=self._options.ca,
        )

    async def _create_profile(self, client: AsyncClient) -> None:
        """Create a subwallet's profile, if it is missing and the agent's own token may do so."""
        async with self._make(None) as admin:
            try:
                await admin.create_profile(str(client.profile))
            except ProfileExists:
                LOGGER.debug("the profile %s is there", client.profile)
