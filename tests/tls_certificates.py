"""A CA that issues certificates of servers and clients for TLS, as files."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OTHER_USES = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)
PEM = serialization.Encoding.PEM


class Authority:
    """A CA, whose certificate is in `file`."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(self.name, self.key.public_key(), is_ca=True)
        self.file = self._write(f"{name}.pem", certificate.public_bytes(PEM))

    def issue(self, name, *, encrypt=None, raw=None, names=()):
        """Paths of a new certificate for this address, and of its key.

        `raw` replaces the encoded name in its subject, and has the same length. `names` are more
        names of the subject, as X.509 structures.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Wallets, Inc."),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        certificate = self._sign(subject, key.public_key(), is_ca=False, more=names)
        if raw is not None:
            certificate = self._signed_again(certificate, name.encode(), raw)
        protection = serialization.NoEncryption()
        if encrypt:
            protection = serialization.BestAvailableEncryption(encrypt)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, protection)
        return (
            self._write(f"{name}.pem", certificate.public_bytes(PEM)),
            self._write(f"{name}.key", private),
        )

    def _sign(self, subject, public_key, *, is_ca, more=()):
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        names += more
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self.name)
            .subject_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(public_key)
        signs = dict.fromkeys(("key_cert_sign", "crl_sign"), is_ca)
        usage = x509.KeyUsage(digital_signature=True, **signs, **dict.fromkeys(OTHER_USES, False))
        for extension in (issuer, own, usage):  # which Python 3.13 wants to see
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _signed_again(self, certificate, name, raw):
        """A certificate whose subject has `raw` in place of a name and its tag and length."""
        tbs, signature = certificate.tbs_certificate_bytes, certificate.signature
        changed = tbs.replace(b"\x0c" + bytes([len(name)]) + name, raw)
        other = b""
        while len(other) != len(signature):  # so that no length around it changes
            other = self.key.sign(changed, ec.ECDSA(hashes.SHA256()))
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        encoded = encoded.replace(tbs, changed).replace(signature, other)
        return x509.load_der_x509_certificate(encoded)

    def _write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)
