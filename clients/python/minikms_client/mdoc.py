"""Issue mdocs (ISO/IEC 18013-5) by pymdoccbor with a key of the service.

It needs the extra `mdoc`. `MdocIssuer` has the methods of pymdoccbor's MdocCborIssuer.
"""

import secrets
import time
from typing import Any

import cbor2
from pymdoccbor.mdoc.issuer import MdocCborIssuer

from minikms_client._sync.client import Client

# The header parameter CWT Claims (RFC 9597), and the label of its claim iat (RFC 8392 section 4).
_CWT_CLAIMS, _IAT = 15, 6


class MdocIssuer(MdocCborIssuer):
    """An issuer whose IssuerAuth the service signs, with the key's certificates as x5chain.

    pymdoccbor makes the items and the MSO, with SHA-256 digests. It requires a private key to sign
    with; it gets a random one, and its signature is replaced. With `cb_ades` the signature is
    CB-AdES of the level B-B (ETSI TS 119 152-1): the protected header also has the time and the
    thumbprint of the certificate. Raises KeyNotFound and AliasNotFound, and ValueError for a key
    without certificates.
    """

    def __init__(
        self,
        kms: Client,
        *,
        kid: str | None = None,
        alias: str | None = None,
        cb_ades: bool = False,
    ) -> None:
        if (kid is None) == (alias is None):
            raise TypeError("Name the key in one way: by kid or by alias.")
        below_order = b"\0" + secrets.token_bytes(31)
        placeholder = {"KTY": "EC2", "CURVE": "P_256", "ALG": "ES256", "D": below_order}
        super().__init__(private_key=placeholder, alg="ES256")
        key = kms.get_key(kid) if kid is not None else kms.find_key(alias or "")
        if not key.certificates:
            raise ValueError("The key has no certificate.")
        self._kms, self._kid, self._alias, self._cb_ades = kms, kid, alias, cb_ades
        # pymdoccbor requires them, too; /cose/sign inserts them.
        self._chain = list(key.certificates)

    def new(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Make an mdoc and set `signed`; the arguments are pymdoccbor's, without certificates.

        Raises the client's errors if the service does not sign.
        """
        made: dict[str, Any] = super().new(*args, **options | {"x509_chain": self._chain})
        self.signed = {}
        (document,) = made["documents"]
        issuer_signed = document["issuerSigned"]
        _, _, mso, _ = issuer_signed["issuerAuth"]
        header: dict[str, Any] = {"certificate_header": "x5chain"}
        if self._cb_ades:
            claims = {_CWT_CLAIMS: {_IAT: int(time.time())}}
            header = {
                "certificate_header": ["x5chain", "x5t-protected"],
                "protected": cbor2.dumps(claims),
            }
        signed = self._kms.sign_cose(
            mso, kid=self._kid, alias=self._alias, kid_header="none", tagged=False, **header
        )
        issuer_signed["issuerAuth"] = cbor2.loads(signed)
        self.signed = made
        return made
