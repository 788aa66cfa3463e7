"""The calls of AWS STS with which SDKs get the credentials of a role, and ask whose they are."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from minikms.doors import (
    ANY_TOKEN,
    DEFAULT_PROFILE,
    LOGIN,
    DoorAnswer,
    DoorCall,
    DoorCaller,
    DoorRoute,
    KmsError,
    b64url_decode,
    errors,
    parse_json,
)
from minikms_aws.body import Integer, Shape, Text, Unsupported, read_members
from minikms_aws.identity import DEFAULT_ACCOUNT, PROFILE_PREFIX, account_of, session_and_token
from minikms_aws.query import StsError, answer, parameters, require_action

_ASSUME_ROLE: Final = "AssumeRoleWithWebIdentity"
_CALLER_IDENTITY: Final = "GetCallerIdentity"

_ROLE: Final = re.compile(rf"arn:aws:iam::{DEFAULT_ACCOUNT}:role/([A-Za-z0-9_-]{{1,64}})")
_SECOND: Final = 1_000_000_000
_HOUR: Final = 3600

# In place of a secret access key: the session token already contains the JWT, so that a signature
# by a key made from the same JWT would show nothing more.
_UNUSED: Final = "unused"

_ASSUMING: Final[Shape] = {
    "RoleArn": Text(20, 2048, required=True),
    "RoleSessionName": Text(2, 64, r"[A-Za-z0-9_+=,.@-]*", required=True),
    "DurationSeconds": Integer(900, 43_200),
    # Each would narrow the role.
    "Policy": Unsupported(),
    "PolicyArns.member.1.arn": Unsupported(),
}


async def _assume_role(call: DoorCall) -> DoorAnswer:
    """Return credentials whose session token carries the JWT and the role."""
    given = parameters(call.request, call.body)
    require_action(given, _ASSUME_ROLE)
    jwt = given.pop("WebIdentityToken", "").strip()  # apart, since errors quote members
    members = read_members(_typed(given), _ASSUMING)
    arn = _ROLE.fullmatch(members["RoleArn"])
    if arn is None:
        raise _denied()
    role, session = arn[1], members["RoleSessionName"]
    if not jwt:  # it would stand for the client certificate
        raise _invalid_token()
    token = call.in_role(jwt, role)
    caller = await _authenticated(call, token)
    if caller.name and caller.roles != (role,):  # a token that has no role; without tokens, nobody
        raise _denied()
    ends = time.time_ns() + members.get("DurationSeconds", _HOUR) * _SECOND
    result = {
        "SubjectFromWebIdentityToken": caller.subject or None,
        "Provider": caller.issuer or None,
        "AssumedRoleUser": {
            "Arn": _assumed(role, session),
            "AssumedRoleId": f"{role}:{session}",
        },
        "Credentials": {
            "AccessKeyId": PROFILE_PREFIX + call.profile,
            "SecretAccessKey": _UNUSED,
            "SessionToken": f"{session}/{token}",
            "Expiration": _time(min(ends, caller.expires or ends)),
        },
    }
    return answer(_ASSUME_ROLE, call.request_id, result)


async def _caller_identity(call: DoorCall) -> DoorAnswer:
    """Name the caller: its role and session, a user with the name of its token, or the root."""
    require_action(parameters(call.request, call.body), _CALLER_IDENTITY)
    caller, account = call.caller, account_of(call.profile)
    session, _ = session_and_token(call.request)
    if session and len(caller.roles) == 1:
        role = caller.roles[0]
        known = (f"{role}:{session}", DEFAULT_ACCOUNT, _assumed(role, session))
    elif caller.name:
        known = (caller.token or caller.name, account, f"arn:aws:iam::{account}:user/{caller.name}")
    else:
        known = (account, account, f"arn:aws:iam::{account}:root")
    result = dict(zip(("UserId", "Account", "Arn"), known, strict=True))
    return answer(_CALLER_IDENTITY, call.request_id, result)


ASSUME_ROLE: Final = DoorRoute(_ASSUME_ROLE, LOGIN, _assume_role)
CALLER_IDENTITY: Final = DoorRoute(_CALLER_IDENTITY, ANY_TOKEN, _caller_identity)


def _typed(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters, of which one is a number."""
    duration = given.get("DurationSeconds", "")
    is_number = duration.isascii() and duration.isdecimal() and len(duration) < 10
    return {**given, "DurationSeconds": int(duration)} if is_number else dict(given)


async def _authenticated(call: DoorCall, token: str) -> DoorCaller:
    """Authenticate the token of a role, in its profile; raises StsError and TooManyAttempts."""
    try:
        return await call.authenticate(token, _profile_of)
    except errors.Unauthenticated:
        if _has_expired(token):
            raise StsError("ExpiredTokenException", "Token expired.") from None
        raise _invalid_token() from None
    except errors.Forbidden:
        raise _denied() from None


def _profile_of(caller: DoorCaller) -> str:
    """Return the profile of a role: of several, `default` if the role has it, else the first."""
    if caller.profiles is None or DEFAULT_PROFILE in caller.profiles:
        return DEFAULT_PROFILE
    return min(caller.profiles, default=DEFAULT_PROFILE)


def _has_expired(token: str) -> bool:
    """Tell whether the JWT in a token says that it has expired; its signature does not count."""
    try:
        claims: Any = parse_json(b64url_decode(token.split(".")[-2]))
        return bool(claims["exp"] < time.time())
    except (KmsError, ValueError, LookupError, TypeError):
        return False


def _invalid_token() -> StsError:
    return StsError("InvalidIdentityToken", "The web identity token is not valid for this service.")


def _denied() -> StsError:
    return StsError("AccessDenied", f"Not authorized to perform sts:{_ASSUME_ROLE}", 403)


def _assumed(role: str, session: str) -> str:
    return f"arn:aws:sts::{DEFAULT_ACCOUNT}:assumed-role/{role}/{session}"


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
