"""The problems that answer a failed call, a class for each (RFC 9457).

It is over 300 lines, since it has every problem.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal


class KmsError(Exception):
    """A problem, sent to the caller.

    `detail` and `errors` are sent unchanged, so neither may contain a secret or the text of another
    exception. `errors` pairs a JSON pointer into the request (RFC 6901, `#/data`) with the fault
    there; `headers` go into the HTTP answer.
    """

    status: int
    slug: str
    title: ClassVar[str]
    retry_after: ClassVar[int | None] = None
    """The seconds after which the caller may try again; None if a retry does not help."""
    outcome: Literal["unknown"] | None = None
    """`unknown` if the change may have been applied; None if nothing was changed."""
    rule: str | None = None
    """The rule of the key that refused the call, such as `jws.typ`."""

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or f"{self.title}."
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if self.retry_after is not None:
            self.headers["Retry-After"] = str(self.retry_after)
        super().__init__(self.detail)


class MalformedJson(KmsError):
    """The body is not JSON in UTF-8 (RFC 8259)."""

    status, slug, title = 400, "malformed-json", "The body is not valid JSON"


class BadRequest(KmsError):
    """The HTTP message itself cannot be read."""

    status, slug, title = 400, "bad-request", "The request cannot be read"


class ProfileExists(KmsError):
    """A profile with this name already exists."""

    status, slug, title = 400, "profile-exists", "The profile already exists"


class Unauthenticated(KmsError):
    """The token is missing or not valid (RFC 6750 section 3)."""

    status, slug, title = 401, "unauthenticated", "The caller is not authenticated"

    def __init__(self, detail: str = "", *, invalid_token: bool = False) -> None:
        self.invalid_token = invalid_token
        challenge = 'Bearer error="invalid_token"' if invalid_token else "Bearer"
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(KmsError):
    """The caller is authenticated but lacks the scope (RFC 6750 section 3.1)."""

    status, slug, title = 403, "forbidden", "The caller may not do this"

    def __init__(self, scope: str = "", detail: str = "") -> None:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(
            f"The call needs the scope {scope}." if scope else detail,
            headers={"WWW-Authenticate": challenge},
        )


class RouteNotFound(KmsError):
    """No route has this path."""

    status, slug, title = 404, "route-not-found", "No route has this path"


class KeyNotFound(KmsError):
    """The profile has no key with this kid."""

    status, slug, title = 404, "key-not-found", "There is no such key"


class AliasNotFound(KmsError):
    """The profile has no key with this alias."""

    status, slug, title = 404, "alias-not-found", "There is no such alias"

    def __init__(self, alias: str | None = None) -> None:
        super().__init__("" if alias is None else f"{self.title}: {alias!r}.")


class ProfileNotFound(KmsError):
    """There is no profile with this name."""

    status, slug, title = 404, "profile-not-found", "There is no such profile"


class TokenNotFound(KmsError):
    """There is no token with this id."""

    status, slug, title = 404, "token-not-found", "There is no such token"


class MethodNotAllowed(KmsError):
    """The path exists, but not for this method; `Allow` lists its methods."""

    status, slug, title = 405, "method-not-allowed", "The method is not allowed here"


class RequestTimeout(KmsError):
    """The caller did not send its request in time."""

    status, slug, title = 408, "request-timeout", "The request did not arrive in time"


class KeyExists(KmsError):
    """The profile already has a key with this kid."""

    status, slug, title = 409, "key-exists", "The key already exists"


class AliasExists(KmsError):
    """The alias already names another key of the profile."""

    status, slug, title = 409, "alias-exists", "The alias names another key"


class TooEarly(KmsError):
    """The next key has not been published for as long as the caller asks."""

    status, slug, title = 409, "too-early", "The next key is not published long enough"


class KeyNotUsable(KmsError):
    """The key's state does not allow the operation, or its algorithm is not installed."""

    status, slug, title = 409, "key-not-usable", "The key's state does not allow this"


class NotExportable(KmsError):
    """The key was not made exportable."""

    status, slug, title = 403, "not-exportable", "The key cannot be exported"


class RuleViolated(KmsError):
    """A rule of the key does not allow the signature; `rule` names it."""

    status, slug, title = 403, "rule-violated", "A rule of the key does not allow this"

    def __init__(self, rule: str = "", fault: str = "") -> None:
        self.rule = rule or None
        super().__init__(f"The rule {rule}: {fault}" if rule else "")


class ApprovalRequired(KmsError):
    """The use of the key needs approvals; `approval` is the one that it waits for."""

    status, slug, title = 403, "approval-required", "The use of the key needs approvals"

    def __init__(self, approval: Mapping[str, Any] | None = None) -> None:
        self.approval = approval
        if approval is None:
            super().__init__()
            return
        have, need = len(approval["approved_by"]), approval["threshold"]
        super().__init__(
            f"Approval {approval['id']} waits: {have} of {need} approvers have signed it. "
            "When it is approved, send the same call again."
        )


class ApprovalNotFound(KmsError):
    """No use of a key waits for an approval with this id."""

    status, slug, title = 404, "approval-not-found", "There is no such approval"


class InvalidApproval(KmsError):
    """The proof is not an approver's signature of the approval."""

    status, slug, title = 422, "invalid-approval", "The approval is not valid"


class TooManyApprovals(KmsError):
    """Too many uses of the key, or in the profile, wait for approvals."""

    status, slug, title = 429, "too-many-approvals", "Too many approvals wait"


class RulesLoosened(KmsError):
    """The new rules would allow more than the key's current rules."""

    status, slug, title = 409, "rules-loosened", "The rules of a key only become tighter"


class ProfileFrozen(KmsError):
    """The profile is frozen: nothing in it changes."""

    status, slug, title = 409, "profile-frozen", "The profile is frozen"


