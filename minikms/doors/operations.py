"""The operations that handlers of a door perform with a key.

`await call.service.perform(call.profile, KeyRef(alias="…"), Sign(data, SignOptions()))` returns
the result.
"""

from minikms.keys.encryption import (
    Decapsulate,
    Decrypt,
    Derive,
    Encapsulate,
    Encrypt,
    Encrypted,
    Unwrap,
    Wrap,
)
from minikms.keys.operation import Operation
from minikms.keys.signing import ComputeMac, Sign, Signed, SignOptions, Verify, VerifyMac

__all__ = [
    "ComputeMac",
    "Decapsulate",
    "Decrypt",
    "Derive",
    "Encapsulate",
    "Encrypt",
    "Encrypted",
    "Operation",
    "Sign",
    "SignOptions",
    "Signed",
    "Unwrap",
    "Verify",
    "VerifyMac",
    "Wrap",
]
