"""The entries of tokens in the store's own profile, by the profiles that they name.

A tag names the profiles of a token, so that a call reads only the tokens of its caller's profiles.
Another tag has its place in the order of creation. The record, JSON, maps names of profiles to ids
(store/profiles/tenancy.py); up to version 0.3.0 it lists names. See also `access/token_record.py`.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from minikms.store.askar.sequence import SEQ_TAG, seq_of
from minikms.store.askar.sessions import Session, TagFilter, Transaction
from minikms.store.categories import TOKENS

# The tag of a token's entry with the time of its last use in nanoseconds. It is not in the record,
# so that no cache depends on it.
LAST_USE: Final = "used"

# An unencrypted tag, which the database compares.
_EXPIRES: Final = "~expires"

# Tokens without a place: version 0.3.0 or an earlier one has written the entry.
UNPLACED: Final[TagFilter] = {"$not": {"$exist": [SEQ_TAG]}}

# The number of tokens that one transaction changes, so that other writers do not wait long, and the
# number that one query fetches, since each query finds all tokens of a profile.
TOGETHER: Final = 64
_MANY: Final = 1024


def token_tags(
    profiles: Iterable[str] | None, expires: int | None, seq: str, last_use: int = 0
) -> dict[str, Any]:
    """The tags of a token; `profiles` None means all profiles."""
    tags: dict[str, Any] = {SEQ_TAG: seq}
    if profiles is not None:
        tags["profile"] = sorted(profiles)
    if expires is not None:
        tags[_EXPIRES] = f"{max(expires, 0):020d}"
    if last_use:
        tags[LAST_USE] = str(last_use)
    return tags


def of_profiles(profiles: Iterable[str]) -> TagFilter:
    """The filter of the tokens that name one of these profiles; at least one must be given."""
    one, *others = ({"profile": name} for name in sorted(profiles))
    return {"$or": [one, *others]} if others else one  # a list is slower, even of one value


def expired_at(moment: int) -> TagFilter:
    """The filter of the tokens that have expired at a moment in nanoseconds since the epoch."""
    return {_EXPIRES: {"$lte": f"{max(moment, 0):020d}"}}


def after_place(seq: str) -> TagFilter:
    """The filter of the tokens behind a place."""
    return {SEQ_TAG: {"$gt": seq}}


def seq_in(tags: dict[str, Any]) -> str:
    """The place of a token in the order of creation; empty if it has none."""
    return str(tags.get(SEQ_TAG, ""))


async def next_seq(session: Transaction) -> str:
    """Assign the next place in the order of creation of tokens."""
    if session.stored is None:
        session.stored = await session.sequence()
        session.place = session.stored.place
    return seq_of(session.next_place())


async def bind_token(session: Transaction, token_id: str, profile: str, profile_id: str) -> None:
    """Store the id of a profile in a token that names it."""
    entry = await session.fetch(TOKENS, token_id, for_update=True)
    if entry is None:
        return
    record = orjson.loads(entry.value)
    if profile in (record["profiles"] or ()):
        ids = _ids(record["profiles"])
        record["profiles"] = ids | {profile: profile_id}
        await session.replace(TOKENS, token_id, orjson.dumps(record), entry.tags)


async def tokens_of(session: Session, profile: str) -> list[str]:
    """The ids of up to `_MANY` tokens that name a profile."""
    return [entry.name for entry in await session.fetch_all(TOKENS, of_profiles([profile]), _MANY)]


async def revoke(session: Transaction, profile: str, token_ids: Iterable[str]) -> None:
    """Revoke tokens that name only this profile; remove the profile from the others."""
    for token_id in token_ids:
        entry = await session.fetch(TOKENS, token_id, for_update=True)
        if entry is None:
            continue
        record, tags = orjson.loads(entry.value), entry.tags
        named = _ids(record["profiles"])
        named.pop(profile, None)
        if record["profiles"] is not None and not named:
            await session.remove(TOKENS, token_id)
            continue
        if record["profiles"] is not None:  # None only if somebody has changed the tag
            record["profiles"] = named
        tags = token_tags(
            record["profiles"], record["expires"], seq_in(tags), int(tags.get(LAST_USE, 0))
        )
        await session.replace(TOKENS, token_id, orjson.dumps(record), tags)


async def count(session: Session, profile: str) -> int:
    """Count the tokens that name a profile."""
    return await session.count(TOKENS, of_profiles([profile]))


def _ids(profiles: Any) -> dict[str, str | None]:
    """The ids of the profiles in a record by their names, None for an unknown one."""
    return dict(profiles) if isinstance(profiles, dict) else dict.fromkeys(profiles or ())
