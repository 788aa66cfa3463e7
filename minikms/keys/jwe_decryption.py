"""Decrypting a JWE with a key of the store, by joserfc's algorithms (RFC 7516 section 5.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Self

from joserfc.errors import DecodeError, JoseError
from joserfc.jwa import JWEAlgModel, JWEDirectEncryption, JWEEncModel, JWEKeyAgreement
from joserfc.jwe import CompactEncryption, Recipient
from joserfc.registry import check_registry_header

from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOption, ValidationFailed
from minikms.keys import jwe
from minikms.keys.jwe_models import (
    ALG_MODELS,
    AUTHENTICATED,
    AgreementKey,
    content,
    key_to_decrypt,
)
from minikms.keys.jws import decode_canonical
from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What a JWE had, and the JOSE header of the recipient whose key opened it."""

    plaintext: bytes = field(repr=False)
    header: dict[str, Any]


@dataclass(slots=True, repr=False)
class DecryptJwe(Operation[Jwe, Decrypted]):
    """The plaintext of a JWE; raises DecryptionFailed, whatever it is that does not fit.

    `sender` is the public JWK of who made one by ECDH-1PU. Raises ValidationFailed for what is no
    JWE, or has a sender where none is given, or none where one is, InvalidKey for the sender, and
    UnsupportedOption for a JWE of another `alg` or `enc` than the key is for.
    """

    uses = (Use(Jwe, "jwe-decrypt"),)
    value: jwe.Serialized
    sender: Mapping[str, Any] | None

    @property
    def is_long(self) -> bool:
        return jwe.count_recipients(self.value) > jwe.FEW

    def compute(self, key: UsableKey[Jwe]) -> Decrypted:
        parsed = jwe.parse(self.value)
        recipients = _of_sender(_fitting(parsed.recipients, key.algorithm), self.sender)
        sender = _load_sender(key.algorithm, self.sender)
        try:
            sealed = _Content.read(parsed)
        except ValueError:
            raise DecryptionFailed() from None
        refused, others = "", False
        for recipient in _addressed(recipients, key):
            try:
                plaintext = _decrypt(sealed, recipient, key, sender)
            except InvalidKey as exc:  # of its epk, before the private key takes part
                refused = exc.detail
            except (JoseError, ValueError, DecryptionFailed):
                others = True  # nobody is told which it was (RFC 7516 section 11.5)
            else:
                return Decrypted(plaintext, recipient.header)
        if others:
            raise DecryptionFailed()
        raise DecryptionFailed(errors=[("#/jwe", f"Its epk is refused. {refused}")])


class _Content(NamedTuple):
    """The content of a JWE, as bytes."""

    aad: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes

    @classmethod
    def read(cls, parsed: jwe.ParsedJwe) -> Self:
        """The content of what was taken apart; raises ValueError for what is not base64url."""
        texts = (parsed.iv, parsed.ciphertext, parsed.tag)
        return cls(parsed.aad.encode("ascii"), *map(decode_canonical, texts))


def _fitting(recipients: Sequence[jwe.Recipient], algorithm: Jwe) -> list[jwe.Recipient]:
    """The recipients whose `alg` the key is for; raises UnsupportedOption where there is none."""
    algs = algorithm.jwe_algs
    fitting = [each for each in recipients if each.alg in algs and each.alg in ALG_MODELS]
    if not fitting:
        algs = tuple(alg for alg in algs if alg in ALG_MODELS)
        raise UnsupportedOption(f"With this key the alg of a JWE is: {', '.join(algs) or 'none'}.")
    enc = fitting[0].header["enc"]  # of all (jwe.py)
    if isinstance(algorithm, Aead) and enc not in algorithm.jose_algs:
        raise UnsupportedOption(f"With this key the enc is: {', '.join(algorithm.jose_algs)}.")
    return fitting


def _of_sender(
    recipients: Sequence[jwe.Recipient], sender: Mapping[str, Any] | None
) -> list[jwe.Recipient]:
    """Those for whom a sender takes part, or does not, as `sender` is given; ValidationFailed.

    To pass over one that is given would have its caller take an anonymous JWE for the sender's.
    """
    chosen = [each for each in recipients if (each.alg in AUTHENTICATED) == (sender is not None)]
    if not chosen:
        alg = recipients[0].alg
        what = f"The JWE has a sender: its alg is {alg}."
        if sender is not None:
            what = f"The JWE has no sender: its alg is {alg}."
        raise ValidationFailed(errors=[("#/from", what)])
    return chosen


def _load_sender(algorithm: Jwe, sender: Mapping[str, Any] | None) -> AgreementKey | None:
    if sender is None or not isinstance(algorithm, KeyAgreement):
        return None
    refuse_private(sender)
    return AgreementKey(algorithm, algorithm.load_peer(sender))


def _addressed(recipients: Sequence[jwe.Recipient], key: UsableKey[Jwe]) -> Sequence[jwe.Recipient]:
    """Those that name the key by its kid or an alias; all, where none does."""
    names = {key.kid} if key.record is None else {key.kid, *key.record.aliases}
    return [each for each in recipients if each.header.get("kid") in names] or recipients


def _decrypt(
    sealed: _Content,
    recipient: jwe.Recipient,
    key: UsableKey[Jwe],
    sender: AgreementKey | None,
) -> bytes:
    """The plaintext for one recipient; raises what joserfc and the algorithm do."""
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
        # Another key in its place, so that the time does not tell what it was that did not fit
        # (RFC 7516 section 11.5).
        cek = enc.generate_cek()
    return enc.decrypt(sealed.ciphertext, sealed.tag, cek, sealed.iv, sealed.aad)


def _content_key(
    alg: JWEAlgModel, enc: JWEEncModel, recipient: Recipient[Any], tag: bytes
) -> bytes:
    """The content's key (RFC 7516 section 5.2, steps 6 to 12); DecodeError or DecryptionFailed."""
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
