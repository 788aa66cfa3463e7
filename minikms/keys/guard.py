"""Guards a key whose uses need approvals: it signs only what its approvers have signed.

An operation gets a `Guard` instead of the private key, and an algorithm that opens it only for an
approved use. So it does not matter which operation, call or door uses the key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from minikms.encodings import jose_b64url
from minikms.errors import RuleViolated
from minikms.keys.operation import KeyUser, UsableKey
from minikms.plugin.protocol import SignatureOptions
from minikms.store import GuardedUse

MAX_SIGNATURES: Final = 100
"""The signatures of one use."""

EXPORT: Final = "export"

# Verifying an authentication code needs the private key, but no approval.
_FREE: Final = "mac-verify"


class AskedError(Exception):
    """A guard was asked for a signature before its use was approved."""

    def __init__(self, what: Mapping[str, Any], data: Sequence[bytes]) -> None:
        super().__init__()
        self.what = what
        self.data = data


class Guard:
    """The private key of one call, which is opened only for what was approved.

    Before that, it raises AskedError with what it was asked for. `meaning` describes a signature
    whose bytes contain the time; it is given once.
    """

    __slots__ = ("_approved", "_key", "meaning")

    def __init__(self, key: Any) -> None:
        self._key = key
        self.meaning: Mapping[str, Any] | None = None
        self._approved: list[Mapping[str, Any]] | None = None

    def approve(self, use: GuardedUse) -> None:
        """Allow a use, whose approval was taken."""
        self._approved = list(use.what)

    def opened(self, what: Mapping[str, Any], data: Sequence[bytes]) -> Any:
        """Return the private key for one signature, or for the export.

        Raises AskedError before the use is approved, and RuleViolated for any other use.
        """
        if self._approved is None:
            raise AskedError(what, data)
        if what not in self._approved:
            refuse("The approvers have not signed this use of the key.")
        if self.meaning is not None:
            self._approved.remove(what)
        return self._key

    def opened_for(self, message: bytes, options: SignatureOptions) -> Any:
        """Return the private key for the signature of a message; raises like `opened`."""
        if self.meaning is not None:
            return self.opened(self.meaning, ())
        what: dict[str, Any] = {"alg": options.alg or None}
        if options.prehashed:
            what["prehashed"] = jose_b64url(message)
        else:
            what["sha256"] = jose_b64url(hashlib.sha256(message).digest())
        if options.hash is not None:
            what["hash"] = options.hash
        if options.salt_length is not None:
            what["salt_length"] = options.salt_length
        return self.opened(what, (message,))


class GuardedAlgorithm:
    """An algorithm that uses the private key in a guard; in all else, it is the algorithm."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

    @property
    def __class__(self) -> type:  # for isinstance
        return type(self._algorithm)

    @__class__.setter
    def __class__(self, _: type) -> None:
        raise TypeError("a guard stays a guard")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)

    def require(self, capability: Any) -> "GuardedAlgorithm":
        """Return this algorithm; raises UnsupportedOperation if it lacks the capability."""
        self._algorithm.require(capability)
        return self

    def sign(self, key: Any, message: bytes, options: SignatureOptions) -> bytes:
        """Sign a message; `key` is a guard."""
        opened = _guard(key).opened_for(message, options)
        signature: bytes = self._algorithm.sign(opened, message, options)
        return signature

    def sign_many(
        self, key: Any, messages: Sequence[bytes], options: SignatureOptions
    ) -> list[bytes]:
        """Sign messages one by one; `key` is a guard."""
        return [self.sign(key, each, options) for each in messages]

    def mac(self, key: Any, message: bytes) -> bytes:
        """Compute an authentication code; `key` is a guard."""
        alg = next(iter(self._algorithm.jws_algs), "")
        opened = _guard(key).opened_for(message, SignatureOptions(alg))
        code: bytes = self._algorithm.mac(opened, message)
        return code

    def export_jwk(self, key: Any) -> dict[str, str]:
        """Return the private JWK; `key` is a guard."""
        exported: dict[str, str] = self._algorithm.export_jwk(_guard(key).opened({}, ()))
        return exported


def is_guarded(key: UsableKey[Any]) -> bool:
    """Tell whether a use of a key needs an approval."""
    approval = None if key.rules is None else key.rules.approval
    return approval is not None and not (key.use.is_public or key.use.operation == _FREE)


def guard(key: UsableKey[Any]) -> None:
    """Replace the private key of a guarded key by a guard."""
    key.material = Guard(key.material)
    key.algorithm = GuardedAlgorithm(key.algorithm)


def require_asking(user: KeyUser) -> None:
    """Raise RuleViolated unless an operation asks for approvals."""
    if not user.asks:
        refuse("The key only signs, computes authentication codes and is exported, with approvals.")


def refuse(fault: str) -> NoReturn:
    """Raise RuleViolated by the rule `approval`."""
    raise RuleViolated("approval", fault)


def _guard(key: Any) -> Guard:
    if not isinstance(key, Guard):
        refuse("The private key of this key is guarded.")
    return key
