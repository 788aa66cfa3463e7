"""Rows of profiles in PostgreSQL: one statement tells for many profiles whether they have changed.

A check of a lease reads one entry of a profile (`store/connections/leases.py`). Only Askar can find
its row, since its category and its name are encrypted. But no other entry of the profile has its
category. So all rows that are alone in their category are compared: they are few, and the entry is
one of them. While their encrypted values stay the same, the entry has not changed.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncpg

# Seconds for the statements, in which the connection cannot send a notice.
_TIMEOUT: Final = 0.5

# The rows that are the only ones of their category: one step through the index for each category of
# a profile. 2 is Askar's number for entries that are not keys of its own.
_FIND: Final = """
    WITH RECURSIVE found AS (
        SELECT name, id AS profile_id, ''::pg_catalog.bytea AS category
        FROM profiles WHERE name = ANY($1)
    UNION ALL
        SELECT found.name, found.profile_id, next.category
        FROM found CROSS JOIN LATERAL (
            SELECT category FROM items
            WHERE profile_id = found.profile_id AND kind = 2 AND category > found.category
            ORDER BY category LIMIT 1
        ) AS next
    )
    SELECT found.name, pg_catalog.array_agg(single.id) AS ids
    FROM found CROSS JOIN LATERAL (
        SELECT pg_catalog.min(id) AS id
        FROM (
            SELECT id FROM items
            WHERE profile_id = found.profile_id AND kind = 2 AND category = found.category LIMIT 2
        ) AS two
        HAVING pg_catalog.count(*) = 1
    ) AS single
    GROUP BY found.name
"""

_DIGESTS: Final = """
    SELECT profiles.name,
        pg_catalog.sha256(pg_catalog.string_agg(items.value, '' ORDER BY items.id)) AS digest
    FROM pg_catalog.unnest($1::pg_catalog.int8[]) AS watched(id)
    JOIN items USING (id) JOIN profiles ON profiles.id = profile_id
    GROUP BY profiles.name
"""


class ProfileRows:
    """The rows of a profile that has the entry, and the digest of their values.

    `ids` is empty until they are found, and after they have changed.
    """

    __slots__ = ("askar_profile", "digest", "ids")

    def __init__(self, askar_profile: str) -> None:
        self.askar_profile = askar_profile
        self.ids: list[int] = []
        self.digest = b""


async def unchanged(
    connection: "asyncpg.Connection", rows: Collection[ProfileRows]
) -> set[ProfileRows]:
    """Give the profiles that have not changed since the last call; find the rows of the others.

    Raises TimeoutError; then nothing is known of the profiles.
    """
    by_name = {each.askar_profile: each for each in rows}
    missing = [name for name, each in by_name.items() if not each.ids]
    if missing:
        for name, ids in await connection.fetch(_FIND, missing, timeout=_TIMEOUT):
            by_name[name].ids, by_name[name].digest = ids, b""
    ids = [one for each in rows for one in each.ids]
    digests = dict(await connection.fetch(_DIGESTS, ids, timeout=_TIMEOUT))
    same = set[ProfileRows]()
    for name, each in by_name.items():
        before, each.digest = each.digest, digests.get(name, b"")
        if before and before == each.digest:
            same.add(each)
        elif before or not each.digest:
            each.ids = []
    return same
