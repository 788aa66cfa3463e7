"""Identities as SPIRE issues them, by the specifications of SPIFFE: X.509-SVIDs and JWT-SVIDs."""

import base64
import datetime
import time

from access.jwt_issuer import SigningKey, compact
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tls_certificates import OTHER_USES, PEM


class TrustDomain:
    """A trust domain: its CA, in `file`, and its key of JWT-SVIDs."""

    def __init__(self, folder, name="example.org"):
        self._folder = folder
        self.id = f"spiffe://{name}"
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIFFE"),
        ]
        self._name = x509.Name(subject)
        self._ca = self._certificate(self._name, self._key.public_key(), [self.id], 3600, ca=True)
        self.file = self._write("bundle.pem", self._ca.public_bytes(PEM))
        self.jwt_key = SigningKey("p256", kid="c2Q0lTkNvT")

    @property
    def bundle(self):
        """The bundle: a JWK Set whose keys name the kind of SVID that they verify."""
        certificate = base64.b64encode(self._ca.public_bytes(serialization.Encoding.DER)).decode()
        # Such an entry has no kid (X509-SVID section 6.1); which key it has does not matter here.
        x509_key = {**self.jwt_key.jwk, "use": "x509-svid", "x5c": [certificate]}
        del x509_key["kid"]
        return {
            "keys": [x509_key, {**self.jwt_key.jwk, "use": "jwt-svid"}],
            "spiffe_sequence": 1,
            "spiffe_refresh_hint": 300,
        }

    def x509_svid(self, *paths, life=60, subject=(), file="svid", ca=False):
        """Files of an X.509-SVID and of its key; it begins ten seconds ago, as SPIRE's do."""
        key = ec.generate_private_key(ec.SECP256R1())
        uris = [self.id + path for path in paths]
        made = self._certificate(x509.Name(subject), key.public_key(), uris, life, ca=ca)
        private = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{file}.pem", made.public_bytes(PEM)),
            self._write(f"{file}.key", private),
        )

    def jwt_svid(self, path, *audience, life=300, **more):
        """A JWT-SVID: its `aud` is an array, and it has an `iss` only if SPIRE names one."""
        now = int(time.time())
        claims = {"sub": self.id + path, "aud": list(audience), "exp": now + life, "iat": now}
        header = {"alg": "ES256", "kid": self.jwt_key.jwk["kid"], "typ": "JWT"}
        return compact(header, {**claims, **more}, self.jwt_key.signer())

    def _certificate(self, subject, public_key, uris, life, *, ca=False):
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        signs = dict.fromkeys(("key_cert_sign", "crl_sign"), ca)
        others = dict.fromkeys(OTHER_USES, False)
        usage = x509.KeyUsage(digital_signature=not ca, **signs, **others)
        issuer_key = self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=10))
            .not_valid_after(now + datetime.timedelta(seconds=life))
            .add_extension(usage, critical=True)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
            )
            # Critical if the subject is empty (RFC 5280 section 4.2.1.6).
            .add_extension(names, critical=not subject.rdns)
        )
        if not ca:
            uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name, content):
        path = self._folder / name
        path.write_bytes(content)
        return str(path)
