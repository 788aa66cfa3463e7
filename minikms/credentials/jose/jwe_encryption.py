"""Makes JWEs for keys of the store and for public JWKs, by joserfc (RFC 7516 section 5.1)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from joserfc import jwe as joserfc
from joserfc.errors import InvalidEncryptionAlgorithmError, JoseError
from joserfc.jwa import JWEEncModel
from joserfc.jwe import FlattenedJSONEncryption, GeneralJSONEncryption

from minikms.credentials.jose.jwe_decryption import FEW
from minikms.credentials.jose.jwe_forms import MEMBERS, RESERVED
from minikms.credentials.jose.jwe_models import (
    AUTHENTICATED,
    AgreementKey,
    KeyContent,
    Registry,
    content,
    is_direct,
    key_to_encrypt,
)
from minikms.credentials.jose.jws_forms import Serialization, Serialized, mistyped, too_deep
from minikms.encodings import decode_canonical, jose_b64url
from minikms.errors import UnsupportedOption, ValidationFailed
from minikms.events import keep_key
from minikms.key_requests import AnyKey, KeyRef
from minikms.keys.operation import KeyUser, UsableKey, Use
from minikms.keys.operations import KeyOperations, name_in_event
from minikms.keys.threads import is_slow
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement, PublicKeyEncryption

# The parts of a compact JWE, in order (RFC 7516 section 7.1).
_COMPACT: Final = ("protected", "encrypted_key", "iv", "ciphertext", "tag")

_Json: TypeAlias = GeneralJSONEncryption | FlattenedJSONEncryption


class ToRecipient(KeyUser):
    """The use of a recipient's key; anyone may use a public key."""

    __slots__ = ()
    uses = (
        Use(KeyAgreement, "jwe-encrypt", by_anyone=True),
        Use(PublicKeyEncryption, "jwe-encrypt", by_anyone=True),
        Use(Jwe, "jwe-encrypt"),
    )


class AsSender(KeyUser):
    """The use of a sender's private key (ECDH-1PU)."""

    __slots__ = ()
    uses = (Use(KeyAgreement, "jwe-encrypt"),)


@dataclass(frozen=True, slots=True)
class JweRecipient:
    """A recipient of a new JWE: its key, its `alg`, and its other header members."""

    by: KeyRef | Mapping[str, Any]
    alg: str
    header: Mapping[str, Any]

    @property
    def kid(self) -> str | None:
        """Return the kid for the JWE: the caller's name of the key, or the `kid` of its JWK."""
        if isinstance(self.by, KeyRef):
            return self.by.alias or self.by.kid
        kid = self.by.get("kid")
        return kid if isinstance(kid, str) else None


@dataclass(frozen=True, slots=True)
class EncryptJwe:
    """A JWE to make.

    `header` has the caller's members of the protected header. Without `serialization`, the JWE is
    compact if possible, else general.
    """

    plaintext: bytes = field(repr=False)
    enc: str
    recipients: Sequence[JweRecipient]
    sender: KeyRef | AnyKey | None
    header: Mapping[str, Any]
    aad: bytes
    serialization: Serialization | None

    @property
    def form(self) -> Serialization:
        if self.serialization is not None:
            return self.serialization
        return "general" if self.aad or len(self.recipients) > 1 else "compact"

    @property
    def is_slow(self) -> bool:
        """Tell whether it has too many recipients for the event loop."""
        return len(self.recipients) > FEW

    def check(self) -> None:
        """Raise ValidationFailed for members that contradict each other, whatever the keys are."""
        algs = [recipient.alg for recipient in self.recipients]
        faults: list[tuple[str, str]] = []
        if len(algs) > 1:
            for alg in filter(is_direct, algs):
                faults.append(("#/recipients", f"With {alg} there is one recipient."))
            if self.form != "general":
                faults.append(("#/serialization", "Several recipients need the general form."))
        if len({alg in AUTHENTICATED for alg in algs}) > 1:
            faults.append(("#/recipients", "Either all have a sender (ECDH-1PU) or none has."))
        elif (algs[0] in AUTHENTICATED) != (self.sender is not None):
            needs = "has no sender" if self.sender else "needs a sender"
            faults.append(("#/from", f"{algs[0]} {needs}."))
        if self.form == "compact" and self.aad:
            faults.append(("#/serialization", "The compact form has no aad."))
        faults.extend(_header_faults("#/header", self.header))
        for place, recipient in enumerate(self.recipients):
            at = f"#/recipients/{place}/header"
            faults.extend(_header_faults(at, recipient.header))
            if not recipient.header.keys().isdisjoint(self.header):  # RFC 7516 section 7.2.1
                faults.append((at, "The header for all has a member of the same name."))
        if faults:
            raise ValidationFailed(errors=faults)

    def compute(self, keys: Sequence[UsableKey[Jwe]], sender: UsableKey[Any] | None) -> Serialized:
        """Make the JWE with these keys, one for each recipient.

        Raises UnsupportedOption if a key does not fit `alg`, `enc` or the curve of the sender's
        key, and ValidationFailed for a header that joserfc refuses.
        """
        for recipient, key in zip(self.recipients, keys, strict=True):
            _require_fit(recipient.alg, self.enc, key, sender)
        algs = {recipient.alg for recipient in self.recipients}
        alg = {"alg": self.recipients[0].alg} if len(algs) == 1 else {}
        protected: dict[str, Any] = {**alg, "enc": self.enc, **self.header}
        new = GeneralJSONEncryption if self.form == "general" else FlattenedJSONEncryption
        obj = new(protected, self.plaintext, aad=self.aad or None)
        epk = _ephemeral_key(keys) if len(algs) == 1 else None
        for recipient, key in zip(self.recipients, keys, strict=True):
            header = dict(recipient.header)
            if recipient.kid is not None and "kid" not in {**self.header, **header}:
                header["kid"] = recipient.kid
            if len(algs) > 1:
                header["alg"] = recipient.alg
            if self.form == "compact":
                protected.update(header)
            one = _Recipient(obj, header, protected if epk else header)
            one.recipient_key = key_to_encrypt(key)
            one.ephemeral_key = epk
            if sender is not None:
                one.sender_key = AgreementKey(sender.algorithm, sender.material)
            obj.recipients.append(one)
        enc = content(keys[0].algorithm, keys[0].material, self.enc)
        made = _encrypt(obj, enc)
        if self.form == "compact":
            return ".".join(made.get(name, "") for name in _COMPACT)
        return made


