"""The errors of AWS KMS, and AWS's codes for the errors of the service."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import orjson

from minikms.doors import KmsError, errors

# AWS's error codes. UnsupportedOperationException: AWS KMS supports it, but Mini KMS does not.
Code: TypeAlias = Literal[
    "AccessDeniedException",
    "AlreadyExistsException",
    "DependencyTimeoutException",
    "DisabledException",
    "DryRunOperationException",
    "IncompleteSignatureException",
    "IncorrectKeyException",
    "InvalidAliasNameException",
    "InvalidArnException",
    "InvalidCiphertextException",
    "InvalidKeyUsageException",
    "InvalidMarkerException",
    "KMSInternalException",
    "KMSInvalidMacException",
    "KMSInvalidSignatureException",
    "KMSInvalidStateException",
    "LimitExceededException",
    "MalformedPolicyDocumentException",
    "NotAuthorizedException",
    "NotFoundException",
    "RequestEntityTooLargeException",
    "SerializationException",
    "TagException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "UnsupportedOperationException",
    "ValidationException",
]

_STATUSES: Final[Mapping[str, int]] = {
    "DependencyTimeoutException": 503,
    "KMSInternalException": 500,
    "RequestEntityTooLargeException": 413,
}
# AWS sends these without a message.
_SILENT: Final = frozenset(
    {
        "InvalidCiphertextException",
        "KMSInvalidMacException",
        "KMSInvalidSignatureException",
        "NotAuthorizedException",
    }
)


class AwsError(KmsError):
    """An error with AWS's code, which is also the outcome in the audit log."""

    title = "The request was refused"

    def __init__(self, code: Code, message: str = "") -> None:
        self.slug, self.status = code, _STATUSES.get(code, 400)
        super().__init__(message)


def invalid(message: str) -> AwsError:
    """Return the error for a member that is not valid, or conflicts with another one."""
    return AwsError("ValidationException", message)


def unsupported(what: str) -> AwsError:
    """Return the error for an operation or a member that only AWS KMS supports."""
    return AwsError("UnsupportedOperationException", f"{what} is not supported here.")


CODES: Final[Mapping[type[KmsError], Code]] = {
    errors.AliasExists: "AlreadyExistsException",
    errors.AliasNotFound: "NotFoundException",
    errors.AuditUnavailable: "DependencyTimeoutException",
    errors.BodyTooLarge: "RequestEntityTooLargeException",
    errors.DecryptionFailed: "InvalidCiphertextException",
    errors.Forbidden: "AccessDeniedException",
    errors.InternalError: "KMSInternalException",
    errors.InvalidKey: "ValidationException",
    errors.KeyNotFound: "NotFoundException",
    # Only after a change between two reads of the key; operation.py checks the state before.
    errors.KeyNotUsable: "KMSInvalidStateException",
    errors.KeyUnreadable: "KMSInternalException",
    errors.MalformedJson: "SerializationException",
    errors.OverRate: "ThrottlingException",
    # Another tenant's profile looks as if it did not exist.
    errors.ProfileNotFound: "UnrecognizedClientException",
    errors.ProfileFrozen: "KMSInvalidStateException",
    errors.ProviderFault: "DependencyTimeoutException",
    errors.ProviderUnavailable: "DependencyTimeoutException",
    errors.RouteNotFound: "UnknownOperationException",
    errors.ApprovalRequired: "AccessDeniedException",
    errors.RuleViolated: "AccessDeniedException",
    errors.StatementTimeout: "DependencyTimeoutException",
    errors.StoreUnavailable: "DependencyTimeoutException",
    errors.TooBusy: "ThrottlingException",
    errors.TooLargeRecord: "LimitExceededException",
    errors.TooManyApprovals: "ThrottlingException",
    errors.TooManyAliases: "LimitExceededException",
    errors.TooManyKeys: "LimitExceededException",
    errors.TooManyAttempts: "ThrottlingException",
    errors.Unauthenticated: "UnrecognizedClientException",
    errors.UnsupportedAlgorithm: "UnsupportedOperationException",
    errors.UnsupportedOperation: "InvalidKeyUsageException",
    errors.UnsupportedOption: "InvalidKeyUsageException",
    errors.ValidationFailed: "ValidationException",
}
"""AWS's code for each error of the service that has one; other errors keep their status."""

# AWS's message whatever the reason, and a hint at the header that Mini KMS reads.
_UNKNOWN_CALLER: Final = "The security token included in the request is invalid."
_NO_TOKEN: Final = f"{_UNKNOWN_CALLER} It has none: a token of Mini KMS goes in AWS_SESSION_TOKEN."
_NO_PROFILE: Final = (
    "There is no such profile of Mini KMS, or the token is not for it. The access key id "
    "profile-NAME selects the profile NAME, any other id the profile default."
)


def as_aws(error: KmsError) -> tuple[int, str, str]:
    """Return the status, the code and the message of an error.

    An error without a code of AWS keeps its status, with the code ValidationException.
    """
    if isinstance(error, AwsError):
        status, code = error.status, error.slug
    elif type(error) in CODES:
        code = CODES[type(error)]
        status = _STATUSES.get(code, 400)
    else:
        status, code = error.status, "ValidationException"
    message = error.detail
    if code in _SILENT:
        message = ""
    elif isinstance(error, errors.Unauthenticated):
        message = _UNKNOWN_CALLER if error.invalid_token else _NO_TOKEN
    elif isinstance(error, errors.ProfileNotFound):
        message = _NO_PROFILE
    return status, code, message


def body_of(code: str, message: str) -> bytes:
    """Return the body of an error."""
    return orjson.dumps({"__type": code, "message": message})
