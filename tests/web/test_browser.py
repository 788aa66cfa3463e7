"""Swagger UI as a browser shows it, from this process alone."""

import os
import shutil

import pytest
from playwright.async_api import async_playwright, expect

from minikms.config import Config
from minikms.web.app import create_app

CHROMIUM = shutil.which("chromium")

# Without these, Chromium as root does not start, or asks hosts of its own for updates.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def context(tmp_path):
    """A new browser profile, which keeps what its pages asked for and complained of."""
    if CHROMIUM is None:
        if os.environ.get("MINIKMS_TEST_REQUIRE_BROWSER") == "1":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            viewport={"width": 1280, "height": 1000},
        )
        yield context
        await context.close()


@pytest.fixture
async def page(context):
    page = await context.new_page()
    page.requested, page.complaints = [], []
    context.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            page.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    return page


async def open_operation(page, name):
    """The panel of one operation, ready for its request."""
    panel = page.locator(f"#operations-{name}")
    await panel.locator(".opblock-summary-control").click()
    await panel.get_by_role("button", name="Try it out").click()
    return panel


async def execute(panel):
    """The answer's body, once the panel shows it."""
    await panel.get_by_role("button", name="Execute").click()
    live = panel.locator(".live-responses-table .response")
    await expect(live.locator(".response-col_status")).to_contain_text("200")
    return await live.locator("pre.microlight, pre code").first.inner_text()


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/"])
async def test_docs_open_from_this_host_alone(client, page, path, tmp_path):
    await page.goto(str(client.make_url(path)))
    await expect(page.get_by_role("heading", name="Mini KMS")).to_be_visible()
    await expect(page.locator("#operations-keys-generateKey")).to_be_visible()
    await page.wait_for_load_state("networkidle")

    assert page.complaints == []
    origin = str(client.make_url("/"))
    hosts = [url for url in page.requested if not url.startswith(("data:", "blob:"))]
    assert f"{origin}docs/" in hosts
    assert [url for url in hosts if not url.startswith(origin)] == []

    picture = await page.screenshot(path=tmp_path / "docs.png", full_page=True)
    assert len(picture) > 50_000


async def test_authorize(start, page, tmp_path, admin):
    """A token that is typed there is sent from then on."""
    token, file = admin
    client = await start(create_app(Config(auth="token", admin_token_file=file)))
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page, "keys-listKeys")
    live = panel.locator(".live-responses-table .response .response-col_status")
    await panel.get_by_role("button", name="Execute").click()
    await expect(live).to_contain_text("401")

    await page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    await dialog.locator("input").fill(token)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").click()
    await execute(panel)
    await page.screenshot(path=tmp_path / "authorized.png", full_page=True)


async def test_try_it_out(client, page, tmp_path):
    """Generate, sign and verify, from the examples as they stand."""
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page, "keys-generateKey")
    assert '"kid"' in await execute(panel)
    await page.screenshot(path=tmp_path / "generated.png")

    (key,) = await (await client.get("/keys")).json()
    assert key["kid"] in await panel.inner_text()

    # The key has its name from the example, and the other calls' examples have it too.
    assert '"sig"' in await execute(await open_operation(page, "operations-sign"))
    assert "true" in await execute(await open_operation(page, "operations-verify"))
    assert '"jws"' in await execute(await open_operation(page, "jose-signJws"))
    assert '"bytes"' in await execute(await open_operation(page, "operations-random"))
    assert page.complaints == []
