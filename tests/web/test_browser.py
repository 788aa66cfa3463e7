"""Swagger UI as a browser shows it, from this process alone."""

import os
import shutil

import pytest

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.routes import ROUTES

browsers = pytest.importorskip(
    "playwright.async_api", reason="needs playwright: pip install -e '.[test-all]'"
)
expect = browsers.expect

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
MISSING = "chromium is missing: apt-get install chromium"

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
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    async with browsers.async_playwright() as playwright:
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


async def open_operation(panel):
    """The panel of one operation, ready for its request."""
    await panel.locator(".opblock-summary-control").click()
    return await try_out(panel)


async def try_out(panel):
    """The panel of an operation that is open, ready for its request."""
    await panel.get_by_role("button", name="Try it out").click()
    return panel


async def execute(panel, status="200"):
    """The answer's body, once the panel shows it."""
    clear = panel.get_by_role("button", name="Clear")
    if await clear.count():
        await clear.click()
    await panel.get_by_role("button", name="Execute").click()
    live = panel.locator(".live-responses-table .response")
    shown = live.locator(".response-col_status")
    await expect(shown).to_contain_text(status, timeout=30_000)  # the document takes long to show
    return await live.locator("pre.microlight, pre code").first.inner_text()


async def test_docs_open_from_this_host_alone(client, page, tmp_path):
    origin = str(client.make_url("/"))
    for path in ("/", "/docs", "/docs/"):
        page.requested.clear()
        await page.goto(str(client.make_url(path)))
        await expect(page).to_have_title("Mini KMS")
        await expect(page.get_by_role("heading", name="Mini KMS")).to_be_visible()
        await expect(page.locator("#operations-keys-generateKey")).to_be_visible()
        await page.wait_for_load_state("networkidle")

        assert page.complaints == []
        hosts = [url for url in page.requested if not url.startswith(("data:", "blob:"))]
        assert f"{origin}docs/" in hosts
        assert [url for url in hosts if not url.startswith(origin)] == []

    picture = await page.screenshot(path=tmp_path / "docs.png", full_page=True)
    assert len(picture) > 50_000


async def test_authorize(start, page, tmp_path, admin):
    """A token that is typed there is sent from then on."""
    token, file = admin
    client = await start(create_service(Config(auth="token", admin_token_file=file)))
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page.locator("#operations-keys-listKeys"))
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
    panel = await open_operation(page.locator("#operations-keys-generateKey"))
    assert '"kid"' in await execute(panel)
    await page.screenshot(path=tmp_path / "generated.png")

    (key,) = await (await client.get("/keys")).json()
    assert key["kid"] in await panel.inner_text()

    # The key has its name from the example, and the other calls' examples have it too.
    assert '"sig"' in await execute(
        await open_operation(page.locator("#operations-operations-sign"))
    )
    assert "true" in await execute(
        await open_operation(page.locator("#operations-operations-verify"))
    )
    assert '"jws"' in await execute(await open_operation(page.locator("#operations-jose-signJws")))
    assert '"bytes"' in await execute(
        await open_operation(page.locator("#operations-operations-random"))
    )
    assert page.complaints == []


async def shown(page, app):
    """The panels of the operations of a new service, from top to bottom, by what they are."""
    await page.goto(str(app.make_url("/docs")))
    panels = page.locator(".opblock")
    await expect(panels).to_have_count(len(ROUTES))
    found = {}
    for number in range(len(ROUTES)):
        panel = panels.nth(number)
        _, group, name = (await panel.get_attribute("id")).split("-")
        method = await panel.locator(".opblock-summary-method").inner_text()
        found[group, name, method] = page.locator(f"#operations-{group}-{name}")
    return found


async def test_each_works_when_all_are_pressed_from_top_to_bottom(start, page, tmp_path):
    """With its example as it stands, on a new service; test_openapi.py sends the other examples.

    Of no operation is what is not a success higher than the window: to open each takes half a
    minute, so that is looked at here, too.
    """
    client = await start(create_service(Config()))
    for (_, name, _), panel in (await shown(page, client)).items():
        await panel.locator(".opblock-summary-control").click()
        problems = panel.locator(".response:not([data-code='200'])")
        await expect(problems.last).to_be_visible()
        height = sum([(await one.bounding_box())["height"] for one in await problems.all()])
        assert height <= page.viewport_size["height"], name
        body = await execute(await try_out(panel))
        if name != "openapi":
            for wrong in ('"valid": false', '"success": false', '"problem"'):
                assert wrong not in body, name
        await panel.locator(".opblock-summary-control").click()
    assert page.complaints == []
    await page.screenshot(path=tmp_path / "pressed.png", full_page=True)


async def test_a_call_works_alone(start, page):
    """On a new service, since the page imports the key that it names, in whatever way."""
    for operation in ("keys-deleteKeyByAlias", "didcomm-unpackDidcomm", "jose-encryptJwe"):
        client = await start(create_service(Config()))
        await page.goto(str(client.make_url("/docs")))
        await execute(await open_operation(page.locator(f"#operations-{operation}")))
    assert page.complaints == []


async def test_what_deletes_is_last_in_its_group(start, page):
    operations = await shown(page, await start(create_service(Config())))
    for group in {group for group, _, _ in operations}:
        methods = [method for one, _, method in operations if one == group]
        assert methods == sorted(methods, key=lambda method: method == "DELETE")


async def test_an_example_key_is_imported_where_it_is_not_there(start, page, admin):
    """In the profile that is asked for; and nowhere that asks for a token, or for another name."""
    client = await start(create_service(Config()))
    assert (await client.post("/profile", json={"name": "alice"})).status == 200
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page.locator("#operations-operations-mac"))
    await panel.get_by_placeholder("X-Profile").fill("alice")
    await execute(panel)
    (key,) = await (await client.get("/keys", headers={"X-Profile": "alice"})).json()
    assert key["aliases"] == ["example mac"]
    assert await (await client.get("/keys")).json() == []

    await execute(panel)  # of what is there, no second one
    assert len(await (await client.get("/keys", headers={"X-Profile": "alice"})).json()) == 1
    await panel.locator("textarea").fill('{"alias": "of mine", "data": ""}')
    await execute(panel, "404")

    token, file = admin
    guarded = await start(create_service(Config(auth="token", admin_token_file=file)))
    await page.goto(str(guarded.make_url("/docs")))
    panel = await open_operation(page.locator("#operations-operations-mac"))
    await execute(panel, "401")
    headers = {"Authorization": f"Bearer {token}"}
    assert await (await guarded.get("/keys", headers=headers)).json() == []
