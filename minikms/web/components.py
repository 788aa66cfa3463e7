"""The document's schemas, in a form that client generators understand, and its parameters."""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from minikms.web.parameters import Parameter
from minikms.web.schemas.base import Body, Request


def ref(kind: str, name: str) -> dict[str, Any]:
    """Make a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def one_of(schema: type[Body], other: type[Body] | None) -> dict[str, Any]:
    """Make a reference to a schema, or the choice of two."""
    first = ref("schemas", schema.__name__)
    return first if other is None else {"oneOf": [first, ref("schemas", other.__name__)]}


def components(
    schemas: Iterable[type[Schema]],
    parameters: Iterable[Parameter],
    enums: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """Make the parameters, and the schemas with all schemas that they nest or share.

    `enums` has the values of enums that come from the registry, by component.
    """
    classes: dict[str, type[Schema]] = {}

    def name_of(schema: Any) -> str:
        kind: type[Schema] = schema if isinstance(schema, type) else type(schema)
        classes[kind.__name__] = kind
        return kind.__name__

    spec = APISpec("", "", "3.0.3", plugins=[MarshmallowPlugin(name_of)])
    converter = OpenAPIConverter("3.0.3", name_of, spec)
    for kind in sorted(schemas, key=name_of):
        if kind.__name__ not in spec.components.schemas:  # else an earlier schema nests it
            spec.components.schema(kind.__name__, schema=kind)
    made: dict[str, Any] = {}
    for name, component in spec.components.schemas.items():
        # Lists in the metadata of fields would be shared with other documents.
        made.update(_forms(name, copy.deepcopy(component), classes[name]))
    described = {one.component: _parameter(one, converter) for one in parameters}
    shared: dict[str, Any] = {}
    _share([made, described], enums, shared)
    return {"parameters": described, "schemas": dict(sorted({**made, **shared}.items()))}


def _parameter(parameter: Parameter, converter: OpenAPIConverter) -> dict[str, Any]:
    schema = converter.field2property(parameter.field)
    schema.pop("description", None)  # of bodies
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path" or parameter.field.required,
        "description": parameter.description,
        "schema": schema,
    }
    if parameter.example is not None:
        described["example"] = parameter.example
    if isinstance(parameter.field, fields.List):
        described.update(style="form", explode=True)
    return described


def _forms(name: str, component: dict[str, Any], schema: type[Schema]) -> dict[str, Any]:
    """Convert a schema to components: one, or one for each set of `one_of`.

    A `oneOf` that contains only `required`, beside `properties`, would mean the same, but
    generators make no type from it.
    """
    component["description"] = inspect.getdoc(schema)
    for field in component["properties"].values():
        # A generated client would send a default, or treat the field as required.
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

    A generated client then has one type for such a schema in all bodies.
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
            # Siblings of `$ref` are ignored.
            node.update({"allOf": [there], **described} if described else there)
    children: Iterable[Any] = node.values() if isinstance(node, dict) else ()
    for child in node if isinstance(node, list) else children:
        _share(child, enums, shared)
