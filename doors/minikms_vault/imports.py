"""Import of keys, which callers wrap with the wrapping key of a profile."""

from typing import Final

from cryptography.hazmat.primitives import keywrap

from minikms.doors import KeyPolicy, KeyRecord, KeyRef, KeySource, KeyVersions, errors, keep_key
from minikms.doors.operations import DecryptImport
from minikms_vault import formats, names
from minikms_vault.body import Body, decoded
from minikms_vault.description import FIXED, IMPORTED, UNTIL_ROTATED, is_imported, typed
from minikms_vault.errors import invalid
from minikms_vault.keys import refuse_derived
from minikms_vault.operation import Answer, VaultCall, operation
from minikms_vault.rotation import period_of
from minikms_vault.types import key_types

WRAPPING_KEY: Final = "vault:wrapping-key"
"""The alias of the wrapping key for imports; names in Vault cannot contain a colon."""

_WRAPPED: Final = 512  # the size in bytes of the AES key, encrypted to a key of 4,096 bits
_AES_KEY: Final = 32
_HASH: Final = "SHA256"


@operation("readWrappingKey", "keys:write", "GET wrapping_key")
async def read_wrapping_key(call: VaultCall, body: Body) -> Answer:
    """Return the public wrapping key for imports; the first call makes it."""
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


def _kept(record: KeyRecord) -> tuple[object, ...]:
    """Return the properties that the next version of a key inherits."""
    return record.alg, record.exportable, record.labels, record.rules, record.rotate_every


def _exists() -> Exception:
    return invalid(
        "the import path cannot be used with an existing key; use import-version to rotate an "
        "existing imported key"
    )


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
    alg = of_vault.alg if len(types) == 1 else None  # the JWK names the algorithm
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
