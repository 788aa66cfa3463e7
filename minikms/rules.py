"""The rules of a key: the signatures that it may make, and how often it may be used.

They are parsed strictly, and can only be tightened. credentials/rule_checks.py compares payloads
with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from minikms.approval_rule import ApprovalRule
from minikms.basics.claim_names import readings
from minikms.errors import RulesLoosened, RuleViolated
from minikms.rule_members import (
    MAX_RULE_TEXT,
    RulesError,
    read_boolean,
    read_members,
    read_number,
    read_texts,
)

# A record is read and written as a whole, so its rules are bounded: in number, and in the UTF-8
# bytes of all strings together.
MAX_RULED_CLAIMS: Final = 16
MAX_RULE_BYTES: Final = 16 * 1024
MAX_LIFETIME: Final = 2**31 - 1  # seconds
MAX_RATE: Final = 1_000_000_000  # calls

SIGNING: Final = frozenset({"sign", "mac"})
"""The operations of keys that make signatures or authentication codes."""

# Operations on bytes that callers choose. With a shared secret, a caller can compute MACs, such as
# an mdoc's (ISO/IEC 18013-5 section 9.1.3.5).
_RAW: Final = SIGNING | {"derive", "decapsulate"}
# Operations that authenticate the key as the sender of a ciphertext.
_SENDING: Final = frozenset({"box", "jwe-encrypt"})

_MEMBERS: Final = ("raw", "algs", "jws", "cose", "per_minute", "per_day", "approval")

_CLAIMS: Final = "jws.claims"
EXP: Final = "exp"
"""The claim that `max_lifetime` bounds."""

VCT: Final = "vct"
AKA_VCTS: Final = "aka_vcts"
"""The types of an SD-JWT VC beside its `vct` (draft-ietf-oauth-sd-jwt-vc-19, section 2.2.2.2)."""

Disclosures: TypeAlias = Literal["any", "shown", "none"]
"""The disclosures of an SD-JWT that a key signs, from the loosest to the tightest."""

_DISCLOSURES: Final[tuple[Disclosures, ...]] = get_args(Disclosures)

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # draft-ietf-oauth-sd-jwt-vc-19, section 2.2.1; `vc+sd-jwt` in drafts up to 5.
    "sd-jwt-vc": {"jws": {"typ": ["dc+sd-jwt", "vc+sd-jwt"]}},
    # OpenID4VCI 1.0, appendix F.1.
    "openid4vci-proof": {"jws": {"typ": ["openid4vci-proof+jwt"]}},
    # draft-ietf-oauth-status-list, sections 5.1 and 5.2: COSE uses the whole media type.
    "status-list": {
        "jws": {"typ": ["statuslist+jwt", "application/statuslist+cwt"]},
        "cose": True,
    },
    # OpenID Federation 1.0, section 15: everything that the keys of a federation entity sign.
    "federation": {
        "jws": {
            "typ": [
                "entity-statement+jwt",
                "explicit-registration-response+jwt",
                "jwk-set+jwt",
                "resolve-response+jwt",
                "trust-mark+jwt",
                "trust-mark-delegation+jwt",
                "trust-mark-status-response+jwt",
            ]
        }
    },
}
"""Rules by name; callers may send a name instead of the rules."""


@dataclass(frozen=True, slots=True)
class JwsRules:
    """The rules for JWS and COSE messages that a key signs.

    `typ` are the allowed types in the header, and `claims` has the allowed strings of each named
    claim. `max_lifetime` is in seconds: `exp` may not be later. None allows any value. With
    `disclosures` "shown", the call must send the disclosure of each digest; with "none", no SD-JWT
    digest is allowed.
    """

    typ: tuple[str, ...] | None = None
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    max_lifetime: int | None = None
    disclosures: Disclosures = "any"

    @classmethod
    def read(cls, document: object) -> "JwsRules":
        """Read the member `jws` of stored rules; raises RulesError."""
        members = read_members(document, ("typ", "claims", "max_lifetime", "disclosures"), "jws")
        claims = members.get("claims", {})
        if type(claims) is not dict or len(claims) > MAX_RULED_CLAIMS:
            most = f"Must be an object of at most {MAX_RULED_CLAIMS} claims."
            raise RulesError(most, "jws", "claims")
        for name in claims:
            if not 0 < len(name) <= MAX_RULE_TEXT:
                raise RulesError("The name of a claim is too long, or empty.", "jws", "claims")
        disclosures = members.get("disclosures", "any")
        if disclosures not in _DISCLOSURES:
            one_of = f"Must be one of: {', '.join(_DISCLOSURES)}."
            raise RulesError(one_of, "jws", "disclosures")
        return cls(
            read_texts(members["typ"], "jws", "typ") if "typ" in members else None,
            tuple(
                (name, read_texts(claims[name], "jws", "claims", name)) for name in sorted(claims)
            ),
            read_number(members, 1, MAX_LIFETIME, "jws", "max_lifetime"),
            disclosures,
        )

    @property
    def names(self) -> set[str]:
        """The checked claims; a payload must not contain another spelling of them."""
        names = {EXP, *(name for name, _ in self.claims)}
        return names | {AKA_VCTS} if VCT in names else names

    def require_distinct(self) -> None:
        """Raise RulesError for two names that some parser treats as equal.

        Parsers would read a payload with both names differently. Stored rules may have such names
        if a version made them that knew fewer such parsers.
        """
        if len(readings(self.names)) < sum(len(readings([name])) for name in self.names):
            raise RulesError("Some parsers treat two of the names as equal.", "jws", "claims")

    def document(self) -> dict[str, Any]:
        """Return the rules as a JSON object, without members that allow anything."""
        written: dict[str, Any] = {}
        if self.typ is not None:
            written["typ"] = list(self.typ)
        if self.claims:
            written["claims"] = {name: list(values) for name, values in self.claims}
        if self.max_lifetime is not None:
            written["max_lifetime"] = self.max_lifetime
        if self.disclosures != "any":
            written["disclosures"] = self.disclosures
        return written

    def require_tighter(self, new: "JwsRules") -> None:
        """Raise RulesLoosened if `new` allows anything that these rules refuse."""
        _require(_is_within(new.typ, self.typ), "jws.typ")
        claims = dict(new.claims)
        for name, values in self.claims:
            _require(_is_within(claims.get(name), values), f"{_CLAIMS}.{name}")
        _require(_is_at_most(new.max_lifetime, self.max_lifetime), "jws.max_lifetime")
        strict = _DISCLOSURES.index
        _require(strict(new.disclosures) >= strict(self.disclosures), "jws.disclosures")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a key; the default allows everything.

    With `raw`, the key signs any bytes and gives out shared secrets; without it, it signs only
    envelopes: JWS, COSE, certificates and attestations. `algs` are the allowed JOSE names of its
    signatures. `jws` requires that `raw` is false, since a raw signature over a JWS's signing input
    makes a JWS. With `jws`, `cose` is false unless the rules set it, since COSE verifiers may
    ignore the type. `per_minute` and `per_day` bound the number of its uses. None allows any. With
    `approval`, approvers have to sign each use.
    """

    raw: bool = True
    algs: tuple[str, ...] | None = None
    jws: JwsRules | None = None
    per_minute: int | None = None
    per_day: int | None = None
    cose: bool = True
    approval: ApprovalRule | None = None

    @classmethod
    def parse(cls, document: object) -> "Rules":
        """Parse a caller's rules: the name of a preset, or a JSON object. Raises RulesError."""
        if isinstance(document, str):
            if document not in PRESETS:
                raise RulesError(f"Must be an object, or one of: {', '.join(PRESETS)}.")
            document = PRESETS[document]
        read = cls.read(document)
        if read.jws is not None:
            read.jws.require_distinct()
        return read

    @classmethod
    def read(cls, document: object) -> "Rules":
        """Parse stored rules, a JSON object; raises RulesError."""
        members = read_members(document, _MEMBERS)
        jws = JwsRules.read(members["jws"]) if "jws" in members else None
        raw = read_boolean(members, "raw", default=jws is None)
        if raw and jws is not None:
            raise RulesError("Must be false with jws: a raw signature can make any JWS.", "raw")
        read = cls(
            raw,
            read_texts(members["algs"], "algs") if "algs" in members else None,
            jws,
            read_number(members, 1, MAX_RATE, "per_minute"),
            read_number(members, 1, MAX_RATE, "per_day"),
            read_boolean(members, "cose", default=jws is None),
            ApprovalRule.read(members["approval"]) if "approval" in members else None,
        )
        if read.size > MAX_RULE_BYTES:
            raise RulesError(f"All strings together have at most {MAX_RULE_BYTES:,} bytes.")
        return read

    def document(self) -> dict[str, Any]:
        """Return the rules as a JSON object: `raw`, and members that differ from their default."""
        written: dict[str, Any] = {"raw": self.raw}
        if self.algs is not None:
            written["algs"] = list(self.algs)
        if self.jws is not None:
            written["jws"] = self.jws.document()
        if self.cose != (self.jws is None):
            written["cose"] = self.cose
        if self.per_minute is not None:
            written["per_minute"] = self.per_minute
        if self.per_day is not None:
            written["per_day"] = self.per_day
        if self.approval is not None:
            written["approval"] = self.approval.document()
        return written

    @property
    def size(self) -> int:
        """The UTF-8 bytes of all its strings."""
        texts = [*(self.algs or ())]
        if self.jws is not None:
            texts += self.jws.typ or ()
            for name, values in self.jws.claims:
                texts += (name, *values)
        if self.approval is not None:
            for approver in self.approval.approvers:
                texts += approver.texts
        return sum(len(text.encode()) for text in texts)

    def tightened(self, new: "Rules") -> "Rules":
        """Return `new`; raises RulesLoosened if it allows anything that these rules refuse.

        A looser `approval` is left to the store, which needs an approval for it.
        """
        _require(self.raw or not new.raw, "raw")
        _require(_is_within(new.algs, self.algs), "algs")
        if self.jws is not None:
            _require(new.jws is not None, "jws")
            self.jws.require_tighter(new.jws or JwsRules())
        _require(self.cose or not new.cose, "cose")
        _require(_is_at_most(new.per_minute, self.per_minute), "per_minute")
        _require(_is_at_most(new.per_day, self.per_day), "per_day")
        _require(self.approval is None or new.approval is not None, "approval")
        return new

    def permit_operation(self, operation: str) -> None:
        """Raise RuleViolated for an operation with the private key that rules cannot check."""
        if not self.raw and operation in _RAW:
            raise RuleViolated("raw", "The key signs only envelopes, such as JWS and COSE.")
        if self.jws is not None and operation in _SENDING:
            raise RuleViolated("jws", "The key does not act as the sender of a ciphertext.")

    def permit_alg(self, alg: str | None) -> None:
        """Raise RuleViolated unless this JOSE name is allowed; None if JOSE has none."""
        if self.algs is not None and alg not in self.algs:
            raise RuleViolated("algs", "The key does not sign with this algorithm.")


def looser_approval(old: Rules | None, new: Rules | None) -> ApprovalRule | None:
    """Return the rule `approval` of new rules if it is looser than that of old ones, else None."""
    before = None if old is None else old.approval
    after = None if new is None else new.approval
    if before is None or after is None or after.is_as_tight_as(before):
        return None
    return after


def kind_of(rule: str) -> str:
    """Return a rule without the name of a claim, since callers choose that name."""
    return _CLAIMS if rule.startswith(_CLAIMS) else rule


def _is_within(new: tuple[str, ...] | None, old: tuple[str, ...] | None) -> bool:
    return old is None or (new is not None and set(new) <= set(old))


def _is_at_most(new: int | None, old: int | None) -> bool:
    return old is None or (new is not None and new <= old)


def _require(is_tighter: bool, rule: str) -> None:
    if not is_tighter:
        raise RulesLoosened(f"The rule {rule} would allow more than it does now.")
