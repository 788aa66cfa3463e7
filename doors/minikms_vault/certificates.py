"""Certificates of keys: requests for them, and their chains."""

from typing import Final

from minikms.doors import KeyRecord, KeyRef, errors
from minikms.doors.operations import CopyCsr
from minikms_vault.body import Body
from minikms_vault.description import typed
from minikms_vault.errors import invalid
from minikms_vault.operation import Answer, VaultCall, operation
from minikms_vault.types import KeyType

_BEGIN: Final = "-----BEGIN "
_FIRST, _LAST = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_MAX_TEXT: Final = 64 * 1024  # characters; a chain has at most 32 KiB in DER


@operation("createCsr", "sign", "POST keys/{name}/csr", takes="version csr")
async def create_csr(call: VaultCall, body: Body) -> Answer:
    """Sign a certificate request with a key; names and extensions come from another request."""
    record, of_vault = await _signer(call, body, "could not create the csr: ")
    template = body.text("csr")
    if template and _BEGIN not in template:
        raise invalid("could not decode PEM CSR")
    try:
        csr = await call.service.perform(call.profile, KeyRef(kid=record.kid), CopyCsr(template))
    except errors.InvalidCertificate:
        raise invalid("could not decode PEM CSR") from None
    return {"name": body.text("name"), "type": of_vault.name, "csr": csr}


@operation(
    "setCertificate",
    "keys:write",
    "POST keys/{name}/set-certificate",
    takes="version certificate_chain",
)
async def set_certificate(call: VaultCall, body: Body) -> Answer:
    """Set the certificate of a key's version, with the chain above it."""
    record, of_vault = await _signer(call, body, "failed to persist certificate chain: ")
    text = body.text("certificate_chain")
    if len(text) > _MAX_TEXT:
        raise invalid(f"a certificate chain has at most {_MAX_TEXT:,} characters")
    chain = _certificates(text)
    if not chain:
        if text.strip() and _BEGIN not in text:
            raise invalid("could not decode a PEM block in the certificate chain")
        raise invalid(
            "provided certificate chain did not contain any valid PEM encoded certificate"
        )
    await call.service.set_certificates(call.profile, record.kid, chain)
    return {"name": body.text("name"), "type": of_vault.name, "certificate_chain": text}


def _certificates(text: str) -> list[str]:
    """Return the certificates in a PEM text, without the text between them."""
    text = text.replace("X509 CERTIFICATE", "CERTIFICATE")  # the older label
    found, start = [], text.find(_FIRST)
    while start >= 0 and (end := text.find(_LAST, start)) >= 0:
        end += len(_LAST)
        found.append(text[start:end])
        start = text.find(_FIRST, end)
    return found


async def _signer(call: VaultCall, body: Body, cannot: str) -> tuple[KeyRecord, KeyType]:
    """Find the version of a key named in a body; raises unless it can sign."""
    name = body.text("name")
    try:
        found, _, of_vault = await typed(call, name)
    except errors.AliasNotFound:
        raise invalid(f"key with provided name '{name}' not found") from None
    if not of_vault.signs:
        raise invalid(f"key type '{of_vault.name}' does not support signing")
    found.require_kept()
    versions = found.versions
    version = body.integer("version", versions.latest)
    found.require_current(version)
    kid = versions.kid_of(version) if version in versions.shown else None
    try:
        if kid is not None:
            return await call.service.get(call.profile, KeyRef(kid=kid)), of_vault
    except errors.KeyNotFound:
        pass
    raise invalid(f"{cannot}no such key version")
