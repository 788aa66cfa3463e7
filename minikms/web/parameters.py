"""Parameters of paths, queries and headers: one declaration reads and documents each."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from aiohttp import web
from marshmallow import ValidationError, fields, validate

from minikms.access.token_record import ID_PATTERN
from minikms.basics import durations
from minikms.errors import ValidationFailed
from minikms.http.answers import Answer
from minikms.http.gate import CallHandler, GatedCall
from minikms.http.problems import pointer
from minikms.key_bounds import ALIAS_PATTERN, MAX_RETIRE_AFTER
from minikms.records import NEXT
from minikms.web.messages import PROFILE_HEADER
from minikms.web.schemas.approval_bodies import APPROVAL_PATTERN
from minikms.web.schemas.base import sentence
from minikms.web.schemas.fields import MAX_FAULTS, Converted
from minikms.web.schemas.named_fields import algorithm, alias, kid, profile
from minikms.web.schemas.times import Timestamp

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_FILTERS: Final = 64  # parameters of one name in a query
MAX_WHO: Final = 256  # characters; longer subjects of JWTs are cut in the audit log
MAX_AUDIT_CURSOR: Final = 16_384  # characters; it has an offset for each open file

# The `seq` of a record.
CURSOR_PATTERN: Final = r"^[0-9]{20}\Z"
LABEL_PATTERN: Final = r"^[^:\u0000-\u001f\u007f-\u009f]{1,384}:[^\u0000-\u001f\u007f-\u009f]*\Z"

_YEAR: Final = durations.nanoseconds("365d")
_LABEL: Final = re.compile(LABEL_PATTERN)


class Parameter(NamedTuple):
    """A parameter.

    `field` parses its value; for a list, the parameter may be repeated. `component` is its name in
    the document. Handlers read headers themselves.
    """

    component: str
    name: str
    place: Literal["path", "query", "header"]
    description: str
    field: fields.Field[Any]
    example: str | None = None


def reading(
    handler: Callable[..., Coroutine[Any, Any, Answer]], parameters: Sequence[Parameter]
) -> CallHandler:
    """Call the handler with the parameters of path and query as keyword arguments.

    The wrapper raises ValidationFailed for a value that its field refuses, and for an unknown query
    parameter: otherwise a misspelt `after` would be ignored, and the key deleted at once. A handler
    without such parameters is returned unchanged.
    """
    if all(one.place == "header" for one in parameters):
        return handler
    of_path = [one for one in parameters if one.place == "path"]
    of_query = {one.name: one for one in parameters if one.place == "query"}

    def read(call: GatedCall) -> Coroutine[Any, Any, Answer]:
        request = call.request
        query = request.query
        if query:
            _refuse_unknown(request, of_query)
        values: dict[str, Any] = {}
        faults = []
        given: list[tuple[Parameter, Any]] = [
            (one, request.match_info[one.name]) for one in of_path
        ]
        for name, one in of_query.items():
            if name in query:
                many = isinstance(one.field, fields.List)
                given.append((one, query.getall(name) if many else query[name]))
            elif one.field.required:
                faults.append((pointer(name), "Missing."))
        for one, value in given:
            try:
                values[one.name] = one.field.deserialize(value)
            except ValidationError as exc:
                faults.append((pointer(one.name), sentence(exc.messages)))
        if faults:
            raise ValidationFailed(errors=faults)
        return handler(call, **values)

    return read


def refuse_query(request: web.Request) -> None:
    """Raise ValidationFailed if a request has a query and its route takes none."""
    _refuse_unknown(request, {})


def _refuse_unknown(request: web.Request, known: Mapping[str, Parameter]) -> None:
    query, faults = request.query, []
    for name in dict.fromkeys(query):
        if name not in known:
            faults.append((pointer(name), "Unknown parameter."))
        elif len(query.getall(name)) > 1 and not isinstance(known[name].field, fields.List):
            faults.append((pointer(name), "Give it once."))
    if faults:
        raise ValidationFailed(errors=faults[:MAX_FAULTS])


class _Decimal(fields.Integer):
    """A number in decimal digits; int() would accept other forms."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if not (value.isascii() and value.isdigit()):
            raise ValidationError("Must be a number of decimal digits.")
        return super()._deserialize(value, attr, data, **kwargs)


