"""The provider `pkcs11`: makes key pairs in a token, and signs with them."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar, Final, NamedTuple

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pkcs11 import Attribute, ObjectClass

from minikms.plugin import (
    KEY_ID_SIZE,
    KeyUnreadable,
    Provider,
    ProviderKey,
    ProviderStatus,
    ProviderUnavailable,
    Scheme,
    UnsupportedOption,
)
from minikms_pkcs11.connection import REFUSALS, Connection, TokenSession
from minikms_pkcs11.kinds import KINDS, LABEL, PROTECTED, Kind
from minikms_pkcs11.signing import Form, form_of, normalized, signing, verify
from minikms_pkcs11.uri import TokenUri

# The number of cached handles per session, at some 2 KB each.
_MOST_HANDLES: Final = 500
_SEARCHES: Final = 50  # attempts; each fails if another process destroys an object meanwhile


class _KeyHandle(NamedTuple):
    """The handle of a private key in a session, and the form of its signatures.

    `rsa` is the public key of an RSA key, by which each signature is verified: a fault while a
    token signs by the Chinese remainder theorem would reveal the factors of the modulus (D. Boneh,
    R. DeMillo and R. Lipton, 1997).
    """

    handle: int
    form: Form
    rsa: RSAPublicKey | None


class Pkcs11Provider(Provider):
    """Keys in the token that a `pkcs11:` URI names (RFC 7512)."""

    api_version: ClassVar[int] = 2

    def __init__(self, uri: str) -> None:
        self._connection = Connection(TokenUri.parse(uri))

    def open(self) -> None:
        self._connection.open()

    def close(self) -> None:
        self._connection.close()

    def status(self) -> ProviderStatus:
        of = self._connection
        return ProviderStatus(of.is_connected, of.detail, of.sessions, of.reconnects)

    def algorithms(self) -> frozenset[str]:
        with self._connection.session() as session:
            slot = session.raw.token.slot
            mechanisms = frozenset(slot.get_mechanisms())
            return frozenset(
                name for name, kind in KINDS.items() if kind.is_offered(slot, mechanisms)
            )

    def make(self, algorithm: str, key_id: bytes) -> ProviderKey:
        kind = KINDS[algorithm]
        with self._connection.session() as session:
            # While other threads make and destroy keys, SoftHSM sometimes refuses a template, or
            # stores a private key without CKA_TOKEN.
            with suppress(UnsupportedOption):
                return _make(kind, session, key_id)
            return _make(kind, session, key_id)

    def sign(self, key: ProviderKey, data: bytes, scheme: Scheme) -> bytes:
        with self._connection.session() as session:
            if known := session.keys.get(key.key_id):
                signature = session.module.functions.sign(
                    session.raw.handle, known.handle, key.key_id, signing(data, scheme)
                )
                if signature is not None:
                    with suppress(InvalidSignature):  # sign once more with a new handle
                        signature = normalized(known.form, signature)
                        if known.rsa is not None:
                            verify(known.rsa, data, scheme, signature)
                        return signature
            try:
                return self._sign_first(session, key, data, scheme)
            except REFUSALS as error:
                raise UnsupportedOption("The token does not sign in this way.") from error

    def find(self) -> Collection[bytes]:
        with self._connection.session() as session:
            found = set()
            for each in _objects(session, ObjectClass.PRIVATE_KEY):
                with suppress(pkcs11.ObjectHandleInvalid):  # another process destroyed it
                    found.add(each[Attribute.ID])
            session.require_sight()
            return {key_id for key_id in found if len(key_id) == KEY_ID_SIZE}

    def destroy(self, key_id: bytes) -> None:
        with self._connection.session() as session:
            _destroy(session, key_id)

    def destroy_in(self, token: str, key_id: bytes) -> bool:
        with self._connection.session() as session:
            return _destroy(session, key_id) or session.serial == token

    def _sign_first(
        self, session: TokenSession, key: ProviderKey, data: bytes, scheme: Scheme
    ) -> bytes:
        """Sign with a new handle, and cache it if the signature is right.

        Raises KeyUnreadable if the token lacks the key or has another in its place,
        ProviderUnavailable if another token is in place of the key's, and PKCS11Error.
        """
        session.keys.pop(key.key_id, None)
        found = _objects(session, ObjectClass.PRIVATE_KEY, key.key_id)
        if not found:
            session.require_sight()
            if session.serial != key.token:
                raise ProviderUnavailable("The key's token is away, and another one in its place.")
            raise KeyUnreadable("The token does not have the key.")
        public: Any = ser.load_der_public_key(key.public)
        private, call, form = found[0], signing(data, scheme), form_of(public)
        signature = private.sign(
            call.data, mechanism=call.mechanism, mechanism_param=call.parameter
        )
        try:
            signature = normalized(form, signature)
            verify(public, data, scheme, signature)
        except InvalidSignature:
            raise KeyUnreadable(
                "The token signs with another key, or makes wrong signatures."
            ) from None
        if len(session.keys) >= _MOST_HANDLES:
            del session.keys[next(iter(session.keys))]
        rsa = public if isinstance(public, RSAPublicKey) else None
        session.keys[key.key_id] = _KeyHandle(private.handle, form, rsa)
        return signature


def _make(kind: Kind, session: TokenSession, key_id: bytes) -> ProviderKey:
    """Generate a key pair whose private half stays in the token.

    Raises UnsupportedOption if the token refuses, or does not keep the private half so.
    """
    try:
        public, private = kind.make(session.raw, key_id)
    except pkcs11.DeviceMemory as error:
        raise ProviderUnavailable("The token is full.") from error
    except REFUSALS as error:
        raise UnsupportedOption("The token does not make keys of this algorithm.") from error
    try:
        _require_protection(private)
        encoded = kind.public(public).public_bytes(
            ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo
        )
    except BaseException:
        for half in (public, private):
            with suppress(pkcs11.PKCS11Error):
                half.destroy()
        raise
    return ProviderKey(session.serial, key_id, encoded)


def _objects(session: TokenSession, half: ObjectClass, key_id: bytes | None = None) -> list[Any]:
    """Find the halves of all key pairs that Mini KMS made, or of one."""
    wanted: dict[Attribute, Any] = {Attribute.CLASS: half, Attribute.LABEL: LABEL}
    if key_id is not None:
        wanted[Attribute.ID] = key_id
    for _ in range(_SEARCHES):
        with suppress(pkcs11.ObjectHandleInvalid):  # another process destroyed an object meanwhile
            return list(session.raw.get_objects(wanted))
    raise ProviderUnavailable("The token's objects change during each search.")


def _destroy(session: TokenSession, key_id: bytes) -> bool:
    """Destroy the halves of a key pair; tell whether the token had any."""
    is_there = False
    # The private half last, since `find` looks for it.
    for half in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
        found = _objects(session, half, key_id)
        is_there = is_there or bool(found)
        for each in found:
            with suppress(pkcs11.ObjectHandleInvalid):  # another process destroyed it
                each.destroy()
        if not found:
            session.require_sight()
    return is_there


def _require_protection(private: Any) -> None:
    if any(private[attribute] is not value for attribute, value in PROTECTED.items()):
        raise UnsupportedOption("The token would lose private keys, or let them be extracted.")
