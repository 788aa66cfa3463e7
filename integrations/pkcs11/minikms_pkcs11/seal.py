"""A seal of a store key by a key in a token: by AES-GCM, or by RSA-OAEP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pkcs11
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.plugin import ProviderFault, ProviderUnavailable
from minikms.seals import Seal, SealFault, SealUnavailable
from minikms_pkcs11.connection import Connection
from minikms_pkcs11.uri import TokenUri

_NONCE: Final = 12

# The first byte of a ciphertext.
_AES: Final = 1
# For OAEP: the hash, and the mechanism's parameters. SoftHSM supports only SHA-1, which is secure
# in OAEP.
_OAEP: Final = {
    2: (hashes.SHA256(), (pkcs11.Mechanism.SHA256, pkcs11.MGF.SHA256, None)),
    3: (hashes.SHA1(), (pkcs11.Mechanism.SHA_1, pkcs11.MGF.SHA1, None)),  # noqa: S303
}

_REFUSED: Final = (pkcs11.ArgumentsBad, pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid)
_CHANGED: Final = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange)


class Pkcs11Seal(Seal):
    """Encrypts by the key whose label is `object` in the URI.

    An RSA key decrypts a random AES key, which encrypts the secret here.
    """

    def __init__(self, uri: str) -> None:
        self._uri = TokenUri.parse(uri, with_object=True)

    def seal(self, secret: bytes, associated_data: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        with self._key() as key:
            if key.key_type == pkcs11.KeyType.AES:
                if pkcs11.Mechanism.AES_GCM not in key.session.token.slot.get_mechanisms():
                    raise SealFault("The token has no AES-GCM: name an RSA key.")
                return bytes([_AES]) + nonce + _gcm(key.encrypt, secret, nonce, associated_data)
            content_key = AESGCM.generate_key(256)
            wrapped = _wrapped(key, content_key)
        return wrapped + nonce + AESGCM(content_key).encrypt(nonce, secret, associated_data)

    def unseal(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        form, rest = ciphertext[:1], ciphertext[1:]
        with self._key() as key:
            try:
                if key.key_type == pkcs11.KeyType.AES:
                    if form != bytes([_AES]):
                        raise SealFault("Another kind of key has made the ciphertext.")
                    return _gcm(key.decrypt, rest[_NONCE:], rest[:_NONCE], associated_data)
                if not form or form[0] not in _OAEP:
                    raise SealFault("Another kind of key has made the ciphertext.")
                size = key.key_length // 8
                content_key = _oaep(key, form[0], rest[:size])
            except _CHANGED:
                raise SealFault("The token's key has not made the ciphertext.") from None
        nonce, sealed = rest[size : size + _NONCE], rest[size + _NONCE :]
        try:
            return AESGCM(content_key).decrypt(nonce, sealed, associated_data)
        except (InvalidTag, ValueError):
            raise SealFault("The ciphertext was changed.") from None

    @contextmanager
    def _key(self) -> Iterator[Any]:
        """Yield the token's key, in a session that ends with the block."""
        connection = Connection(self._uri)
        try:
            with connection.session() as session:
                found = session.raw.get_objects({pkcs11.Attribute.LABEL: self._uri.object})
                keys = [each for each in found if _opens(each)]
                if not keys:
                    session.require_sight()
                    raise SealUnavailable("The token has no AES or RSA key with this label.")
                if len(keys) > 1:
                    raise SealUnavailable("The token has several keys with this label.")
                yield keys[0]
        except ProviderFault as error:
            raise SealFault(error.detail) from None
        except ProviderUnavailable as error:
            raise SealUnavailable(error.detail) from None
        finally:
            connection.close()


def _opens(key: Any) -> bool:
    """Tell whether a token's key can decrypt for a seal."""
    kinds = {
        pkcs11.ObjectClass.SECRET_KEY: pkcs11.KeyType.AES,
        pkcs11.ObjectClass.PRIVATE_KEY: pkcs11.KeyType.RSA,
    }
    kind = kinds.get(key.object_class)
    return kind is not None and key.key_type == kind and isinstance(key, pkcs11.DecryptMixin)


def _gcm(work: Any, data: bytes, nonce: bytes, associated_data: bytes) -> bytes:
    """Encrypt or decrypt by AES-GCM, with the tag after the ciphertext."""
    parameters = pkcs11.GCMParams(nonce, associated_data)
    done: bytes = work(data, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
    return done


def _wrapped(key: Any, content_key: bytes) -> bytes:
    """Encrypt to a token's RSA key, with the first hash that the token can decrypt."""
    numbers = rsa.RSAPublicNumbers(
        int.from_bytes(key[pkcs11.Attribute.PUBLIC_EXPONENT]),
        int.from_bytes(key[pkcs11.Attribute.MODULUS]),
    )
    public = numbers.public_key()
    for form, (algorithm, _) in _OAEP.items():
        oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, label=None)
        wrapped = public.encrypt(content_key, oaep)
        try:
            if _oaep(key, form, wrapped) == content_key:
                return bytes([form]) + wrapped
        except _REFUSED:
            continue
    raise SealFault("The token does not decrypt by RSA-OAEP.")


def _oaep(key: Any, form: int, wrapped: bytes) -> bytes:
    done: bytes = key.decrypt(
        wrapped, mechanism=pkcs11.Mechanism.RSA_PKCS_OAEP, mechanism_param=_OAEP[form][1]
    )
    return done
