"""Signatures: sign and verify. The path of verify also verifies HMACs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from minikms.doors import ANY_TOKEN, KeyRef
from minikms.doors.operations import ByRecord, Sign, Signed
from minikms.doors.operations import Verify as Verification
from minikms_vault.body import Body
from minikms_vault.errors import VaultError, invalid
from minikms_vault.forms import FORM_MEMBERS, SignatureForm, parse_versioned, versioned
from minikms_vault.macs import verify_hmac
from minikms_vault.names import Name, find
from minikms_vault.operation import Answer, ResultT, VaultCall, operation
from minikms_vault.performing import Use, answered, items_of
from minikms_vault.types import key_types

_SIGNATURE: Final = "signature"


@operation(
    "sign",
    "sign",
    "POST sign/{name}",
    "POST sign/{name}/{urlalgorithm...}",
    takes=f"input context key_version batch_input {FORM_MEMBERS}",
    missing="signing key not found",
)
async def sign(call: VaultCall, body: Body) -> Answer:
    """Sign an input, or each of a batch."""
    form = SignatureForm.read(body)
    name = await find(call, body.text("name"))
    version = body.integer("key_version")

    def use(item: Body) -> "Use[Signed]":
        message = _input_of(item, body)
        key = name.to_produce(version, "signing")
        return Use(key, ByRecord(Sign.uses, lambda record: Sign(message, form.options(record))))

    def shown(used: "Use[Signed]", signed: Signed) -> "dict[str, Any]":
        version = used.key.version
        signature = versioned(version, form.write(signed.sig))
        return {_SIGNATURE: signature, "key_version": version}

    return await _answered(call, body, name, use, shown, "signing", {"key_version": 0})


@operation(
    "verify",
    ANY_TOKEN,
    "POST verify/{name}",
    "POST verify/{name}/{urlalgorithm...}",
    takes=f"input context signature hmac batch_input {FORM_MEMBERS}",
    missing="signature verification key not found",
    either=("verify", "mac"),
)
async def verify(call: VaultCall, body: Body) -> Answer:
    """Verify a signature or an HMAC of an input, or each of a batch."""
    if _asks_for_hmac(body):
        call.door.caller.require("mac")
        return await verify_hmac(call, body)
    call.door.caller.require("verify")
    form = SignatureForm.read(body)
    name = await find(call, body.text("name"))

    def use(item: Body) -> "Use[bool]":
        message = _input_of(item, body)
        version, text = parse_versioned(item.text(_SIGNATURE), _SIGNATURE)
        key, signature = name.to_check(version, _SIGNATURE), form.parse(text)
        return Use(
            key,
            ByRecord(
                Verification.uses, lambda record: form.verification(record, message, signature)
            ),
        )

    def shown(_: "Use[bool]", is_valid: bool) -> "dict[str, Any]":
        return {"valid": is_valid}

    return await _answered(call, body, name, use, shown, "verification", {"valid": False})


async def _answered(
    call: VaultCall,
    body: Body,
    name: Name,
    use: "Callable[[Body], Use[ResultT]]",
    shown: "Callable[[Use[ResultT], ResultT], dict[str, Any]]",
    noun: str,
    failed: Mapping[str, Any],
) -> Answer:
    """Answer like `answered`, but refuse the whole call if the key's type cannot sign.

    The type is read only if no item succeeds.
    """
    cannot = f"key type {{}} does not support {noun}"
    try:
        data = await answered(call, body, use, shown, cannot=cannot, failed=failed)
    except VaultError:
        await _require_signer(call, name, cannot)
        raise
    if "batch_results" in data and all("error" in each for each in data["batch_results"]):
        await _require_signer(call, name, cannot)
    return data


async def _require_signer(call: VaultCall, name: Name, cannot: str) -> None:
    """Raise VaultError if the type of a name's key cannot sign."""
    record = await call.service.get(call.profile, KeyRef(name.versions.latest_kid))
    found = key_types(call.registry).of(record)
    if found is not None and not found.signs:
        raise invalid(cannot.format(found.name))


def _input_of(item: Body, body: Body) -> bytes:
    """Read the input; it is required only in items of a batch. The context is read but not used."""
    if item is not body and "input" not in item.members:
        raise invalid("missing input")
    if "context" in item.members:
        item.data("context")
    return item.data("input")


def _asks_for_hmac(body: Body) -> bool:
    """Tell whether the body is about HMACs; raises VaultError unless all items agree."""
    items = items_of(body)
    if items is None:
        if _SIGNATURE not in body and "hmac" not in body:
            raise invalid("neither a 'signature' nor an 'hmac' were given to verify")
        return _SIGNATURE not in body
    given = [_SIGNATURE in item.members for item in items]
    other = ["hmac" in item.members for item in items]
    if any(given) and any(mac and not each for mac, each in zip(other, given, strict=True)):
        raise invalid("elements of batch_input must all provide 'signature' or all provide 'hmac'")
    wanted, name = (given, _SIGNATURE) if any(given) else (other, "hmac")
    if not any(wanted):
        raise invalid("no batch_input elements have 'signature' or 'hmac'")
    if not all(wanted):
        raise invalid(f"some elements of batch_input are missing '{name}'")
    return name != _SIGNATURE
