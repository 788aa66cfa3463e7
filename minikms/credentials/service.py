"""Composes the calls of credentials that need more than one operation on a key."""

from minikms.credentials.approvals import ApprovalCalls
from minikms.credentials.jose.attestation import AttestationCalls
from minikms.credentials.jose.jwe_encryption import JweCalls
from minikms.credentials.jose.jwk_sets import JwkSets
from minikms.credentials.key_certificates import KeyCertificates
from minikms.keys.service import KeyService


class Credentials:
    """The calls of credentials with the keys of a service, a part for each subject."""

    def __init__(self, keys: KeyService) -> None:
        self.approvals = ApprovalCalls(keys.operations)
        self.attestations = AttestationCalls(keys.operations)
        self.certificates = KeyCertificates(keys.operations, keys.changes)
        self.jwes = JweCalls(keys.operations)
        self.jwk_sets = JwkSets(keys.operations)
