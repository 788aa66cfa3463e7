"""Bases for algorithms whose keys Askar makes or keeps."""

from abc import abstractmethod
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

# More bytes than a coordinate or a secret of any of Askar's key pairs has.
_ASKAR_MOST: Final = 256


class AskarKeyAlgorithm(KeyAlgorithm):
    """An algorithm of Askar's whose keys are Askar keys, in memory and in the store."""

    def generate(self) -> Any:
        return AskarKey.generate(self.name)

    def pack(self, key: Any) -> Stored:
        return key  # type: ignore[no-any-return]

    def unpack(self, stored: Stored) -> Any:
        return stored


class AskarKeyPair(AskarKeyAlgorithm, KeyPairAlgorithm, JwkImporter, SecretImporter):
    """A key pair of Askar's: Askar has its public forms too."""

    crv: ClassVar[str]

    def public_jwk(self, key: Any) -> dict[str, str]:
        return orjson.loads(key.get_jwk_public())  # type: ignore[no-any-return]

    def public_bytes(self, key: Any) -> bytes:
        return key.get_public_bytes()  # type: ignore[no-any-return]

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        return self._from_jwk({name: value for name, value in jwk.items() if name != "d"})

    def import_jwk(self, jwk: Mapping[str, Any]) -> Any:
        if "d" not in jwk:
            raise InvalidKey("The JWK has no private part.")
        return self._from_jwk(jwk)

    def export_jwk(self, key: Any) -> dict[str, str]:
        return orjson.loads(key.get_jwk_secret())  # type: ignore[no-any-return]

    def import_secret(self, secret: bytes) -> Any:
        try:
            return AskarKey.from_secret_bytes(self.name, secret)
        except AskarError:
            raise InvalidKey(f"These are not the secret bytes of a {self.name} key.") from None

    def _from_jwk(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        # Askar refuses a JWK with a member that is no text, like the `ext` of Web Crypto.
        members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "d") if name in jwk}
        for name in members.keys() & {"x", "y", "d"}:
            jwk_bytes(members, name, most=_ASKAR_MOST)
        try:
            key = AskarKey.from_jwk(members)
        except AskarError:
            raise InvalidKey(f"The JWK is not a {self.name} key.") from None
        # Askar fills a coordinate that is too short with zeros, and is content where those fit.
        whole = self.public_jwk(key)
        for name in whole.keys() & {"x", "y"}:
            jwk_bytes(jwk, name, len(jwk_bytes(whole, name)))
        return key


class AskarStored(KeyAlgorithm, SecretImporter):
    """An algorithm whose keys are another library's in memory, and Askar's in the store.

    Askar and the class agree on the secret bytes, which Askar keeps as a key of `name`.
    """

    @abstractmethod
    def secret_bytes(self, key: Any) -> bytes:
        """The bytes that `import_secret` makes `key` from."""

    def pack(self, key: Any) -> Stored:
        return AskarKey.from_secret_bytes(self.name, self.secret_bytes(key))

    def unpack(self, stored: Stored) -> Any:
        if isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as Askar keys")
        return self.import_secret(stored.get_secret_bytes())