class ProfileProtected(KmsError):
    """The default profile cannot be deleted."""

    status, slug, title = 409, "profile-protected", "The profile is protected"


class BodyTooLarge(KmsError):
    """The body is over the service's limit."""

    status, slug, title = 413, "body-too-large", "The body is too large"


class UnsupportedMediaType(KmsError):
    """The body's media type is not one that the service accepts."""

    status, slug, title = 415, "unsupported-media-type", "The body is not JSON"


class MisdirectedRequest(KmsError):
    """The request is addressed to another host (RFC 9110 section 15.5.20)."""

    status, slug, title = 421, "misdirected-request", "The service does not answer to this host"


class ValidationFailed(KmsError):
    """A field or parameter is missing, unknown or malformed; `errors` names it."""

    status, slug, title = 422, "validation-failed", "The request is not valid"


class TooManyKeys(KmsError):
    """The profile has reached its limit of keys."""

    status, slug, title = 422, "too-many-keys", "The profile has too many keys"


class TooManyTokens(KmsError):
    """A profile has reached its limit of tokens."""

    status, slug, title = 422, "too-many-tokens", "The profile has too many tokens"


class TooManyAliases(KmsError):
    """The key has reached its limit of aliases."""

    status, slug, title = 422, "too-many-aliases", "The key has too many aliases"


class TooLargeRecord(KmsError):
    """A key's labels, aliases or certificates, or a batch's labels and rules, are too large."""

    status, slug, title = 422, "too-large-record", "The key's record is too large"


class UnsupportedAlgorithm(KmsError):
    """No algorithm has this name or alias."""

    status, slug, title = 422, "unsupported-algorithm", "The algorithm is not known"


class UnsupportedOperation(KmsError):
    """The algorithm does not support the operation."""

    status, slug, title = 422, "unsupported-operation", "The key cannot do this"


class UnsupportedOption(KmsError):
    """The algorithm supports the operation, but not this option."""

    status, slug, title = 422, "unsupported-option", "The option does not apply to this key"


class InvalidKey(KmsError):
    """The material is not a key of its algorithm."""

    status, slug, title = 422, "invalid-key", "The key material is not valid"


class InvalidCertificate(KmsError):
    """A certificate, its chain, or a name in it is not valid, or does not fit the key."""

    status, slug, title = 422, "invalid-certificate", "The certificate is not valid"


class NotAttestable(KmsError):
    """A key cannot be attested: exportable, imported, not usable, or not of this profile."""

    status, slug, title = 422, "not-attestable", "A key cannot be attested"


class InvalidCose(KmsError):
    """The bytes are not the COSE message or the CBOR map that the call expects."""

    status, slug, title = 422, "invalid-cose", "The COSE message is not valid"


class DecryptionFailed(KmsError):
    """The ciphertext, tag, nonce or wrapped key is wrong; which one is not disclosed."""

    status, slug, title = 422, "decryption-failed", "The ciphertext cannot be decrypted"


class TooManyAttempts(KmsError):
    """Too many invalid tokens came from one address."""

    status, slug, title = 429, "too-many-attempts", "Too many wrong tokens"

    def __init__(self, detail: str = "", *, retry_after: int = 60) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class OverRate(KmsError):
    """A key or a profile is used more often than a rate allows.

    `rule` names the rate; `wait` is the time until the next use, in nanoseconds.
    """

    status, slug, title = 429, "over-rate", "The call is over the rate"

    def __init__(self, rule: str = "", wait: int = 1) -> None:
        self.rule = rule or None
        retry_after = -(-wait // 10**9)
        detail = f"The rate {rule} is reached." if rule else ""
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class HeadersTooLarge(KmsError):
    """The request line or a header is over the service's limit (RFC 6585 section 5)."""

    status, slug, title = 431, "headers-too-large", "The request line or a header is too long"


class TooBusy(KmsError):
    """The service has reached a limit of concurrent work; the caller may try again."""

    status, slug, title = 503, "too-busy", "The service is busy"
    retry_after = 1


class StoreUnavailable(KmsError):
    """The store does not answer; the caller may try again.

    With `unknown`, the store did not confirm a commit, and `outcome` says so.
    """

    status, slug, title = 503, "store-unavailable", "The key store is not available"
    retry_after = 1

    def __init__(self, detail: str = "", *, unknown: bool = False) -> None:
        if unknown:
            self.outcome = "unknown"
            super().__init__("The store did not confirm the write; it may have been applied.")
        else:
            super().__init__(f"{detail or f'{self.title}.'} Nothing was changed.")


class StatementTimeout(StoreUnavailable):
    """The store answers, but cancelled a statement that took too long."""

    slug, title = "timeout", "A statement of the key store took too long"


class ProviderUnavailable(KmsError):
    """The provider of the key does not answer; the caller may try again."""

    status, slug, title = 503, "provider-unavailable", "The provider of the key does not answer"
    retry_after = 1


class ProviderFault(ProviderUnavailable):
    """The provider will not answer before a restart, for example because of a wrong PIN."""

    retry_after = 60


class ShuttingDown(KmsError):
    """The service is shutting down and should get no new calls."""

    status, slug, title = 503, "shutting-down", "The service is shutting down"


class AuditUnavailable(KmsError):
    """The call cannot be recorded, so it was not performed."""

    status, slug, title = 503, "audit-unavailable", "The audit log cannot be written"
    retry_after = 1


class KeyUnreadable(KmsError):
    """The stored key does not decrypt, or its public JWK has a private member."""

    status, slug, title = 500, "key-unreadable", "The key cannot be read"


class InternalError(KmsError):
    """A bug; the log has the traceback under the id in `detail`."""

    status, slug, title = 500, "internal-error", "The service failed"
