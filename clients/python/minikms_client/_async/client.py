"""The client, with all operations of the service."""

from minikms_client._async.administration import AsyncAdministration
from minikms_client._async.approvals import AsyncApprovals
from minikms_client._async.boxes import AsyncBoxes
from minikms_client._async.cose import AsyncCose
from minikms_client._async.encapsulation import AsyncEncapsulation
from minikms_client._async.jose import AsyncJose
from minikms_client._async.keys import AsyncKeys
from minikms_client._async.operations import AsyncOperations


class AsyncClient(
    AsyncKeys,
    AsyncOperations,
    AsyncJose,
    AsyncCose,
    AsyncBoxes,
    AsyncEncapsulation,
    AsyncApprovals,
    AsyncAdministration,
):
    """A client of Mini KMS, with a method for each operation of its API.

    Bytes are passed and returned as bytes. A problem raises the subclass of ProblemError for its
    slug.
    """
