"""The caller's profile, account and region, and AWS's names of keys and aliases."""

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from minikms.doors import DEFAULT_PROFILE, KID_PATTERN, KeyRecord, KeyRef
from minikms_aws.errors import AwsError

if TYPE_CHECKING:
    from aiohttp import web

ALIAS_PREFIX: Final = "alias/"
UUID_PREFIX: Final = "aws:"
"""The prefix of an alias that contains the UUID of a key; ListAliases omits such aliases."""
PROFILE_PREFIX: Final = "profile-"
"""The prefix of an access key id that selects a profile."""

_DEFAULT_REGION: Final = "us-east-1"
DEFAULT_ACCOUNT: Final = "000000000000"
"""The account number of the default profile, and of all roles."""
_ACCOUNTS: Final = 10**12

# Signature Version 4. A profile's name may have a slash or a comma, so it is parsed from the right.
_SIGNED: Final = "AWS4-"
_CREDENTIAL: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(.+)/\d{8}/([a-z0-9-]{1,63})/(?:kms|sts)/aws4_request, ?"
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KID: Final = re.compile(KID_PATTERN)
# AWS's key ids; the second form is for multi-Region keys.
_KEY_ID: Final = re.compile(rf"{_UUID.pattern}|mrk-[0-9a-f]{{32}}")
_ARN: Final = re.compile(r"arn:aws:kms:([^:]*):([^:]*):(?:key/(.+)|(alias/.+))")


class Caller(NamedTuple):
    """The profile and region in the credentials of a call, whose signature is not verified."""

    profile: str = DEFAULT_PROFILE
    region: str = _DEFAULT_REGION


class Arns(NamedTuple):
    """The names of keys and aliases in one account and region."""

    account: str
    region: str

    def key(self, key_id: str) -> str:
        return f"arn:aws:kms:{self.region}:{self.account}:key/{key_id}"

    def alias(self, name: str) -> str:
        """Return the ARN of an alias; its name begins with `alias/`."""
        return f"arn:aws:kms:{self.region}:{self.account}:{name}"

    def ref(self, text: str) -> KeyRef:
        """Parse the id or the alias of a key, or the ARN of either.

        Raises InvalidArnException, and NotFoundException for a name that no key has, such as an
        ARN of another account or region.
        """
        if text.startswith("arn:"):
            arn = _ARN.fullmatch(text)
            if arn is None:
                raise AwsError("InvalidArnException", f"Invalid ARN '{text}'")
            region, account, key_id, alias = arn.groups()
            if region != self.region:
                raise AwsError("NotFoundException", f"Invalid arn {region}")
            if account != self.account or (key_id and key_id.startswith(ALIAS_PREFIX)):
                raise self.not_found(text)
            text = key_id or alias
        if text.startswith(ALIAS_PREFIX):
            return KeyRef(alias=text)
        if _UUID.fullmatch(text):
            return KeyRef(alias=uuid_alias(text))
        if _KID.fullmatch(text):
            return KeyRef(kid=text)
        raise self.not_found(text)

    def not_found(self, text: str) -> AwsError:
        """Return the error for a key or an alias that does not exist."""
        if text.startswith(ALIAS_PREFIX):
            arn = self.alias(text)
        elif text.startswith("arn:"):
            arn = text
        elif _KEY_ID.fullmatch(text):
            arn = self.key(text)
        else:
            return AwsError("NotFoundException", f"Invalid keyId '{text}'")
        if ":alias/" in arn:
            return AwsError("NotFoundException", f"Alias {arn} is not found.")
        return AwsError("NotFoundException", f"Key '{arn}' does not exist")


def is_signed(request: "web.BaseRequest") -> bool:
    """Tell whether a request has credentials."""
    return request.headers.get("Authorization", "").startswith(_SIGNED)


def session_and_token(request: "web.BaseRequest") -> tuple[str, str]:
    """Return the name of the session of a role, empty without one, and the token of Mini KMS."""
    session, _, token = request.headers.get("X-Amz-Security-Token", "").rpartition("/")
    return session, token


def caller(request: "web.Request") -> Caller:
    """Parse the credentials of a call; raises IncompleteSignatureException.

    A call without credentials is for the default profile in the region us-east-1.
    """
    header = request.headers.get("Authorization", "")
    if not header.startswith(_SIGNED):
        return Caller()
    # Without the signature, which differs for each call.
    return _caller_of(header.rpartition("SignedHeaders=")[0])


@lru_cache(maxsize=256)
def _caller_of(credential: str) -> Caller:
    found = _CREDENTIAL.fullmatch(credential)
    if found is None:
        raise AwsError(
            "IncompleteSignatureException",
            "The header Authorization has no AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/kms/"
            "aws4_request with its SignedHeaders.",
        )
    access_key, region = found.groups()
    if not access_key.startswith(PROFILE_PREFIX):
        return Caller(region=region)
    return Caller(access_key[len(PROFILE_PREFIX) :], region)


@lru_cache(maxsize=1024)
def account_of(profile: str) -> str:
    """Return the account number of a profile, which never changes."""
    if profile == DEFAULT_PROFILE:
        return DEFAULT_ACCOUNT
    digest = hashlib.sha256(profile.encode()).digest()
    return f"{int.from_bytes(digest, 'big') % _ACCOUNTS:012}"


def uuid_alias(text: str) -> str:
    """Return the alias that contains a key's UUID."""
    return UUID_PREFIX + text


def is_uuid_alias(alias: str) -> bool:
    """Tell whether an alias contains a key's UUID; callers do not see such aliases."""
    return alias.startswith(UUID_PREFIX) and bool(_UUID.fullmatch(alias, len(UUID_PREFIX)))


def id_of(record: KeyRecord) -> str:
    """Return a key's AWS id: its UUID, or its kid if another port made the key."""
    for alias in record.aliases:
        if is_uuid_alias(alias):
            return alias[len(UUID_PREFIX) :]
    return record.kid
