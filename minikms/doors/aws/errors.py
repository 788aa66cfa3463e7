"""The errors of AWS KMS, and which of them our own are."""

from collections.abc import Mapping
from typing import ClassVar, Final

import orjson

from minikms import errors
from minikms.errors import KmsError


class AwsError(KmsError):
    """An error as AWS has it: its slug is the code, and the name of its class."""

    status: ClassVar[int] = 400
    title = "The request was refused"
    silent: ClassVar[bool] = False
    """Whether AWS says nothing but the code."""

    def __init_subclass__(cls) -> None:
        cls.slug = cls.__name__


class AccessDeniedException(AwsError):
    """The caller is known, and may not do this."""


class AlreadyExistsException(AwsError):
    """An alias of this name exists."""


class DependencyTimeoutException(AwsError):
    """The store or the audit log does not answer; the caller may try again."""

    status = 503


class DisabledException(AwsError):
    """The key is disabled."""


class DryRunOperationException(AwsError):
    """The call would have succeeded, but for its `DryRun`."""

    title = "The request would have succeeded, but the DryRun option is set"


class IncompleteSignatureException(AwsError):
    """The Authorization header is not one of Signature Version 4."""


class IncorrectKeyException(AwsError):
    """The key of the call is not the one that encrypted the ciphertext."""

    title = "The key ID in the request does not identify a CMK that can perform this operation"


class InvalidAliasNameException(AwsError):
    """The name of an alias is none that a caller may have."""


class InvalidArnException(AwsError):
    """An ARN is none of a key or an alias."""


class InvalidCiphertextException(AwsError):
    """A ciphertext or its encryption context does not fit; no more is disclosed."""

    silent = True


class InvalidKeyUsageException(AwsError):
    """The key is not for this use, or not for this algorithm."""


class InvalidMarkerException(AwsError):
    """The marker is none that a listing gave."""


class KMSInternalException(AwsError):
    """The service failed."""

    status = 500


class KMSInvalidMacException(AwsError):
    """An authentication code is not that of the message."""

    silent = True


class KMSInvalidSignatureException(AwsError):
    """A signature is not that of the message."""

    silent = True


class KMSInvalidStateException(AwsError):
    """The key's state does not allow this."""


class LimitExceededException(AwsError):
    """There are as many as there may be."""


class MalformedPolicyDocumentException(AwsError):
    """The policy of a key is not JSON."""


class NotAuthorizedException(AwsError):
    """The name of an alias is one of AWS's own."""

    silent = True


class NotFoundException(AwsError):
    """There is no such key or alias."""


class RequestEntityTooLargeException(AwsError):
    """The body is over the service's limit."""

    status = 413


class SerializationException(AwsError):
    """The body is not JSON, or a member of it not of its type."""


class TagException(AwsError):
    """A tag is none that a key may have."""


class ThrottlingException(AwsError):
    """The service is at its limit of work; the caller may try again."""


class UnknownOperationException(AwsError):
    """AWS KMS has no such operation."""


class UnrecognizedClientException(AwsError):
    """Who calls is not known."""


class UnsupportedOperationException(AwsError):
    """AWS KMS has this, and Mini KMS does not."""


class ValidationException(AwsError):
    """A member of the body is missing, or not within its limits."""


_CODES: Final[Mapping[type[KmsError], type[AwsError]]] = {
    errors.AliasExists: AlreadyExistsException,
    errors.AliasNotFound: NotFoundException,
    errors.AuditUnavailable: DependencyTimeoutException,
    errors.BodyTooLarge: RequestEntityTooLargeException,
    errors.DecryptionFailed: InvalidCiphertextException,
    errors.Forbidden: AccessDeniedException,
    errors.InternalError: KMSInternalException,
    errors.InvalidKey: ValidationException,
    errors.KeyNotFound: NotFoundException,
    # What a change between two reads of a key leaves of the checks in keys.py.
    errors.KeyNotUsable: KMSInvalidStateException,
    errors.KeyUnreadable: KMSInternalException,
    errors.MalformedJson: SerializationException,
    # Another's profile is like none.
    errors.ProfileNotFound: UnrecognizedClientException,
    errors.RouteNotFound: UnknownOperationException,
    errors.StoreUnavailable: DependencyTimeoutException,
    errors.TooBusy: ThrottlingException,
    errors.TooLargeRecord: LimitExceededException,
    errors.TooManyAliases: LimitExceededException,
    errors.TooManyAttempts: ThrottlingException,
    errors.Unauthenticated: UnrecognizedClientException,
    errors.UnsupportedAlgorithm: UnsupportedOperationException,
    errors.UnsupportedOperation: InvalidKeyUsageException,
    errors.UnsupportedOption: InvalidKeyUsageException,
    errors.ValidationFailed: ValidationException,
}
# AWS's sentence for every reason why, and what only this service knows besides.
_UNKNOWN_CALLER: Final = "The security token included in the request is invalid."
_NO_TOKEN: Final = f"{_UNKNOWN_CALLER} It has none: a token of Mini KMS goes in AWS_SESSION_TOKEN."
_NO_PROFILE: Final = (
    "There is no such profile of Mini KMS, or the token is not for it. The access key id"
    " profile-NAME picks one, and any other the profile default."
)


def as_aws(error: KmsError) -> tuple[int, str, str]:
    """The status, the code and the message of an error.

    What has no code of AWS's keeps its status: a request that cannot be read, or is not in time.
    """
    kind = type(error) if isinstance(error, AwsError) else _CODES.get(type(error))
    if kind is None:
        return error.status, ValidationException.slug, error.detail
    if kind.silent:
        return kind.status, kind.slug, ""
    return kind.status, kind.slug, _message(error, kind)


def _message(error: KmsError, kind: type[AwsError]) -> str:
    if kind is not UnrecognizedClientException:
        return error.detail
    if isinstance(error, errors.Unauthenticated):
        return _UNKNOWN_CALLER if error.invalid_token else _NO_TOKEN
    return _NO_PROFILE


def body_of(code: str, message: str) -> bytes:
    """The body of an error."""
    return orjson.dumps({"__type": code, "message": message})
