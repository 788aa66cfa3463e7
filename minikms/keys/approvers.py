"""Checks the keys of approvers in rules."""

from typing import Any, Final

from minikms.approval_rule import Approver
from minikms.errors import InvalidKey, KmsError, UnsupportedOption, ValidationFailed
from minikms.plugin.protocol import Signer
from minikms.plugin.registry import AlgorithmRegistry
from minikms.rules import Rules

# The default of RSA keys: what passkeys sign by.
_RSA: Final = "RS256"


def signer_of(registry: AlgorithmRegistry, approver: Approver) -> tuple[Signer[Any, Any], str]:
    """Return the algorithm of an approver's key, and the JOSE name of its signatures.

    Raises InvalidKey, UnsupportedOperation and UnsupportedOption for a key that makes no JWS.
    """
    jwk = approver.jwk
    algorithm: Signer[Any, Any] = registry.for_jwk(jwk).require(Signer)
    algs = algorithm.jws_algs
    if not algs:
        raise UnsupportedOption("The key makes no JWS.")
    alg = jwk.get("alg", _RSA if _RSA in algs else algs[0])
    if alg not in algs:
        raise UnsupportedOption(f"The key signs for: {', '.join(algs)}.")
    return algorithm, alg


def require_approvers(registry: AlgorithmRegistry, rules: Rules | None) -> None:
    """Raise ValidationFailed if the key of an approver is not a public key that makes JWSs."""
    if rules is None or rules.approval is None:
        return
    for place, approver in enumerate(rules.approval.approvers):
        try:
            algorithm, _ = signer_of(registry, approver)
            algorithm.load_public(approver.jwk)
        except KmsError as exc:
            at = f"#/rules/approval/approvers/{place}/jwk"
            fault = exc.detail if not isinstance(exc, InvalidKey) else "Not a valid public key."
            raise ValidationFailed(errors=[(at, fault)]) from None
