"""The operations that handlers of a door perform with a key.

`await call.service.perform(call.profile, KeyRef(alias="…"), Sign(data, SignOptions()))` returns
the result.
"""

from minikms.keys.encryption import (
    Decapsulate,
    Decrypt,
    DecryptEach,
    Derive,
    Encapsulate,
    Encrypt,
    EncryptEach,
    Encrypted,
    Unwrap,
    Wrap,
)
from minikms.keys.hmac import ComputeHmac, ComputeHmacs, VerifyHmac, VerifyHmacs
from minikms.keys.operation import BatchByRecord, BatchOperation, ByRecord, Operation
from minikms.keys.signing import (
    ComputeMac,
    Sign,
    SignBatch,
    Signed,
    SignOptions,
    Verify,
    VerifyBatch,
    VerifyMac,
)

__all__ = [
    "BatchByRecord",
    "BatchOperation",
    "ByRecord",
    "ComputeHmac",
    "ComputeHmacs",
    "ComputeMac",
    "Decapsulate",
    "Decrypt",
    "DecryptEach",
    "Derive",
    "Encapsulate",
    "Encrypt",
    "EncryptEach",
    "Encrypted",
    "Operation",
    "Sign",
    "SignBatch",
    "SignOptions",
    "Signed",
    "Unwrap",
    "Verify",
    "VerifyBatch",
    "VerifyHmac",
    "VerifyHmacs",
    "VerifyMac",
    "Wrap",
]
