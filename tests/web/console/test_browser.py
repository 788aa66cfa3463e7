"""Swagger UI as a browser shows it, from this process alone."""

from itertools import groupby

import pytest
from web.approvals.approvers import CALLS

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.routes import ROUTES

browsers = pytest.importorskip(
    "playwright.async_api", reason="needs playwright: pip install -e '.[test-all]'"
)
expect = browsers.expect
expect.set_options(timeout=60_000)

# Chromium opens the page and presses its buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def open_operation(panel):
    """The panel of one operation, ready for its request."""
    await panel.locator(".opblock-summary-control").click()
    await panel.locator("button", has_text="Try it out").click()
    return panel


async def execute(panel, status="200"):
    """The answer's body, once the panel shows it."""
    clear = panel.locator("button", has_text="Clear")
    if await clear.count():
        await clear.click()
    await panel.locator("button", has_text="Execute").click()
    live = panel.locator(".live-responses-table .response")
    shown = live.locator(".response-col_status")
    await shown.wait_for()
    assert status in await shown.inner_text()
    return await live.locator("pre.microlight, pre code").first.inner_text()


async def test_docs_open_from_this_host_alone(client, page):
    origin = str(client.make_url("/"))
    await page.goto(origin)
    await expect(page).to_have_title("Mini KMS")
    await expect(page.get_by_role("heading", name="Mini KMS")).to_be_visible()
    await expect(page.locator("#operations-keys-generateKey")).to_be_visible()
    await page.wait_for_load_state("networkidle")

    assert page.complaints == []
    hosts = [url for url in page.requested if not url.startswith(("data:", "blob:"))]
    assert hosts[:3] == [origin, f"{origin}docs", f"{origin}docs/"]
    assert [url for url in hosts if not url.startswith(origin)] == []

    assert len(await page.screenshot(full_page=True)) > 50_000


async def test_docs_are_as_wide_as_a_narrow_window(client, page):
    context = await page.context.browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True
    )
    phone = await context.new_page()
    await phone.goto(str(client.make_url("/docs/")))
    await phone.locator("#operations-keys-generateKey").wait_for()
    assert await phone.evaluate("visualViewport.scale === 1 && innerWidth === 390")
    await context.close()


@pytest.mark.parametrize(("scheme", "turned"), [("light", False), ("dark", True)])
async def test_docs_are_dark_if_the_system_is(client, page, scheme, turned):
    await page.emulate_media(color_scheme=scheme)
    await page.goto(str(client.make_url("/docs/")))
    colours = await page.evaluate("getComputedStyle(document.body).filter")
    assert ("invert" in colours) == turned


async def test_a_token_typed_in_the_page_is_sent(start, page, admin):
    """A typed token is sent from then on; a service that needs one imports no keys."""
    token, file = admin
    client = await start(create_service(Config(auth="token", admin_token_file=file)))
    await page.goto(str(client.make_url("/docs")))
    await execute(await open_operation(page.locator("#operations-operations-mac")), "401")

    # Closed panels also show the lock.
    locked = page.locator("#operations-operations-sign .authorization__btn .locked")
    assert await locked.count() == 0
    await page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    await dialog.locator("input").fill(token)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").click()
    await locked.wait_for(state="attached")
    panel = await open_operation(page.locator("#operations-keys-listKeys"))
    assert await execute(panel) == "[]"


async def test_the_examples_of_the_page_generate_sign_and_verify(client, page):
    """Generate, sign and verify, from the examples as they stand."""
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page.locator("#operations-keys-generateKey"))
    assert '"kid"' in await execute(panel)

    (key,) = await (await client.get("/keys")).json()
    assert key["kid"] in await panel.inner_text()

    # The key has its name from the example, and the other calls' examples have it too.
    assert '"sig"' in await execute(
        await open_operation(page.locator("#operations-operations-sign"))
    )
    assert "true" in await execute(
        await open_operation(page.locator("#operations-operations-verify"))
    )
    assert page.complaints == []


# The id and the method of each panel, from top to bottom.
PANELS = """() => [...document.querySelectorAll(".opblock")].map((panel) => [
    panel.id, panel.querySelector(".opblock-summary-method").innerText
])"""

