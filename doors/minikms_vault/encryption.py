"""Encryption: encrypt, decrypt and rewrap, and data keys."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from minikms.doors import KeyRecord, KmsError, errors, keep_key
from minikms.doors.operations import ByRecord, Decrypt, Encrypt, Encrypted
from minikms_vault.body import Body, base64, decoded
from minikms_vault.errors import invalid
from minikms_vault.forms import TAG, nonce_of, parse_versioned, versioned
from minikms_vault.names import Name, find, make
from minikms_vault.operation import Answer, VaultAnswer, VaultCall, operation
from minikms_vault.performing import (
    Use,
    answered,
    items_of,
    perform,
    perform_each,
    results_of,
    tried,
)
from minikms_vault.types import key_types

_CANNOT_ENCRYPT: Final = "message encryption not supported for key type {}"
_CANNOT_DECRYPT: Final = "message decryption not supported for key type {}"
_CIPHERTEXT: Final = "ciphertext"
_MISSING: Final = "missing ciphertext to decrypt"
_DEFAULT_TYPE: Final = "aes256-gcm96"
# The size of a data key in bytes, by its bits.
_DATA_KEYS: Final = {128: 16, 256: 32, 512: 64}
# Statuses that the answer to a batch may have; 205 and 304 have no body (RFC 9110).
_STATUSES: Final = frozenset(range(200, 600)) - {205, 304}
_NO_CONTENT: Final = 204


@operation(
    "encrypt",
    "encrypt",
    "POST encrypt/{name}",
    takes="plaintext context type convergent_encryption key_version associated_data batch_input"
    " partial_failure_response_code",
)
async def encrypt(call: VaultCall, body: Body) -> Answer | None:
    """Encrypt a plaintext, or each of a batch; make the key if it does not exist."""
    status = _asked_status(body)
    items = _require_items(body, "plaintext", "missing plaintext to encrypt")
    if items is None and "plaintext" not in body:
        raise invalid("missing plaintext to encrypt")
    name = await _found_or_made(call, body, items or [body])

    def use(item: Body) -> "Use[Encrypted]":
        version, aad = item.integer("key_version"), _associated_data(item)
        return _to_encrypt(name, _plaintext(item), aad, version)

    data = await answered(call, body, use, _encrypted, cannot=_CANNOT_ENCRYPT)
    return _with_status(status, data)


@operation(
    "decrypt",
    "decrypt",
    "POST decrypt/{name}",
    takes="ciphertext context associated_data batch_input partial_failure_response_code",
)
async def decrypt(call: VaultCall, body: Body) -> Answer | None:
    """Decrypt a ciphertext, or each of a batch."""
    status = _asked_status(body)
    _require_items(body, _CIPHERTEXT, _MISSING)
    name = await find(call, body.text("name"))

    def use(item: Body) -> "Use[bytes]":
        return _to_decrypt(name, item, _associated_data(item))

    def shown(used: "Use[bytes]", plaintext: bytes) -> "dict[str, Any]":
        return {"plaintext": base64(plaintext)}

    failed = {"plaintext": ""}
    data = await answered(call, body, use, shown, cannot=_CANNOT_DECRYPT, failed=failed)
    return _with_status(status, data)


@operation(
    "rewrap",
    "decrypt",
    "POST rewrap/{name}",
    also=("encrypt",),
    takes="ciphertext context key_version batch_input",
)
async def rewrap(call: VaultCall, body: Body) -> Answer:
    """Encrypt the plaintext of a ciphertext, or of each of a batch, with another version."""
    items = items_of(body)
    name = await find(call, body.text("name"))

    def opening(item: Body) -> "Use[bytes]":
        return _to_decrypt(name, item, None)

    def sealing(item: Body, plaintext: bytes) -> "Use[Encrypted]":
        return _to_encrypt(name, plaintext, None, item.integer("key_version"))

    if items is None:
        plaintext = await perform(call, opening(body), _CANNOT_DECRYPT)
        keep_key()
        use = sealing(body, plaintext)
        return _encrypted(use, await perform(call, use, _CANNOT_ENCRYPT))
    opened = [tried(opening, item) for item in items]
    plaintexts = await perform_each(call, opened, _CANNOT_DECRYPT)
    uses = [
        found if isinstance(found, KmsError) else tried(partial(sealing, plaintext=found), item)
        for item, found in zip(items, plaintexts, strict=True)
    ]
    results = await perform_each(call, uses, _CANNOT_ENCRYPT)
    return {"batch_results": results_of(items, uses, results, _encrypted)}


@operation(
    "datakey",
    "encrypt",
    "POST datakey/{plaintext}/{name}",
    takes="context bits key_version associated_data",
)
async def data_key(call: VaultCall, body: Body) -> Answer:
    """Make a data key; return it encrypted, and also in plaintext if the path says so."""
    form = body.text("plaintext")
    if form not in ("plaintext", "wrapped"):
        raise invalid("Invalid path, must be 'plaintext' or 'wrapped'")
    body.data("context")
    name = await find(call, body.text("name"))
    bits = body.integer("bits", 256)
    if bits not in _DATA_KEYS:
        raise invalid("invalid bit length")
    key = call.service.random(_DATA_KEYS[bits])
    use = _to_encrypt(name, key, _associated_data(body), body.integer("key_version"))
    answer = _encrypted(use, await perform(call, use, _CANNOT_ENCRYPT))
    return {**answer, "plaintext": base64(key)} if form == "plaintext" else answer


def _to_encrypt(name: Name, plaintext: bytes, aad: bytes | None, version: int) -> Use[Encrypted]:
    def choose(record: KeyRecord) -> Encrypt:
        _nonce_size(record, aad)
        return Encrypt(plaintext, aad)

    return Use(name.to_produce(version, "encryption"), ByRecord(Encrypt.uses, choose))


def _to_decrypt(name: Name, item: Body, aad: bytes | None) -> Use[bytes]:
    text = item.text(_CIPHERTEXT)
    if not text:
        raise invalid(_MISSING)
    item.data("context")
    version, text = parse_versioned(text, _CIPHERTEXT)
    key = name.to_check(version or 1, _CIPHERTEXT)  # the oldest versions of Vault count from 0
    try:
        data = decoded(text)
    except ValueError:
        raise invalid("invalid ciphertext: could not decode base64") from None

    def choose(record: KeyRecord) -> Decrypt:
        size = _nonce_size(record, aad)
        if not size:
            return Decrypt(Encrypted(data), None)
        if len(data) < size:
            raise invalid("invalid ciphertext length")
        nonce, sealed = data[:size], data[size:]
        return Decrypt(Encrypted(sealed[:-TAG], nonce, sealed[-TAG:]), aad)

    return Use(key, ByRecord(Decrypt.uses, choose))


def _encrypted(used: Use[Encrypted], encrypted: Encrypted) -> dict[str, Any]:
    ciphertext, nonce, tag = encrypted
    text = base64(b"".join((nonce or b"", ciphertext, tag or b"")))
    version = used.key.version
    return {_CIPHERTEXT: versioned(version, text), "key_version": version}


def _nonce_size(record: KeyRecord, aad: bytes | None) -> int:
    """Return `nonce_of` a key; raises VaultError for unsupported associated data."""
    size = nonce_of(record)
    if aad is not None and not size:
        raise invalid("associated_data provided for a key that is not an AEAD cipher")
    return size


def _plaintext(item: Body) -> bytes:
    # Vault ignores the context for a key that is not derived.
    item.data("context")
    return item.data("plaintext")


def _associated_data(item: Body) -> bytes | None:
    return item.data("associated_data") or None


def _require_items(body: Body, name: str, missing: str) -> list[Body] | None:
    """Read a batch; raises VaultError unless all items have `name`, and all or none a context."""
    items = items_of(body)
    for place, item in enumerate(items or ()):
        if name not in item.members:
            raise invalid(f"failed to parse batch input: '[{place}].{name}' {missing}")
        if not isinstance(item.members[name], str):
            raise invalid(f"failed to parse batch input: '[{place}].{name}' expected type 'string'")
    if len({bool(item.text("context")) for item in items or ()}) > 1:
        raise invalid("context should be set either in all the request blocks or in none")
    return items


async def _found_or_made(call: VaultCall, body: Body, items: Sequence[Body]) -> Name:
    """Find the key, or make it if the caller may make keys; raises VaultError for a refused type.

    No key is made if no plaintext can be encrypted.
    """
    name = body.text("name")
    try:
        return await find(call, name)
    except errors.AliasNotFound:
        call.door.caller.require("keys:write")
    if body.boolean("convergent_encryption") or any(item.text("context") for item in items):
        raise invalid("derived keys and convergent encryption are not supported")
    type_name = body.text("type", _DEFAULT_TYPE)
    kind = key_types(call.registry).get(type_name)
    if not kind.is_symmetric:
        raise invalid(f"key type {type_name} not supported for this operation")
    faults = [each for each in (tried(_plaintext, item) for item in items) if _is_error(each)]
    if len(faults) == len(items):
        raise invalid("unable to decode plaintext as base64")
    await make(call, name, kind)
    return await find(call, name)


def _is_error(result: bytes | KmsError) -> bool:
    return isinstance(result, KmsError)


def _asked_status(body: Body) -> int:
    """Read the caller's status for a batch in which some items fail."""
    return body.integer("partial_failure_response_code", 400)


def _with_status(status: int, data: dict[str, Any]) -> Answer | None:
    """Return the answer to a batch: if items fail, with status 400 or the caller's status.

    The caller's status applies only if other items succeed. As in Vault, 204 has no results.
    """
    failed = ["error" in each for each in data.get("batch_results", ())]
    if not any(failed):
        return data
    if all(failed) or status == 400:
        return VaultAnswer(data, 400)
    if status == _NO_CONTENT:
        return None
    if status in _STATUSES:
        return VaultAnswer(data, status)
    warning = (
        "invalid HTTP response code override from partial_failure_response_code, reverting to 400"
    )
    return VaultAnswer(data, 400, (warning,))
