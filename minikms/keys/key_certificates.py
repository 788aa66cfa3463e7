"""Issues certificates, and gives keys certificates."""

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
    """Issues certificates, and gives keys certificates."""

    async def issue_certificate(self, profile: str, by: By, request: CertificateRequest) -> str:
        """Sign a certificate in PEM with the key `by`; raises as `IssueCertificate` does.

        The subject's key, if it is one of the service, signs a certificate request first: so it
        must be one that may sign now.
        """
        if request.key is not None:
            made = MakeCsr(request.subject or "", request.alternative_names)
            csr = await self.perform(profile, request.key, made)
            keep_key()
            request = replace(request, csr=csr)
        return await self.perform(profile, by, IssueCertificate(request))

    async def set_certificates(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Give a key these certificates in PEM instead of its own.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation for a key that does not
        sign, and KeyNotUsable for a key that is scheduled for deletion.
        """
        # In a thread, since some signatures take milliseconds to verify.
        certificates = await asyncio.to_thread(read_chain, chain)
        return await self._change(profile, kid, lambda record: with_chain(record, certificates))

    async def remove_certificates(self, profile: str, kid: str) -> KeyRecord:
        """Remove the certificates of a key.

        Raises KeyNotUsable for a key that is scheduled for deletion.
        """
        return await self._change(profile, kid, lambda record: replace(record, certificates=()))
