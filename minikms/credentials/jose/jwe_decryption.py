"""Decrypts JWEs with keys of the store, by joserfc's algorithms (RFC 7516 section 5.2).

docs/internals/jose.md says why joserfc's own functions are not called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from joserfc.errors import DecodeError, JoseError
from joserfc.jwa import JWEAlgModel, JWEDirectEncryption, JWEEncModel, JWEKeyAgreement
from joserfc.jwe import CompactEncryption, Recipient
from joserfc.registry import check_registry_header

from minikms.credentials.jose.jwe_forms import ParsedRecipient, parse
from minikms.credentials.jose.jwe_models import (
    ALG_MODELS,
    AUTHENTICATED,
    AgreementKey,
    content,
    key_to_decrypt,
)
from minikms.credentials.jose.jws_forms import Serialized
from minikms.encodings import decode_canonical
from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOption, ValidationFailed
from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement

FEW: Final = 4
"""The most recipients of a JWE that is made or decrypted on the event loop."""


@dataclass(frozen=True, slots=True)
class Decrypted:
    """The plaintext of a JWE, and the JOSE header of the recipient whose key decrypted it."""

    plaintext: bytes = field(repr=False)
    header: dict[str, Any]


class _Content(NamedTuple):
    """The parts of a JWE that are common to all recipients, decoded."""

    aad: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(slots=True, repr=False)
class DecryptJwe(Operation[Jwe, Decrypted]):
    """Decrypts a JWE; raises DecryptionFailed for any mismatch, without a reason.

    `sender` is the sender's public JWK, for ECDH-1PU. Raises ValidationFailed for a malformed JWE,
    if the sender is missing, or if the JWE has no sender; InvalidKey for the sender's JWK; and
    UnsupportedOption if the key is for another `alg` or `enc`.
    """

    uses = (Use(Jwe, "jwe-decrypt"),)
    value: Serialized
    sender: Mapping[str, Any] | None
    is_slow: bool = field(init=False)

    def __post_init__(self) -> None:
        recipients = () if isinstance(self.value, str) else self.value.get("recipients")
        self.is_slow = isinstance(recipients, list) and len(recipients) > FEW

    def compute(self, key: UsableKey[Jwe]) -> Decrypted:
        parsed = parse(self.value)
        recipients = _of_sender(_fitting(parsed.recipients, key.algorithm), self.sender)
        sender = None
        if self.sender is not None and isinstance(key.algorithm, KeyAgreement):
            refuse_private(self.sender)
            sender = AgreementKey(key.algorithm, key.algorithm.load_peer(self.sender))
        try:
            texts = (parsed.iv, parsed.ciphertext, parsed.tag)
            sealed = _Content(parsed.aad.encode("ascii"), *map(decode_canonical, texts))
        except ValueError:
            raise DecryptionFailed() from None
        # The recipients that name the key by kid or alias; all recipients if none does.
        names = {key.kid} if key.record is None else {key.kid, *key.record.aliases}
        named = [each for each in recipients if each.header.get("kid") in names]
        refused, others = "", False
        for recipient in named or recipients:
            try:
                plaintext = _decrypt(sealed, recipient, key, sender)
            except InvalidKey as exc:  # from its epk, before the private key is used
                refused = exc.detail
            except (JoseError, ValueError, DecryptionFailed):
                others = True  # not told apart for the caller (RFC 7516 section 11.5)
            else:
                return Decrypted(plaintext, recipient.header)
        if others:
            raise DecryptionFailed()
        raise DecryptionFailed(errors=[("#/jwe", f"Its epk is refused. {refused}")])


def _fitting(recipients: Sequence[ParsedRecipient], algorithm: Jwe) -> list[ParsedRecipient]:
    """Find the recipients whose `alg` fits the key; raises UnsupportedOption without any."""
    algs = algorithm.jwe_algs
    fitting = [each for each in recipients if each.alg in algs and each.alg in ALG_MODELS]
    if not fitting:
        algs = tuple(alg for alg in algs if alg in ALG_MODELS)
        raise UnsupportedOption(f"With this key the alg of a JWE is: {', '.join(algs) or 'none'}.")
    enc = fitting[0].header["enc"]  # of all
    if isinstance(algorithm, Aead) and enc not in algorithm.jose_algs:
        raise UnsupportedOption(f"With this key the enc is: {', '.join(algorithm.jose_algs)}.")
    return fitting


def _of_sender(
    recipients: Sequence[ParsedRecipient], sender: Mapping[str, Any] | None
) -> list[ParsedRecipient]:
    """Find the recipients whose `alg` has a sender or, without `sender`, the other recipients.

    Raises ValidationFailed without any. If a given sender were ignored, the caller would believe
    that an anonymous JWE came from the sender.
    """
    chosen = [each for each in recipients if (each.alg in AUTHENTICATED) == (sender is not None)]
    if not chosen:
        alg = recipients[0].alg
        has = "a sender" if sender is None else "no sender"
        raise ValidationFailed(errors=[("#/from", f"The JWE has {has}: its alg is {alg}.")])
    return chosen


def _decrypt(
    sealed: _Content,
    recipient: ParsedRecipient,
    key: UsableKey[Jwe],
    sender: AgreementKey | None,
) -> bytes:
    """Decrypt for one recipient; raises the errors of joserfc and of the algorithm."""
    header = recipient.header
    alg = ALG_MODELS[recipient.alg]
    enc = content(key.algorithm, key.material, header["enc"])
    check_registry_header(alg.more_header_registry, header)
    to_joserfc = Recipient(CompactEncryption(header), None, key_to_decrypt(key))
    to_joserfc.sender_key = sender
    to_joserfc.encrypted_key = decode_canonical(recipient.encrypted_key)
    if alg.direct_mode and to_joserfc.encrypted_key:
        raise DecryptionFailed()
    enc.check_iv(sealed.iv)
    try:
        cek = _content_key(alg, enc, to_joserfc, sealed.tag)
    except (DecodeError, DecryptionFailed):
        cek = b""
    if len(cek) * 8 != enc.cek_size:
        # Continue with a random key, so that the time reveals nothing (RFC 7516 section 11.5).
        cek = enc.generate_cek()
    return enc.decrypt(sealed.ciphertext, sealed.tag, cek, sealed.iv, sealed.aad)


def _content_key(
    alg: JWEAlgModel, enc: JWEEncModel, recipient: Recipient[Any], tag: bytes
) -> bytes:
    """Decrypt or agree on the content key (RFC 7516 section 5.2, steps 6 to 12).

    Raises DecodeError and DecryptionFailed.
    """
    encrypted_key = recipient.encrypted_key or b""
    if isinstance(alg, JWEKeyAgreement):
        if alg.direct_mode:
            return alg.decrypt_agreed_upon_key(enc, recipient)
        agree = alg.decrypt_agreed_upon_key
        if alg.tag_aware:
            agree = partial(alg.decrypt_agreed_upon_key_with_tag, tag=tag)
        return alg.unwrap_cek_with_auk(encrypted_key, agree(enc, recipient))
    if isinstance(alg, JWEDirectEncryption):
        return alg.compute_cek(enc.cek_size, recipient)
    return alg.decrypt_cek(recipient)