# Open a panel, press its buttons, and close it. A click of playwright's takes as long as all the
# rest, since it scrolls to the button and has that painted; the other tests click so.
PRESS = """async (id) => {
    const panel = document.getElementById(id);
    const until = (what, find) => new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${id}: no ${what}`)), 60_000);
        const look = () => {
            const found = find();
            if (!found) return;
            observer.disconnect();
            clearTimeout(timer);
            resolve(found);
        };
        const observer = new MutationObserver(look);
        observer.observe(panel, { childList: true, subtree: true });
        look();
    });
    const find = (selector) => until(selector, () => panel.querySelector(selector));
    const press = async (selector) => {
        const button = await find(selector);
        if (button.disabled || !button.checkVisibility()) throw new Error(`${id}: ${selector}`);
        button.click();
    };

    await press(".opblock-summary-control");
    const failure = ".response:not([data-code='200'])";
    await find(failure);
    const failures = [...panel.querySelectorAll(failure)];
    const heights = failures.map((one) => one.getBoundingClientRect().height);
    await press(".try-out__btn");
    await press(".execute");
    const answer = ".live-responses-table .response ";
    const status = (await find(`${answer}.response-col_status`)).textContent;
    const body = (await find(`${answer}:is(pre.microlight, pre code)`)).textContent;
    await press(".opblock-summary-control");
    await until("end", () => !panel.querySelector(".opblock-body"));
    return [heights, status, body];
}"""


async def press_heading(page, tag):
    """Show the operations of a group, or hide them."""
    await page.evaluate("(id) => document.getElementById(id).click()", f"operations-tag-{tag}")


async def test_each_works_when_all_are_pressed_from_top_to_bottom(client, page):
    """Each operation sends its first example to a new service; test_openapi.py sends the others.

    This test also checks that no operation's error answers are higher than the window, since
    opening all of them takes long.
    """
    await page.goto(str(client.make_url("/docs")))
    await expect(page.locator(".opblock")).to_have_count(len(ROUTES))
    groups = {
        tag: list(panels)
        for tag, panels in groupby(
            await page.evaluate(PANELS), lambda panel: panel[0].split("-")[1]
        )
    }
    for panels in groups.values():
        methods = [method for _, method in panels]
        assert methods == sorted(methods, key=lambda method: method == "DELETE")

    for tag in groups:
        await press_heading(page, tag)
    await expect(page.locator(".opblock")).to_have_count(0)
    for tag, panels in groups.items():
        # One group at a time, since Swagger UI works for each operation that is shown.
        await press_heading(page, tag)
        for panel, _ in panels:
            heights, status, body = await page.evaluate(PRESS, panel)
            assert min(heights) > 0, panel
            assert sum(heights) <= page.viewport_size["height"], panel
            if panel.rpartition("-")[2] in CALLS:  # the id of an approval depends on its caller
                assert "404" in status, panel
                continue
            assert "200" in status, panel
            if panel != "operations-system-openapi":
                for wrong in ('"valid": false', '"success": false', '"problem"'):
                    assert wrong not in body, panel
        await press_heading(page, tag)
    assert len(page.complaints) == len(CALLS)
    assert all("404" in each for each in page.complaints)


async def test_a_call_works_alone(client, page):
    """With no key there, since the page imports the key that it names, in whatever way."""
    await page.goto(str(client.make_url("/docs")))
    for operation in ("keys-deleteKeyByAlias", "didcomm-unpackDidcomm", "jose-encryptJwe"):
        assert await (await client.get("/keys")).json() == []
        await execute(await open_operation(page.locator(f"#operations-{operation}")))
        for key in await (await client.get("/keys")).json():
            await client.delete(f"/key/{key['kid']}")
    assert page.complaints == []


async def test_an_example_key_is_imported_where_it_is_not_there(client, page):
    """In the profile that is asked for; and none for another name."""
    assert (await client.post("/profile", json={"name": "alice"})).status == 200
    await page.goto(str(client.make_url("/docs")))
    panel = await open_operation(page.locator("#operations-operations-mac"))
    await panel.get_by_placeholder("X-Profile").fill("alice")
    await execute(panel)
    (key,) = await (await client.get("/keys", headers={"X-Profile": "alice"})).json()
    assert key["aliases"] == ["example mac"]
    assert await (await client.get("/keys")).json() == []

    await execute(panel)  # the key exists, so no second one is made
    assert len(await (await client.get("/keys", headers={"X-Profile": "alice"})).json()) == 1
    await panel.locator("textarea").fill('{"alias": "of mine", "data": ""}')
    await execute(panel, "404")
