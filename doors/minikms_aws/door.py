"""The AWS door: the head of a request in AWS KMS's protocol, and the table of operations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from minikms.doors import AlgorithmRegistry, Door, DoorRoute, ErrorAnswer, KmsError
from minikms_aws import query
from minikms_aws.errors import AwsError, as_aws, body_of, unsupported
from minikms_aws.identity import UUID_PREFIX, caller, is_signed, session_and_token

if TYPE_CHECKING:
    from aiohttp import web

    from minikms_aws.operation import AwsOperation

_TARGET: Final = "TrentService."

# Operations of AWS KMS that Mini KMS does not support.
_ABSENT: Final = frozenset(
    {
        "ConnectCustomKeyStore",
        "CreateCustomKeyStore",
        "CreateGrant",
        "DeleteCustomKeyStore",
        "DeleteImportedKeyMaterial",
        "DescribeCustomKeyStores",
        "DisconnectCustomKeyStore",
        "GetParametersForImport",
        "ImportKeyMaterial",
        "ListRetirableGrants",
        "ReplicateKey",
        "RetireGrant",
        "RevokeGrant",
        "UpdateCustomKeyStore",
        "UpdatePrimaryRegion",
    }
)


class AwsDoor(Door):
    """AWS KMS's JSON 1.1 protocol, and two calls of AWS STS in its query protocol.

    A caller sends its token as the session token of its credentials. Their signature is not
    verified: that needs the secret access key, and the service keeps only hashes of tokens.
    """

    name = "aws"
    title = "AWS KMS"
    content_type = "application/x-amz-json-1.1"
    request_id_header = "x-amzn-RequestId"
    alias_prefixes = (UUID_PREFIX,)
    # Enough for the largest tags and description of a key, escaped as botocore escapes them.
    max_body = 128 * 1024

    def __init__(self, options: Mapping[str, str], registry: AlgorithmRegistry) -> None:
        super().__init__(options, registry)
        # Imported here: `minikms serve --help` loads this module without operations.
        from minikms_aws.specs import Specs
        from minikms_aws.sts import ASSUME_ROLE, CALLER_IDENTITY

        specs = Specs(registry)
        self._routes = {each.name: each.route(specs) for each in _operations()}
        self._unsigned, self._signed = ASSUME_ROLE, CALLER_IDENTITY

    @property
    def routes(self) -> Sequence[DoorRoute]:
        return (*self._routes.values(), self._unsigned, self._signed)

    def route_of(self, request: "web.Request") -> DoorRoute:
        if query.is_query(request):  # the action is in the body; only one of the two is signed
            return self._signed if is_signed(request) else self._unsigned
        service, dot, name = request.headers.get("X-Amz-Target", "").partition(".")
        route = self._routes.get(name)
        if route is None or service + dot != _TARGET or request.method != "POST":
            raise _no_operation(service + dot, name)
        return route

    def token(self, request: "web.Request") -> str:
        return session_and_token(request)[1]

    def profile(self, request: "web.Request") -> str:
        return caller(request).profile

    def answer(self, error: KmsError) -> ErrorAnswer:
        status, code, message = as_aws(error)
        return ErrorAnswer(status, body_of(code, message), {"Content-Type": self.content_type})

    def answer_to(self, request: "web.BaseRequest", error: KmsError) -> ErrorAnswer:
        return query.error_answer(error) if query.is_query(request) else self.answer(error)


def _no_operation(service: str, name: str) -> KmsError:
    if service == _TARGET and name in _ABSENT:
        return unsupported(name)
    if not service:
        return AwsError(
            "UnknownOperationException",
            "This is the protocol of AWS KMS: POST / with the operation in X-Amz-Target.",
        )
    return AwsError("UnknownOperationException", "AWS KMS has no such operation.")


def _operations() -> "Sequence[AwsOperation]":
    """Return all operations that the modules declare."""
    from minikms_aws import (
        agreement,
        aliases,
        data_keys,
        encryption,
        key_management,
        policies,
        rotation,
        signing,
        tags,
    )
    from minikms_aws.operation import AwsOperation

    modules = (
        *(signing, encryption, data_keys, agreement),
        *(key_management, rotation, policies, aliases, tags),
    )
    declared = [each for module in modules for each in vars(module).values()]
    return [each for each in declared if isinstance(each, AwsOperation)]
