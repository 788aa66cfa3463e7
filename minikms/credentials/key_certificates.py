"""Issues certificates, and sets and removes the certificates of keys."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from cryptography import x509

from minikms.credentials.x509.certificates import first_end, read_chain, with_chain
from minikms.credentials.x509.certification import CertificateRequest, IssueCertificate
from minikms.credentials.x509.requests import MakeCsr
from minikms.credentials.x509.revocation import MakeCrl
from minikms.events import keep_key
from minikms.keys.changes import Changes
from minikms.keys.operations import By, KeyOperations
from minikms.records import KeyRecord

# Periods of `NotedUses`, of two minutes each: a day.
_LATELY: Final = 720


class KeyCertificates:
    """Issues certificates, and sets and removes the certificates of keys."""

    def __init__(self, keys: KeyOperations, changes: Changes) -> None:
        self._keys = keys
        self._changes = changes

    async def issue(self, profile: str, by: By, request: CertificateRequest) -> str:
        """Issue a certificate in PEM with the key `by`; raises the errors of `IssueCertificate`.

        If the subject's key is a key of the service, it signs a certificate request first. So it
        must be allowed to sign now.
        """
        if request.key is not None:
            made = MakeCsr(request.subject or "", request.alternative_names)
            csr = await self._keys.perform(profile, request.key, made)
            keep_key()
            request = replace(request, csr=csr)
        return await self._keys.perform(profile, by, IssueCertificate(request))

    async def make_crl(
        self,
        profile: str,
        by: By,
        crl: MakeCrl,
        number: int,
        read: Callable[[Sequence[int]], Sequence[x509.RevokedCertificate]],
        check: Callable[[], None] = lambda: None,
    ) -> str:
        """Make a revocation list of `number` entries, in PEM; `read` reads the entries at places.

        A thread does it in slices, and calls `check` before each; it raises if the caller is
        gone. Raises TooBusy, and the errors of `read` and `MakeCrl`.
        """
        await self._keys.usable_key(profile, by, crl)  # raise its errors first
        long = self._keys.threads.long
        crl.entries = await long.run_all(profile, range(number), read, check, first=True)
        return await self._keys.perform(profile, by, crl)

    async def first_end(self) -> float:
        """Return the earliest end of a certificate in the chains of keys in use.

        In seconds since the epoch; infinity without such a certificate. A key is in use while it is
        cached, and was used in one of the last `_LATELY` periods: a key whose alias has moved to
        another one, with a new certificate, no longer counts after a day.
        """
        end = math.inf
        async for found in self._keys.cache.values():
            if found.record.certificates and self._keys.uses.period - found.period < _LATELY:
                end = min(end, first_end(found.record))
                await asyncio.sleep(0)  # parsing takes time
        return end

    async def set_chain(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Set the certificates of a key, in PEM.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation if the key does not sign,
        and KeyNotUsable if it is scheduled for deletion.
        """
        # In a thread, since verifying some signatures takes milliseconds.
        certificates = await self._keys.threads.slow.run(profile, partial(read_chain, chain))
        return await self._changes.change(
            profile, kid, lambda record: with_chain(record, certificates)
        )

    async def remove_chain(self, profile: str, kid: str) -> KeyRecord:
        """Remove the certificates of a key.

        Raises KeyNotUsable if the key is scheduled for deletion.
        """
        return await self._changes.change(
            profile, kid, lambda record: replace(record, certificates=())
        )
