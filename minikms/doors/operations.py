"""The operations that handlers of a door perform with a key.

`await call.service.perform(call.profile, KeyRef(alias="…"), Sign(data, SignOptions()))` returns
the result.
"""

from minikms.credentials.x509.requests import CopyCsr
from minikms.keys.encryption import (
    Decapsulate,
    Decrypt,
    DecryptImport,
    Derive,
    Encapsulate,
    Encrypt,
    Encrypted,
    Unwrap,
    Wrap,
)
from minikms.keys.exporting import Export
from minikms.keys.hmac import ComputeHmac, ExportHmacSecret, VerifyHmac
from minikms.keys.operation import BatchOperation, ByRecord, Each, Operation
from minikms.keys.signing import (
    ComputeMac,
    Sign,
    Signed,
    SignOptions,
    Verify,
    VerifyMac,
)

__all__ = [
    "BatchOperation",
    "ByRecord",
    "ComputeHmac",
    "ComputeMac",
    "CopyCsr",
    "Decapsulate",
    "Decrypt",
    "DecryptImport",
    "Derive",
    "Each",
    "Encapsulate",
    "Encrypt",
    "Encrypted",
    "Export",
    "ExportHmacSecret",
    "Operation",
    "Sign",
    "SignOptions",
    "Signed",
    "Unwrap",
    "Verify",
    "VerifyHmac",
    "VerifyMac",
    "Wrap",
]
