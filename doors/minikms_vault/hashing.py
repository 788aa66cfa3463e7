"""Hashes and random bytes, which need no key."""

import hashlib
from typing import Final

from minikms.doors import ANY_TOKEN
from minikms_vault.body import NUMBER, Body, base64
from minikms_vault.errors import invalid
from minikms_vault.forms import SHA1, SHA2_256, hashed_by
from minikms_vault.operation import Answer, VaultAnswer, VaultCall, operation

_MOST_RANDOM: Final = 128 * 1024
_HEX: Final = "hex"
_FORMATS: Final = (_HEX, "base64")
_SOURCES: Final = ("", "platform", "seal", "all")
_NO_SEAL: Final = "no seal/entropy augmentation available, using platform entropy source"


@operation(
    "hash", ANY_TOKEN, "POST hash", "POST hash/{urlalgorithm...}", takes="input algorithm format"
)
async def compute_hash(call: VaultCall, body: Body) -> Answer:
    """Hash an input."""
    if "input" not in body:
        raise invalid("input missing")
    data, encoding = body.data("input"), body.text("format", _HEX)
    _require_format(encoding)
    algorithm = body.text("urlalgorithm") or body.text("algorithm", SHA2_256)
    if algorithm == SHA1:
        raise invalid(f"unsupported algorithm {algorithm}")
    return {"sum": _written(hashlib.new(hashed_by(algorithm), data).digest(), encoding)}


@operation("random", "random", "POST random", "POST random/{source...}", takes="bytes format")
async def random(call: VaultCall, body: Body) -> Answer:
    """Return random bytes; the path names their source, their number or both."""
    size = body.integer("bytes", 32)  # read even if the path has a number
    source, slash, number = body.text("source").partition("/")
    if slash or source not in _SOURCES:
        source, number = (source, number) if slash else ("", source)
        if not NUMBER.fullmatch(number):
            raise invalid("error parsing url-set byte count: invalid syntax")
        size = int(number)
    if size < 1:
        raise invalid("'bytes' cannot be less than 1")
    if size > _MOST_RANDOM:
        raise invalid(f"'bytes' should be less than {_MOST_RANDOM}")
    encoding = body.text("format", "base64")
    _require_format(encoding)
    if source not in _SOURCES:
        raise invalid(
            f'unsupported entropy source "{source}"; must be "platform" or "seal", or "all"'
        )
    data = {"random_bytes": _written(call.service.random(size), encoding)}
    return VaultAnswer(data, warnings=(_NO_SEAL,)) if source == "seal" else data


def _written(data: bytes, encoding: str) -> str:
    return data.hex() if encoding == _HEX else base64(data)


def _require_format(encoding: str) -> None:
    if encoding not in _FORMATS:
        raise invalid(f'unsupported encoding format "{encoding}"; must be "hex" or "base64"')
