"""`mkms doctor`: check the settings, the service and the caller."""

import ipaddress
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import click

from minikms_client import Client
from minikms_client.answers import Answer
from minikms_client.cli.commands import Command
from minikms_client.cli.display import shown_time
from minikms_client.cli.exits import NOT_PERMITTED, WRONG_USAGE, code_of, sentence
from minikms_client.cli.session import Session, pass_session
from minikms_client.errors import InvalidSetting, MinikmsError
from minikms_client.models import OwnToken
from minikms_client.shapes import members
from minikms_client.wire import Call

# Validity that a certificate should have left, as a part of its lifetime.
_LEFT: Final = 0.1
# Validity that a token should have left.
_TOKEN_LEFT: Final = timedelta(days=7)
# Difference between two clocks in seconds; JWTs are commonly accepted within 60.
_APART: Final = 30
# Usual calls, and their scopes.
_USUAL: Final = {"list keys": "keys:read", "make keys": "keys:write", "sign": "sign"}

# The profile of a client that names none.
_DEFAULT: Final = "default"

_Finding: TypeAlias = dict[str, Any]


def _finding(check: str, result: str, detail: str, code: int = 0) -> _Finding:
    """Return the result of a check: ok, warning or problem; a problem has an exit code."""
    return {"check": check, "result": result, "detail": detail, "code": code}


def _ok(check: str, detail: str) -> _Finding:
    return _finding(check, "ok", detail)


def _warning(check: str, detail: str) -> _Finding:
    return _finding(check, "warning", detail)


def _problem(check: str, error: MinikmsError) -> _Finding:
    return _finding(check, "problem", sentence(error), code_of(error))


@click.command(
    cls=Command,
    examples="mkms doctor\nmkms doctor --context production --json",
)
@pass_session
def doctor(session: Session) -> None:
    """Check the settings, the service and the caller; say what to do.

    Each line is ok, a warning or a problem. The exit code is 0, or the one of the first problem.
    """
    findings = list(_findings(session))
    session.show_rows(
        findings,
        {
            "check": lambda finding: finding["check"],
            "result": lambda finding: finding["result"],
            "detail": lambda finding: finding["detail"],
        },
    )
    sys.exit(next((finding["code"] for finding in findings if finding["code"]), 0))


def service_version(client: Client) -> str:
    """Return the version of the service."""
    found: str = client.openapi()["info"]["version"]
    return found


def _findings(session: Session) -> Iterator[_Finding]:
    """Yield the result of each check, up to a problem that makes the next checks impossible."""
    try:
        context = session.applied_context()
        connected = session.connect(retries=0)
    except click.UsageError as error:
        yield _finding("settings", "problem", error.format_message(), WRONG_USAGE)
        return
    except InvalidSetting as error:
        yield _problem("settings", error)
        return
    with connected as client:
        yield _settings(session, context)
        try:
            answer = client._send(Call("GET", "/healthz"))
        except MinikmsError as error:  # InvalidSetting if the token cannot be read
            yield _problem("caller" if isinstance(error, InvalidSetting) else "service", error)
            return
        yield from _connection(client, answer)
        for name, check in (("store", _store), ("version", _version)):
            try:
                yield check(client)
            except MinikmsError as error:
                yield _problem(name, error)
        try:
            caller = client.get_own_token()
        except MinikmsError as error:
            yield _problem("caller", error)
            return
        yield _caller(client, caller)
        yield _profile(client, caller)
        yield _scopes(client, caller)


def _settings(session: Session, context: str | None) -> _Finding:
    if context is not None:
        return _ok("settings", f"from the context {context}")
    if session.settings().url is not None:
        return _ok("settings", "from --url or MINIKMS_URL, so no context applies")
    return _ok("settings", "no context, so the default URL applies; mkms login keeps another")


