"""Ends the tokens of a removed profile, since another may get its name."""

from typing import Final

import orjson

from minikms.store.sessions import Transaction

# The category of tokens in the store's own profile; see also `access/tokens.py`.
CATEGORY: Final = "minikms.token"


async def revoke_tokens_of(session: Transaction, profile: str) -> None:
    """Revoke the tokens of a profile alone, and take it from those of several profiles."""
    for entry in await session.fetch_all(CATEGORY):
        record = orjson.loads(entry.value)
        if profile not in (record["profiles"] or ()):
            continue
        record["profiles"] = [other for other in record["profiles"] if other != profile]
        if record["profiles"]:
            await session.replace(CATEGORY, entry.name, orjson.dumps(record))
        else:
            await session.remove(CATEGORY, entry.name)
