"""Handlers of operations on several keys, or on none."""

from aiohttp import web

from minikms.http.answers import Answer
from minikms.web.messages import load, profile, service
from minikms.web.schemas import certificate_bodies, jose_bodies, jwe_bodies, operation_bodies

_RANDOM = operation_bodies.RandomRequest()
_BYTES = operation_bodies.RandomBytes()
_JWE_REQUEST = jwe_bodies.EncryptJweRequest()
_JWE = jwe_bodies.EncryptedJwe()
_CERTIFICATE_REQUEST = certificate_bodies.IssueCertificateRequest()
_CERTIFICATE = certificate_bodies.IssuedCertificate()
_ATTESTATION_REQUEST = jose_bodies.AttestKeysRequest()
_ATTESTATION = jose_bodies.AttestationJwt()


async def encrypt_jwe(request: web.Request) -> Answer:
    """Encrypt a plaintext as JWE to keys and public JWKs."""
    body = await load(request, _JWE_REQUEST)
    made = await service(request).encrypt_jwe(profile(request), body["jwe"])
    return _JWE.encode({"jwe": made})


async def attest_keys(request: web.Request) -> Answer:
    """Attest keys of the profile, as a JWT by another key."""
    body = await load(request, _ATTESTATION_REQUEST)
    jwt = await service(request).attest(
        profile(request), body["by"], body["attestation"], body["certificate_header"]
    )
    return _ATTESTATION.encode({"jwt": jwt})


async def issue_certificate(request: web.Request) -> Answer:
    """Issue a certificate, signed with a key."""
    body = await load(request, _CERTIFICATE_REQUEST)
    issue = service(request).issue_certificate
    made = await issue(profile(request), body["by"], body["request"])
    return _CERTIFICATE.encode({"certificate": made})


async def random(request: web.Request) -> Answer:
    """Generate random bytes."""
    body = await load(request, _RANDOM)
    return _BYTES.encode({"bytes": service(request).random(body["length"])})
