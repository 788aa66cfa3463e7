"""HMAC with any key and any hash, for protocols that give every key an HMAC secret.

The secret of an HMAC key is the key itself. Another key's secret is derived from its private part,
so it is not stored, and exists as long as the key.
"""

from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from minikms.encodings import b64url_decode
from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.hashing import HASHES
from minikms.plugin.protocol import JwkImporter, KeyAlgorithm, Mac

_SIZE: Final = 32  # bytes of a derived secret
# Never change this: stored MACs depend on it. The name of the algorithm follows, so that equal
# bytes in keys of two algorithms give different secrets.
_INFO: Final = b"minikms hmac 1 "
# The private member from which all others follow: RFC 7518 section 6, RFC 8037, RFC 9964.
_SECRETS: Final = ("d", "k", "priv")
# An RSA key has several valid `d`, so its primes are used, in either order.
_PRIMES: Final = ("p", "q")


@dataclass(slots=True, repr=False)
class ComputeHmac(Operation[Any, bytes]):
    """Computes the HMAC of a message with a hash from HASHES."""

    uses = (Use(Mac, "mac"), Use(JwkImporter, "mac", by_door=True))
    message: bytes
    hash: str

    def compute(self, key: UsableKey[Any]) -> bytes:
        return _over(key, self.hash, self.message).finalize()


@dataclass(slots=True, repr=False)
class VerifyHmac(Operation[Any, bool]):
    """Verifies an HMAC that ComputeHmac computed."""

    uses = (Use(Mac, "mac-verify"), Use(JwkImporter, "mac-verify", by_door=True))
    message: bytes
    hash: str
    mac: bytes

    def compute(self, key: UsableKey[Any]) -> bool:
        try:
            _over(key, self.hash, self.message).verify(self.mac)
        except InvalidSignature:
            return False
        return True


@dataclass(slots=True, repr=False)
class ExportHmacSecret(Operation[Any, bytes]):
    """Exports the HMAC secret of a key; raises NotExportable unless the key is exportable."""

    uses = (Use(Mac, "export", if_exportable=True), Use(JwkImporter, "export", if_exportable=True))

    def compute(self, key: UsableKey[Any]) -> bytes:
        return _secret(key.algorithm, key.material)


def _over(key: UsableKey[Any], hash_name: str, message: bytes) -> HMAC:
    code = HMAC(_secret(key.algorithm, key.material), HASHES[hash_name])
    code.update(message)
    return code


def _secret(algorithm: KeyAlgorithm[Any], key: Any) -> bytes:
    own = algorithm.hmac_secret(key) if isinstance(algorithm, Mac) else None
    if own is not None:
        return own
    jwk = algorithm.require(JwkImporter).export_jwk(key)
    if all(prime in jwk for prime in _PRIMES):
        private = b"".join(sorted(b64url_decode(jwk[prime]) for prime in _PRIMES))
    else:
        private = b64url_decode(next(jwk[member] for member in _SECRETS if member in jwk))
    info = _INFO + algorithm.name.encode()
    return HKDF(hashes.SHA256(), _SIZE, salt=None, info=info).derive(private)
