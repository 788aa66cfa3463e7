"""A web page in somebody's browser can do nothing at a door that asks for no token."""

import contextlib

import pytest
from aiohttp import ClientSession

KINDS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
CALLS = {
    "vault": ("/v1/transit/keys/of-the-page", b"{}"),
    "eudiplo": ("/keys", b'{"kid":"of-the-page","alg":"ES256"}'),
}


@pytest.fixture(params=CALLS)
async def door(request, start_with_doors):
    """A function that sends a request as a browser does; gives status and headers."""
    client, urls = await start_with_doors(request.param)
    path, body = CALLS[request.param]
    async with contextlib.AsyncExitStack() as sessions:
        session = await sessions.enter_async_context(ClientSession(urls[request.param]))

        async def send(method, headers):
            sent = body if method == "POST" else b""
            async with session.request(method, path, headers=headers, data=sent) as answer:
                return answer.status, answer.headers

        yield send
    async with client.get("/keys") as answer:
        assert await answer.json() == []


@pytest.mark.parametrize("origin", ["http://page.example", "null", "http://127.0.0.1:8200"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_simple_request_of_a_web_page_is_refused(door, origin, kind):
    status, headers = await door("POST", {"Origin": origin, "Content-Type": kind})
    assert status == 403
    assert not [name for name in headers if name.startswith("Access-Control")]


async def test_a_browser_that_asks_first_is_refused(door):
    asks = {"Access-Control-Request-Method": "DELETE", "Origin": "http://page.example"}
    status, headers = await door("OPTIONS", asks)
    assert status == 403
    assert not [name for name in headers if name.startswith("Access-Control")]


async def test_a_name_that_leads_to_the_address_is_refused(door):
    status, _ = await door("POST", {"Host": "page.example"})
    assert status == 421