def _connection(client: Client, answer: Answer) -> Iterator[_Finding]:
    """Check the connection of an answer, and the clock of its sender."""
    stream = answer.extensions["network_stream"]
    tls = stream.get_extra_info("ssl_object")
    if tls is None and not _is_loopback(client.url):
        yield _warning("service", f"{client.url} answers without TLS, which tokens need")
    else:
        yield _ok("service", f"{client.url} answers")
    if tls is not None:
        certificate = tls.getpeercert()
        start, end = (
            ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter")
        )
        shown = f"ends {shown_time(datetime.fromtimestamp(end, UTC))}"
        if end - time.time() < (end - start) * _LEFT:
            yield _warning("certificate", f"{shown}: the operator should renew it")
        else:
            yield _ok("certificate", shown)
    yield _clock(answer.headers.get("Date", ""))


def _clock(date: str) -> _Finding:
    try:
        apart = round(parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, OverflowError):
        return _warning("clock", "unknown: the answer has no time; a proxy may omit it")
    if abs(apart) > _APART:
        ahead = "ahead of" if apart > 0 else "behind"
        detail = f"the service is {abs(apart)} s {ahead} this machine: let both follow NTP"
        return _warning("clock", detail)
    return _ok("clock", "the service and this machine agree")


def _store(client: Client) -> _Finding:
    away = client._read(Call("GET", "/readyz"), members).get("away")
    if away:
        return _warning("store", f"ready, but providers do not answer: {' '.join(map(str, away))}")
    return _ok("store", "ready")


def _version(client: Client) -> _Finding:
    own, there = version("minikms-client"), service_version(client)
    if own == there:
        return _ok("version", f"mkms and the service are {own}")
    return _warning("version", f"mkms is {own}, the service is {there}: install the same version")


def _caller(client: Client, caller: OwnToken) -> _Finding:
    if caller.name is None:
        who = "anybody on this machine" if _is_loopback(client.url) else "everybody who reaches it"
        detail = f"{who} may use the service, which needs no token: --auth token changes that"
        return _warning("caller", detail)
    if caller.expires is None:
        return _ok("caller", f"{caller.name}, whose token does not expire")
    roles = " ".join(role.name for role in caller.roles)
    who = f"{caller.name} with the roles {roles}" if roles else caller.name
    what = "certificate" if caller.issuer == "certificate" else "token"
    shown = f"{who}, whose {what} expires {shown_time(caller.expires)}"
    # A token without an id is not in the store, like a JWT, which is valid for minutes.
    if caller.id is not None and caller.expires - datetime.now(UTC) < _TOKEN_LEFT:
        return _warning("caller", f"{shown}: get a new one (mkms token create)")
    return _ok("caller", shown)


def _profile(client: Client, caller: OwnToken) -> _Finding:
    profile = client.profile or _DEFAULT
    if caller.profiles is not None and profile not in caller.profiles:
        valid = " ".join(caller.profiles)
        detail = f"the token is not valid in {profile}, only in {valid}: name one by --profile"
        return _finding("profile", "problem", detail, NOT_PERMITTED)
    if "keys:read" in _scopes_in(profile, caller):
        try:
            client.list_keys(limit=1)
        except MinikmsError as error:
            return _problem("profile", error)
    return _ok("profile", profile)


def _scopes(client: Client, caller: OwnToken) -> _Finding:
    scopes = _scopes_in(client.profile or _DEFAULT, caller)
    shown = " ".join(scopes)
    missing = [f"{use} ({scope})" for use, scope in _USUAL.items() if scope not in scopes]
    if len(missing) == len(_USUAL):
        return _warning("scopes", f"{shown}; another token is needed to {', '.join(missing)}")
    return _ok("scopes", f"{shown}; not for: {', '.join(missing)}" if missing else shown)


def _scopes_in(profile: str, caller: OwnToken) -> tuple[str, ...]:
    """Return the scopes in a profile; those of a role are valid in its own profiles alone."""
    if not caller.roles:
        return caller.scopes
    of_roles = {
        scope
        for role in caller.roles
        if role.profiles is None or profile in role.profiles
        for scope in role.scopes
    }
    return tuple(scope for scope in caller.scopes if scope in of_roles)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
