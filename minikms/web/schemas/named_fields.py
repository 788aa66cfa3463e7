"""Fields that several bodies or parameters have under one name, such as the alias of a key."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from marshmallow import ValidationError, fields, validate

from minikms.key_bounds import (
    ALIAS_PATTERN,
    KID_PATTERN,
    MAX_ALIAS,
    MAX_DELETE_AFTER,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_PROVIDER,
    MAX_PUBLISH_AHEAD,
    MAX_RETIRE_AFTER,
    MAX_ROTATE_EVERY,
    MIN_DELETE_AFTER,
    MIN_PUBLISH_AHEAD,
    MIN_RETIRE_AFTER,
    MIN_ROTATE_EVERY,
)
from minikms.key_requests import AliasTaken
from minikms.plugin.protocol import KEY_OPERATIONS
from minikms.profile_settings import PROFILE_PATTERN
from minikms.records import NEXT, State
from minikms.web.schemas.fields import (
    BoundedList,
    Described,
    ListOf,
    Object,
    Readable,
    Seconds,
    Text,
)

LABEL_NAME_PATTERN: Final = r"^[^:\u0000-\u001f\u007f-\u009f]{1,384}\Z"
LABEL_VALUE_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f]*\Z"

_LABEL_ERROR: Final = (
    f"A value has at most {MAX_LABEL_VALUE:,} characters and no control characters."
)
_ALIAS_ERROR: Final = f"Must be 1 to {MAX_ALIAS:,} characters, no control characters."


class Labels(Described, fields.Dict):
    """Labels: names to values, whose number is checked first."""

    write = None

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if isinstance(value, Mapping) and len(value) > MAX_LABELS:
            raise ValidationError(f"At most {MAX_LABELS} labels.")
        return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]


class CertificateHeader(Readable, fields.Field[Any]):
    """Header parameters with the certificate of a key: none, a name, or a list of names.

    In the document, `component` is the type of one value, and `component`Name the type of an item.
    """

    write = None

    def __init__(self, description: str, names: Sequence[str], component: str) -> None:
        self._names = names
        one = {"type": "string", "enum": ["none", *names], "x-component": component}
        item = {"type": "string", "enum": [*names], "x-component": f"{component}Name"}
        several = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
        super().__init__(description, load_default=(), metadata={"oneOf": [one, several]})

    def read(self, value: Any) -> Sequence[str]:
        if value == "none":
            return ()
        given = [value] if type(value) is str else value
        known = [name for name in self._names if name in given] if type(given) is list else []
        if not known or len(known) != len(given):
            names = ", ".join(self._names)
            raise ValidationError(f"Must be none, one of these, or a list of them: {names}.")
        return known


def kid(**kwargs: Any) -> Text:
    """A key id."""
    return Text(
        "Key id: the thumbprint of the public JWK (RFC 7638).",
        validate=validate.Regexp(KID_PATTERN, error="Must have the form of a kid."),
        **kwargs,
    )


def alias(**kwargs: Any) -> Text:
    """Another name of a key."""
    return Text(
        "Another name of a key, such as a DID URL.",
        validate=(
            validate.Length(1, MAX_ALIAS, error=_ALIAS_ERROR),
            validate.Regexp(ALIAS_PATTERN, error=_ALIAS_ERROR),
        ),
        **kwargs,
    )


def alias_taken(**kwargs: Any) -> Text:
    """The effect on an alias that names another key."""
    return Text(
        "If the alias names another key: move it to this key (the default), or refuse the call.",
        component="AliasTaken",
        validate=validate.OneOf(get_args(AliasTaken)),
        **kwargs,
    )


def if_exists(**kwargs: Any) -> Text:
    """The effect of importing a key that exists."""
    return Text(
        "If the profile has the key: refuse the call (the default), or keep "
        "the key unchanged, and add the alias.",
        component="IfExists",
        validate=validate.OneOf(("refuse", "keep")),
        **kwargs,
    )


def profile(**kwargs: Any) -> Text:
    """The name of a profile."""
    return Text(
        "Name of the profile.",
        validate=validate.Regexp(
            PROFILE_PATTERN, error="Must be 1 to 128 visible ASCII characters."
        ),
        **kwargs,
    )


def algorithm(**kwargs: Any) -> Text:
    """The name of an algorithm; the document lists the registry's names."""
    return Text(
        "Name or alias of an algorithm, see GET /algorithms.", component="AlgorithmName", **kwargs
    )


