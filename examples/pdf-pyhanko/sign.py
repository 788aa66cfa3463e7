# /// script
# requires-python = ">=3.11"
# dependencies = ["minikms-client", "pyhanko>=0.38,<0.39"]
# [tool.uv.sources]
# minikms-client = { path = "../../clients/python" }
# ///
"""Sign a PDF document (PAdES) with a key of the service, and validate the signature."""

import asyncio
import io
from pathlib import Path

from asn1crypto.pem import unarmor
from asn1crypto.x509 import Certificate
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, Signer
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from minikms_client import Client


class MinikmsSigner(Signer):
    """A signer of pyHanko: the service signs, and pyHanko does the rest."""

    def __init__(self, kms, key):
        own, *above = map(Certificate.load, key.certificates)
        super().__init__(signing_cert=own, cert_registry=SimpleCertificateStore.from_certs(above))
        self.kms, self.kid = kms, key.kid

    async def async_sign_raw(self, data, digest_algorithm, dry_run=False):
        if dry_run:  # pyHanko asks for the size, which is at most this for p256
            return bytes(72)
        return (await asyncio.to_thread(self.kms.sign, data, kid=self.kid, encoding="der")).sig


def make_keys(kms):
    """Make a CA and, below it, the key that signs; return the certificate of the CA."""
    ca, signer = (kms.generate_key("p256", alias=alias) for alias in ("ca", "signer"))
    root = kms.issue_certificate("self-signed", 3650, alias="ca", subject="CN=Example CA,C=DE")
    kms.set_certificates(ca.kid, [root])
    own = kms.issue_certificate(
        "document", 365, alias="ca", key="signer", subject="CN=issuer.example,C=DE"
    )
    kms.set_certificates(signer.kid, [own, root])
    return Certificate.load(unarmor(root.encode())[2])


def contract():
    """Return a document of one empty page."""
    writer, made = PdfFileWriter(), io.BytesIO()
    contents = writer.add_object(StreamObject(stream_data=b""))
    writer.insert_page(PageObject(contents=contents, media_box=(0, 0, 200, 200)))
    writer.write(made)
    return made


metadata = PdfSignatureMetadata(
    field_name="Signature", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES
)
with Client() as kms:
    root = make_keys(kms)
    signer = PdfSigner(metadata, MinikmsSigner(kms, kms.find_key("signer")))
    signed = signer.sign_pdf(IncrementalPdfFileWriter(contract())).getvalue()
Path("signed.pdf").write_bytes(signed)

[signature] = PdfFileReader(io.BytesIO(signed)).embedded_signatures
status = validate_pdf_signature(signature, ValidationContext(trust_roots=[root]))
print("The signature is", status.summary())
