"""Export of keys, public keys and certificates."""

import asyncio
from typing import Final

from minikms.doors import KeyRecord, KeyRef, keep_key
from minikms.doors.operations import Export, ExportHmacSecret
from minikms_vault import formats, names
from minikms_vault.body import Body
from minikms_vault.description import MAX_CHAINS, records_of, typed
from minikms_vault.errors import invalid
from minikms_vault.operation import Answer, VaultCall, operation
from minikms_vault.types import key_types

_ENCRYPTION, _SIGNING, _HMAC, _PUBLIC, _CERTIFICATES = (
    "encryption-key",
    "signing-key",
    "hmac-key",
    "public-key",
    "certificate-chain",
)
_SECRETS: Final = (_ENCRYPTION, _SIGNING, _HMAC)


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
