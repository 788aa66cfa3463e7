"""X.509 certificates by pyca/cryptography, for keys of the service: by two issuers, or by any."""

import base64
import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jwcrypto.jwk import JWK

NOW = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(days=365)
CA = x509.BasicConstraints(ca=True, path_length=None)


def certificate_of(subject, *extensions, key=None, issuer=None, begin=None, end=None):
    """A private key, and its certificate, signed by the pair `issuer` or self-signed.

    A subject is an RFC 4514 text.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject, {"emailAddress": NameOID.EMAIL_ADDRESS})
    now = datetime.datetime.now(datetime.UTC)
    begin = begin or now - datetime.timedelta(days=1)
    end = end or now + datetime.timedelta(days=30)
    above, signer = (issuer[1].subject, issuer[0]) if issuer else (name, key)
    number = x509.random_serial_number()
    builder = x509.CertificateBuilder(above, name, key.public_key(), number, begin, end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return key, builder.sign(signer, hashes.SHA256())


class Issuer:
    """A CA: its key, and its certificate, self-signed or by another CA."""

    def __init__(self, name, above=None):
        self.name = x509.Name.from_rfc4514_string(f"CN={name}")
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (above or self).issue(self.key.public_key(), self.name)

    def issue(self, public, name=None, size=0, extension=None):
        name = name or x509.Name.from_rfc4514_string("CN=leaf")
        builder = x509.CertificateBuilder(self.name, name, public, 1, NOW, LATER)
        if size:
            filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(size))
            builder = builder.add_extension(filler, critical=False)
        if extension:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256())


def public_key(key):
    return serialization.load_pem_public_key(JWK(**key["jwk"]).export_to_pem())


def pem(*certificates):
    return [each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates]


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def x5t(certificate):
    digest = hashlib.sha256(der(certificate)).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


ROOT = Issuer("root")
MIDDLE = Issuer("middle", ROOT)
