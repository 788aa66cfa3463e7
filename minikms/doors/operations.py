"""The operations that handlers of a door perform with a key.

`await call.service.perform(call.profile, KeyRef(alias="…"), Sign(data, SignOptions()))` returns
the result.
"""

from minikms.keys.encapsulation import Decapsulate, Encapsulate
from minikms.keys.encryption import Decrypt, Derive, Encrypt, Encrypted, Unwrap, Wrap
from minikms.keys.mac import ComputeMac, VerifyMac
from minikms.keys.operation import Operation
from minikms.keys.signing import Sign, Signed, SignOptions, Verify

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
