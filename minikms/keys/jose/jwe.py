"""JSON Web Encryption: taken apart, checked, and decrypted by joserfc's algorithms.

RFC 7516 sections 3, 5.2 and 7. A JWE is not trusted: before a key is used, its headers are bounded
and name only algorithms that the service has. docs/internals/jose.md says why joserfc's own
functions are not called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from joserfc.errors import DecodeError, JoseError
from joserfc.jwa import JWEAlgModel, JWEDirectEncryption, JWEEncModel, JWEKeyAgreement
from joserfc.jwe import CompactEncryption, Recipient
from joserfc.registry import check_registry_header

from minikms.encodings import decode_canonical
from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOption, ValidationFailed
from minikms.keys.jose import jws
from minikms.keys.jose.jwe_models import (
    ALG_MODELS,
    ALGS,
    AUTHENTICATED,
    ENCS,
    AgreementKey,
    content,
    key_to_decrypt,
)
from minikms.keys.jose.jws import Serialized, mistyped, too_deep
from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Aead, Jwe, KeyAgreement

MAX_RECIPIENTS: Final = 64
FEW: Final = 4
"""The largest number of recipients that are served on the event loop."""
# Characters of a part of the header. The longest one needed has DIDs of some thousand characters.
MAX_HEADER: Final = 32_768
MAX_HEADERS: Final = 65_536
"""Bytes of all parts of the header together, each recipient's included."""

RESERVED: Final = frozenset({"alg", "enc", "epk", "iv", "tag", "p2s", "p2c", "zip", "crit"})
"""Header members that the service sets, or refuses, so that no caller sets them."""

MEMBERS: Final[Mapping[str, type]] = {
    **jws.MEMBERS,
    "enc": str,
    "zip": str,
    "epk": dict,
    "apu": str,
    "apv": str,
    "iv": str,
    "tag": str,
    "p2s": str,
    "p2c": int,
    "skid": str,
}
"""The types of header members (RFC 7516 section 4.1, RFC 7518 section 4, DIDComm v2)."""


@dataclass(frozen=True, slots=True)
class Decrypted:
    """The plaintext of a JWE, and the JOSE header of the recipient whose key opened it."""

    plaintext: bytes = field(repr=False)
    header: dict[str, Any]


class ParsedRecipient(NamedTuple):
    """A recipient's JOSE header, with all its parts joined, and encrypted key."""

    header: dict[str, Any]
    encrypted_key: str

    @property
    def alg(self) -> str:
        """The `alg`, which the service may not have."""
        alg: str = self.header["alg"]
        return alg


class ParsedJwe(NamedTuple):
    """The parts of a JWE, still in base64url, and checked as far as possible without a key.

    `aad` is authenticated with the content (RFC 7516 section 5.1, step 14). All headers have the
    same `enc`, which the service has.
    """

    aad: str
    recipients: tuple[ParsedRecipient, ...]
    iv: str
    ciphertext: str
    tag: str


class _Content(NamedTuple):
    """The content of a JWE, as bytes."""

    aad: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(slots=True, repr=False)
class DecryptJwe(Operation[Jwe, Decrypted]):
    """The plaintext of a JWE; raises DecryptionFailed for any mismatch, without a reason.

    `sender` is the sender's public JWK, for ECDH-1PU. Raises ValidationFailed for a malformed JWE,
    for a sender that the JWE does not have, and for a missing one; InvalidKey for the sender; and
    UnsupportedOption if the key is for another `alg` or `enc`.
    """

    uses = (Use(Jwe, "jwe-decrypt"),)
    value: Serialized
    sender: Mapping[str, Any] | None
    is_long: bool = field(init=False)

    def __post_init__(self) -> None:
        recipients = () if isinstance(self.value, str) else self.value.get("recipients")
        self.is_long = isinstance(recipients, list) and len(recipients) > FEW

    def compute(self, key: UsableKey[Jwe]) -> Decrypted:
        value = self.value
        parsed = _parse_compact(value) if isinstance(value, str) else _parse_json(value)
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
        # By its kid or an alias; all if no recipient names the key.
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


def _parse_compact(text: str) -> ParsedJwe:
    parts = text.split(".", 5)
    if len(parts) != 5:
        raise _wrong("It does not have five parts.")
    protected, encrypted_key, iv, ciphertext, tag = parts
    header = _decode_header(protected)
    recipients = _recipients([(header, encrypted_key)])
    return ParsedJwe(protected, recipients, iv, ciphertext, tag)