def labels(**kwargs: Any) -> Labels:
    """Labels of a key."""
    name = validate.Regexp(
        LABEL_NAME_PATTERN,
        error="A name has 1 to 384 characters, no colon and no control characters.",
    )
    value = (
        validate.Length(max=MAX_LABEL_VALUE, error=_LABEL_ERROR),
        validate.Regexp(LABEL_VALUE_PATTERN, error=_LABEL_ERROR),
    )
    return Labels(
        keys=Text(validate=name),
        values=Text(validate=value),
        validate=validate.Length(max=MAX_LABELS),
        description="Labels: names to values.",
        component="Labels",
        **kwargs,
    )


def operations(**kwargs: Any) -> ListOf:
    """The permitted operations of a key."""
    return BoundedList(
        Text(component="KeyOperation", validate=validate.OneOf(KEY_OPERATIONS)),
        1,
        len(KEY_OPERATIONS),
        description="Permitted operations, out of those of the algorithm; all by default.",
        **kwargs,
    )


def state(**kwargs: Any) -> Text:
    """The state to give a key."""
    return Text(
        "enabled, disabled, or verify-only: it only verifies and decrypts.",
        component="NewKeyState",
        validate=validate.OneOf(get_args(State)),
        **kwargs,
    )


def state_in_effect(**kwargs: Any) -> Text:
    """The state of a key."""
    return Text(
        "enabled, disabled, verify-only: it only verifies and decrypts, or next: it only verifies "
        "until a rotation puts it in its key's place.",
        component="KeyState",
        validate=validate.OneOf((*get_args(State), NEXT)),
        **kwargs,
    )


def provider(description: str, **kwargs: Any) -> Text:
    """The name of a provider."""
    return Text(description, validate=validate.Length(1, MAX_PROVIDER), **kwargs)


def rotate_every(**kwargs: Any) -> Seconds:
    """The period of a key's scheduled rotations."""
    return Seconds(
        "Seconds after which the service rotates the key, again and again.",
        strict=True,
        validate=validate.Range(MIN_ROTATE_EVERY, MAX_ROTATE_EVERY),
        **kwargs,
    )


def publish_ahead(**kwargs: Any) -> Seconds:
    """The time for which a next key is published before a scheduled rotation."""
    return Seconds(
        "Seconds for which the service publishes the next key before each scheduled rotation; less "
        "than rotate_every.",
        strict=True,
        validate=validate.Range(MIN_PUBLISH_AHEAD, MAX_PUBLISH_AHEAD),
        **kwargs,
    )


def retire_after(**kwargs: Any) -> Seconds:
    """The time after which a replaced key is disabled."""
    return Seconds(
        "Seconds after a rotation at which the old key is disabled, and leaves the JWK Set.",
        strict=True,
        validate=validate.Range(MIN_RETIRE_AFTER, MAX_RETIRE_AFTER),
        **kwargs,
    )


def delete_after() -> Seconds:
    """The time until the deletion that a key is made with."""
    return Seconds(
        "Seconds after which the key is deleted; until then it is used as any other.",
        strict=True,
        validate=validate.Range(MIN_DELETE_AFTER, MAX_DELETE_AFTER),
    )


def jwk(description: str, **kwargs: Any) -> Object:
    """A JSON Web Key, whose members its algorithm checks."""
    return Object(description, component="Jwk", **kwargs)


def certificate(**kwargs: Any) -> Text:
    """A certificate in PEM."""
    return Text("A certificate in PEM (RFC 7468).", **kwargs)


def jose_alg(**kwargs: Any) -> Text:
    """A JOSE name of a signing algorithm; the document lists the registry's names."""
    return Text(
        "JOSE name of the signature; the key's first one by default.",
        component="JoseName",
        **kwargs,
    )
