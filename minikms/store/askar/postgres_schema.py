"""Compares a PostgreSQL database with the schema that Askar 0.5.0 makes there."""

from collections.abc import Set
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import asyncpg

# The tables that Askar's statements find, and the schemas in which these statements look for
# tables, functions and operators. It names the schema of each of its own functions, since `SET
# LOCAL` comes later.
_RESOLVED: Final = """
SELECT pg_catalog.to_regclass('config')::pg_catalog.oid AS config,
    pg_catalog.to_regclass('profiles')::pg_catalog.oid AS profiles,
    pg_catalog.to_regclass('items')::pg_catalog.oid AS items,
    pg_catalog.to_regclass('items_tags')::pg_catalog.oid AS items_tags,
    pg_catalog.current_schemas(true)::pg_catalog.text[] AS path
"""

# The functions and the operators in the statements of Askar's and of ours. One in a schema of the
# path that fits their arguments better would run instead of PostgreSQL's own.
_FUNCTIONS: Final = ("array_agg", "array_to_string", "count", "encode", "substr")
_OPERATORS: Final = ("=", "<>", "<", "<=", ">", ">=", "||", "*", "/")

# After this, each name is PostgreSQL's own, and definitions name the schema of all others.
_OWN_NAMES: Final = "SET LOCAL search_path = pg_catalog, pg_temp"

_SCHEMA: Final = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = $1"

# The functions and operators of an extension take its own types, which Askar's arguments never
# have.
_FOUND: Final = r"""
WITH ours AS (SELECT * FROM pg_class WHERE oid = ANY($1::oid[])),
own_types AS (SELECT oid FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace),
path AS (
    SELECT oid FROM pg_namespace WHERE nspname = ANY($2::text[]) AND nspname <> 'pg_catalog'
)
SELECT 'table' AS kind, oid::regclass::text AS of, relname::text AS name,
    concat_ws(' ', relkind, relpersistence) AS definition FROM ours
UNION ALL SELECT 'column', attrelid::regclass::text, relname || '.' || attname,
    concat_ws(' ', format_type(atttypid, atttypmod),
        CASE WHEN attcollation NOT IN (0, 'pg_catalog."default"'::regcollation) THEN 'COLLATE' END,
        CASE WHEN attnotnull THEN 'NOT NULL' END,
        regexp_replace(
            pg_get_expr(adbin, adrelid), '^nextval\(''[^'']*''::regclass\)$', 'SERIAL'))
    FROM pg_attribute JOIN ours ON ours.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE contype <> 'n'
    AND (conrelid IN (SELECT oid FROM ours) OR confrelid IN (SELECT oid FROM ours))
UNION ALL SELECT 'index', indrelid::regclass::text, pg_class.relname,
    regexp_replace(pg_get_indexdef(indexrelid), ' WITH \([^)]*\)', '')
        || CASE WHEN indisvalid AND indisready AND indislive THEN '' ELSE ' INVALID' END
    FROM pg_index JOIN ours ON ours.oid = indrelid JOIN pg_class ON pg_class.oid = indexrelid
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, ''
    FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'rule', ev_class::regclass::text, rulename, ''
    FROM pg_rewrite JOIN ours ON ours.oid = ev_class WHERE relkind = 'r'
UNION ALL SELECT 'policy', polrelid::regclass::text, polname, ''
    FROM pg_policy JOIN ours ON ours.oid = polrelid
UNION ALL SELECT 'table', '', inhrelid::regclass || ' within ' || inhparent::regclass, ''
    FROM pg_inherits JOIN ours ON ours.oid IN (inhrelid, inhparent)
UNION ALL SELECT 'statistics', stxrelid::regclass::text, stxname, ''
    FROM pg_statistic_ext JOIN ours ON ours.oid = stxrelid
    WHERE replace(pg_get_statisticsobjdef(pg_statistic_ext.oid), 'substr(value, 1, 12)', '')
        ~ ' ON .*\('
UNION ALL SELECT 'function', '', pronamespace::regnamespace || '.' || proname, ''
    FROM pg_proc WHERE proname = ANY($3::text[]) AND pronamespace IN (SELECT oid FROM path)
    AND (pronargs = 0 OR EXISTS (SELECT FROM own_types WHERE oid = ANY(proargtypes)))
UNION ALL SELECT 'operator', '', oprnamespace::regnamespace || '.' || oprname, ''
    FROM pg_operator WHERE oprname = ANY($4::text[]) AND oprnamespace IN (SELECT oid FROM path)
    AND EXISTS (SELECT FROM own_types WHERE oid IN (oprleft, oprright))
"""

