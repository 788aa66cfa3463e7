"""An aiohttp service that answers with the JSON of the request, as a floor for comparison.

`python bench/echo.py PORT` serves on loopback, as Mini KMS does: one process, uvloop, orjson.
"""

import sys

import orjson
import uvloop
from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    """Read the body and write it again."""
    value = orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(value), content_type="application/json")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/{path:.*}", echo)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
