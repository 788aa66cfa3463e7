"""Bases for algorithms whose keys Askar makes and holds."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson
from aries_askar import AskarError
from aries_askar import Key as AskarKey

from minikms.errors import InvalidKey
from minikms.plugin.jwk import jwk_bytes, require_jwk_type
from minikms.plugin.protocol import (
    JwkImporter,
    KeyAlgorithm,
    KeyPairAlgorithm,
    SecretImporter,
    Stored,
)

# The size in bytes of the largest coordinate or secret of an Askar key pair.
_ASKAR_MOST: Final = 256


class AskarKeyAlgorithm(KeyAlgorithm[AskarKey]):
    """An algorithm whose keys are Askar keys, in memory and in the store."""

    @property
    def askar_name(self) -> str:
        """Askar's name of the keys (one of `aries_askar.KeyAlg`), by default `name`.

        Override it as a class attribute: `askar_name = "p256"`. Never change it: stored keys
        contain it.
        """
        return self.name

    def generate(self) -> AskarKey:
        return AskarKey.generate(self.askar_name)

    def pack(self, key: AskarKey) -> Stored:
        return key

    def memory_of(self, key: Any) -> int:
        return 1_300

    def unpack(self, stored: Stored) -> AskarKey:
        if isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as Askar keys")
        return stored


class AskarKeyPair(
    AskarKeyAlgorithm,
    KeyPairAlgorithm[AskarKey, AskarKey],
    JwkImporter[AskarKey],
    SecretImporter[AskarKey],
):
    """A key pair in Askar, with Askar's public forms and imports."""

    crv: ClassVar[str]

    def public_jwk(self, key: AskarKey) -> dict[str, str]:
        return _members(key.get_jwk_public())

    def public_bytes(self, key: AskarKey) -> bytes:
        return key.get_public_bytes()

    def load_public(self, jwk: Mapping[str, Any]) -> AskarKey:
        return self._from_jwk({name: value for name, value in jwk.items() if name != "d"})

    def import_jwk(self, jwk: Mapping[str, Any]) -> AskarKey:
        if "d" not in jwk:
            raise InvalidKey("The JWK has no private part.")
        return self._from_jwk(jwk)

    def export_jwk(self, key: AskarKey) -> dict[str, str]:
        return _members(key.get_jwk_secret())

    def import_secret(self, secret: bytes) -> AskarKey:
        try:
            return AskarKey.from_secret_bytes(self.askar_name, secret)
        except AskarError:
            raise InvalidKey(f"These are not the secret bytes of a {self.name} key.") from None

    def _from_jwk(self, jwk: Mapping[str, Any]) -> AskarKey:
        require_jwk_type(jwk, self.kty, self.crv)
        # Askar refuses a JWK with a member that is not a string, such as `ext` of Web Crypto.
        members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "d") if name in jwk}
        for name in members.keys() & {"x", "y", "d"}:
            jwk_bytes(members, name, most=_ASKAR_MOST)
        try:
            key = AskarKey.from_jwk(members)
        except AskarError:
            raise InvalidKey(f"The JWK is not a {self.name} key.") from None
        # Askar pads a short coordinate with zeros, and accepts it if it then fits.
        whole = self.public_jwk(key)
        for name in whole.keys() & {"x", "y"}:
            jwk_bytes(jwk, name, len(jwk_bytes(whole, name)))
        return key


def _members(jwk: str | bytes) -> dict[str, str]:
    members: dict[str, str] = orjson.loads(jwk)
    return members
