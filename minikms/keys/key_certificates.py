"""Issues certificates, and sets and removes the certificates of keys."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from minikms.events import keep_key
from minikms.keys.changes import Changes
from minikms.keys.operations import By
from minikms.keys.x509.certificates import read_chain, with_chain
from minikms.keys.x509.certification import CertificateRequest, IssueCertificate
from minikms.keys.x509.requests import MakeCsr
from minikms.records import KeyRecord


class KeyCertificates(Changes):
    """Issues certificates, and sets and removes the certificates of keys."""

    async def issue_certificate(self, profile: str, by: By, request: CertificateRequest) -> str:
        """Issue a certificate in PEM with the key `by`; raises the errors of `IssueCertificate`.

        If the subject's key is a key of the service, it signs a certificate request first. So it
        must be allowed to sign now.
        """
        if request.key is not None:
            made = MakeCsr(request.subject or "", request.alternative_names)
            csr = await self.perform(profile, request.key, made)
            keep_key()
            request = replace(request, csr=csr)
        return await self.perform(profile, by, IssueCertificate(request))

    async def set_certificates(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Set the certificates of a key, in PEM.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation if the key does not sign,
        and KeyNotUsable if it is scheduled for deletion.
        """
        # In a thread, since verifying some signatures takes milliseconds.
        certificates = await asyncio.to_thread(read_chain, chain)
        return await self._change(profile, kid, lambda record: with_chain(record, certificates))

    async def remove_certificates(self, profile: str, kid: str) -> KeyRecord:
        """Remove the certificates of a key.

        Raises KeyNotUsable if the key is scheduled for deletion.
        """
        return await self._change(profile, kid, lambda record: replace(record, certificates=()))
