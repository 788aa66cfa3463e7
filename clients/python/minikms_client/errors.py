"""The errors: a class for each slug of a problem, and for a missing answer.

The subclasses of `ProblemError` are the table of slugs. An unknown slug of a later service gets the
class of its status, such as `NotFound`, or `ProblemError` itself. The file is over 300 lines, since
it has every problem.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

from minikms_client.shapes import each, members, text, typed

ErrorT = TypeVar("ErrorT", bound=BaseException)
_PREFIX: Final = "urn:minikms:problem:"
# OpenSSL's reason if the answer is plain HTTP.
_WITHOUT_TLS: Final = "WRONG_VERSION_NUMBER"
# The number that Python puts before the text of a system's error.
_NUMBER: Final = re.compile(r"^\[Errno -?\d+\] ")


class MinikmsError(Exception):
    """The base of all errors of this package."""


class InvalidSetting(MinikmsError, ValueError):
    """A URL, profile, token or name is unusable, or a token file cannot be read."""


class Unreachable(MinikmsError):
    """No answer came: the service cannot be reached, or a time limit passed."""


class UnexpectedAnswer(MinikmsError):
    """An answer, with the HTTP `status`, that is not from Mini KMS but perhaps from a proxy.

    `retry_after` has the seconds after which the call may be repeated, if the answer has them.
    """

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"The answer {status} is not from Mini KMS.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling."""
        return type(self), (self.status, self.retry_after)


