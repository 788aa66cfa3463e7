"""Export and import of keys, and the calls about backups and the cache."""

import asyncio
from typing import Final

from cryptography.hazmat.primitives import keywrap

from minikms.doors import KeyPolicy, KeyRecord, KeyRef, KeySource, KeyVersions, errors, keep_key
from minikms.doors.operations import DecryptImport, Export, ExportHmacSecret
from minikms.doors.vault import formats, names
from minikms.doors.vault.body import Body, decoded
from minikms.doors.vault.description import (
    FIXED,
    IMPORTED,
    MAX_CHAINS,
    UNTIL_ROTATED,
    is_imported,
    records_of,
    typed,
)
from minikms.doors.vault.errors import invalid
from minikms.doors.vault.keys import refuse_derived
from minikms.doors.vault.operation import Answer, VaultAnswer, VaultCall, operation
from minikms.doors.vault.rotation import period_of
from minikms.doors.vault.types import key_types

WRAPPING_KEY: Final = "vault:wrapping-key"
"""The alias of the wrapping key for imports; names in Vault cannot contain a colon."""

_ENCRYPTION, _SIGNING, _HMAC, _PUBLIC, _CERTIFICATES = (
    "encryption-key",
    "signing-key",
    "hmac-key",
    "public-key",
    "certificate-chain",
)
_SECRETS: Final = (_ENCRYPTION, _SIGNING, _HMAC)
_WRAPPED: Final = 512  # the size in bytes of the AES key, encrypted to a key of 4,096 bits
_AES_KEY: Final = 32
_HASH: Final = "SHA256"


@operation(
    "exportKey", "keys:export", "GET export/{kind}/{name}", "GET export/{kind}/{name}/{version}"
)
async def export_key(call: VaultCall, body: Body) -> Answer:
    """Return the private keys of the versions of a name."""
    kind = body.text("kind")
    if kind not in _SECRETS:
        raise invalid(f"invalid export type: {kind}")
    return await _export(call, body, kind)


@operation(
    "exportPublicKey",
    "keys:read",
    f"GET export/{_PUBLIC}/{{name}}",
    f"GET export/{_PUBLIC}/{{name}}/{{version}}",
)
async def export_public_key(call: VaultCall, body: Body) -> Answer:
    """Return the public keys of the versions of a name."""
    return await _export(call, body, _PUBLIC)


@operation(
    "exportCertificates",
    "keys:read",
    f"GET export/{_CERTIFICATES}/{{name}}",
    f"GET export/{_CERTIFICATES}/{{name}}/{{version}}",
)
async def export_certificates(call: VaultCall, body: Body) -> Answer:
    """Return the certificate chains of the versions of a name."""
    return await _export(call, body, _CERTIFICATES)


async def _export(call: VaultCall, body: Body, kind: str) -> Answer:
    """Return the exports of this kind for the versions of a name; raises VaultError."""
    name, form = body.text("name"), body.text("format")
    if form not in formats.FORMATS:
        raise invalid(f"invalid format: {form}")
    found, record, of_vault = await typed(call, name)
    if not record.exportable and kind in _SECRETS:
        raise invalid("private key material is not exportable")
    found.require_kept()
    if kind == _ENCRYPTION and not of_vault.encrypts:
        raise invalid("encryption not supported for the key")
    if kind == _SIGNING and not of_vault.signs:
        raise invalid("signing not supported for the key")
    if kind == _CERTIFICATES and not of_vault.signs:
        raise invalid("certificate chain not supported for keys that do not support signing")
    numbers = _numbers(found, body.text("version"))
    keys, size = dict[str, str](), 0
    async for number, each in records_of(call, found.versions, numbers):
        size += sum(map(len, each.certificates))
        if kind == _CERTIFICATES and size > MAX_CHAINS:
            raise invalid(
                f"the certificates have more than {MAX_CHAINS:,} bytes: export a single version"
            )
        keys[str(number)] = await _exported(call, each, kind, form)
        keep_key()
        await asyncio.sleep(0)  # lets other calls run
    if not keys:
        raise invalid("version does not exist or cannot be found")
    return {"name": name, "type": of_vault.name, "keys": keys}


@operation("readWrappingKey", "keys:write", "GET wrapping_key")
async def read_wrapping_key(call: VaultCall, body: Body) -> Answer:
    """Return the public key that callers wrap imported keys with; the first call makes it."""
    record = await _wrapping_key(call)
    return {"public_key": formats.public_key(record.jwk or {})}


