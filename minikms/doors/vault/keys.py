"""Keys by name: making, reading, listing, configuring, rotating, trimming and deleting them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from minikms.doors import KeyRecord, KeyRef, KeyVersions, errors
from minikms.doors.vault import names
from minikms.doors.vault.body import Body
from minikms.doors.vault.errors import VaultError, invalid, not_found
from minikms.doors.vault.formats import chain, public_key
from minikms.doors.vault.names import NAME, SOFT_DELETED
from minikms.doors.vault.operation import Answer, VaultAnswer, VaultCall, operation
from minikms.doors.vault.rotation import period_of, schedule
from minikms.doors.vault.types import KeyType, key_types

IMPORTED: Final = "vault%3Aimported"
"""The label of an imported key: ROTATABLE or FIXED."""
ROTATABLE: Final = "rotatable"
FIXED: Final = "fixed"

# Of one listing; names are ASCII.
MAX_NAMES: Final = 100_000
MAX_NAME_BYTES: Final = 4 * 1024 * 1024
_MORE_NAMES: Final = "There are more names: list again with the last one as `after`."

MAX_CHAINS: Final = 4 * 1024 * 1024
"""Bytes of the certificates of all versions in an answer."""
_PAGE: Final = 100  # records of versions that are read at a time; each has up to 44 KB

_AES: Final = "aes256-gcm96"

_NO_BACKUP: Final = (
    "Keys have no backup of their own here, so allow_plaintext_backup stays false: "
    "`minikms store backup` copies a whole store."
)
_CHAINS_LEFT_OUT: Final = (
    f"The certificates have more than {MAX_CHAINS:,} bytes: the oldest versions are shown without "
    "certificates. Export the certificate-chain of a version."
)
_FROM_1: Final = (
    "since Vault 0.3 (prior to the OpenBao fork), transit key numbering starts at 1; forcing "
    "minimum to 1"
)


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
    period = period_of(body)
    if body.boolean("convergent_encryption") and not body.boolean("derived"):
        raise invalid("convergent encryption requires derivation to be enabled")
    refuse_derived(body)
    types = key_types(call.registry)
    kind = body.text("type", _AES)
    found = types.get(kind, body.integer("key_size"), body.text("parameter_set"))
    made = await names.make(call, name, found, exportable=body.boolean("exportable"))
    try:
        if made and period:
            await schedule(call, name, period)
        return await _described(call, name, *_warnings(body))
    except errors.AliasNotFound:
        why = "is of a kind that Transit does not have, or was just deleted"
        raise invalid(f"the key {name} {why}") from None


@operation("readKey", "keys:read", "GET keys/{name}")
async def read_key(call: VaultCall, body: Body) -> Answer:
    """Read the settings and the public keys of a name."""
    return await _described(call, body.text("name"))


@operation("listKeys", "keys:read", "LIST keys")
async def list_keys(call: VaultCall, body: Body) -> Answer:
    """List the names of all keys of Vault's types, sorted; the first ones if there are many."""
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
        # Page by page, so that no step takes long: most of it is sorted already.
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
        _require_type(call, record)
        if not versions.deletion_allowed:
            raise invalid(f"error deleting policy {name}: deletion is not allowed for this key")

    try:
        await call.service.delete_name(call.profile, name, check, may_delete=call.door.may_delete)
    except errors.AliasNotFound:
        raise invalid(f"error deleting policy {name}: could not delete key; not found") from None


@operation(
    "configureKey",
    "keys:write",
    "POST keys/{name}/config",
    takes="min_decryption_version min_encryption_version deletion_allowed exportable"
    " auto_rotate_period allow_plaintext_backup",
)
async def configure_key(call: VaultCall, body: Body) -> Answer:
    """Set the least versions of a name, whether it may be deleted, and its schedule."""
    name = body.text("name")
    period = period_of(body)
    warnings = _warnings(body)
    if "min_decryption_version" in body and body.integer("min_decryption_version") == 0:
        warnings = (*warnings, _FROM_1)

    def change(record: KeyRecord, versions: KeyVersions) -> KeyVersions:
        if body.boolean("exportable") and not record.exportable:
            raise invalid("a key that was not made exportable cannot become so")
        if period and record.labels.get(IMPORTED) == FIXED:
            raise _not_rotatable(name)
        return _configured(versions, body)

    unknown = invalid(f"no existing key named {name} could be found")
    await _change(call, name, change, unknown)
    if period is not None:
        await schedule(call, name, period)
    return await _described(call, name, *warnings)


@operation("rotateKey", "keys:write", "POST keys/{name}/rotate", missing="key not found")
async def rotate_key(call: VaultCall, body: Body) -> Answer:
    """Make the next version of a key; the versions before stay usable."""
    name = body.text("name")

    def check(record: KeyRecord, versions: KeyVersions) -> None:
        _require_type(call, record)
        if versions.soft_deleted:
            raise invalid(SOFT_DELETED)
        if record.labels.get(IMPORTED) == FIXED:
            raise _not_rotatable(name)

    try:
        await call.service.rotate_name(call.profile, name, check)
    except errors.AliasNotFound:
        raise invalid("key not found") from None
    return await _described(call, name)


