"""The keys of a name's versions with their types, and the description of a name in answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from minikms.doors import KeyRecord, KeyRef, KeyVersions, errors
from minikms_vault import names
from minikms_vault.body import Body
from minikms_vault.errors import invalid
from minikms_vault.formats import chain, public_key
from minikms_vault.operation import Answer, VaultAnswer, VaultCall
from minikms_vault.types import KeyType, key_types

IMPORTED: Final = "vault%3Aimported"
"""The label of an imported key, kept by its successors: UNTIL_ROTATED or FIXED."""
UNTIL_ROTATED: Final = "until-rotated"
FIXED: Final = "fixed"

MAX_CHAINS: Final = 4 * 1024 * 1024
"""The largest size in bytes of all certificates in an answer."""
_PAGE: Final = 100  # records of versions read per batch; each has up to 44 KB

_NO_BACKUP: Final = (
    "Keys have no backup of their own here, so allow_plaintext_backup stays false: "
    "`minikms store backup` copies a whole store."
)
_CHAINS_LEFT_OUT: Final = (
    f"The certificates have more than {MAX_CHAINS:,} bytes: the oldest versions are shown without "
    "certificates. Export the certificate-chain of a version."
)


async def typed(call: VaultCall, name: str) -> tuple[names.Name, KeyRecord, KeyType]:
    """Find a name, the key of its latest version, and its type; raises AliasNotFound."""
    found = await names.find(call, name)
    try:
        record = await call.service.get(call.profile, KeyRef(kid=found.versions.latest_kid))
    except errors.KeyNotFound:  # its deletion became due
        raise errors.AliasNotFound from None
    return found, record, require_type(call, record)


def require_type(call: VaultCall, record: KeyRecord) -> KeyType:
    """Return the type of a key; raises AliasNotFound if Vault has no such type."""
    of_vault = key_types(call.registry).of(record)
    if of_vault is None:
        raise errors.AliasNotFound
    return of_vault


def is_imported(record: KeyRecord) -> bool:
    """Tell whether this door imported a key.

    A key made by a rotation is not imported. Records of older versions do not tell: for their
    labels, FIXED and `rotatable`, every key with the label counts.
    """
    if record.labels.get(IMPORTED) == UNTIL_ROTATED:
        return record.imported or record.material == "none"
    return IMPORTED in record.labels


async def records_of(
    call: VaultCall, versions: KeyVersions, numbers: range
) -> AsyncIterator[tuple[int, KeyRecord]]:
    """Find the keys of some versions, with their numbers.

    Deleted keys and types that Vault lacks are left out.
    """
    types = key_types(call.registry)
    for start in range(0, len(numbers), _PAGE):
        page = numbers[start : start + _PAGE]
        kids = [versions.kid_of(number) or "" for number in page]
        records = await call.service.records(call.profile, kids)
        for number, record in zip(page, records, strict=True):
            if record is not None and types.of(record) is not None:
                yield number, record
        await asyncio.sleep(0)  # lets other calls run: all keys may be in the cache


async def described(call: VaultCall, name: str, *warnings: str) -> Answer:
    """Return the answer to a read of a name; raises AliasNotFound."""
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
        "imported_key": is_imported(record),
        "soft_deleted": versions.soft_deleted,
        **of_vault.facts,
    }
    if is_imported(record):
        data["imported_key_allow_rotation"] = record.labels[IMPORTED] != FIXED
    if not of_vault.is_hmac:
        keys, types, size = dict[str, Any](), key_types(call.registry), 0
        if len(versions.shown) > 1:
            # Newest first: if the chains are too large, the oldest are left out.
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
    """Return a version as in the answer to a read: its time, and its public key if it has one."""
    if record.jwk is None:
        return record.created // 10**9
    return {
        "name": "" if of_vault is None else of_vault.keys,
        "public_key": public_key(record.jwk),
        "certificate_chain": chain(record.certificates) if with_chain else "",
        "creation_time": _time(record.created),
    }


def _time(nanoseconds: int) -> str:
    """Format a time as Go does (RFC 3339), without trailing zeros."""
    seconds, rest = divmod(nanoseconds, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def warnings_of(body: Body) -> tuple[str, ...]:
    """Return the warnings for a body that requests backups."""
    return (_NO_BACKUP,) if body.boolean("allow_plaintext_backup") else ()


def require_rotatable(name: str, record: KeyRecord) -> None:
    """Raise for an imported key that does not allow rotation."""
    if record.labels.get(IMPORTED) == FIXED:
        raise invalid(f"imported key {name} does not allow rotation within Vault")
