"""The library that brings Swagger UI, and a version of it that lacks a private name."""

import dataclasses

import pytest
from aiohttp_swagger3 import swagger as library
from problems import refused

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web import page


def test_the_module_is_as_it_was():
    before = library.fastjsonschema
    create_service(Config())
    assert library.fastjsonschema == before


async def test_without_the_private_name_the_page_and_the_document_are_the_same(
    start, monkeypatch, caplog
):
    async def shown():
        client = await start(create_service(Config()))
        for path in ("/docs/", "/docs/swagger_ui_static/swagger-ui.css", "/openapi.json"):
            async with client.get(path) as answer:
                assert answer.status == 200
                yield await answer.read()

    expected = [body async for body in shown()]
    assert "has no aiohttp_swagger3" not in caplog.text
    gone = (library, "name_of_another_version", "a test")
    names = page.PRIVATE_NAMES
    changed = dataclasses.replace(names, names=(*names.names, gone))
    monkeypatch.setattr(page, "PRIVATE_NAMES", changed)
    assert [body async for body in shown()] == expected
    assert "has no aiohttp_swagger3.swagger.name_of_another_version: " in caplog.text


@pytest.mark.parametrize("path", ["", "/", "/nothing.js", "/%2e%2e/routes.py"])
async def test_unknown_files_of_swagger_ui_are_not_found(client, path):
    async with client.get(f"/docs/swagger_ui_static{path}") as answer:
        await refused(answer, 404, "route-not-found")
