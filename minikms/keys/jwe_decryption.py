"""Decrypting a JWE with a key of the store, by joserfc (RFC 7516 section 5.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from joserfc import jwe as joserfc
from joserfc.errors import JoseError

from minikms.encodings import jose_b64url
from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOption, ValidationFailed
from minikms.keys import jwe
from minikms.keys.jwe_models import (
    ALGS,
    AgreementKey,
    Registry,
    content,
    is_authenticated,
    key_to_decrypt,
)
from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement


class Decrypted(NamedTuple):
    """What a JWE had, and the JOSE header of the recipient whose key opened it."""

    plaintext: bytes
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
        for recipient in _addressed(recipients, key):
            try:
                plaintext = _decrypt(parsed, recipient, key, sender)
            except (JoseError, ValueError, InvalidKey, DecryptionFailed):
                continue  # nobody is told which it was (RFC 7516 section 11.5)
            return Decrypted(plaintext, recipient.header)
        raise DecryptionFailed()


def _fitting(recipients: Sequence[jwe.Recipient], algorithm: Jwe) -> list[jwe.Recipient]:
    """The recipients whose `alg` the key is for; raises UnsupportedOption where there is none."""
    algs = [alg for alg in algorithm.jwe_algs if alg in ALGS]
    fitting = [recipient for recipient in recipients if recipient.alg in algs]
    if not fitting:
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
    chosen = [each for each in recipients if is_authenticated(each.alg) == (sender is not None)]
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
    parsed: jwe.ParsedJwe,
    recipient: jwe.Recipient,
    key: UsableKey[Jwe],
    sender: AgreementKey | None,
) -> bytes:
    """The plaintext for one recipient; raises what joserfc and the algorithm do."""
    header, text, aad = recipient.header, parsed.text, None
    if text is None:
        # joserfc would write the protected header anew, and then authenticate that.
        text = parsed.compact(recipient, jose_b64url(orjson.dumps(header)))
        aad = parsed.aad.encode("ascii")
    enc = content(key.algorithm, key.material, header["enc"], aad)
    ours = key_to_decrypt(key.algorithm, key.material)
    opened = joserfc.decrypt_compact(text, ours, registry=Registry(enc), sender_key=sender)
    return opened.plaintext or b""
