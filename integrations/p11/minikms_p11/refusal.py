"""The refusal of a call, and the return values for the problems of the service."""

from typing import Final

from minikms_p11.constants import (
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_DATA_LEN_RANGE,
    CKR_DEVICE_MEMORY,
    CKR_ENCRYPTED_DATA_INVALID,
    CKR_FUNCTION_FAILED,
    CKR_FUNCTION_REJECTED,
    CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_KEY_HANDLE_INVALID,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_USER_NOT_LOGGED_IN,
)

# Any other problem, and a service that does not answer, is CKR_FUNCTION_FAILED.
_BY_SLUG: Final = {
    "unauthenticated": CKR_USER_NOT_LOGGED_IN,
    "forbidden": CKR_KEY_FUNCTION_NOT_PERMITTED,
    "approval-required": CKR_FUNCTION_REJECTED,
    "rule-violated": CKR_KEY_FUNCTION_NOT_PERMITTED,
    "key-not-usable": CKR_KEY_FUNCTION_NOT_PERMITTED,
    "unsupported-operation": CKR_KEY_FUNCTION_NOT_PERMITTED,
    "key-not-found": CKR_KEY_HANDLE_INVALID,
    "unsupported-option": CKR_MECHANISM_PARAM_INVALID,
    "invalid-key": CKR_MECHANISM_PARAM_INVALID,
    "decryption-failed": CKR_ENCRYPTED_DATA_INVALID,
    "body-too-large": CKR_DATA_LEN_RANGE,
    "too-many-keys": CKR_DEVICE_MEMORY,
    "too-large-record": CKR_DEVICE_MEMORY,
    "invalid-certificate": CKR_ATTRIBUTE_VALUE_INVALID,
}


class Refusal(Exception):
    """A call ends with this return value (CKR_…); the log gets the reason, if there is one."""

    def __init__(self, value: int, reason: str = "") -> None:
        super().__init__(f"{value:#x}")
        self.value, self.reason = value, reason


class Problem(Refusal):
    """The service answered with a problem of this slug, or did not answer (`unavailable`)."""

    def __init__(self, slug: str, call: str = "") -> None:
        super().__init__(_BY_SLUG.get(slug, CKR_FUNCTION_FAILED), call and f"{slug} ({call})")
        self.slug = slug