def _parse_json(value: Mapping[str, Any]) -> ParsedJwe:
    protected = _text(value, "protected", "")
    shared = _decode_header(protected) if protected else {}
    aad = _text(value, "aad", "")
    unprotected, size = _object(value, "unprotected")
    size += len(protected)
    _join(shared, unprotected)
    each: Any = value.get("recipients", [value])
    if "recipients" in value and not {"header", "encrypted_key"}.isdisjoint(value):
        raise _wrong("It has the members of both JSON forms.")
    if not isinstance(each, list) or not 1 <= len(each) <= MAX_RECIPIENTS:
        raise _wrong(f"It must have 1 to {MAX_RECIPIENTS} recipients.")
    found = []
    for one in each:
        if not isinstance(one, Mapping):
            raise _wrong("A recipient is not an object.")
        own, length = _object(one, "header")
        size += length
        if size > MAX_HEADERS:
            raise _wrong("Its headers together are too long.")
        header = dict(shared)
        _join(header, own)
        found.append((header, _text(one, "encrypted_key", "")))
    return ParsedJwe(
        aad=f"{protected}.{aad}" if aad else protected,
        recipients=_recipients(found),
        iv=_text(value, "iv"),
        ciphertext=_text(value, "ciphertext"),
        tag=_text(value, "tag"),
    )


def _recipients(found: list[tuple[dict[str, Any], str]]) -> tuple[ParsedRecipient, ...]:
    """The recipients of a JWE, with checked headers."""
    for header, _ in found:
        if name := mistyped(header, MEMBERS):
            raise _wrong(f"The header member {name} has a value of the wrong type.")
        for name in ("alg", "enc"):
            if name not in header:
                raise _wrong(f"A header has no {name}.")
        if "zip" in header:
            raise _wrong("Compressed content (zip) is refused.")
        if "crit" in header:  # RFC 7516 section 4.1.13: no extension is known here
            raise _wrong("It calls an extension critical (crit) that is not known.")
        if header["enc"] not in ENCS:
            raise _wrong(f"The enc must be one of: {', '.join(ENCS)}.")
    if all(header["alg"] not in ALGS for header, _ in found):
        raise _wrong(f"The alg must be one of: {', '.join(ALGS)}.")
    if len({header["enc"] for header, _ in found}) > 1:  # RFC 7516 section 7.2.1
        raise _wrong("Its recipients have different enc.")
    return tuple(ParsedRecipient(*one) for one in found)


def _decode_header(text: str) -> dict[str, Any]:
    """The protected header, in its one canonical form (RFC 7515 section 2)."""
    if len(text) > MAX_HEADER:
        raise _wrong("Its header is too long.")
    try:
        header = orjson.loads(decode_canonical(text))
    except ValueError:
        raise _wrong("Its protected header is not JSON in base64url without padding.") from None
    if not isinstance(header, dict) or too_deep(header):
        raise _wrong("Its protected header is not an object, or nested too deep.")
    return header


def _join(header: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add members, if no other part of the header has the same one (RFC 7516 section 7.2.1)."""
    if not header.keys().isdisjoint(more):
        raise _wrong("Two parts of a header have a member of the same name.")
    header.update(more)


def _object(value: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], int]:
    """An unprotected part of the header, and its length as JSON."""
    found = value.get(name, {})
    if not isinstance(found, Mapping):
        raise _wrong(f"Its {name} is not an object.")
    try:
        size = len(orjson.dumps([found]))  # in a list, as deep as in an answer
    except TypeError:
        raise _wrong(f"Its {name} is nested too deep.") from None
    if size > MAX_HEADER:
        raise _wrong(f"Its {name} is too long.")
    return found, size


def _text(value: Mapping[str, Any], name: str, default: str | None = None) -> str:
    found = value.get(name, default)
    if not isinstance(found, str):
        raise _wrong(f"Its {name} is missing, or not text.")
    return found


def _wrong(fault: str) -> ValidationFailed:
    """The error of a malformed JWE, or of one that the service refuses."""
    return ValidationFailed(errors=[("#/jwe", fault)])


def _fitting(recipients: Sequence[ParsedRecipient], algorithm: Jwe) -> list[ParsedRecipient]:
    """The recipients whose `alg` fits the key, at least one; raises UnsupportedOption."""
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
    """The recipients whose `alg` needs a sender if `sender` is given, or else the others.

    Raises ValidationFailed if there are no such recipients: if a given sender were ignored, the
    caller would take an anonymous JWE for the sender's.
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
        # Use a random key instead, so that the time reveals nothing (RFC 7516 section 11.5).
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
