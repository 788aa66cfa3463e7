"""The file of roles, in TOML, which `--roles` names."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

from minikms.access.callers import CERTIFICATE, SCOPES
from minikms.access.jwt import EVERY_PROFILE
from minikms.access.key_source import KeySource
from minikms.access.roles import (
    Issuer,
    Role,
    Roles,
    claim_of_profile,
)
from minikms.basics.small_files import read_small_file
from minikms.profile_settings import PROFILE_PATTERN
from minikms.startup_errors import AccessError

_MAX_BYTES: Final = 1024 * 1024

# The names of issuers and roles, which stand in log lines, paths and ARNs.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

_TEXT: Final = validate.Length(min=1, max=4096)
_SOME: Final = validate.Length(min=1)


def _texts(**options: Any) -> "fields.List[Any]":
    return fields.List(fields.String(validate=_TEXT), validate=_SOME, **options)


class _IssuerTable(Schema):
    issuer = fields.String(required=True, validate=_TEXT)
    audience = fields.String(required=True, validate=_TEXT)
    jwks = fields.String(load_default="", validate=_TEXT)
    discovery = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    ca = fields.String(load_default="", validate=_TEXT)
    token_file = fields.String(load_default="", validate=_TEXT)


class _RoleTable(Schema):
    issuer = fields.String(load_default="", validate=_TEXT)
    claims = fields.Dict(fields.String(validate=_TEXT), _texts(), load_default=dict, validate=_SOME)
    certificate = fields.Dict(
        fields.String(validate=validate.OneOf(["uri", "dns", "email"])),
        _texts(),
        load_default=dict,
        validate=_SOME,
    )
    scopes = fields.List(
        fields.String(validate=validate.OneOf(SCOPES, error="There is no scope {input}.")),
        required=True,
        validate=_SOME,
    )
    profiles = _texts(required=True)
    max_age = fields.Integer(load_default=None, strict=True, validate=validate.Range(min=1))


_ISSUER: Final = _IssuerTable()
_ROLE: Final = _RoleTable()


def read_roles(path: str) -> Roles:
    """Read a file of roles; raises AccessError with the line of the first part that is wrong."""
    try:
        text = read_small_file(path, _MAX_BYTES).content.decode()
        document = tomllib.loads(text)
    except OSError as exc:
        raise AccessError(f"--roles: {path} cannot be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise AccessError(f"--roles: {path} is not in UTF-8.") from None
    except tomllib.TOMLDecodeError as exc:
        raise AccessError(f"--roles: {path}: {exc}.") from None
    try:
        return _roles_in(document)
    except _Fault as fault:
        line = _line_of(text, fault.place)
        shown = ".".join(fault.place)
        raise AccessError(f"--roles: {path}, line {line}: {shown}: {fault}") from None


class _Fault(Exception):
    """A part of the file that is wrong: its place, as the names of tables and member."""

    def __init__(self, reason: str, *place: str) -> None:
        super().__init__(reason)
        self.place = place


def _roles_in(document: Mapping[str, Any]) -> Roles:
    for name in document:
        if name not in ("issuers", "roles"):
            raise _Fault("The file has only the tables issuers and roles.", name)
    issuers = [_issuer(name, table) for name, table in _tables(document, "issuers")]
    for number, issuer in enumerate(issuers):
        for other in issuers[:number]:
            if other.url == issuer.url:
                raise _Fault(f"{other.name} has the same.", "issuers", issuer.name, "issuer")
    names = {issuer.name for issuer in issuers}
    roles = [_role(name, table, names) for name, table in _tables(document, "roles")]
    return Roles(tuple(issuers), tuple(roles))


def _tables(document: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise _Fault("It must be a table.", kind)
    for name, table in tables.items():
        if not _NAME.match(name):
            raise _Fault("A name has 1 to 64 letters, digits, _ and -.", kind, name)
        if not isinstance(table, dict):
            raise _Fault("It must be a table.", kind, name)
        yield name, table


def _loaded(schema: Schema, table: Mapping[str, Any], *place: str) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(table)
    except ValidationError as exc:
        reasons: dict[str, Any] = exc.messages_dict
        member = next(iter(reasons))
        raise _Fault(_first(reasons[member]), *place, member) from None
    return loaded


def _first(reasons: Any) -> str:
    """Return the first sentence of marshmallow's messages, which nest as the members do."""
    while not isinstance(reasons, str):
        reasons = next(iter(reasons.values() if isinstance(reasons, dict) else reasons))
    return reasons


def _issuer(name: str, table: Mapping[str, Any]) -> Issuer:
    place = ("issuers", name)
    if name == CERTIFICATE:
        raise _Fault("Callers with client certificates have this name.", *place)
    known = _loaded(_ISSUER, table, *place)
    if bool(known["jwks"]) == known["discovery"]:
        raise _Fault("It needs either jwks or discovery = true.", *place)
    source = KeySource(
        known["jwks"] or known["issuer"],
        known["discovery"],
        known["ca"],
        known["token_file"],
        f"--roles, issuer {name}",
    )
    for member in ("ca", "token_file"):
        if known[member] and not source.is_url:
            raise _Fault("A JWK Set in a file needs none.", *place, member)
    return Issuer(name, known["issuer"], known["audience"], source)


def _role(name: str, table: Mapping[str, Any], issuers: set[str]) -> Role:
    place = ("roles", name)
    known = _loaded(_ROLE, table, *place)
    of_jwt = known["issuer"] or known["claims"] or known["max_age"]
    if bool(known["certificate"]) == bool(of_jwt):
        raise _Fault("It needs either issuer and claims, or certificate.", *place)
    if of_jwt and known["issuer"] not in issuers:
        raise _Fault(f"There is no issuer {known['issuer']!r}.", *place, "issuer")
    if of_jwt and not known["claims"]:
        raise _Fault("Name the claims that callers must have.", *place, "claims")
    for profile in known["profiles"]:
        _check_profile(profile, known, *place, "profiles")
    return Role(
        name,
        frozenset(known["scopes"]),
        tuple(known["profiles"]),
        known["issuer"],
        known["claims"],
        known["certificate"],
        known["max_age"],
    )


def _check_profile(profile: str, known: Mapping[str, Any], *place: str) -> None:
    if profile == EVERY_PROFILE and len(known["profiles"]) > 1:
        raise _Fault('"*" stands alone.', *place)
    if claim_of_profile(profile) is not None and known["certificate"]:
        raise _Fault("A certificate has no claims.", *place)
    if not re.match(PROFILE_PATTERN, profile):
        raise _Fault("The name of a profile has 1 to 128 visible ASCII characters.", *place)


def _line_of(text: str, place: tuple[str, ...]) -> int:
    """Return the line of a member of a table, else of the table's header, else 1."""
    lines = text.splitlines()
    header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(map(re.escape, place[:2])) + r"\s*[\].]")
    member = re.compile(rf"\s*{re.escape(place[-1])}\s*[=.]")
    begin = next((number for number, line in enumerate(lines) if header.match(line)), 0)
    for number, line in enumerate(lines[begin:], begin):
        if number > begin and line.lstrip().startswith("[") and not header.match(line):
            break
        if member.match(line):
            return number + 1
    return begin + 1
