"""The document's components: schemas, as generators of clients can use them, and parameters."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from minikms import durations
from minikms.access.tokens import ID_PATTERN
from minikms.records import KID_PATTERN, PROFILE_PATTERN
from minikms.web.handlers.paging import DEFAULT_LIMIT, JWK_FILTERS, MAX_FILTERS, MAX_LIMIT
from minikms.web.messages import PROFILE_HEADER
from minikms.web.schemas import (
    box_bodies,
    didcomm_bodies,
    encapsulation_bodies,
    fields,
    jose_bodies,
    jwe_bodies,
    key_bodies,
    operation_bodies,
    problem_body,
    profile_bodies,
    system_bodies,
    token_bodies,
)
from minikms.web.schemas.base import Request
from minikms.web.schemas.examples import ALIAS, HOLDER, KID, OLD_ALIAS, PROFILE, SECOND_ALIAS

# Every schema by the name of its class, as the docstrings of handlers have it.
SCHEMAS: Final[Mapping[str, type[Schema]]] = {
    name: schema
    for module in (
        box_bodies,
        didcomm_bodies,
        encapsulation_bodies,
        jose_bodies,
        jwe_bodies,
        key_bodies,
        operation_bodies,
        problem_body,
        profile_bodies,
        system_bodies,
        token_bodies,
    )
    for name, schema in vars(module).items()
    if isinstance(schema, type) and issubclass(schema, Schema)
}


def ref(kind: str, name: str) -> dict[str, Any]:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_components(
    names: Iterable[str], enums: Mapping[str, Iterable[str]], elsewhere: Mapping[str, Any]
) -> dict[str, Any]:
    """The schemas of these names, with those that they nest or share.

    `enums` has the values of the enums that come from the registry, by component. `elsewhere` is
    changed: its schemas that are shared become references, too.
    """
    spec = APISpec(
        "", "", "3.0.3", plugins=[MarshmallowPlugin(lambda cls: _class_of(cls).__name__)]
    )
    for name in sorted(names):
        if name not in spec.components.schemas:  # by one before, which nests it
            spec.components.schema(name, schema=SCHEMAS[name])
    made: dict[str, Any] = {}
    for name, component in spec.components.schemas.items():
        made.update(_forms(name, component, SCHEMAS[name]))
    shared: dict[str, Any] = {}
    _share([made, elsewhere], enums, shared)
    return dict(sorted({**made, **shared}.items()))


def _forms(name: str, component: dict[str, Any], schema: type[Schema]) -> dict[str, Any]:
    """A schema as components: one, or one for each set of fields of which exactly one is given.

    `oneOf` beside `properties`, with nothing but `required` in it, would say the same, but
    generators make no type of it.
    """
    component["description"] = inspect.getdoc(schema)
    for field in component["properties"].values():
        # A generated client would send it, or treat the field as required.
        field.pop("default", None)
    if not issubclass(schema, Request):
        return {name: component}
    component["additionalProperties"] = False
    if schema.any_of:
        component["minProperties"] = 1
    if not schema.one_of:
        return {name: component}
    forms = {}
    for given in schema.one_of:
        others = [field for fields in schema.one_of if fields != given for field in fields]
        excluded = {field for field in others if others.count(field) == 1} - {*given}
        forms[f"{name}With{given[-1].title().replace('_', '')}"] = {
            **component,
            "properties": {
                field: value
                for field, value in component["properties"].items()
                if field not in excluded
            },
            "required": [*given, *component.get("required", ())],
        }
    union = {"description": component["description"], "oneOf": [ref("schemas", f) for f in forms]}
    return {name: union, **forms}


def _share(node: Any, enums: Mapping[str, Iterable[str]], shared: dict[str, Any]) -> None:
    """Replace each schema that has an `x-component` by a reference to that component.

    So a generated client has one type for it, however many bodies have it.
    """
    if isinstance(node, dict):
        name = node.pop("x-component", None)
        if name is not None:
            described = {"description": node.pop("description")} if "description" in node else {}
            nullable = node.pop("nullable", False)
            if name in enums:
                node["enum"] = list(enums[name])
            shared.setdefault(name, dict(node))
            node.clear()
            there = ref("schemas", name)
            if nullable:
                described["nullable"] = True
            # Whatever stands beside `$ref` is ignored.
            node.update({"allOf": [there], **described} if described else there)
    children: Iterable[Any] = node.values() if isinstance(node, dict) else ()
    for child in node if isinstance(node, list) else children:
        _share(child, enums, shared)


def _class_of(schema: Any) -> type[Schema]:
    return schema if isinstance(schema, type) else type(schema)


def parameter_components() -> dict[str, Any]:
    """The parameters, which the routes refer to when they are added."""

    def parameter(name: str, place: str, description: str, **schema: Any) -> dict[str, Any]:
        return {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }

    repeated = {"style": "form", "explode": True}

    def jwk_filter(name: str, description: str) -> dict[str, Any]:
        items = {"type": "string", "pattern": JWK_FILTERS[name]}
        of = {"type": "array", "items": items, "maxItems": MAX_FILTERS}
        return {**parameter(name, "query", description, **of), **repeated}

    alias = {
        "type": "string",
        "pattern": fields.ALIAS_PATTERN,
        "minLength": 1,
        "maxLength": fields.MAX_ALIAS,
    }
    profile = {"type": "string", "pattern": PROFILE_PATTERN}
    of_key = {**parameter("alias", "query", "The alias.", **alias), "required": True}
    return {
        "Profile": parameter(
            PROFILE_HEADER, "header", 'The profile; without it, "default".', type="string"
        ),
        "ProfileName": {
            **parameter("name", "path", "The profile.", **profile),
            "example": PROFILE,
        },
        "ProfileQuery": parameter(
            "profile", "query", "The profile; without it, that of the header.", **profile
        ),
        "Kid": {
            **parameter("kid", "path", "The key.", type="string", pattern=KID_PATTERN),
            "example": KID,
        },
        "Token": {
            **parameter("token", "path", "The token's id.", type="string", pattern=ID_PATTERN),
            "example": HOLDER,
        },
        "Alias": {**of_key, "example": ALIAS},
        "BoundAlias": {**of_key, "example": SECOND_ALIAS},
        "DeletedAlias": {**of_key, "example": OLD_ALIAS},
        "AliasFilter": parameter("alias", "query", "Only the key with this alias.", **alias),
        "AlgFilter": parameter("alg", "query", "Only keys of this algorithm.", type="string"),
        "Limit": parameter(
            "limit", "query", f"How many at most; {DEFAULT_LIMIT} by default.",
            type="integer", minimum=1, maximum=MAX_LIMIT,
        ),
        "After": parameter(
            "after", "query", "The cursor that the Link header of the page before has.",
            type="string", pattern=fields.CURSOR_PATTERN,
        ),
        "IfNoneMatch": parameter(
            "If-None-Match", "header", "The ETag of what the caller has, or several.",
            type="string",
        ),
        "DeleteAfter": parameter(
            "after", "query", "How long it is kept, up to 365 days; without it, it is gone now.",
            type="string", pattern=durations.PATTERN,
        ),
        "LabelFilter": {
            **parameter(
                "label", "query", "Only keys with this label; all of them, if several.",
                type="array", items={"type": "string", "pattern": fields.LABEL_PATTERN},
            ),
            **repeated,
        },
        "KtyFilter": jwk_filter("kty", "Only keys of this JWK type, or of one of these."),
        "JoseFilter": jwk_filter(
            "alg", "Only keys that are used for this JOSE name, or for one of these."
        ),
        "UseFilter": jwk_filter("use", "Only keys for signatures (sig), or for encryption (enc)."),
    }  # fmt: skip
