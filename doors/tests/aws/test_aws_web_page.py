"""A web page in somebody's browser can do nothing at a door that asks for no token."""

import json

import pytest
from aiohttp import ClientSession

TARGET = {"X-Amz-Target": "TrentService.CreateKey"}
PAGE = {"Origin": "http://page.example"}


@pytest.fixture
async def door(start_aws):
    """A function that sends a request as a browser does; gives status, code and headers."""
    aws = await start_aws()
    async with ClientSession(aws.url) as session:

        async def send(method, headers, body=b"{}"):
            async with session.request(method, "/", headers=headers, data=body) as answer:
                code = json.loads(await answer.read()).get("__type")
                return answer.status, code, answer.headers

        yield send
    assert (await aws.list_keys())["Keys"] == []


async def test_a_browser_that_asks_first_is_refused(door):
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-amz-target",
    }
    status, code, headers = await door("OPTIONS", PAGE | asks)
    assert (status, code) == (400, "UnknownOperationException")
    assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_a_simple_request_of_a_web_page_calls_nothing(door, kind):
    """A simple request cannot have the header that names the operation."""
    status, code, headers = await door("POST", PAGE | {"Content-Type": kind})
    assert (status, code) == (400, "UnknownOperationException")
    assert not [name for name in headers if name.startswith("Access-Control")]


async def test_a_name_that_leads_to_the_address_is_refused(door):
    status, code, _ = await door("POST", TARGET | {"Host": "page.example"})
    assert (status, code) == (421, "ValidationException")
