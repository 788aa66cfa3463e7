"""The reference of the HTTP API in Markdown, from the OpenAPI document."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from minikms.web.schemas.fields import BASE64URL_PATTERN

# The largest number of enum values that a table lists.
_VALUES: Final = 12

# As in the document: ECMA-262 has no \Z.
_BASE64URL: Final = BASE64URL_PATTERN.replace(r"\Z", "$")

_NAMES: Final = {"string": "text", "number": "number", "boolean": "true or false"}

# The members for a schema's bounds: minimum, maximum, and unit.
_BOUNDS: Final = (
    ("minLength", "maxLength", "characters"),
    ("minimum", "maximum", ""),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "members"),
)


class Field(NamedTuple):
    """A field of a body: its path, such as `items[].data`, its schema, and if it is required."""

    place: str
    schema: Mapping[str, Any]
    given: str


class Reference:
    """Writes the calls of an OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.calls: dict[str, Mapping[str, Any]] = {
            f"{method.upper()} {path}": operation
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        }

    def call(self, name: str) -> str:
        """Describe a call such as `POST /sign`: parameters, body, answer, problems, an example."""
        operation = self.calls[name]
        blocks = [
            *self._head(operation),
            *self._parameters(operation),
            *self._body(operation),
            *self._answer(operation),
            *self._problems(operation),
            *self._example(name, operation),
        ]
        return "\n\n".join(blocks) + "\n"

    def _head(self, operation: Mapping[str, Any]) -> Iterator[str]:
        scope = operation.get("description", "Scope: none.")
        yield f"{scope} Its `operationId` is `{operation['operationId']}`."

    def _parameters(self, operation: Mapping[str, Any]) -> Iterator[str]:
        rows = []
        for parameter in map(self._resolved, operation.get("parameters", ())):
            schema = parameter["schema"]
            kind = self._with_bounds(schema)
            given = "required" if parameter["required"] else ""
            rows.append(
                (f"`{parameter['name']}`", parameter["in"], kind, given, parameter["description"])
            )
        if rows:
            yield _table(("parameter", "in", "type", "required", "meaning"), rows)

    def _body(self, operation: Mapping[str, Any]) -> Iterator[str]:
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            fields = sorted(self._fields(schema), key=lambda one: not one.given)
            rows = [
                (f"`{one.place}`", self._with_bounds(one.schema), one.given, self._said(one.schema))
                for one in fields
            ]
            yield _table(("field of the body", "type", "required", "meaning"), rows)

    def _answer(self, operation: Mapping[str, Any]) -> Iterator[str]:
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        rows = [
            (f"`{one.place}`", self._type(one.schema), self._said(one.schema))
            for one in self._fields(schema)
        ]
        if rows:
            yield _table(("member of the answer", "type", "meaning"), rows)

    def _problems(self, operation: Mapping[str, Any]) -> Iterator[str]:
        parts = []
        for status, response in operation["responses"].items():
            slugs = response.get("content", {}).get("application/problem+json", {})
            if slugs and status != "default":
                parts.append(f"{status} " + ", ".join(f"`{slug}`" for slug in slugs["examples"]))
        own = f"Problems: {'; '.join(parts)}; and" if parts else "Problems:"
        yield f"{own} the ones that [any call](http-api.md#errors) can have."

    def _example(self, name: str, operation: Mapping[str, Any]) -> Iterator[str]:
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            first = next(iter(content["examples"].values()))["value"]
            yield f"```http\n{name}\n\n{_json(first)}\n```"
        answer = operation["responses"]["200"]["content"]["application/json"]["example"]
        yield f"```json\n{_json(answer)}\n```"

    def _fields(self, schema: Mapping[str, Any], parent: str = "") -> Iterator[Field]:
        """List the fields of a schema and of nested objects, each once."""
        schema = self._resolved(schema)
        if schema.get("type") == "array":
            yield from self._fields(schema["items"], f"{parent}[]")
            return
        forms = list(self._forms(schema))
        names = dict.fromkeys(name for form in forms for name in form.get("properties", ()))
        for name in names:
            holders = [form for form in forms if name in form.get("properties", ())]
            required = [form for form in forms if name in form.get("required", ())]
            if len(required) == len(forms):
                given = "required"
            else:
                given = "one of these" if required else ""
            place = f"{parent}.{name}" if parent else name
            field = holders[0]["properties"][name]
            yield Field(place, field, given)
            if place.count(".") < 2:
                yield from self._fields(field, place)

    def _forms(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """List the schemas that a schema is a choice of, also of choices."""
        schema = self._resolved(schema)
        if "oneOf" not in schema:
            yield schema
        for form in schema.get("oneOf", ()):
            yield from self._forms(form)

    def _type(self, schema: Mapping[str, Any]) -> str:
        resolved = self._resolved(schema)
        if "oneOf" in resolved:
            kind = " or ".join(dict.fromkeys(map(self._type, resolved["oneOf"])))
        elif len(values := resolved.get("enum", ())) in range(1, _VALUES + 1):
            kind = ", ".join(f"`{value}`" for value in values if value is not None)
        elif resolved.get("type") == "array":
            kind = f"array of {self._type(resolved['items'])}"
        elif resolved.get("format") == "date-time":
            kind = "time"
        elif resolved.get("pattern") == _BASE64URL:
            kind = "base64url"
        else:
            kind = resolved.get("type", "any")
            kind = _NAMES.get(kind, kind)
        nullable = schema.get("nullable") or resolved.get("nullable")
        return f"{kind} or null" if nullable else kind

    def _with_bounds(self, schema: Mapping[str, Any]) -> str:
        resolved = self._resolved(schema)
        bounds = [
            text
            for least, most, unit in _BOUNDS
            if (text := _range(resolved.get(least), resolved.get(most), unit))
        ]
        pattern = resolved.get("pattern", _BASE64URL)
        forms = [] if pattern == _BASE64URL else [f"form `{pattern}`"]
        return ", ".join([self._type(schema), *bounds, *forms])

    def _said(self, schema: Mapping[str, Any]) -> str:
        said: str = schema.get("description") or self._resolved(schema).get("description", "")
        return said.partition("\n")[0]

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "allOf" in node:
            (node,) = node["allOf"]
        if "$ref" not in node:
            return node
        found: Any = self._document
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return self._resolved(found)


def _range(least: int | None, most: int | None, unit: str) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        text = f"at least {least:,}"
    else:
        text = f"at most {most:,}" if least is None else f"{least:,} to {most:,}"
    return f"{text} {unit}".rstrip()


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
