"""Records of keys in the agent's own store: names and metadata, without private parts."""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from acapy_agent.wallet.error import WalletDuplicateError, WalletNotFoundError
from aries_askar import AskarError, AskarErrorCode, Entry, Session

CATEGORY: Final = "minikms_key"


@dataclass(slots=True)
class KeyRecord:
    """A key of Mini KMS, as the agent records it.

    `verkey` is the public key in base58, `kid` names the key in Mini KMS, and `key_ids` are the
    agent's names of the key, such as DID URLs of verification methods.
    """

    verkey: str
    kid: str
    key_type: str
    multikey: str
    metadata: dict[str, Any] = field(default_factory=dict)
    key_ids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Make the record from an entry of the store."""
        value = entry.value_json
        return cls(verkey=entry.name, **value)

    def stored(self) -> dict[str, Any]:
        """Return the entry of the record."""
        value = {
            "kid": self.kid,
            "key_type": self.key_type,
            "multikey": self.multikey,
            "metadata": self.metadata,
            "key_ids": self.key_ids,
        }
        tags = {"multikey": self.multikey, "key_id": self.key_ids}
        return {"value_json": value, "tags": tags}


class KeyRecords:
    """The key records of a wallet, in a session of its store."""

    def __init__(self, handle: Session) -> None:
        self._handle = handle

    async def insert(self, record: KeyRecord) -> None:
        """Store a record; raises WalletDuplicateError if the wallet has its verkey."""
        try:
            await self._handle.insert(CATEGORY, record.verkey, **record.stored())
        except AskarError as error:
            if error.code == AskarErrorCode.DUPLICATE:
                raise WalletDuplicateError("The wallet already has the key.") from None
            raise

    async def replace(self, record: KeyRecord) -> None:
        """Replace the record with the same verkey."""
        await self._handle.replace(CATEGORY, record.verkey, **record.stored())

    async def find(self, verkey: str, *, for_update: bool = False) -> KeyRecord | None:
        """Return the record of a verkey, or None."""
        entry = await self._handle.fetch(CATEGORY, verkey, for_update=for_update)
        return None if entry is None else KeyRecord.of(entry)

    async def get(self, verkey: str, *, for_update: bool = False) -> KeyRecord:
        """Return the record of a verkey; raises WalletNotFoundError."""
        record = await self.find(verkey, for_update=for_update)
        if record is None:
            raise WalletNotFoundError(f"The wallet has no key {verkey}.")
        return record

    async def get_by_key_id(self, key_id: str) -> KeyRecord:
        """Return the record of a key id; raises WalletNotFoundError and WalletDuplicateError."""
        entries = await self._handle.fetch_all(CATEGORY, {"key_id": key_id}, limit=2)
        if len(entries) > 1:
            raise WalletDuplicateError(f"More than one key has the id {key_id}.")
        if not entries:
            raise WalletNotFoundError(f"No key has the id {key_id}.")
        return KeyRecord.of(entries[0])
