"""Checks the digests in the payload of an SD-JWT against its disclosures (RFC 9901)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

from minikms.basics.claim_names import is_taken_for, readings
from minikms.credentials.strict_json import read_strictly
from minikms.encodings import decode_canonical, jose_b64url
from minikms.errors import RuleViolated
from minikms.rules import JwsRules

_SD, _SD_ALG, _ITEM = "_sd", "_sd_alg", "..."
_OF_SD_JWT: Final = frozenset({_SD, _SD_ALG, _ITEM})
# Claims that an SD-JWT VC must not make selectively disclosable (draft-ietf-oauth-sd-jwt-vc-19,
# section 2.2.2.3), and `iat`.
_PLAIN: Final = frozenset(
    {"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "aka_vcts", "status", "iat"}
)
# The values of `_sd_alg` (IANA's Named Information Hash Algorithm Registry).
_HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "sha-256": hashlib.sha256,
    "sha-384": hashlib.sha384,
    "sha-512": hashlib.sha512,
    "sha3-256": hashlib.sha3_256,
    "sha3-384": hashlib.sha3_384,
    "sha3-512": hashlib.sha3_512,
}


def check_disclosures(jws: JwsRules, claims: dict[str, Any], disclosures: Sequence[str]) -> None:
    """Raise RuleViolated unless the digests in a payload fit the rule `jws.disclosures`."""
    if jws.disclosures == "none":
        _require_none(claims)
    elif jws.disclosures == "shown":
        plain = readings((*_PLAIN, *(name for name, _ in jws.claims)))
        for name, value in claims.items():
            if isinstance(value, (dict, list)) and is_taken_for(name, plain):
                _require_none(value)
        _Shown(_hash_of(claims), disclosures).check(claims, plain)


class _Shown:
    """The disclosures of a call by digest; finding a digest removes its disclosure."""

    def __init__(self, digest: Callable[[bytes], Any], disclosures: Sequence[str]) -> None:
        self._left = {jose_b64url(digest(each.encode()).digest()): each for each in disclosures}
        if len(self._left) < len(disclosures):
            raise _refused("A disclosure is shown twice.")

    def check(self, claims: dict[str, Any], plain: Set[str]) -> None:
        """Require each disclosure exactly once in the payload, and none to name one of `plain`."""
        values = self._of_object(claims, plain, own=frozenset({_SD, _SD_ALG}))
        while values:
            value = values.pop()
            if isinstance(value, dict):
                values += self._of_object(value)
            elif isinstance(value, list):
                values += map(self._of_item, value)
        if self._left:
            raise _refused("A disclosure has no digest in the payload.")

    def _of_object(
        self,
        members: dict[str, Any],
        plain: Set[str] = frozenset(),
        own: Set[str] = frozenset({_SD}),
    ) -> list[Any]:
        """Collect the values of an object's members and of its disclosures."""
        if any(name not in own and is_taken_for(name, _OF_SD_JWT) for name in members):
            raise _refused("A name of SD-JWT is in another place, or in another spelling.")
        digests = members.get(_SD, [])
        if type(digests) is not list:
            raise _refused("_sd must be a list of digests.")
        values = [value for name, value in members.items() if name not in own]
        taken = {*_OF_SD_JWT, *plain, *readings(members)} if digests else set()
        for digest in digests:
            _, name, value = self._disclosed(digest, 3)
            if type(name) is not str or is_taken_for(name, taken):
                raise _refused("A disclosure names a claim that is plain, or there already.")
            taken |= readings([name])
            values.append(value)
        return values

    def _of_item(self, item: Any) -> Any:
        """Return the value of an array element, which may be the digest of a disclosure."""
        if not isinstance(item, dict) or _ITEM not in item:
            return item
        if len(item) != 1:
            raise _refused("A digest of an item has other members beside it.")
        _, value = self._disclosed(item[_ITEM], 2)
        return value

    def _disclosed(self, digest: object, length: int) -> list[Any]:
        """Take out the disclosure of a digest: salt, name (of a member only) and value."""
        text = self._left.pop(digest, None) if type(digest) is str else None
        if text is None:
            raise _refused("A digest is of no disclosure that is shown, or occurs twice.")
        try:
            read = read_strictly(decode_canonical(text))
        except ValueError:
            read = None
        if type(read) is not list or len(read) != length or type(read[0]) is not str:
            raise _refused("A disclosure does not have its form, or is read in two ways.")
        return read


def _hash_of(claims: Mapping[str, Any]) -> Callable[[bytes], Any]:
    name = claims.get(_SD_ALG, "sha-256")
    if type(name) is not str or name not in _HASHES:
        raise _refused(f"_sd_alg must be one of: {', '.join(_HASHES)}.")
    return _HASHES[name]


def _require_none(value: Any) -> None:
    """Raise RuleViolated for a digest in a value, at any depth."""
    values = [value]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            if any(is_taken_for(name, _OF_SD_JWT) for name in value):
                raise _refused("The key signs no disclosure here.")
            values += value.values()
        elif isinstance(value, list):
            values += value


def _refused(fault: str) -> RuleViolated:
    return RuleViolated("jws.disclosures", fault)
