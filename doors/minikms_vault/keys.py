"""Keys by name: making, reading, listing, rotating and deleting them."""

from typing import Final

from minikms.doors import KeyRecord, KeyVersions, errors
from minikms_vault import names
from minikms_vault.body import Body
from minikms_vault.description import (
    described,
    require_rotatable,
    require_type,
    warnings_of,
)
from minikms_vault.errors import invalid, not_found
from minikms_vault.names import NAME, SOFT_DELETED
from minikms_vault.operation import Answer, VaultAnswer, VaultCall, operation
from minikms_vault.rotation import period_of
from minikms_vault.types import ML_DSA, key_types

# The largest size of a listing; names are ASCII.
MAX_NAMES: Final = 100_000
MAX_NAME_BYTES: Final = 4 * 1024 * 1024
_MORE_NAMES: Final = "There are more names: list again with the last one as `after`."

_AES: Final = "aes256-gcm96"
_NO_SET: Final = f"parameter_set is ignored: only {ML_DSA} takes it"


@operation(
    "createKey",
    "keys:write",
    "POST keys/{name}",
    takes="type exportable key_size parameter_set derived convergent_encryption context"
    " auto_rotate_period allow_plaintext_backup",
)
async def create_key(call: VaultCall, body: Body) -> Answer:
    """Make a key, unless a key has the name."""
    name = body.text("name")
    period = period_of(body) or None
    if body.boolean("convergent_encryption") and not body.boolean("derived"):
        raise invalid("convergent encryption requires derivation to be enabled")
    refuse_derived(body)
    types = key_types(call.registry)
    kind = body.text("type", _AES)
    found = types.get(kind, body.integer("key_size"), body.text("parameter_set"))
    exportable = body.boolean("exportable")
    await names.make(call, name, found, exportable=exportable, rotate_every=period)
    warnings = warnings_of(body)
    if "parameter_set" in body and kind != ML_DSA:
        warnings = (*warnings, _NO_SET)
    try:
        return await described(call, name, *warnings)
    except errors.AliasNotFound:
        why = "is of a kind that Transit does not have, or was just deleted"
        raise invalid(f"the key {name} {why}") from None


@operation("readKey", "keys:read", "GET keys/{name}")
async def read_key(call: VaultCall, body: Body) -> Answer:
    """Read the settings and the public keys of a name."""
    return await described(call, body.text("name"))


@operation("listKeys", "keys:read", "LIST keys")
async def list_keys(call: VaultCall, body: Body) -> Answer:
    """List the names of all keys with Vault's types, sorted; only the first if there are many."""
    types = key_types(call.registry)
    after, limit = body.text("after"), body.integer("limit")
    most = min(limit, MAX_NAMES) if limit > 0 else MAX_NAMES
    require_present = call.door.presence()
    found: list[str] = []
    size, is_cut = 0, False
    async for page in call.service.pages(call.profile):
        require_present()
        some = [
            alias
            for record in page
            if types.of(record) is not None
            for alias in record.aliases
            if alias > after and NAME.fullmatch(alias)
        ]
        size += sum(map(len, some))
        # Sorted page by page, so that no step takes long: most of the list is sorted already.
        found += some
        found.sort()
        while len(found) > most or size > MAX_NAME_BYTES:
            size -= len(found.pop())
            is_cut = True
    if not found:
        raise not_found()
    if is_cut and len(found) != limit:
        return VaultAnswer({"keys": found}, warnings=(_MORE_NAMES,))
    return {"keys": found}


@operation("deleteKey", "keys:delete", "DELETE keys/{name}")
async def delete_key(call: VaultCall, body: Body) -> None:
    """Delete a name with the keys of all its versions."""
    name = body.text("name")

    def check(record: KeyRecord, versions: KeyVersions) -> None:
        require_type(call, record)
        if not versions.deletion_allowed:
            raise invalid(f"error deleting policy {name}: deletion is not allowed for this key")

    try:
        await call.service.delete_name(call.profile, name, check, may_delete=call.door.may_delete)
    except errors.AliasNotFound:
        raise invalid(f"error deleting policy {name}: could not delete key; not found") from None


@operation("rotateKey", "keys:write", "POST keys/{name}/rotate", missing="key not found")
async def rotate_key(call: VaultCall, body: Body) -> Answer:
    """Make the next version of a key; earlier versions remain usable."""
    name = body.text("name")

    def check(record: KeyRecord, versions: KeyVersions) -> None:
        require_type(call, record)
        if versions.soft_deleted:
            raise invalid(SOFT_DELETED)
        require_rotatable(name, record)

    try:
        await call.service.rotate_name(call.profile, name, check)
    except errors.AliasNotFound:
        raise invalid("key not found") from None
    return await described(call, name)


def refuse_derived(body: Body) -> None:
    """Refuse a key that derives a key from each context."""
    if body.boolean("derived"):
        raise invalid("derived keys are not supported: make a key for each context")