class _Duration(Converted):
    """A duration of up to a year, such as 90s, 30m, 12h or 7d, as nanoseconds."""

    fault = "Not a duration, such as 90s, 30m, 12h or 7d."

    def convert(self, text: str) -> int:
        length = durations.nanoseconds(text)
        if length > _YEAR:
            raise ValidationError("At most 365 days.")
        return length


class _Label(Converted):
    """A label `name:value`, as a pair."""

    fault = "Must be a label as name:value."

    def convert(self, text: str) -> tuple[str, str]:
        if not _LABEL.match(text):
            raise ValueError
        name, _, value = text.partition(":")
        return name, value


def _text(pattern: str) -> fields.String:
    return fields.String(validate=validate.Regexp(pattern, error="Not of its form."))


def _query(
    component: str,
    name: str,
    description: str,
    field: fields.Field[Any],
    example: str | None = None,
) -> Parameter:
    return Parameter(component, name, "query", description, field, example)


def _jwk_filter(component: str, name: str, description: str, pattern: str) -> Parameter:
    most = validate.Length(max=MAX_FILTERS)
    return _query(component, name, description, fields.List(_text(pattern), validate=most))


PROFILE_OF_CALL: Final = Parameter(
    "Profile", PROFILE_HEADER, "header", 'The profile; "default" if omitted.', profile()
)
PROFILE_NAME: Final = Parameter("ProfileName", "name", "path", "The profile.", profile(), "alice")
PROFILE_OF_QUERY: Final = _query(
    "ProfileQuery", "profile", "The profile; by default the profile in the header.", profile()
)
KEY: Final = Parameter(
    "Kid", "kid", "path", "The key.", kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)
