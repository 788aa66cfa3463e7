"""Makes the handler of an operation on a key."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from aiohttp import web
from marshmallow import Schema

from minikms.errors import (
    AliasNotFound,
    KeyNotFound,
    KeyNotUsable,
    KmsError,
    UnsupportedOperation,
)
from minikms.http.answers import Answer, Handler
from minikms.http.presence import Presence
from minikms.http.problems import problem
from minikms.keys.operation import BatchOperation, Operation
from minikms.web.messages import answer, load, profile, service, write
from minikms.web.schemas.base import Request

Body: TypeAlias = dict[str, Any]
Problems: TypeAlias = tuple[type[KmsError], ...]
# Makes the operation of a body that its schema has loaded.
Build: TypeAlias = Callable[[Body], Operation[Any, Any]]
# The same of a batch, with its items; an error stands for an item that cannot be read.
BuildBatch: TypeAlias = Callable[
    [Body], tuple[BatchOperation[Any, Any, Any], Sequence[Any | KmsError]]
]

# Those of every operation on a key.
_PROBLEMS: Final[Problems] = (KeyNotFound, AliasNotFound, KeyNotUsable, UnsupportedOperation)


def operation(
    request_schema: type[Request],
    answer_schema: type[Schema],
    description: str,
    *,
    member: str | None = None,
    problems: Problems = (),
    tag: str = "operations",
) -> Callable[[Build], Handler]:
    """The handler of the operation that the decorated function makes of a body.

    The key is the body's `by`. The answer is the result, or has it as `member`. `description` is
    that of the answer; `problems` are those that this operation adds to those of all.
    """
    to_load, to_dump = request_schema(), answer_schema()

    def content(result: Any) -> Any:
        return result if member is None else {member: result}

    def decorate(build: Build) -> Handler:
        async def handle(request: web.Request) -> Answer:
            body = await load(request, to_load)
            result = await service(request).perform(profile(request), body["by"], build(body))
            return write(to_dump, content(result))

        handle.__doc__ = _docstring(
            build, request_schema, answer_schema, description, problems, tag
        )
        return handle

    return decorate


def batch_operation(
    request_schema: type[Request],
    answer_schema: type[Schema],
    description: str,
    *,
    member: str,
    problems: Problems = (),
) -> Callable[[BuildBatch], Handler]:
    """The handler of a batch: the answer has each result as `member`, or its problem.

    It always waits, since batches have threads of their own.
    """
    to_load, to_dump = request_schema(), answer_schema()

    def decorate(build: BuildBatch) -> Handler:
        async def handle(request: web.Request) -> Answer:
            body = await load(request, to_load)
            batch, items = build(body)
            results = await service(request).perform_batch(
                profile(request), body["by"], batch, items, Presence(request)
            )
            shown = [
                {"problem": problem(result)} if isinstance(result, KmsError) else {member: result}
                for result in results
            ]
            return answer(to_dump, {"results": shown})

        handle.__doc__ = _docstring(
            build, request_schema, answer_schema, description, problems, "operations"
        )
        return handle

    return decorate


def _docstring(
    build: Callable[[Body], Any],
    request_schema: type[Request],
    answer_schema: type[Schema],
    description: str,
    problems: Problems,
    tag: str,
) -> str:
    """The docstring of a handler, as aiohttp-swagger3 reads it and `openapi.py` completes it."""
    slugs = ", ".join(error.slug for error in (*_PROBLEMS, *problems))
    return f"""{build.__doc__}

    ---
    tags: [{tag}]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: {request_schema.__name__}
    x-problems: [{slugs}]
    responses:
      "200": {{description: "{description}", x-answer: {answer_schema.__name__}}}
    """