class _Recipient(joserfc.Recipient[Any]):
    """A recipient; its `epk` goes into the protected header if all recipients share it."""

    def __init__(self, obj: _Json, header: dict[str, Any], epk_goes_to: dict[str, Any]) -> None:
        super().__init__(obj, header)
        self._epk_goes_to = epk_goes_to

    def add_header(self, k: str, v: Any) -> None:
        self._epk_goes_to[k] = v


def _header_faults(at: str, header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List the faults of a caller's header members."""
    if not RESERVED.isdisjoint(header):
        yield at, f"A caller cannot set these: {', '.join(sorted(RESERVED))}."
    if too_deep(header):
        yield at, "Nested too deep."
    if name := mistyped(header, MEMBERS):
        yield at, f"The header member {name} has a value of the wrong type."
        return
    for name in header.keys() & {"apu", "apv"}:  # RFC 7518 section 4.6.1
        try:
            decode_canonical(header[name])
        except ValueError:
            yield at, f"{name} must be base64url without padding."


def _require_fit(
    alg: str, enc: str, key: UsableKey[Jwe], sender: UsableKey[KeyAgreement[Any, Any]] | None
) -> None:
    """Raise UnsupportedOption if a recipient's key is for another alg, enc or sender."""
    algorithm = key.algorithm
    if alg not in algorithm.jwe_algs:
        algs = ", ".join(algorithm.jwe_algs) or "none"
        raise UnsupportedOption(f"A recipient's key is not for {alg}. It is for: {algs}.")
    if key.alg not in (None, alg):
        raise UnsupportedOption(f"A recipient's JWK is not for {alg}: it has another alg.")
    if isinstance(algorithm, Aead) and enc not in algorithm.jose_algs:
        encs = ", ".join(algorithm.jose_algs)
        raise UnsupportedOption(f"A recipient's key is not for {enc}. It is for: {encs}.")
    if isinstance(algorithm, KeyAgreement) and "jwe-encrypt" in algorithm.opt_in:
        # The algorithm converts the key to another type for key agreement; its JWK does not say so.
        raise UnsupportedOption(f"No JWE can be made for a {algorithm.name} key.")
    if sender is not None and sender.algorithm is not algorithm:
        raise UnsupportedOption("The sender's key and a recipient's are on different curves.")


def _ephemeral_key(keys: Sequence[UsableKey[Jwe]]) -> AgreementKey | None:
    """Make one ephemeral key for all recipients if their keys are on one curve.

    joserfc would make one for each. DIDComm v2 requires one, in the protected header.
    """
    algorithm = keys[0].algorithm
    if not isinstance(algorithm, KeyAgreement) or any(
        key.algorithm is not algorithm for key in keys
    ):
        return None
    return AgreementKey(algorithm, algorithm.generate())


def _encrypt(obj: _Json, enc: JWEEncModel) -> dict[str, Any]:
    """Make the object of a JSON serialization; raises ValidationFailed."""
    try:
        made: Any = joserfc.encrypt_json(obj, None, registry=Registry(enc))
    except InvalidEncryptionAlgorithmError:
        fault = "ECDH-1PU with key wrapping needs an enc of AES-CBC with HMAC."
        raise ValidationFailed(errors=[("#/enc", fault)]) from None
    except JoseError:
        fault = "A header member that must be a URL, such as jku, is not one."
        raise ValidationFailed(errors=[("#/header", fault)]) from None
    if isinstance(enc, KeyContent):
        made["iv"] = jose_b64url(enc.nonce)
    for one in made.get("recipients", [made]):
        for name in ("header", "encrypted_key"):
            if not one[name]:  # RFC 7516 section 7.2.1
                del one[name]
    return dict(made)


class JweCalls:
    """Makes JWEs with several keys.

    The audit event of the call names all its stored keys, first the sender's key or, without a
    sender, the first recipient's key.
    """

    def __init__(self, keys: KeyOperations) -> None:
        self._keys = keys

    async def encrypt(self, profile: str, jwe: EncryptJwe) -> Serialized:
        """Find the keys of a JWE and make it; raises the errors of `EncryptJwe` and of each key."""
        jwe.check()
        keys = [
            await self._keys.usable_key(profile, each.by, _TO_RECIPIENT) for each in jwe.recipients
        ]
        sender = None
        if jwe.sender is not None:
            sender = await self._keys.usable_key(profile, jwe.sender, _AS_SENDER)
        used = [*reversed(keys), *([sender] if sender else ())]
        for key in used:
            if key.rules is not None:
                await self._keys.rates.count(profile, key)
        for key in used:
            name_in_event(key)
            keep_key()
        compute = partial(jwe.compute, keys, sender)
        if jwe.is_slow or any(is_slow(key.algorithm, key.use.operation) for key in keys):
            return await self._keys.threads.slow.run(profile, compute)
        return compute()


_TO_RECIPIENT: Final = ToRecipient()
_AS_SENDER: Final = AsSender()
