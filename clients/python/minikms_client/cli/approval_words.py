"""What an approval allows, in words: read from its document and the signed bytes alone."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final

from minikms_client.cli.display import shown_time
from minikms_client.models import Approval
from minikms_client.wire import decode, encode

# The claims of a JWS that tell what it is for.
_CLAIMS: Final = ("iss", "sub", "aud", "vct", "exp")
# The bytes that are signed for a JWS (RFC 7515 section 5.1) and a COSE_Sign1 (RFC 9052, 4.4).
_SIGNING_INPUT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SIG_STRUCTURE: Final = b"\x84\x6aSignature1"
_LONGEST: Final = 200
_TOGETHER: Final = {"sign": "sign with", "mac": "make a MAC with"}


def in_words(approval: Approval, key: str) -> list[str]:
    """Say what an approval allows with a key of this name, in one line or more.

    Raises ValueError if the parts of the approval do not belong together: then nobody should sign.
    """
    if hashlib.sha256(approval.document).digest() != approval.challenge:
        raise ValueError("The challenge is not of this document.")
    document = json.loads(approval.document)
    if document["sub"] != approval.kid:
        raise ValueError("The document is for another key.")
    operation, what = document["operation"], document["what"]
    if operation in _TOGETHER:
        begin = f"{_TOGETHER[operation]} {key}"
        if approval.data and len(approval.data) != len(what):
            raise ValueError("The bytes are not those of the document.")
        each = [_signature(*pair) for pair in zip_longest(what, approval.data)]
        if len(each) == 1:
            return [f"{begin}: {each[0]}"]
        return [f"{begin}, {len(each)} times:", *(f"  {line}" for line in each)]
    return [_other(operation, key, what[0])]


def _other(operation: str, key: str, what: Mapping[str, Any]) -> str:
    match operation:
        case "export":
            return f"export the private key of {key}"
        case "delete" if what["after"]:
            return f"delete {key} after {what['after']} seconds"
        case "delete":
            return f"delete {key}"
        case "change":
            return f"change the approvers of {key}: {_rule(what['approval'])}"
    return f"{operation} with {key}: {_json(what)}"


def _rule(rule: Mapping[str, Any]) -> str:
    """Describe a rule: how many of whom, and its other members as they are."""
    approvers = rule["approvers"]
    names = dict.fromkeys(approver["name"] for approver in approvers)
    threshold = rule.get("threshold", 1)
    more = {name: value for name, value in rule.items() if name not in ("approvers", "threshold")}
    # Names alone would not tell whose keys they are.
    return f"{threshold} of {', '.join(names)}; {_json({**more, 'approvers': approvers})}"


def _signature(what: Mapping[str, Any], data: bytes | None) -> str:
    if "type" in what:
        facts = ", ".join(
            f"{name} {_value(value)}" for name, value in what.items() if name != "type"
        )
        return f"{what['type']}: {facts}"
    if "prehashed" in what:
        if data is not None and data != decode(what["prehashed"]):
            raise ValueError("The bytes are not those of the document.")
        return f"the digest {what['prehashed']}"
    if data is None:
        return f"bytes with the SHA-256 {what['sha256']}"
    if encode(hashlib.sha256(data).digest()) != what["sha256"]:
        raise ValueError("The bytes are not those of the document.")
    return _message(data)


def _message(data: bytes) -> str:
    """Describe the bytes that a key signs."""
    if _SIGNING_INPUT.fullmatch(data):
        try:
            header, payload = (decode(part) for part in data.decode().split("."))
            return _jws(_object(header), payload)
        except (ValueError, RecursionError):
            pass  # it is something else
    if data.startswith(_SIG_STRUCTURE):
        return f"COSE_Sign1, {_bytes(data)}"
    try:
        text = data.decode()
    except ValueError:
        return _bytes(data)
    return f"the text {_value(text)}" if len(text) <= _LONGEST else _bytes(data)


def _object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object whose names differ: else two readers could read two things."""
    found = json.loads(text, object_pairs_hook=_unique)
    if not isinstance(found, dict):
        raise ValueError("It is not an object.")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name is there twice.")
    return found


def _jws(header: Mapping[str, Any], payload: bytes) -> str:
    begin = f"JWS of type {_value(header['typ'])}" if "typ" in header else "JWS"
    try:
        claims = _object(payload)
        found = [f"{name} {_claim(name, claims[name])}" for name in _CLAIMS if name in claims]
    except (ValueError, RecursionError):
        found = []
    return ", ".join((begin, *(found or [_bytes(payload)])))


def _claim(name: str, value: Any) -> str:
    if name == "exp":
        try:
            return shown_time(datetime.fromtimestamp(value, UTC))
        except (TypeError, ValueError, OverflowError, OSError):
            pass  # it is shown as it is
    return _value(value)


def _bytes(data: bytes) -> str:
    return f"{len(data)} bytes with the SHA-256 {encode(hashlib.sha256(data).digest())}"


def _value(value: Any) -> str:
    """Show a value so that it cannot pass for words around it; shorten it, and say so."""
    if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) and len(value) <= _LONGEST:
        return value
    shown = _json(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown)} characters)"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
