"""The console in a browser: its pages are opened, and its callers sign in."""

import asyncio
import re

import pytest
from http_answers import ok

from minikms.access.callers import SCOPES

browsers = pytest.importorskip(
    "playwright.async_api", reason="needs playwright: pip install -e '.[test-all]'"
)
expect = browsers.expect
expect.set_options(timeout=60_000)


class Held:
    """Holds the first call of a page to a path until `go_on` is set."""

    def __init__(self, page, path, method="GET"):
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self._page, self._path, self._method = page, path, method

    async def __aenter__(self):
        await self._page.route(self._path, self._hold)
        return self

    async def __aexit__(self, *exc):
        self.go_on.set()
        await self._page.unroute_all(behavior="wait")

    async def _hold(self, route):
        if route.request.method == self._method and not self.arrived.is_set():
            self.arrived.set()
            await self.go_on.wait()
        await route.continue_()


def complaints(page):
    """The browser's error messages, except about refused calls."""
    refusal = re.compile(r"Failed to load resource: .* status of 4\d\d ")
    return [one for one in page.complaints if not refusal.match(one)]


async def sign_in(page, address, token):
    await page.goto(address)
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#menu a").first).to_be_visible()
    # Wait until the first page is complete.
    await expect(page.locator("main h1")).not_to_have_text("Sign in")
    await expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


async def open_page(page, name):
    """Open a page of the menu by its name, after which a number may stand."""
    shown = re.compile(rf"^{re.escape(name)}( \d+)?$")
    await page.locator("#menu").get_by_role("link", name=shown).click()
    await expect(page.locator("#menu [aria-current=page]")).to_have_text(shown)
    await expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


async def make(client, **options):
    body = {"alg": "ed25519", **options}
    return await ok(await client.post("/key/generate", json=body))


async def make_token(client, **options):
    body = {"name": "t", "scopes": list(SCOPES), **options}
    return (await ok(await client.post("/tokens", json=body)))["token"]
