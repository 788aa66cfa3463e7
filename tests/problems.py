"""Refusals: each is a whole problem, whose slug the document has at its operation."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from urllib.parse import unquote

import orjson

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import DOCUMENT

MEMBERS = {"type", "title", "status", "detail", "errors", "outcome", "approval"}


@cache
def _operations() -> dict[tuple[str, str], set[str]]:
    """The slugs at each method and path of the document, with a token and without."""
    found: dict[tuple[str, str], set[str]] = {}
    for auth in ("none", "token"):
        app = create_service(Config(auth=auth))
        with ThreadPoolExecutor(1) as thread:  # where no event loop runs yet
            made = thread.submit(lambda app=app: asyncio.run(app[DOCUMENT].content()))
        for path, operations in orjson.loads(made.result())["paths"].items():
            for method, operation in operations.items():
                if "responses" in operation:
                    slugs = found.setdefault((method.upper(), path), set())
                    for response in operation["responses"].values():
                        for content in response["content"].values():
                            slugs.update(content.get("examples", {}))
    return found


@cache
def _templates() -> dict[str, re.Pattern[str]]:
    """The paths of the document, with the form of a path of each."""
    return {
        template: re.compile(re.sub(r"{\w+}", "[^/]+", template)) for _, template in _operations()
    }


def documented(method: str, path: str) -> set[str] | None:
    """The slugs that the document lists for an operation; None if it has no such operation."""
    path = unquote(path.partition("?")[0], errors="replace")
    forms = _templates()
    # `/key/generate` does not match `/key/{kid}`.
    template = path if path in forms else next((t for t in forms if forms[t].fullmatch(path)), "")
    return _operations().get((method, template))


def problem(
    status: int, headers: Any, content: bytes, method: str = "", path: str = ""
) -> tuple[int, str]:
    """Assert that an answer is a whole problem, documented at its operation; its status and slug.

    Without `method` and `path`, it answers bytes that may not be a valid call.
    """
    assert status >= 400, content
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-Id"]
    assert headers["Server"] == "minikms"
    body = orjson.loads(content)
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body.keys() <= MEMBERS
    prefix, _, slug = body["type"].rpartition(":")
    assert prefix == "urn:minikms:problem"
    slugs = documented(method, path)
    # A service without documents has fewer operations.
    if slugs is not None and slug != "route-not-found":
        assert slug in slugs, f"{slug} is not documented at {method} {path}"
    return status, slug


async def slug_of(response: Any) -> str:
    """The slug of the problem that a response of aiohttp's client is, or "" of a success."""
    content = await response.read()
    if response.status < 400:
        return ""
    path = response.url.raw_path
    return problem(response.status, response.headers, content, response.method, path)[1]


async def refused(response: Any, status: int, slug: str) -> dict[str, Any]:
    """Assert that a response of aiohttp's client is this problem, and give its body."""
    assert (response.status, await slug_of(response)) == (status, slug), await response.text()
    body: dict[str, Any] = orjson.loads(await response.read())
    return body
