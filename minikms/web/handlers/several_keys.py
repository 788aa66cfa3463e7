"""Handlers of operations on several keys or without a key, and of operations in several steps."""

from functools import partial

from minikms.credentials.x509.revocation import MakeCrl
from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.http.presence import presence
from minikms.web.messages import credentials, load, service
from minikms.web.schemas import certificate_bodies, jose_bodies, jwe_bodies, operation_bodies

_RANDOM = operation_bodies.RandomRequest()
_BYTES = operation_bodies.RandomBytes()
_JWE_REQUEST = jwe_bodies.EncryptJweRequest()
_JWE = jwe_bodies.EncryptedJwe()
_CERTIFICATE_REQUEST = certificate_bodies.IssueCertificateRequest()
_CERTIFICATE = certificate_bodies.IssuedCertificate()
_CRL_REQUEST = certificate_bodies.CrlRequest()
_CRL = certificate_bodies.SignedRevocationList()
_ATTESTATION_REQUEST = jose_bodies.AttestKeysRequest()
_ATTESTATION = jose_bodies.AttestationJwt()


async def encrypt_jwe(call: GatedCall) -> Answer:
    """Encrypt a plaintext as JWE to keys and public JWKs."""
    body = load(call, _JWE_REQUEST)
    made = await credentials(call).jwes.encrypt(call.profile, body["jwe"])
    return _JWE.encode({"jwe": made})


async def attest_keys(call: GatedCall) -> Answer:
    """Attest keys of the profile, as a JWT by another key."""
    body = load(call, _ATTESTATION_REQUEST)
    jwt = await credentials(call).attestations.attest(
        call.profile, body["by"], body["attestation"], body["certificate_header"]
    )
    return _ATTESTATION.encode({"jwt": jwt})


async def issue_certificate(call: GatedCall) -> Answer:
    """Issue a certificate, signed with a key."""
    body = load(call, _CERTIFICATE_REQUEST)
    issue = credentials(call).certificates.issue
    made = await issue(call.profile, body["by"], body["request"])
    return _CERTIFICATE.encode({"certificate": made})


async def make_crl(call: GatedCall) -> Answer:
    """Make a certificate revocation list, signed with a key."""
    body = load(call, _CRL_REQUEST)
    crl, revoked = MakeCrl(body["number"], body["days"]), body["revoked"]
    read = partial(certificate_bodies.read_entries, revoked)
    make, check = credentials(call).certificates.make_crl, presence(call.request)
    made = await make(call.profile, body["by"], crl, len(revoked), read, check)
    return _CRL.encode({"crl": made})


async def random(call: GatedCall) -> Answer:
    """Generate random bytes."""
    body = load(call, _RANDOM)
    return _BYTES.encode({"bytes": service(call).random(body["length"])})
