"""Makes certificate revocation lists (RFC 5280 section 5, ISO/IEC 18013-5 Table B.10)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minikms.credentials.x509.certificates import authority_identifier, ca_certificates
from minikms.credentials.x509.signing import SigningKey, public_key_in_x509, sign_x509
from minikms.encodings import jose_b64url
from minikms.errors import InvalidCertificate, RuleViolated, ValidationFailed
from minikms.events import set_crl
from minikms.keys.operation import Envelope, Use
from minikms.plugin.protocol import Signer

MAX_REVOKED: Final = 20_000
MAX_CRL_DAYS: Final = 366
MAX_CRL_NUMBER: Final = 2**53 - 1
"""The largest integer of all JSON parsers (RFC 8259 section 6)."""


@dataclass(slots=True, repr=False)
class MakeCrl(Envelope[Signer[Any, Any], str]):
    """Signs a revocation list, in PEM; raises InvalidCertificate and UnsupportedOption.

    The key must have a CA certificate for revocation lists. Raises ValidationFailed for two entries
    of one certificate, and RuleViolated if the rules of the key bind it to some JWSs.
    """

    uses = (Use(Signer, "sign"),)
    asks = True
    number: int
    days: int
    entries: Sequence[x509.RevokedCertificate] = ()
    is_slow: bool = field(init=False, default=True)

    def meaning(self, key: SigningKey) -> dict[str, Any]:
        digest = sha256()
        for each in self.entries:
            extensions = b"".join(one.value.public_bytes() for one in each.extensions)
            facts = f"{each.serial_number:x} {each.revocation_date_utc.isoformat()} "
            digest.update(facts.encode() + extensions.hex().encode() + b"\n")
        return {
            "type": "crl",
            "number": self.number,
            "days": self.days,
            "revoked": len(self.entries),
            "sha256": jose_b64url(digest.digest()),
        }

    def compute(self, key: SigningKey) -> str:
        if key.rules is not None and key.rules.jws is not None:
            raise RuleViolated("jws", "The key revokes no certificates.")
        own = public_key_in_x509(key)
        issuer, *_ = ca_certificates(key.record, "crl_sign")
        now = datetime.now(UTC).replace(microsecond=0)
        if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
            raise InvalidCertificate("The issuer's certificate is not valid now.")
        _require_distinct(self.entries)
        # Given together, since adding one copies the list.
        builder = x509.CertificateRevocationListBuilder(
            issuer.subject,
            now,
            now + timedelta(days=self.days),
            revoked_certificates=[*self.entries],
        )
        builder = builder.add_extension(authority_identifier(issuer, own), critical=False)
        builder = builder.add_extension(x509.CRLNumber(self.number), critical=False)
        made = sign_x509(builder, key, None)
        set_crl(self.number, len(self.entries))
        return made.public_bytes(Encoding.PEM).decode()


def _require_distinct(entries: Sequence[x509.RevokedCertificate]) -> None:
    """Raise ValidationFailed for two entries of one certificate."""
    places: dict[int, int] = {}
    for place, each in enumerate(entries):
        first = places.setdefault(each.serial_number, place)
        if first != place:
            fault = f"The same serial number as #/revoked/{first}/serial."
            raise ValidationFailed(errors=[(f"#/revoked/{place}/serial", fault)])
