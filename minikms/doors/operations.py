"""What the author of a door imports for its handlers: the operations that a key can perform.

`await call.service.perform(call.profile, KeyRef(alias="…"), Sign(data, SignOptions()))` gives the
result.
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
