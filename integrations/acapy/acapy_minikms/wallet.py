"""The wallet of an agent, with its keys in Mini KMS."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from acapy_agent.wallet.askar import CATEGORY_DID, AskarWallet
from acapy_agent.wallet.crypto import validate_seed
from acapy_agent.wallet.did_info import DIDInfo, KeyInfo
from acapy_agent.wallet.did_method import DIDMethod, DIDMethods
from acapy_agent.wallet.did_parameters_validation import DIDParametersValidation
from acapy_agent.wallet.error import WalletDuplicateError, WalletError, WalletNotFoundError
from acapy_agent.wallet.key_type import ED25519, P256, X25519, KeyType, KeyTypes
from acapy_agent.wallet.keys.manager import verkey_to_multikey
from acapy_agent.wallet.util import b58_to_bytes
from aries_askar import AskarError

from acapy_minikms.clients import Clients
from acapy_minikms.key_records import KeyRecord, KeyRecords
from minikms_client import AsyncClient, DecryptionFailed, Key, KeyNotFound, MinikmsError

# An Ed25519 key of a DIDComm v1 agent also opens and makes messages, as an X25519 key.
_OPERATIONS: Final = {ED25519: ("sign", "verify", "box", "box-open")}


class MinikmsWallet(AskarWallet):
    """A wallet with its keys in Mini KMS; DIDs and metadata stay in its own store.

    Operations that need only a public key are inherited from ACA-Py.
    """

    # Keys

    async def create_key(
        self,
        key_type: KeyType,
        seed: str | None = None,
        metadata: dict[str, Any] | None = None,
        kid: str | None = None,
    ) -> KeyInfo:
        """Make a key, or import one from a seed; raises WalletDuplicateError and WalletError."""
        record = await self._new_key(key_type, seed, metadata or {}, [kid] if kid else [])
        async with _errors("Error creating signing key"):
            await self._records.insert(record)
        return KeyInfo(record.verkey, record.metadata, key_type, kid)

    async def assign_kid_to_key(self, verkey: str, kid: str) -> KeyInfo:
        """Give a key another id; raises WalletNotFoundError."""
        async with _errors("Error assigning a key id"):
            record = await self._records.get(verkey, for_update=True)
            record.key_ids.append(kid)
            await self._records.replace(record)
        return self._info(record, kid)

    async def unassign_kid_from_key(self, verkey: str, kid: str) -> KeyInfo:
        """Remove an id from a key; raises WalletNotFoundError and WalletError."""
        async with _errors("Error taking a key id"):
            record = await self._records.get_by_key_id(kid)
            if record.verkey != verkey:
                raise WalletError(f"Another key has the key id {kid}.")
            record.key_ids.remove(kid)
            await self._records.replace(record)
        return self._info(record, kid)

    async def get_key_by_kid(self, kid: str) -> KeyInfo:
        """Return the key with an id; raises WalletNotFoundError and WalletDuplicateError."""
        async with _errors("Error finding a key"):
            return self._info(await self._records.get_by_key_id(kid), kid)

    async def get_signing_key(self, verkey: str) -> KeyInfo:
        """Return the key with a verkey; raises WalletNotFoundError."""
        if not verkey:
            raise WalletNotFoundError("No key identifier provided")
        async with _errors("Error finding a key"):
            record = await self._records.get(verkey)
        return self._info(record, record.key_ids)

    async def replace_signing_key_metadata(self, verkey: str, metadata: dict[str, Any]) -> None:
        """Replace the metadata of a key; raises WalletNotFoundError."""
        if not verkey:
            raise WalletNotFoundError("No key identifier provided")
        async with _errors("Error changing metadata"):
            record = await self._records.get(verkey, for_update=True)
            record.metadata = metadata or {}
            await self._records.replace(record)

    # DIDs

    async def create_local_did(
        self,
        method: DIDMethod,
        key_type: KeyType,
        seed: str | None = None,
        did: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> DIDInfo:
        """Make a DID with a new key; raises WalletDuplicateError and WalletError."""
        validation = DIDParametersValidation(self.session.context.inject(DIDMethods))
        validation.validate_key_type(method, key_type)
        metadata = metadata or {}
        record = await self._new_key(key_type, seed, metadata, [])
        public = b58_to_bytes(record.verkey)
        did = validation.validate_or_derive_did(method, key_type, public, did)
        info = DIDInfo(did, record.verkey, metadata, method, key_type)
        async with _errors("Error when creating local DID"):
            if await self._records.find(record.verkey) is None:
                await self._records.insert(record)
            found = await self.session.handle.fetch(CATEGORY_DID, did, for_update=True)
            if found is None:
                return await self.store_did(info)
            value = found.value_json
            if value.get("verkey") != record.verkey:
                raise WalletDuplicateError("DID already present in wallet")
            value["metadata"] = metadata
            await self.session.handle.replace(CATEGORY_DID, did, value_json=value, tags=found.tags)
        return info

    async def rotate_did_keypair_start(self, did: str, next_seed: str | None = None) -> str:
        """Make the next key of a DID and return its verkey; raises WalletNotFoundError."""
        method = self.session.inject(DIDMethods).from_did(did)
        if not method.supports_rotation:
            raise WalletError(f"DID method '{method.method_name}' does not support key rotation.")
        record = await self._new_key(ED25519, next_seed, {}, [])
        async with _errors("Error updating DID metadata"):
            found = await self.session.handle.fetch(CATEGORY_DID, did, for_update=True)
            if found is None:
                raise WalletNotFoundError(f"Unknown DID: {did}")
            if await self._records.find(record.verkey) is None:
                await self._records.insert(record)
            value = found.value_json
            value["metadata"] = {**value.get("metadata", {}), "next_verkey": record.verkey}
            await self.session.handle.replace(CATEGORY_DID, did, value_json=value, tags=found.tags)
        return record.verkey

    # Messages

    async def sign_message(self, message: list[bytes] | bytes, from_verkey: str) -> bytes:
        """Sign a message by the key with a verkey; raises WalletError."""
        if not message:
            raise WalletError("Message not provided")
        if not from_verkey:
            raise WalletError("Verkey not provided")
        if isinstance(message, list):
            raise WalletError("Mini KMS signs one message, not a list, as BBS would.")
        async with _errors("Exception when signing message"):
            record = await self._records.get(from_verkey)
            return (await (await self._client()).sign(message, kid=record.kid)).sig

    async def pack_message(
        self, message: str | bytes, to_verkeys: Sequence[str], from_verkey: str | None = None
    ) -> bytes:
        """Pack a message into an envelope of DIDComm v1 (Aries RFC 0019); raises WalletError."""
        if message is None:
            raise WalletError("Message not provided")
        content = message.encode() if isinstance(message, str) else message
        async with _errors("Exception when packing message"):
            kid = (await self._records.get(from_verkey)).kid if from_verkey else None
            client = await self._client()
            packed = await client.pack_didcomm(to_verkeys, content, from_=kid)
        return json.dumps(packed).encode()

    async def unpack_message(self, enc_message: bytes) -> tuple[str, str, str]:
        """Return the message of an envelope, its sender (None if anonymous), and its recipient.

        Raises WalletError.
        """
        if not enc_message:
            raise WalletError("Message not provided")
        try:
            packed = json.loads(enc_message)
        except ValueError as error:
            raise WalletError("Invalid packed message") from error
        async with _errors("Exception when unpacking message"):
            found = await (await self._client()).unpack_didcomm(packed)
        # ACA-Py's type requires a sender, but its own wallet returns None for an anonymous message.
        return found.message.decode(), cast(str, found.from_), found.to

    @property
    def _records(self) -> KeyRecords:
        return KeyRecords(self.session.handle)

    async def _client(self) -> AsyncClient:
        return await self.session.inject(Clients).of(self.session.profile)

    async def _new_key(
        self, key_type: KeyType, seed: str | None, metadata: dict[str, Any], key_ids: list[str]
    ) -> KeyRecord:
        """Let Mini KMS make a key, or import one from a seed."""
        if key_type not in (ED25519, X25519, P256):
            raise WalletError(f"Mini KMS does not sign with keys of type {key_type.key_type}.")
        client, operations = await self._client(), _OPERATIONS.get(key_type)
        async with _errors("Error creating signing key"):
            if seed is None:
                key = await client.generate_key(key_type.key_type, operations=operations)
            else:
                key = await client.import_key(
                    alg=key_type.key_type,
                    secret=validate_seed(seed),
                    operations=operations,
                    if_exists="keep",
                )
        return _record(key, key_type, metadata, key_ids)

    def _info(self, record: KeyRecord, kid: str | list[str]) -> KeyInfo:
        key_type = self.session.inject(KeyTypes).from_key_type(record.key_type)
        if key_type is None:
            raise WalletError(f"Unknown key type {record.key_type}")
        return KeyInfo(record.verkey, record.metadata, key_type, kid)


def _record(key: Key, key_type: KeyType, metadata: dict[str, Any], key_ids: list[str]) -> KeyRecord:
    if key.b58 is None:
        raise WalletError(f"Mini KMS has made a key of {key.alg} without a public part.")
    multikey = verkey_to_multikey(key.b58, key_type.key_type)
    return KeyRecord(key.b58, key.kid, key_type.key_type, multikey, metadata, key_ids)


@asynccontextmanager
async def _errors(text: str) -> AsyncIterator[None]:
    """Convert errors of the store and of Mini KMS to ACA-Py's wallet errors."""
    try:
        yield
    except KeyNotFound as error:
        raise WalletNotFoundError(f"{text}: {error}") from error
    except DecryptionFailed as error:
        raise WalletError(f"{text}: the message does not fit the key.") from error
    except (AskarError, MinikmsError) as error:
        raise WalletError(f"{text}: {error}") from error