@operation("importKey", "keys:write", "POST keys/{name}/import")
async def import_key(call: VaultCall, body: Body) -> None:
    """Import a key under a new name."""
    name = body.text("name")
    if "convergent_encryption" in body:
        raise invalid("import cannot be used on keys with convergent encryption enabled")
    period = period_of(body) or None
    if period and not body.boolean("allow_rotation"):
        raise invalid("allow_rotation must be set to true if auto-rotation is enabled")
    refuse_derived(body)
    kind = body.text("type", "aes256-gcm96").lower()
    key_types(call.registry).named(kind)
    policy = KeyPolicy(
        aliases=(name,),
        alias_taken="refuse",
        exportable=body.boolean("exportable"),
        labels={IMPORTED: UNTIL_ROTATED if body.boolean("allow_rotation") else FIXED},
        rotate_every=period,
        keep_versions=period is not None,
    )
    try:
        await names.find(call, name)
    except errors.AliasNotFound:
        pass
    else:
        raise _exists()
    try:
        await call.service.import_key(call.profile, await _source(call, body, kind), policy)
    except errors.AliasExists:
        raise _exists() from None


@operation("importKeyVersion", "keys:write", "POST keys/{name}/import_version")
async def import_key_version(call: VaultCall, body: Body) -> None:
    """Import a key as the next version of an imported key."""
    name = body.text("name")
    missing = invalid(
        f"no key found with name {name}; to import a new key, use the import/ endpoint"
    )

    def check(now: KeyRecord, versions: KeyVersions) -> None:
        if not is_imported(now):
            raise invalid("the import_version endpoint can only be used with an imported key")
        now.require_understood()
        names.Name(name, versions, fresh=True).require_kept()

    def check_again(now: KeyRecord, versions: KeyVersions) -> None:
        check(now, versions)
        if _kept(now) != _kept(record):
            raise invalid(f"the key {name} was replaced meanwhile")

    try:
        found, record, of_vault = await typed(call, name)
    except errors.AliasNotFound:
        raise missing from None
    check(record, found.versions)
    if "version" in body:
        raise invalid("the private part of an imported version cannot be added later")
    policy = KeyPolicy(
        aliases=(name,),
        exportable=record.exportable and "ciphertext" in body,
        labels=record.labels,
        rules=record.rules,
        rotate_every=record.rotate_every,
    )
    source = await _source(call, body, of_vault.name)
    try:
        await call.service.import_key(call.profile, source, policy, check=check_again)
    except errors.AliasNotFound:
        raise missing from None


@operation("backupKey", "keys:export", "GET backup/{name}")
async def backup_key(call: VaultCall, body: Body) -> Answer:
    """Refuse, and name the command for backups."""
    await typed(call, body.text("name"))
    raise invalid(_BACKUP)


@operation("restoreKey", "keys:write", "POST restore", "POST restore/{name}")
async def restore_key(call: VaultCall, body: Body) -> Answer:
    """Refuse, and name the command to restore."""
    raise invalid(_BACKUP)


@operation("readCacheConfig", "keys:read", "GET cache-config")
async def read_cache_config(call: VaultCall, body: Body) -> Answer:
    """Say that the option of the service bounds the cache."""
    return VaultAnswer({"size": 0}, warnings=(_CACHE,))


@operation("writeCacheConfig", "keys:write", "POST cache-config")
async def write_cache_config(call: VaultCall, body: Body) -> Answer:
    """Say that the option of the service bounds the cache."""
    body.integer("size")
    return VaultAnswer({"size": 0}, warnings=(_CACHE,))


_BACKUP: Final = (
    "keys have no backup of their own here: `minikms store backup` copies a whole store, and "
    "`minikms store restore` brings it back"
)
_CACHE: Final = "The options --cache-size and --cache-memory of `minikms serve` bound the cache."


def _kept(record: KeyRecord) -> tuple[object, ...]:
    """Return the properties that the next version of a key inherits."""
    return record.alg, record.exportable, record.labels, record.rules, record.rotate_every


def _exists() -> Exception:
    return invalid(
        "the import path cannot be used with an existing key; use import-version to rotate an "
        "existing imported key"
    )


