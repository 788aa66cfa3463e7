"""The operations of the OpenAPI document, and their names in Python."""

import re

METHODS = {"get", "post", "put", "patch", "delete"}


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def operations(document):
    for path in document["paths"].values():
        for method in METHODS & path.keys():
            parameters = [*path.get("parameters", ()), *path[method].get("parameters", ())]
            yield path[method], [resolve(document, one) for one in parameters]


def resolve(document, node):
    if "$ref" in node:
        kind, name = node["$ref"].split("/")[-2:]
        return document["components"][kind][name]
    return node
