"""Makes the handler of an operation on a key."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from aiohttp import web
from marshmallow import Schema

from minikms.errors import KmsError
from minikms.http.answers import Answer, Handler
from minikms.http.presence import Presence
from minikms.http.problems import problem
from minikms.keys.operation import BatchOperation, Operation
from minikms.web.messages import answer, load, profile, service, write
from minikms.web.schemas.base import Request
from minikms.web.state import SERVICE

Body: TypeAlias = dict[str, Any]
# Makes the operation of a body that its schema has loaded.
Build: TypeAlias = Callable[[Body], Operation[Any, Any]]
# The same of a batch, with its items; an error stands for an item that cannot be read.
BuildBatch: TypeAlias = Callable[
    [Body], tuple[BatchOperation[Any, Any, Any], Sequence[Any | KmsError]]
]


def operation(
    build: Build, request_schema: type[Request], answer_schema: type[Schema], *, member: str | None
) -> Handler:
    """The handler of the operation that `build` makes of a body, whose `by` is the key.

    The answer is the result, or has it as `member`.
    """
    to_load, to_dump = request_schema(), answer_schema()

    async def handle(request: web.Request) -> Answer:
        body = await load(request, to_load)
        perform = request.app[SERVICE].perform
        result = await perform(profile(request), body["by"], build(body))
        return write(to_dump, result if member is None else {member: result})

    handle.__doc__ = build.__doc__
    return handle


def batch_operation(
    build: BuildBatch, request_schema: type[Request], answer_schema: type[Schema], *, member: str
) -> Handler:
    """The handler of a batch: the answer has each result as `member`, or its problem.

    It always waits, since batches have threads of their own.
    """
    to_load, to_dump = request_schema(), answer_schema()

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

    handle.__doc__ = build.__doc__
    return handle