def _numbers(found: names.Name, version: str) -> range:
    """Return the numbers of the versions to export; raises VaultError."""
    versions = found.versions
    if not version:
        return versions.shown
    if version == "latest":
        return range(versions.latest, versions.latest + 1)
    digits = version.removeprefix("v")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise invalid("invalid key version")
    number = int(digits)
    found.require_current(number)
    if number < versions.min_decryption_version:
        raise invalid("version for export is below minimum decryption version")
    if number not in versions.shown:
        raise invalid("version does not exist or cannot be found")
    return range(number, number + 1)


async def _exported(call: VaultCall, record: KeyRecord, kind: str, form: str) -> str:
    """Return one key as a string; raises VaultError."""
    by = KeyRef(kid=record.kid)
    of_vault = key_types(call.registry).of(record)
    name = record.alg if of_vault is None else of_vault.name
    if kind == _HMAC:
        return formats.secret_key(
            await call.service.perform(call.profile, by, ExportHmacSecret()), form
        )
    if kind == _CERTIFICATES:
        if not record.certificates:
            raise invalid("selected key version does not have a certificate chain imported")
        return formats.chain(record.certificates)
    if kind == _PUBLIC:
        if record.jwk is None:
            raise invalid(f"unknown key type {name} for export type {kind}")
        text = formats.public_key(record.jwk, form)
        return text if record.jwk["kty"] == "RSA" else text.rstrip("\n")
    jwk = await call.service.perform(call.profile, by, Export())
    if "k" in jwk:
        return formats.secret_key(formats.secret_of(jwk), form)
    text = formats.private_key(jwk, form)
    return text if jwk["kty"] == "RSA" else text.rstrip("\n")


async def _wrapping_key(call: VaultCall) -> KeyRecord:
    """Find the wrapping key of the profile, or make it."""
    ref = KeyRef(alias=WRAPPING_KEY)
    try:
        return await call.service.get(call.profile, ref)
    except errors.AliasNotFound:
        pass
    # The key has no operations: otherwise a caller with `decrypt` could unwrap the imports of
    # others.
    policy = KeyPolicy(aliases=(WRAPPING_KEY,), alias_taken="refuse", operations=())
    try:
        return await call.service.generate(call.profile, "rsa4096", policy)
    except errors.AliasExists:  # another call made it first
        return await call.service.get(call.profile, ref)


async def _source(call: VaultCall, body: Body, kind: str) -> KeySource:
    """Read the key in a body as a key of this type; raises VaultError."""
    types = key_types(call.registry).named(kind)
    of_vault = types[0]
    alg = of_vault.alg if len(types) == 1 else None  # the JWK names it
    if "ciphertext" not in body:
        if of_vault.is_symmetric or of_vault.is_hmac:
            raise invalid("provided type does not support public_key import")
        return KeySource(alg, jwk=formats.jwk_of_public(body.text("public_key")))
    material = await _unwrapped(call, body)
    if of_vault.is_hmac:
        return KeySource(key_types(call.registry).get(kind, len(material)).alg, secret=material)
    if of_vault.is_symmetric:
        return KeySource(of_vault.alg, secret=material)
    return KeySource(alg, jwk=formats.jwk_of_private(material))


async def _unwrapped(call: VaultCall, body: Body) -> bytes:
    """Unwrap an imported key: RSA-OAEP encrypts an AES key, which wraps the key (RFC 5649)."""
    hash_name = body.text("hash_function", _HASH).upper()
    if hash_name != _HASH:
        raise invalid(f"hash_function {hash_name} is not supported: use {_HASH}, the default")
    try:
        ciphertext = decoded(body.text("ciphertext"))
    except ValueError:
        raise invalid("illegal base64 data in ciphertext") from None
    if len(ciphertext) <= _WRAPPED:
        raise invalid("provided ciphertext is too short")
    try:
        key = KeyRef(kid=(await _wrapping_key(call)).kid)
        aes_key = await call.service.perform(
            call.profile, key, DecryptImport(ciphertext[:_WRAPPED])
        )
    except errors.DecryptionFailed:
        raise invalid("the ciphertext is not for the wrapping key") from None
    finally:
        keep_key()
    if len(aes_key) != _AES_KEY:
        raise invalid("expected ephemeral AES key to be 256-bit")
    try:
        return keywrap.aes_key_unwrap_with_padding(aes_key, ciphertext[_WRAPPED:])
    except (keywrap.InvalidUnwrap, ValueError):
        raise invalid("the key that the ciphertext wraps cannot be unwrapped") from None
