"""Settings of a name (versions, soft deletion, rotation), and of the engine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from minikms.doors import KeyRecord, KeyVersions, errors
from minikms_vault.body import Body
from minikms_vault.description import (
    described,
    require_rotatable,
    require_type,
    warnings_of,
)
from minikms_vault.errors import VaultError, invalid
from minikms_vault.names import NAME
from minikms_vault.operation import Answer, VaultAnswer, VaultCall, operation
from minikms_vault.rotation import period_of, schedule

_FROM_1: Final = (
    "since Vault 0.3 (prior to the OpenBao fork), transit key numbering starts at 1; forcing "
    "minimum to 1"
)
_CACHE: Final = "The options --cache-size and --cache-memory of `minikms serve` bound the cache."


@operation(
    "configureKey",
    "keys:write",
    "POST keys/{name}/config",
    takes="min_decryption_version min_encryption_version deletion_allowed exportable"
    " auto_rotate_period allow_plaintext_backup",
)
async def configure_key(call: VaultCall, body: Body) -> Answer:
    """Set a name's minimum versions, whether it may be deleted, and its rotation schedule."""
    name = body.text("name")
    period = period_of(body)
    warnings = warnings_of(body)
    if "min_decryption_version" in body and body.integer("min_decryption_version") == 0:
        warnings = (*warnings, _FROM_1)

    def change(record: KeyRecord, versions: KeyVersions) -> KeyVersions:
        if body.boolean("exportable") and not record.exportable:
            raise invalid("a key that was not made exportable cannot become so")
        if period:
            require_rotatable(name, record)
        return _configured(versions, body)

    unknown = invalid(f"no existing key named {name} could be found")
    await _change(call, name, change, unknown)
    if period is not None:
        await schedule(call, name, period)
    return await described(call, name, *warnings)


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
        # OpenBao spells it this way, and clients may match it.
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
    return await described(call, name)


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
    """Report that `encrypt` makes a missing key, if the caller may make keys."""
    return {"disable_upsert": False}


@operation("writeKeysConfig", "keys:write", "POST config/keys")
async def write_keys_config(call: VaultCall, body: Body) -> Answer:
    """Refuse to change a setting that depends on a token's scopes."""
    if body.boolean("disable_upsert"):
        raise invalid("a token without the scope keys:write makes no keys: this cannot be set here")
    return {"disable_upsert": False}


@operation("readCacheConfig", "keys:read", "GET cache-config")
async def read_cache_config(call: VaultCall, body: Body) -> Answer:
    """Answer 0, with a warning that options of the service bound the cache."""
    return VaultAnswer({"size": 0}, warnings=(_CACHE,))


@operation("writeCacheConfig", "keys:write", "POST cache-config")
async def write_cache_config(call: VaultCall, body: Body) -> Answer:
    """Answer 0, with a warning that options of the service bound the cache."""
    body.integer("size")
    return VaultAnswer({"size": 0}, warnings=(_CACHE,))


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
    """Apply `change` to the versions of a name and store the result; raises AliasNotFound."""

    def checked(record: KeyRecord, versions: KeyVersions) -> KeyVersions:
        require_type(call, record)
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
    return await described(call, name, *(() if is_changed else (already,)))


def _configured(versions: KeyVersions, body: Body) -> KeyVersions:
    """Return versions with the settings in a body; raises VaultError."""
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
    # The messages are OpenBao's. Since the number of versions is bounded, the minimum available
    # version may rise before a minimum encryption version is set.
    if encryption < versions.min_available_version and "min_encryption_version" in body:
        raise invalid("min encryption version should not be less than min available version")
    if decryption < versions.min_available_version:
        raise invalid("min decryption version should not be less then min available version")
    return after
