"""Describes the rules of a key for the OpenAPI document; `Rules` itself reads them in bodies."""

from typing import Any, get_args

from marshmallow import ValidationError, fields, validate

from minikms.approval_rule import (
    DEFAULT_EXPIRES_IN,
    MAX_APPROVER_NAME,
    MAX_APPROVERS,
    MAX_EXPIRES_IN,
    MAX_ORIGINS,
    MAX_WAIT,
    MIN_EXPIRES_IN,
)
from minikms.rule_members import MAX_RULE_TEXT, MAX_RULE_VALUES, RulesError
from minikms.rules import (
    MAX_LIFETIME,
    MAX_RATE,
    MAX_RULED_CLAIMS,
    PRESETS,
    Disclosures,
    Rules,
)
from minikms.web.schemas.base import Request
from minikms.web.schemas.fields import (
    BoundedList,
    Described,
    Flag,
    Part,
    Readable,
    Text,
    number,
)
from minikms.web.schemas.named_fields import jwk


class RulesField(Readable, fields.Field[Any]):
    """The rules of a key: an object, or the name of a preset; loads as Rules."""

    def __init__(self, **kwargs: Any) -> None:
        forms = [
            {"$ref": "#/components/schemas/KeyRules"},
            {"type": "string", "enum": list(PRESETS)},
        ]
        super().__init__(
            "The signatures that the key may make, and how often it may be used; by default all. "
            "A name stands for the rules of a kind of key.",
            metadata={"oneOf": forms},
            **kwargs,
        )

    def read(self, value: Any) -> Rules:
        try:
            return Rules.parse(value)
        except RulesError as exc:
            fault: Any = [exc.fault]
            for name in reversed(exc.place):
                fault = {name: fault}
            raise ValidationError(fault) from None


class _Claims(Described, fields.Dict):
    """Claims of rules: names to texts."""


def _texts(description: str = "") -> BoundedList:
    """Texts of a rule."""
    text = Text(validate=validate.Length(1, MAX_RULE_TEXT))
    return BoundedList(text, 1, MAX_RULE_VALUES, description=description)


class JwsRules(Request):
    """The payloads and headers that a key signs as JWS, and as COSE with `cose`."""

    typ = _texts("Allowed types of the header; by default any.")
    claims = _Claims(
        keys=Text(validate=validate.Length(1, MAX_RULE_TEXT)),
        values=_texts(),
        validate=validate.Length(max=MAX_RULED_CLAIMS),
        description="Claims that the payload must have, each with its allowed texts; the ones of "
        "vct also bound aka_vcts.",
    )
    max_lifetime = fields.Integer(
        validate=validate.Range(1, MAX_LIFETIME),
        metadata={"description": "Seconds from now until the latest allowed exp."},
    )
    disclosures = Text(
        "Disclosures of an SD-JWT: any (the default); shown, by the call, without a claim that "
        "must be plain; or none.",
        component="RuleOfDisclosures",
        validate=validate.OneOf(get_args(Disclosures)),
    )


class ApproverPasskey(Request):
    """The passkey of an approver."""

    id = Text("Identifier of the credential, in base64url.", required=True)
    rp_id = Text("The relying party: a domain.", required=True)
    origins = BoundedList(
        Text(validate=validate.Length(1, MAX_RULE_TEXT)),
        1,
        MAX_ORIGINS,
        description="Origins of the pages that use the passkey.",
        required=True,
    )


class Approver(Request):
    """Somebody who may approve; a name may have several keys."""

    name = Text(required=True, validate=validate.Length(1, MAX_APPROVER_NAME))
    jwk = jwk("A public JWK for signatures; with passkey, the key of the passkey.", required=True)
    passkey = fields.Nested(ApproverPasskey)


class ApprovalRules(Request):
    """Who must sign a use of the key before it is done."""

    approvers = BoundedList(Part(Approver), 1, MAX_APPROVERS, required=True)
    threshold = number("Names that must approve.", MAX_APPROVERS, load_default=1)
    expires_in = number(
        "Seconds from the asking until the approval is void.",
        MAX_EXPIRES_IN,
        least=MIN_EXPIRES_IN,
        load_default=DEFAULT_EXPIRES_IN,
    )
    wait = number("Seconds that a call waits for approvals.", MAX_WAIT, least=0, load_default=0)
    delete = Flag("Whether deleting the key needs approvals, too; false by default.")


class KeyRules(Request):
    """The rules of a key; those that are left out allow anything."""

    raw = Flag(
        "Whether the key signs bytes as they are; if not, only JWS, COSE, certificates and key "
        "attestations. By default true without jws, which needs false."
    )
    algs = _texts("JOSE names of the allowed signatures; by default any.")
    jws = fields.Nested(JwsRules)
    cose = Flag(
        "Whether the key signs COSE messages; with jws false by default, and else true.",
    )
    per_minute = fields.Integer(
        validate=validate.Range(1, MAX_RATE), metadata={"description": "Most uses in a minute."}
    )
    per_day = fields.Integer(
        validate=validate.Range(1, MAX_RATE), metadata={"description": "Most uses in a day."}
    )
    approval = fields.Nested(ApprovalRules)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Dump the rules of a key."""
        return obj.document()