# Askar's tables: for each column its definition, then the constraints and the indexes by name.
_SERIAL: Final = "bigint NOT NULL SERIAL"
_COLUMNS: Final = {
    "config": {"name": "text NOT NULL", "value": "text"},
    "profiles": {
        "id": _SERIAL,
        "name": "text NOT NULL",
        "reference": "text",
        "profile_key": "bytea",
    },
    "items": {
        "id": _SERIAL,
        "profile_id": "bigint NOT NULL",
        "kind": "smallint NOT NULL",
        "category": "bytea NOT NULL",
        "name": "bytea NOT NULL",
        "value": "bytea NOT NULL",
        "expiry": "timestamp without time zone",
    },
    "items_tags": {
        "id": _SERIAL,
        "item_id": "bigint NOT NULL",
        "name": "bytea NOT NULL",
        "value": "bytea NOT NULL",
        "plaintext": "smallint NOT NULL",
    },
}
_CASCADE: Final = "ON UPDATE CASCADE ON DELETE CASCADE"
_CONSTRAINTS: Final = {
    "config": {"config_pkey": "PRIMARY KEY (name)"},
    "profiles": {"profiles_pkey": "PRIMARY KEY (id)"},
    "items": {
        "items_pkey": "PRIMARY KEY (id)",
        "items_profile_id_fkey": (
            f"FOREIGN KEY (profile_id) REFERENCES {{schema}}.profiles(id) {_CASCADE}"
        ),
    },
    "items_tags": {
        "items_tags_pkey": "PRIMARY KEY (id)",
        "items_tags_item_id_fkey": (
            f"FOREIGN KEY (item_id) REFERENCES {{schema}}.items(id) {_CASCADE}"
        ),
    },
}
_INDEXES: Final = {
    "config": {"config_pkey": "UNIQUE INDEX config_pkey ON {of} USING btree (name)"},
    "profiles": {
        "profiles_pkey": "UNIQUE INDEX profiles_pkey ON {of} USING btree (id)",
        "ix_profile_name": "UNIQUE INDEX ix_profile_name ON {of} USING btree (name)",
    },
    "items": {
        "items_pkey": "UNIQUE INDEX items_pkey ON {of} USING btree (id)",
        "ix_items_uniq": (
            "UNIQUE INDEX ix_items_uniq ON {of} USING btree (profile_id, kind, category, name)"
        ),
    },
    "items_tags": {
        "items_tags_pkey": "UNIQUE INDEX items_tags_pkey ON {of} USING btree (id)",
        "ix_items_tags_item_id": "INDEX ix_items_tags_item_id ON {of} USING btree (item_id)",
        "ix_items_tags_name_enc": (
            "INDEX ix_items_tags_name_enc ON {of} USING btree (name, substr(value, 1, 12)) "
            "INCLUDE (item_id) WHERE (plaintext = 0)"
        ),
        "ix_items_tags_name_plain": (
            "INDEX ix_items_tags_name_plain ON {of} USING btree (name, value) "
            "INCLUDE (item_id) WHERE (plaintext = 1)"
        ),
    },
}


class _Object(NamedTuple):
    """A table, or an object that belongs to the table `of`, which is named with its schema."""

    kind: str
    of: str
    name: str
    definition: str


async def differences(session: "asyncpg.Connection") -> tuple[Set[str], Set[str]]:
    """Find the names of missing tables, and of objects that differ from those that Askar makes.

    The session must have the settings of Askar's own, such as `search_path`. Raises the errors of
    asyncpg.
    """
    # In a transaction, since a pooler may give the next one another session.
    async with session.transaction():
        resolved = dict(await session.fetchrow(_RESOLVED))
        path = resolved.pop("path")
        if missing := {f"table {name}" for name, oid in resolved.items() if oid is None}:
            return missing, set()
        await session.execute(_OWN_NAMES)
        schema = await session.fetchval(_SCHEMA, resolved["config"])
        found = await session.fetch(_FOUND, [*resolved.values()], path, _FUNCTIONS, _OPERATORS)
    differing = {_Object(*row) for row in found} ^ _made_by_askar(schema)
    return set(), {f"the {each.kind} {each.name}" for each in differing}


def _made_by_askar(schema: str) -> Set[_Object]:
    """List the tables that Askar makes in a schema, whose name is quoted, with their objects."""
    made = set[_Object]()
    for table, columns in _COLUMNS.items():
        of = f"{schema}.{table}"
        made.add(_Object("table", of, table, "r p"))
        for name, definition in columns.items():
            made.add(_Object("column", of, f"{table}.{name}", definition))
        for name, definition in _CONSTRAINTS[table].items():
            made.add(_Object("constraint", of, name, definition.format(schema=schema)))
        for name, definition in _INDEXES[table].items():
            made.add(_Object("index", of, name, f"CREATE {definition.format(of=of)}"))
    return made
