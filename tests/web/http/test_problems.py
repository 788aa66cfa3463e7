"""Problems that only a bug can cause, by routes of the tests."""

import pytest
from aiohttp import web
from problems import refused

from minikms.config import Config
from minikms.errors import StoreUnavailable, ValidationFailed
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

SECRET = "planted-7f3a"


async def fail(request):
    raise RuntimeError(SECRET)


async def time_out(request):
    raise TimeoutError(SECRET)


async def fail_in_the_problem(request):
    raise ValidationFailed(object())  # which no JSON has


async def fail_in_the_middle(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    raise ValidationFailed(object())  # which no JSON has


async def fail_with_a_bug_in_the_middle(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    raise RuntimeError(SECRET)


async def refuse(request):
    raise web.HTTPConflict(text=SECRET)


async def redirect(request):
    raise web.HTTPSeeOther("/healthz")


IN_THE_MIDDLE = (fail_in_the_middle, fail_with_a_bug_in_the_middle)


@pytest.fixture
async def client(start):
    app = create_service(Config())
    for handler in (fail, time_out, fail_in_the_problem, *IN_THE_MIDDLE, refuse, redirect):
        app.router.add_route("GET", f"/{handler.__name__}", handler)
    return await start(app)


@pytest.mark.parametrize("handler", [fail, time_out, fail_in_the_problem])
async def test_a_bug_is_logged_under_the_id_that_the_answer_has(
    client, connection, caplog, handler
):
    response = await connection.call("GET", f"/{handler.__name__}")
    assert response.problem() == (500, "internal-error")
    known = response.headers["X-Request-Id"]
    assert known in response.body.decode()
    for text in (SECRET, "Traceback", "Error(", ".py"):
        assert text not in response.body.decode()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.request_id, bool(record.exc_info)) == (known, True)
    # The process goes on, whether or not this connection does.
    assert (await client.get("/keys")).status == 200


@pytest.mark.parametrize("handler", IN_THE_MIDDLE)
async def test_an_answer_that_has_begun_gets_no_second_head(client, connection, caplog, handler):
    connection.send("GET", f"/{handler.__name__}")
    assert (await connection.receive()).status == 200
    assert await connection.read() == b"5\r\nbegun\r\n"
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.getMessage(), bool(record.exc_info)) == ("internal error", True)
    assert (await client.get("/keys")).status == 200


async def test_a_refusal_by_aiohttp_itself_is_a_problem(client):
    assert SECRET not in str(await refused(await client.get("/refuse"), 400, "bad-request"))


async def test_redirects_pass_without_a_problem(client):
    response = await client.get("/redirect", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/healthz")


async def test_a_store_that_does_not_answer(client, monkeypatch):
    # A store in memory cannot be taken away.
    async def away():
        raise StoreUnavailable()

    monkeypatch.setattr(client.app[SERVICE], "ping", away)
    response = await client.get("/readyz")
    await refused(response, 503, "store-unavailable")
    assert response.headers["Retry-After"] == "1"
    assert (await client.get("/healthz")).status == 200
