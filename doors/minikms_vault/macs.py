"""HMACs with a key's secret."""

from typing import Any, Final

from minikms.doors import errors
from minikms.doors.operations import ComputeHmac, VerifyHmac
from minikms_vault.body import Body, base64, decoded
from minikms_vault.errors import invalid
from minikms_vault.forms import SHA2_256, asked_hash, hashed_by, parse_versioned, versioned
from minikms_vault.names import find
from minikms_vault.operation import MISSING, Answer, VaultCall, operation
from minikms_vault.performing import Use, answered, items_of

_HMAC: Final = "HMAC"
_CANNOT: Final = "no HMAC key exists for that key version"


@operation(
    "hmac",
    "mac",
    "POST hmac/{name}",
    "POST hmac/{name}/{urlalgorithm...}",
    takes="input algorithm key_version batch_input",
)
async def compute_hmac(call: VaultCall, body: Body) -> Answer:
    """Compute the HMAC of an input, or of each of a batch."""
    name = await find(call, body.text("name"))
    key = name.to_produce(body.integer("key_version"), _HMAC)
    hash_name = hashed_by(body.text("urlalgorithm") or body.text("algorithm", SHA2_256))

    def use(item: Body) -> "Use[bytes]":
        if "input" not in item.members:
            raise invalid("missing input for HMAC")
        return Use(key, ComputeHmac(item.data("input"), hash_name))

    def shown(used: "Use[bytes]", mac: bytes) -> "dict[str, Any]":
        return {"hmac": versioned(used.key.version, base64(mac))}

    return await answered(call, body, use, shown, cannot=_CANNOT)


async def verify_hmac(call: VaultCall, body: Body) -> Answer:
    """Verify the HMAC of an input, or each of a batch."""
    try:
        name = await find(call, body.text("name"))
    except errors.AliasNotFound:
        raise invalid(MISSING) from None  # `verify` has another message for a signature
    hash_name, is_batch = hashed_by(asked_hash(body)), items_of(body) is not None

    def use(item: Body) -> "Use[bool]":
        if item is not body and "input" not in item.members:
            raise invalid("missing input")
        message = item.data("input")
        version, text = parse_versioned(item.text("hmac"), _HMAC)
        key = name.to_check(version, _HMAC)
        try:
            mac = decoded(text)
        except ValueError:
            raise invalid("unable to decode verification HMAC as base64") from None
        return Use(key, VerifyHmac(message, hash_name, mac))

    def shown(used: "Use[bool]", is_valid: bool) -> "dict[str, Any]":
        # In a batch, Vault omits `valid` if it is false.
        return {"valid": is_valid} if is_valid or not is_batch else {}

    return await answered(call, body, use, shown, cannot=_CANNOT)
