"""The query protocol of AWS STS: parameters in a form or a query, answers and errors in XML."""

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

from minikms.doors import DoorAnswer, KmsError, errors
from minikms_aws.errors import AwsError, as_aws

if TYPE_CHECKING:
    from aiohttp import web

VERSION: Final = "2011-06-15"

_FORM: Final = "application/x-www-form-urlencoded"
_XML: Final = {"Content-Type": "text/xml"}
_NAMESPACE: Final = f"https://sts.amazonaws.com/doc/{VERSION}/"
_MOST_PARAMETERS: Final = 100

# Characters that XML 1.0 excludes (section 2.2).
_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# STS's names of the errors that AWS KMS names otherwise, and the statuses that are not 400.
_CODES: Final = {
    "AccessDeniedException": "AccessDenied",
    "DependencyTimeoutException": "ServiceUnavailable",
    "IncompleteSignatureException": "IncompleteSignature",
    "KMSInternalException": "InternalFailure",
    "SerializationException": "MalformedInput",
    "ThrottlingException": "Throttling",
    "UnknownOperationException": "InvalidAction",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
_STATUSES: Final = {"AccessDenied": 403, "InvalidClientTokenId": 403}

# Elements by name; None is an element that is left out.
Elements: TypeAlias = Mapping[str, "str | Elements | None"]


class StsError(KmsError):
    """An error with a code of AWS STS, which is also the outcome in the audit log."""

    title = "The request was refused"

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.slug, self.status = code, status
        super().__init__(message)


def is_query(request: "web.BaseRequest") -> bool:
    """Tell whether a request is in the query protocol.

    A web page needs no permission to send a form, so a request with an Origin is not.
    """
    headers = request.headers
    if "X-Amz-Target" in headers or "Origin" in headers:
        return False
    if request.method == "POST":
        return headers.get("Content-Type", "").partition(";")[0].strip().lower() == _FORM
    return request.method == "GET" and "Action" in request.query


def parameters(request: "web.Request", body: bytes) -> dict[str, str]:
    """Read the parameters of a call; raises AwsError and StsError."""
    text = body if request.method == "POST" else request.rel_url.raw_query_string.encode()
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise AwsError("SerializationException", "The parameters cannot be read.") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AwsError("SerializationException", "A parameter is there twice.")
    return found


def require_action(found: Mapping[str, str], action: str) -> None:
    """Raise InvalidAction unless the parameters name this action and a known version."""
    if found.get("Action") != action or found.get("Version", VERSION) != VERSION:
        raise AwsError(
            "UnknownOperationException",
            f"Could not find the operation for version {VERSION}: of AWS STS there are only "
            "AssumeRoleWithWebIdentity, unsigned, and GetCallerIdentity, signed.",
        )


def answer(action: str, request_id: str, result: Elements) -> DoorAnswer:
    """Return the answer of a success."""
    content = _xml({f"{action}Result": result, "ResponseMetadata": {"RequestId": request_id}})
    return _document(200, f"{action}Response", content)


def error_answer(error: KmsError) -> DoorAnswer:
    """Return the answer for any error of the service."""
    if isinstance(error, StsError):
        status, code, message = error.status, error.slug, error.detail
    elif isinstance(error, errors.Unauthenticated) and not error.invalid_token:
        status, code, message = 403, "MissingAuthenticationToken", "The request has no token."
    else:
        status, code, message = as_aws(error)
        code = _CODES.get(code, code)
        status = _STATUSES.get(code, status)
    kind = "Sender" if status < 500 else "Receiver"
    content = _xml({"Error": {"Type": kind, "Code": code, "Message": message}})
    return _document(status, "ErrorResponse", content)


def _document(status: int, name: str, content: str) -> DoorAnswer:
    text = f'<{name} xmlns="{_NAMESPACE}">{content}</{name}>\n'
    return DoorAnswer(status, text.encode(), _XML)


def _xml(elements: Elements) -> str:
    return "".join(
        f"<{name}>{_text(value) if isinstance(value, str) else _xml(value)}</{name}>"
        for name, value in elements.items()
        if value is not None
    )


def _text(value: str) -> str:
    return escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value))
