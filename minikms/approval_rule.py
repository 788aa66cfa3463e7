"""The rule `approval` of a key: who has to sign a use of the key, and for how long it waits."""

from dataclasses import dataclass
from typing import Any, Final, Self

from minikms.encodings import PRIVATE_MEMBERS, b64url_decode, thumbprint
from minikms.rule_members import (
    MAX_RULE_TEXT,
    RulesError,
    read_boolean,
    read_members,
    read_number,
    read_text,
)

MAX_APPROVERS: Final = 16
MAX_APPROVER_NAME: Final = 128  # characters
MAX_ORIGINS: Final = 8
MIN_EXPIRES_IN: Final = 10  # seconds
MAX_EXPIRES_IN: Final = 604_800
DEFAULT_EXPIRES_IN: Final = 300
MAX_WAIT: Final = 60

# The longest member of a public JWK, such as an ML-DSA-87 key or a modulus of RSA.
_MAX_MEMBER: Final = 4096
# The members of a public JWK by its type, besides `kty` (RFC 7518 section 6, RFC 8037, RFC 9964).
_JWK_MEMBERS: Final = {
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "RSA": ("n", "e"),
    "AKP": ("alg", "pub"),
}
_OTHERS: Final = ("alg", "kid", "use")

_APPROVALS: Final = "approval"
_MEMBERS: Final = ("approvers", "threshold", "expires_in", "wait", "delete")


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey of an approver: its credential's identifier, its relying party, and its origins."""

    id: str
    rp_id: str
    origins: tuple[str, ...]

    @classmethod
    def read(cls, document: object, *place: str) -> Self:
        """Read a JSON object; raises RulesError."""
        members = read_members(document, ("id", "rp_id", "origins"), *place)
        name = read_text(members.get("id"), MAX_RULE_TEXT, *place, "id")
        try:
            b64url_decode(name)
        except ValueError:
            raise RulesError("Not base64url.", *place, "id") from None
        origins = members.get("origins")
        if type(origins) is not list or not 0 < len(origins) <= MAX_ORIGINS:
            raise RulesError(f"Must be a list of 1 to {MAX_ORIGINS} strings.", *place, "origins")
        read = [
            read_text(each, MAX_RULE_TEXT, *place, "origins", str(at))
            for at, each in enumerate(origins)
        ]
        rp_id = read_text(members.get("rp_id"), MAX_RULE_TEXT, *place, "rp_id")
        return cls(name, rp_id, tuple(sorted(set(read))))

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"id": self.id, "rp_id": self.rp_id, "origins": list(self.origins)}


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who may approve: a name, and a public key that proves it.

    `members` are the members of the public JWK. The key of a `passkey` signs its assertions.
    """

    name: str
    members: tuple[tuple[str, str], ...]
    passkey: Passkey | None = None

    @classmethod
    def read(cls, document: object, *place: str) -> Self:
        """Read a JSON object; raises RulesError."""
        found = read_members(document, ("name", "jwk", "passkey"), *place)
        name = read_text(found.get("name"), MAX_APPROVER_NAME, *place, "name")
        if not name.isprintable():
            raise RulesError("Must have printable characters only.", *place, "name")
        passkey = None
        if "passkey" in found:
            passkey = Passkey.read(found["passkey"], *place, "passkey")
        return cls(name, _read_jwk(found.get("jwk"), *place, "jwk"), passkey)

    @property
    def jwk(self) -> dict[str, str]:
        """Its public JWK."""
        return dict(self.members)

    @property
    def texts(self) -> tuple[str, ...]:
        """All its strings, whose bytes count for the bound of rules."""
        of_key = tuple(value for _, value in self.members)
        if self.passkey is None:
            return self.name, *of_key
        return self.name, *of_key, self.passkey.id, self.passkey.rp_id, *self.passkey.origins

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        passkey = {} if self.passkey is None else {"passkey": self.passkey.document()}
        return {"name": self.name, "jwk": self.jwk, **passkey}


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """The approvers of a key, of whom `threshold` names must sign each use.

    A use waits for `expires_in` seconds, of which its call waits for `wait`. With `delete`, the key
    is deleted only with an approval.
    """

    approvers: tuple[Approver, ...]
    threshold: int = 1
    expires_in: int = DEFAULT_EXPIRES_IN
    wait: int = 0
    delete: bool = False

    @classmethod
    def read(cls, document: object) -> Self:
        """Read the member `approval` of rules; raises RulesError."""
        members = read_members(document, _MEMBERS, _APPROVALS)
        given = members.get("approvers")
        place = _APPROVALS, "approvers"
        if type(given) is not list or not 0 < len(given) <= MAX_APPROVERS:
            raise RulesError(f"Must be a list of 1 to {MAX_APPROVERS} approvers.", *place)
        approvers: dict[str, Approver] = {}
        for at, each in enumerate(given):
            approver = Approver.read(each, *place, str(at))
            if approvers.setdefault(thumbprint(approver.jwk), approver) is not approver:
                raise RulesError("An approver before it has this key.", *place, str(at), "jwk")
        read = tuple(approvers.values())
        names = len({each.name for each in read})
        return cls(
            read,
            read_number(members, 1, names, _APPROVALS, "threshold") or 1,
            read_number(members, MIN_EXPIRES_IN, MAX_EXPIRES_IN, _APPROVALS, "expires_in")
            or DEFAULT_EXPIRES_IN,
            read_number(members, 0, MAX_WAIT, _APPROVALS, "wait") or 0,
            read_boolean(members, _APPROVALS, "delete", default=False),
        )

    def document(self) -> dict[str, Any]:
        """Return the rule as a JSON object."""
        return {
            "approvers": [each.document() for each in self.approvers],
            "threshold": self.threshold,
            "expires_in": self.expires_in,
            "wait": self.wait,
            "delete": self.delete,
        }

    def is_as_tight_as(self, old: "ApprovalRule") -> bool:
        """Tell whether it allows nothing that `old` refuses."""
        return (
            set(self.approvers) <= set(old.approvers)
            and self.threshold >= old.threshold
            and self.expires_in <= old.expires_in
            and self.delete >= old.delete
        )


def _read_jwk(document: object, *place: str) -> tuple[tuple[str, str], ...]:
    """Return the members of a public JWK that name its key, sorted; raises RulesError."""
    if type(document) is not dict:
        raise RulesError("Must be a public JWK.", *place)
    if not PRIVATE_MEMBERS.isdisjoint(document):
        raise RulesError("Give the public JWK: a private member must not be sent here.", *place)
    needed = _JWK_MEMBERS.get(str(document.get("kty")))
    if needed is None:
        raise RulesError(f"Must be one of: {', '.join(_JWK_MEMBERS)}.", *place, "kty")
    names = {"kty", *needed, *(name for name in _OTHERS if name in document)}
    found = {name: read_text(document.get(name), _MAX_MEMBER, *place, name) for name in names}
    return tuple(sorted(found.items()))