class ProblemError(MinikmsError):
    """A problem (RFC 9457) in the service's answer.

    Programs rely on the class or on `slug`; `title` and `detail` are for people. `errors` pairs a
    JSON pointer into the request with the fault there. `request_id` is in the service's log.
    `retry_after` has the seconds after which the call may be repeated, if the service sent them.
    `outcome` is "unknown" if the call may have changed something despite the error. `approval` is
    the approval that the call waits for, as the service sends it.
    """

    by_slug: ClassVar[dict[str, type["ProblemError"]]] = {}
    by_status: ClassVar[dict[int, type["ProblemError"]]] = {}

    def __init_subclass__(cls, slug: str | None = None, status: int | None = None) -> None:
        """Register the class under its slug, or under the status that its slugs share."""
        if slug is not None:
            cls.by_slug[slug] = cls
        if status is not None:
            cls.by_status[status] = cls

    def __init__(
        self,
        slug: str,
        status: int,
        title: str,
        detail: str,
        errors: tuple[tuple[str, str], ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        outcome: str | None = None,
        approval: Mapping[str, Any] | None = None,
    ) -> None:
        self.slug = slug
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.retry_after = retry_after
        self.outcome = outcome
        self.approval = approval
        super().__init__(" ".join([detail, *(f"{at}: {fault}" for at, fault in errors)]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, by which `concurrent.futures` passes errors between processes."""
        return type(self), (
            self.slug,
            self.status,
            self.title,
            self.detail,
            self.errors,
            self.request_id,
            self.retry_after,
            self.outcome,
            self.approval,
        )


def caused_by(error: BaseException, kind: type[ErrorT]) -> ErrorT | None:
    """Return the error of this kind that led to an error, if there is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause


def reason(error: Exception) -> str:
    """Return the reason for a missing answer, as part of a sentence."""
    cause = caused_by(error, ssl.SSLError)
    if cause is None:
        return _NUMBER.sub("", str(error)) or type(error).__name__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message.rstrip('.')}"
    if cause.reason == _WITHOUT_TLS:
        return "it does not speak TLS there; its URL may begin with http://"
    return f"TLS failed: {(cause.reason or 'for an unknown reason').replace('_', ' ').lower()}"


def problem(
    body: Mapping[str, Any],
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ProblemError:
    """Make the error of a problem's JSON; raises LookupError, TypeError or ValueError."""
    type_, status = text(body["type"]), typed(body["status"], int)
    if not type_.startswith(_PREFIX):
        raise ValueError("The problem is not from Mini KMS.")
    slug = type_.removeprefix(_PREFIX)
    base = ProblemError.by_status.get(status, ProblemError)
    return ProblemError.by_slug.get(slug, base)(
        slug,
        status,
        text(body["title"]),
        text(body["detail"]),
        each(_fault, body.get("errors", [])),
        request_id,
        retry_after,
        text(body["outcome"]) if "outcome" in body else None,
        members(body["approval"]) if "approval" in body else None,
    )


def _fault(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return the JSON pointer of a fault, and its description."""
    return text(data["pointer"]), text(data["detail"])


class NotFound(ProblemError, status=404):
    """The key, alias, profile or token of the call does not exist."""


class Conflict(ProblemError, status=409):
    """The present state does not allow the call."""


class Invalid(ProblemError, status=422):
    """The service does not accept the arguments of the call."""


class Unavailable(ProblemError, status=503):
    """The service cannot answer now; the call may be repeated later."""


class MalformedJson(ProblemError, slug="malformed-json"):
    """The body is not JSON in UTF-8 (RFC 8259)."""


class BadRequest(ProblemError, slug="bad-request"):
    """The HTTP message itself cannot be read."""


class ProfileExists(ProblemError, slug="profile-exists"):
    """A profile with this name already exists."""


class Unauthenticated(ProblemError, slug="unauthenticated"):
    """The token is missing or not valid (RFC 6750 section 3)."""


class Forbidden(ProblemError, slug="forbidden"):
    """The caller is authenticated but lacks the scope (RFC 6750 section 3.1)."""


class RouteNotFound(NotFound, slug="route-not-found"):
    """No route has this path."""


class KeyNotFound(NotFound, slug="key-not-found"):
    """The profile has no key with this kid."""


class AliasNotFound(NotFound, slug="alias-not-found"):
    """The profile has no key with this alias."""


class ProfileNotFound(NotFound, slug="profile-not-found"):
    """There is no profile with this name."""


class TokenNotFound(NotFound, slug="token-not-found"):
    """There is no token with this id."""


class MethodNotAllowed(ProblemError, slug="method-not-allowed"):
    """The path exists, but not for this method; `Allow` lists its methods."""


class RequestTimeout(ProblemError, slug="request-timeout"):
    """The caller did not send its request in time."""


class KeyExists(Conflict, slug="key-exists"):
    """The profile already has a key with this kid."""


class AliasExists(Conflict, slug="alias-exists"):
    """The alias already names another key, and the caller requested a refusal."""


class KeyNotUsable(Conflict, slug="key-not-usable"):
    """The key's state does not allow the operation, or its algorithm is not installed."""


class TooEarly(Conflict, slug="too-early"):
    """The next key is missing, or has not been published as long as the caller requested."""


class NotExportable(ProblemError, slug="not-exportable"):
    """The key was not made exportable."""


class RuleViolated(ProblemError, slug="rule-violated"):
    """A rule of the key does not allow the signature; `detail` names the rule."""


class ApprovalRequired(ProblemError, slug="approval-required"):
    """The use of the key needs approvals; the member "id" of `approval` names what it waits for.

    Wait for the approval, then repeat the call.
    """


class ApprovalNotFound(NotFound, slug="approval-not-found"):
    """No use waits for an approval with this id: it has expired, or was used or withdrawn."""


class InvalidApproval(Invalid, slug="invalid-approval"):
    """The proof is not an approver's signature of the approval."""


class TooManyApprovals(ProblemError, slug="too-many-approvals"):
    """Too many uses of the key, or in the profile, wait for approvals."""


class RulesLoosened(Conflict, slug="rules-loosened"):
    """The new rules would allow more than the key's current rules."""


class ProfileFrozen(Conflict, slug="profile-frozen"):
    """The profile is frozen: nothing in it changes."""


class ProfileProtected(Conflict, slug="profile-protected"):
    """The default profile cannot be deleted."""


class BodyTooLarge(ProblemError, slug="body-too-large"):
    """The body is over the service's limit."""


class UnsupportedMediaType(ProblemError, slug="unsupported-media-type"):
    """The body's media type is not one that the service accepts."""


class MisdirectedRequest(ProblemError, slug="misdirected-request"):
    """The request is addressed to another host (RFC 9110 section 15.5.20)."""


class ValidationFailed(Invalid, slug="validation-failed"):
    """A field or parameter is missing, unknown or malformed; `errors` names it."""


class TooManyAliases(Invalid, slug="too-many-aliases"):
    """The key has reached its limit of aliases."""


class TooLargeRecord(Invalid, slug="too-large-record"):
    """The labels or aliases of a key, or the labels and rules of a batch, are too large."""


class UnsupportedAlgorithm(Invalid, slug="unsupported-algorithm"):
    """No algorithm has this name or alias."""


class UnsupportedOperation(Invalid, slug="unsupported-operation"):
    """The algorithm does not support the operation."""


class UnsupportedOption(Invalid, slug="unsupported-option"):
    """The algorithm supports the operation, but not this option."""


class InvalidKey(Invalid, slug="invalid-key"):
    """The material is not a key of its algorithm."""


class InvalidCertificate(Invalid, slug="invalid-certificate"):
    """A certificate, its chain, or a name in it is not valid, or does not fit the key."""


class NotAttestable(Invalid, slug="not-attestable"):
    """A key cannot be attested: exportable, imported, not usable, or not of this profile."""


class InvalidCose(Invalid, slug="invalid-cose"):
    """The bytes are not the COSE message or the CBOR map that the call expects."""


class DecryptionFailed(Invalid, slug="decryption-failed"):
    """The ciphertext, tag, nonce or wrapped key is wrong; which one is not disclosed."""


class TooManyKeys(Invalid, slug="too-many-keys"):
    """The profile has reached its limit of keys."""


class TooManyTokens(Invalid, slug="too-many-tokens"):
    """A profile has reached its limit of tokens."""


class OverRate(ProblemError, slug="over-rate"):
    """A key or a profile is used more often than allowed; `retry_after` has the seconds to wait."""


class TooManyAttempts(ProblemError, slug="too-many-attempts"):
    """Too many invalid tokens came from one address."""


class HeadersTooLarge(ProblemError, slug="headers-too-large"):
    """The request line or a header is over the service's limit (RFC 6585 section 5)."""


class TooBusy(Unavailable, slug="too-busy"):
    """The service has reached a limit of concurrent work; the caller may try again."""


class StoreUnavailable(Unavailable, slug="store-unavailable"):
    """The store does not answer; the caller may try again."""


class StatementTimeout(StoreUnavailable, slug="timeout"):
    """The store answers, but cancelled a statement that took too long."""


class ProviderUnavailable(Unavailable, slug="provider-unavailable"):
    """The provider of the key does not answer; the caller may try again."""


class ShuttingDown(Unavailable, slug="shutting-down"):
    """The service is shutting down and should get no new calls."""


class AuditUnavailable(Unavailable, slug="audit-unavailable"):
    """The call cannot be recorded, so it was not performed."""


class KeyUnreadable(ProblemError, slug="key-unreadable"):
    """The stored key does not decrypt: it was changed outside the service."""


class InternalError(ProblemError, slug="internal-error"):
    """A bug; the log has the traceback under the id in `detail`."""
