"""The audit log's entries in the store: first keys of chains, last heads, and the signing key.

They are in a profile that callers cannot reach.
"""

import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from minikms.audit.chain import KEY_LENGTH, Head
from minikms.encodings import jose_b64url
from minikms.errors import KeyUnreadable
from minikms.store import Database, DuplicateError, Entry, Session, Transaction

SIGNING_KEY: Final = "minikms.audit.key"
CHAIN: Final = "minikms.audit.chain"
HEAD: Final = "minikms.audit.head"

_ED25519: Final = "ed25519"


class AuditStore:
    """The audit log's entries in a store; its methods raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def public_key(self) -> Ed25519PublicKey:
        """Return the public key that verifies heads; create the key pair if the store has none."""
        return (await self._signing_key()).public_key()

    async def cursor_key(self) -> bytes:
        """Return the key that encrypts search cursors, shared by all processes of a store."""
        signing = await self._signing_key()
        return hashlib.sha256(b"minikms audit cursor\n" + signing.private_bytes_raw()).digest()

    async def _signing_key(self) -> Ed25519PrivateKey:
        """Return the key that signs heads; create it if the store has none."""

        async def find(session: Session) -> Ed25519PrivateKey | None:
            entry = await session.fetch(SIGNING_KEY, _ED25519)
            return None if entry is None else _private(entry)

        async def make(session: Transaction) -> None:
            await session.insert(SIGNING_KEY, _ED25519, secrets.token_bytes(KEY_LENGTH))

        while (found := await self._database.run_own(find)) is None:
            try:
                await self._database.run_own(make, write=True)
            except DuplicateError:
                continue  # another process was first
        return found

    async def new_chain(self) -> tuple[str, bytes]:
        """Store a new chain; return its id and the key of its first line."""
        chain, key = secrets.token_hex(16), secrets.token_bytes(KEY_LENGTH)

        async def work(session: Transaction) -> None:
            await session.insert(CHAIN, chain, key)

        await self._database.run_own(work, write=True)
        return chain, key

    async def save_head(self, head: Head) -> None:
        """Sign a head and store it in place of its chain's previous head.

        The signing key is in memory only during the call. Calls may complete out of order, so a
        head with fewer lines than the saved one is dropped.
        """

        async def work(session: Transaction) -> None:
            entry = await session.fetch(SIGNING_KEY, _ED25519)
            if entry is None:
                raise KeyUnreadable("The key that signs heads of audit logs is missing.")
            value, tags = head.signed(_private(entry)).to_bytes(), {"file": head.file}
            before = await session.fetch(HEAD, head.chain)
            if before is None:
                await session.insert(HEAD, head.chain, value, tags)
            elif Head.from_bytes(before.value).count <= head.count:
                await session.replace(HEAD, head.chain, value, tags, cached=False)

        await self._database.run_own(work, write=True)

    async def heads_of(self, file: str) -> list[Head]:
        """Return the last head of each chain in the file of this name."""

        async def work(session: Session) -> list[Head]:
            rows = await session.fetch_all(HEAD, {"file": file})
            return [Head.from_bytes(row.value) for row in rows]

        return await self._database.run_own(work)

    async def heads(self) -> list[Head]:
        """Return the last head of every chain, in order of creation; raises KeyUnreadable."""
        return [Head.from_bytes(row.value) async for row in self._rows(HEAD)]

    async def chains(self) -> dict[str, bytes]:
        """Return the first line's key of every chain; raises KeyUnreadable."""
        return {row.name: row.value async for row in self._rows(CHAIN)}

    async def _rows(self, category: str) -> AsyncGenerator[Entry, None]:
        async with aclosing(self._database.batches(None, category)) as batches:
            async for batch in batches:
                for row in batch:
                    if row is None:
                        raise KeyUnreadable("The store's entries of audit logs do not decrypt.")
                    yield row


def public_text(key: Ed25519PublicKey) -> str:
    """Encode a public key as in commands and opening lines: base64url."""
    return jose_b64url(key.public_bytes_raw())


def _private(entry: Entry) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(entry.value)