@operation("trimKey", "keys:delete", "POST keys/{name}/trim", takes="min_available_version")
async def trim_key(call: VaultCall, body: Body) -> Answer:
    """Delete the keys of the oldest versions."""
    name = body.text("name")

    def change(_: KeyRecord, versions: KeyVersions) -> KeyVersions:
        if "min_available_version" not in body:
            raise invalid("missing min_available_version")
        least = body.integer("min_available_version")
        if least < versions.min_available_version:
            raise invalid("minimum available version cannot be decremented")
        if versions.min_encryption_version == 0:
            raise invalid(
                "minimum available version cannot be set when minimum encryption version is not set"
            )
        # OpenBao spells it so, and clients may look for it.
        if least > versions.min_encryption_version:
            raise invalid(
                "minimum available version cannot be greater than minmum encryption version"
            )
        if least > versions.min_decryption_version:
            raise invalid(
                "minimum available version cannot be greater than minimum decryption version"
            )
        if least == 0:
            raise invalid("minimum available version should be positive")
        return replace(versions.trimmed(least), min_available_version=least)

    await _change(call, name, change, invalid("invalid key name"))
    return await _described(call, name)


@operation("softDeleteKey", "keys:write", "DELETE keys/{name}/soft-delete")
async def soft_delete_key(call: VaultCall, body: Body) -> Answer | None:
    """Refuse all uses of a name until it is restored."""
    return await _mark_deleted(call, body, "key was already marked as soft deleted", deleted=True)


@operation("softRestoreKey", "keys:write", "POST keys/{name}/soft-delete-restore")
async def soft_restore_key(call: VaultCall, body: Body) -> Answer | None:
    """Allow the uses of a soft-deleted name again."""
    return await _mark_deleted(call, body, "key was already restored", deleted=False)


@operation("readKeysConfig", "keys:read", "GET config/keys")
async def read_keys_config(call: VaultCall, body: Body) -> Answer:
    """Say that `encrypt` makes a missing key, if the caller may make keys."""
    return {"disable_upsert": False}


@operation("writeKeysConfig", "keys:write", "POST config/keys")
async def write_keys_config(call: VaultCall, body: Body) -> Answer:
    """Refuse to change a setting that the scopes of a token decide."""
    if body.boolean("disable_upsert"):
        raise invalid("a token without the scope keys:write makes no keys: this cannot be set here")
    return {"disable_upsert": False}


def _not_rotatable(name: str) -> VaultError:
    return invalid(f"imported key {name} does not allow rotation within Vault")


def refuse_derived(body: Body) -> None:
    """Raise for a key that derives a key from each context."""
    if body.boolean("derived"):
        raise invalid("derived keys are not supported: make a key for each context")


async def typed(call: VaultCall, name: str) -> tuple[names.Name, KeyRecord, KeyType]:
    """Find a name, the key of its latest version, and its type; raises AliasNotFound."""
    found = await names.find(call, name)
    try:
        record = await call.service.get(call.profile, KeyRef(kid=found.versions.latest_kid))
    except errors.KeyNotFound:  # its deletion has become due
        raise errors.AliasNotFound from None
    return found, record, _require_type(call, record)


def _require_type(call: VaultCall, record: KeyRecord) -> KeyType:
    """Return the type of a key; raises AliasNotFound if Vault has none."""
    of_vault = key_types(call.registry).of(record)
    if of_vault is None:
        raise errors.AliasNotFound
    return of_vault


async def records_of(
    call: VaultCall, versions: KeyVersions, numbers: range
) -> AsyncIterator[tuple[int, KeyRecord]]:
    """Find the keys of some versions, with their numbers.

    Deleted ones are left out, and types that Vault lacks.
    """
    types = key_types(call.registry)
    for start in range(0, len(numbers), _PAGE):
        page = numbers[start : start + _PAGE]
        kids = [versions.kid_of(number) or "" for number in page]
        records = await call.service.records(call.profile, kids)
        for number, record in zip(page, records, strict=True):
            if record is not None and types.of(record) is not None:
                yield number, record
        await asyncio.sleep(0)  # all may be in the cache: lets calls go on


async def _change(
    call: VaultCall,
    name: str,
    change: Callable[[KeyRecord, KeyVersions], KeyVersions],
    unknown: VaultError,
) -> None:
    """Change the versions of a name; raises `unknown`."""
    try:
        await _store(call, name, change)
    except errors.AliasNotFound:
        raise unknown from None


async def _store(
    call: VaultCall, name: str, change: Callable[[KeyRecord, KeyVersions], KeyVersions]
) -> None:
    """Store the versions of a name that `change` makes; raises AliasNotFound."""

    def checked(record: KeyRecord, versions: KeyVersions) -> KeyVersions:
        _require_type(call, record)
        return change(record, versions)

    if not NAME.fullmatch(name):
        raise errors.AliasNotFound
    await call.service.change_versions(call.profile, name, checked, may_delete=call.door.may_delete)


