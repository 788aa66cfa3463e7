"""The client, with all operations of the service."""

from minikms_client._sync.administration import Administration
from minikms_client._sync.approvals import Approvals
from minikms_client._sync.boxes import Boxes
from minikms_client._sync.cose import Cose
from minikms_client._sync.encapsulation import Encapsulation
from minikms_client._sync.jose import Jose
from minikms_client._sync.keys import Keys
from minikms_client._sync.operations import Operations


class Client(
    Keys,
    Operations,
    Jose,
    Cose,
    Boxes,
    Encapsulation,
    Approvals,
    Administration,
):
    """A client of Mini KMS, with a method for each operation of its API.

    Bytes are passed and returned as bytes. A problem raises the subclass of ProblemError for its
    slug.
    """
