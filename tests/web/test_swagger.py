"""The library that reads the routes, and a version of it that lacks a private name."""

import dataclasses

import pytest
from aiohttp_swagger3 import swagger as library
from aiohttp_swagger3 import swagger_docs

from minikms.web import swagger
from minikms.web.routes import ROUTES


def test_the_modules_are_as_they_were():
    before = library.fastjsonschema, swagger_docs.yaml
    swagger.read_routes(ROUTES)
    assert (library.fastjsonschema, swagger_docs.yaml) == before


def test_without_the_private_name_the_document_is_the_same(monkeypatch, caplog):
    expected = swagger.read_routes(ROUTES)
    assert caplog.text == ""
    gone = (library, "name_of_another_version", "a test")
    names = swagger.PRIVATE_NAMES
    changed = dataclasses.replace(names, names=(*names.names, gone))
    monkeypatch.setattr(swagger, "PRIVATE_NAMES", changed)
    found = swagger.read_routes(ROUTES)
    assert (found.spec, found.ui_files) == (expected.spec, expected.ui_files)
    assert found.handlers.keys() == expected.handlers.keys()
    (record,) = caplog.records
    assert "has no aiohttp_swagger3.swagger.name_of_another_version: " in record.getMessage()


def test_swagger_ui_is_in_the_folder():
    names = {file.name for file in swagger.read_routes(ROUTES).ui_files.iterdir()}
    assert {"swagger-ui.css", "swagger-ui-bundle.js"} <= names


@pytest.mark.parametrize("path", ["", "/", "/nothing.js", "/%2e%2e/routes.py"])
async def test_unknown_files_of_swagger_ui_are_not_found(client, path):
    async with client.get(f"/docs/swagger_ui_static{path}") as answer:
        assert answer.status == 404
        assert (await answer.json())["type"] == "urn:minikms:problem:route-not-found"