async def _mark_deleted(
    call: VaultCall, body: Body, already: str, *, deleted: bool
) -> Answer | None:
    name = body.text("name")
    is_changed = False

    def change(_: KeyRecord, versions: KeyVersions) -> KeyVersions:
        nonlocal is_changed
        is_changed = versions.soft_deleted is not deleted
        return replace(versions, soft_deleted=deleted)

    try:
        await _store(call, name, change)
    except errors.AliasNotFound:
        return None
    return await _described(call, name, *(() if is_changed else (already,)))


def _configured(versions: KeyVersions, body: Body) -> KeyVersions:
    """Return versions with the settings of a body; raises VaultError."""
    latest = versions.latest
    decryption = versions.min_decryption_version
    if "min_decryption_version" in body:
        decryption = body.integer("min_decryption_version")
        if decryption < 0:
            raise invalid("min decryption version cannot be negative")
        decryption = max(decryption, 1)
        if decryption > latest:
            raise invalid(
                f"cannot set min decryption version of {decryption}, latest key version is {latest}"
            )
    encryption = body.integer("min_encryption_version", versions.min_encryption_version)
    if encryption < 0:
        raise invalid("min encryption version cannot be negative")
    if encryption > latest:
        raise invalid(
            f"cannot set min encryption version of {encryption}, latest key version is {latest}"
        )
    if 0 < encryption < decryption:
        raise invalid(
            "cannot set min encryption/decryption values; min encryption version of "
            f"{encryption} must be greater than or equal to min decryption version of {decryption}"
        )
    after = replace(
        versions,
        min_decryption_version=decryption,
        min_encryption_version=encryption,
        deletion_allowed=body.boolean("deletion_allowed", versions.deletion_allowed),
    )
    if after == versions:
        return versions
    # The sentences are OpenBao's. Since the number of versions is bounded, the least available one
    # may rise before a version to encrypt is set.
    if encryption < versions.min_available_version and "min_encryption_version" in body:
        raise invalid("min encryption version should not be less than min available version")
    if decryption < versions.min_available_version:
        raise invalid("min decryption version should not be less then min available version")
    return after


async def _described(call: VaultCall, name: str, *warnings: str) -> Answer:
    """Return the answer of a read; raises AliasNotFound."""
    found, record, of_vault = await typed(call, name)
    versions = found.versions
    data: dict[str, Any] = {
        "name": name,
        "type": of_vault.name,
        "derived": False,
        "deletion_allowed": versions.deletion_allowed,
        "min_available_version": versions.min_available_version,
        "min_decryption_version": versions.min_decryption_version,
        "min_encryption_version": versions.min_encryption_version,
        "latest_version": versions.latest,
        "exportable": record.exportable,
        "allow_plaintext_backup": False,
        "supports_encryption": of_vault.encrypts,
        "supports_decryption": of_vault.encrypts,
        "supports_signing": of_vault.signs,
        "supports_derivation": of_vault.derives,
        "auto_rotate_period": record.rotate_every or 0,
        "imported_key": IMPORTED in record.labels,
        "soft_deleted": versions.soft_deleted,
        **of_vault.facts,
    }
    if IMPORTED in record.labels:
        data["imported_key_allow_rotation"] = record.labels[IMPORTED] == ROTATABLE
    if not of_vault.is_hmac:
        keys, types, size = dict[str, Any](), key_types(call.registry), 0
        if len(versions.shown) > 1:
            # The newest first: if there are too many, the oldest chains are left out.
            async for number, each in records_of(call, versions, versions.shown[::-1]):
                size += sum(map(len, each.certificates))
                keys[str(number)] = _key(each, types.of(each), with_chain=size <= MAX_CHAINS)
        else:
            keys[str(versions.latest)] = _key(record, of_vault)
        data["keys"] = dict(reversed(keys.items()))
        if size > MAX_CHAINS:
            warnings = (*warnings, _CHAINS_LEFT_OUT)
    return VaultAnswer(data, warnings=warnings) if warnings else data


def _key(
    record: KeyRecord, of_vault: KeyType | None, *, with_chain: bool = True
) -> int | Mapping[str, str]:
    """Return a version as a read shows it: the time, and the public key if there is one."""
    if record.jwk is None:
        return record.created // 10**9
    return {
        "name": "" if of_vault is None else of_vault.keys,
        "public_key": public_key(record.jwk),
        "certificate_chain": chain(record.certificates) if with_chain else "",
        "creation_time": _time(record.created),
    }


def _time(nanoseconds: int) -> str:
    """Return a time as Go writes it (RFC 3339), without zeros at the end."""
    seconds, rest = divmod(nanoseconds, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def _warnings(body: Body) -> tuple[str, ...]:
    return (_NO_BACKUP,) if body.boolean("allow_plaintext_backup") else ()
