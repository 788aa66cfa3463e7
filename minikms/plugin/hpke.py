"""A base for HPKE with keys of pyca/cryptography (RFC 9180)."""

from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from minikms.errors import DecryptionFailed
from minikms.plugin.protocol import Hpke, HpkeOptions, HpkeSealed, KeyT, PublicT

_KDFS: Final = {
    "HKDF-SHA256": hpke.KDF.HKDF_SHA256,
    "HKDF-SHA384": hpke.KDF.HKDF_SHA384,
    "HKDF-SHA512": hpke.KDF.HKDF_SHA512,
}
_AEADS: Final = {
    "AES-128-GCM": hpke.AEAD.AES_128_GCM,
    "AES-256-GCM": hpke.AEAD.AES_256_GCM,
    "ChaCha20Poly1305": hpke.AEAD.CHACHA20_POLY1305,
}


class PycaHpke(Hpke[KeyT, PublicT]):
    """HPKE with the KEM `hpke_kem`, which uses the algorithm's keys unchanged."""

    hpke_kem: ClassVar[hpke.KEM]

    def hpke_seal(self, public: PublicT, plaintext: bytes, options: HpkeOptions) -> HpkeSealed:
        # A type checker cannot see that the keys fit this KEM.
        whole = self._suite(options).encrypt(plaintext, public, options.info)  # type: ignore[arg-type]
        size = self.hpke_kem.enc_length()
        return HpkeSealed(whole[:size], whole[size:])

    def hpke_open(self, key: KeyT, sealed: HpkeSealed, options: HpkeOptions) -> bytes:
        # The library joins enc and ciphertext, so bytes could move between them unnoticed.
        if len(sealed.enc) != self.hpke_kem.enc_length():
            raise DecryptionFailed()
        whole = sealed.enc + sealed.ciphertext
        try:
            return self._suite(options).decrypt(whole, key, options.info)  # type: ignore[arg-type]
        except InvalidTag:  # raised for any mismatch
            raise DecryptionFailed() from None

    def _suite(self, options: HpkeOptions) -> hpke.Suite:
        return hpke.Suite(self.hpke_kem, _KDFS[options.kdf], _AEADS[options.aead])
