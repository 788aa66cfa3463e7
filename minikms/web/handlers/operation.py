"""The two handlers of an operation: one that waits where it must, and one that never waits."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from aiohttp import web
from marshmallow import Schema

from minikms.keys.operation import Operation
from minikms.web.http.fast_path import FastHandler
from minikms.web.http.problems import Handler
from minikms.web.messages import answer, load, load_arrived, profile, service, write

# Makes the operation of a body that its schema has loaded.
Build: TypeAlias = Callable[[dict[str, Any]], Operation[Any, Any]]


class OperationHandlers(NamedTuple):
    """The handlers of one route; `fast` gives None where it would have to wait."""

    ordinary: Handler
    fast: FastHandler


def operation(
    request_schema: Schema, answer_schema: Schema, member: str | None = None
) -> Callable[[Build], OperationHandlers]:
    """The handlers of the operation that the decorated function makes, with its docstring.

    The key is the body's `by`. The answer is the result, or has it as `member`.
    """

    def decorate(build: Build) -> OperationHandlers:
        def content(result: Any) -> Any:
            return result if member is None else {member: result}

        async def ordinary(request: web.Request) -> web.Response:
            body = await load(request, request_schema)
            result = await service(request).perform(profile(request), body["by"], build(body))
            return answer(answer_schema, content(result))

        def fast(request: web.Request) -> bytes | None:
            body = load_arrived(request, request_schema)
            if body is None:
                return None
            result = service(request).perform_fast(profile(request), body["by"], build(body))
            return None if result is None else write(answer_schema, content(result))

        ordinary.__doc__ = build.__doc__
        return OperationHandlers(ordinary, fast)

    return decorate