# The same parameter; its call gives this key a certificate, which later examples need.
CERTIFIED_KEY: Final = KEY._replace(
    component="CertifiedKid", example="FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM"
)
APPROVAL: Final = Parameter(
    "ApprovalId",
    "id",
    "path",
    "The approval's id.",
    _text(APPROVAL_PATTERN),
    "LW5qE2rUu0v7qj3mWmcO1g",
)
APPROVALS_KID: Final = _query("ApprovalsKid", "kid", "Only approvals for this key.", kid())
TOKEN: Final = Parameter(
    "Token", "token", "path", "The token's id.", _text(ID_PATTERN), "8c1f0a5d92b3e467"
)
# The same parameter, with an example for each of its calls.
BY_ALIAS: Final = _query(
    "Alias", "alias", "The alias.", alias(required=True), "did:example:123#key-1"
)
BOUND_ALIAS: Final = BY_ALIAS._replace(component="BoundAlias", example="did:example:123#assertion")
DELETED_ALIAS: Final = BY_ALIAS._replace(component="DeletedAlias", example="did:example:123#old")
ALIAS_FILTER: Final = _query("AliasFilter", "alias", "Only the key with this alias.", alias())
ALG_FILTER: Final = _query("AlgFilter", "alg", "Only keys of this algorithm.", algorithm())
LIMIT: Final = _query(
    "Limit",
    "limit",
    f"Largest number of keys; {DEFAULT_LIMIT} by default.",
    _Decimal(validate=validate.Range(1, MAX_LIMIT)),
)
AFTER: Final = _query(
    "After",
    "after",
    "The cursor from the Link header of the previous page.",
    _text(CURSOR_PATTERN),
)
TOKENS_LIMIT: Final = LIMIT._replace(
    component="TokensLimit", description=f"Largest number of tokens; {DEFAULT_LIMIT} by default."
)
TOKENS_AFTER: Final = AFTER._replace(component="TokensAfter")
PROFILES_LIMIT: Final = LIMIT._replace(
    component="ProfilesLimit",
    description=f"Largest number of profiles; {DEFAULT_LIMIT} by default.",
)
PROFILES_AFTER: Final = AFTER._replace(component="ProfilesAfter", field=profile())
PROFILES_INCLUDE: Final = _query(
    "ProfilesInclude",
    "include",
    "jwks, to tell which JWK Sets are public: each profile of the page is read.",
    fields.String(validate=validate.OneOf(("jwks",))),
)
LABEL_FILTER: Final = _query(
    "LabelFilter",
    "label",
    "Only keys with this label; if repeated, with all of the labels.",
    fields.List(_Label(metadata={"pattern": LABEL_PATTERN})),
)
UNUSED_FILTER: Final = _query(
    "UnusedFilter",
    "unused",
    "Only keys that were not used for this time, up to 365 days.",
    _Duration(metadata={"pattern": durations.PATTERN}),
)
STATE_FILTER: Final = _query(
    "StateFilter",
    "state",
    "Only keys in this state; only `next` is possible.",
    fields.String(validate=validate.OneOf((NEXT,))),
)
IF_PUBLISHED: Final = _query(
    "IfPublished",
    "if_published",
    "Seconds for which the next key must have been published.",
    _Decimal(validate=validate.Range(0, MAX_RETIRE_AFTER)),
)
DELETE_AFTER: Final = _query(
    "DeleteAfter",
    "after",
    "Delay of the deletion, up to 365 days; by default the key is deleted now.",
    _Duration(metadata={"pattern": durations.PATTERN}),
)
# An unknown key type or algorithm matches nothing, so that callers can list all that they support.
KTY_FILTER: Final = _jwk_filter(
    "KtyFilter",
    "kty",
    "Only keys of this JWK type; if repeated, of any of the types.",
    r"^[A-Za-z0-9_-]{1,64}\Z",
)
JOSE_FILTER: Final = _jwk_filter(
    "JoseFilter",
    "alg",
    "Only keys for this JOSE algorithm; if repeated, for any of the algorithms.",
    r"^[A-Za-z0-9_+.-]{1,64}\Z",
)
USE_FILTER: Final = _jwk_filter(
    "UseFilter",
    "use",
    "Only keys for signatures (sig), or for encryption (enc).",
    r"^(sig|enc)\Z",
)
IF_NONE_MATCH: Final = Parameter(
    "IfNoneMatch",
    "If-None-Match",
    "header",
    "The ETag of the caller's cached set, or several ETags.",
    fields.String(),
)
AUDIT_KID: Final = _query("AuditKid", "kid", "Only events of this key.", kid())
AUDIT_ALIAS: Final = _query(
    "AuditAlias",
    "alias",
    "Only events of keys that this alias names or has named in one profile: the one in "
    f"`profile`, or in the header {PROFILE_HEADER}. Also needs the scope `keys:read`.",
    alias(),
)
AUDIT_WHO: Final = _query(
    "AuditWho",
    "who",
    "Only events of callers with this name.",
    fields.String(validate=(validate.Length(1, MAX_WHO), validate.Regexp(ALIAS_PATTERN))),
)
AUDIT_OPERATION: Final = _query(
    "AuditOperation",
    "operation",
    "Only events of this operation, such as sign or aws:Sign.",
    _text(r"^[A-Za-z0-9:._-]{1,128}\Z"),
)
AUDIT_OUTCOME: Final = _query(
    "AuditOutcome",
    "outcome",
    "Only events with this outcome: ok, failed, or the slug of a problem.",
    _text(r"^[A-Za-z0-9:._-]{1,128}\Z"),
)
AUDIT_PROFILE: Final = _query(
    "AuditProfile",
    "profile",
    "Only events of this profile; by default of all profiles of the caller.",
    profile(),
)
AUDIT_SINCE: Final = _query("AuditSince", "since", "Only events from this time on.", Timestamp())
AUDIT_UNTIL: Final = _query("AuditUntil", "until", "Only events before this time.", Timestamp())
AUDIT_LIMIT: Final = LIMIT._replace(
    component="AuditLimit", description=f"Largest number of events; {DEFAULT_LIMIT} by default."
)
AUDIT_AFTER: Final = _query(
    "AuditAfter",
    "after",
    "The cursor from the Link header of the previous page.",
    fields.String(
        validate=(
            validate.Length(max=MAX_AUDIT_CURSOR),
            validate.Regexp(r"^[A-Za-z0-9_-]+\Z", error="Not of its form."),
        )
    ),
)
