"""The console keeps nothing of an earlier caller: late answers, forms, pages, and storage."""

import asyncio

import pytest
from http_answers import bearer, ok
from waiting import waiting_for
from web.console.console_pages import Held, expect, make, make_token, open_page, sign_in

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def events(client, **query):
    return await ok(await client.get("/audit", params=query))


async def test_a_page_that_is_left_has_no_token(guarded, address, page, admin):
    """A browser may keep it, and shows it to the next who goes back."""
    await sign_in(page, address, admin[0])
    await page.evaluate(
        "window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))"
    )
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.locator("#menu a")).to_have_count(0)
    await page.goto("about:blank")
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_a_page_that_is_come_back_to_begins_again(client, page):
    await page.goto(str(client.make_url("/console/")))
    await expect(page).to_have_title("Keys · Mini KMS")
    for event in ("pagehide", "pageshow"):
        await page.evaluate(
            f"window.dispatchEvent(new PageTransitionEvent('{event}', {{persisted: true}}))"
        )
    await expect(page).to_have_title("Keys · Mini KMS")


@pytest.fixture
async def two(guarded):
    """Tokens of two callers, each of its own profile."""
    tokens = []
    for name in ("one", "two"):
        await ok(await guarded.post("/profile", json={"name": name}))
        tokens.append(await make_token(guarded, name=name, profiles=[name]))
    return tokens


async def follow(page, token):
    """Sign in after another caller has left."""
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#caller")).to_contain_text("two")
    await open_page(page, "Profiles")


async def is_undisturbed(guarded, page):
    """Check that the page is the one of the second caller, and so are its calls."""
    await page.wait_for_timeout(500)  # for an answer that should change nothing
    await expect(page.get_by_role("heading", level=1)).to_have_text("Profiles")
    await expect(page.locator("#caller")).to_contain_text("two")
    await expect(page.get_by_label("Profile", exact=True)).to_have_value("two")
    await open_page(page, "Keys")
    async with waiting_for("the listing of the second caller"):  # the page does not wait for it
        while not (found := await events(guarded, operation="listKeys", who="two")):
            await asyncio.sleep(0.05)
    assert {(event["profile"], event["outcome"]) for event in found} == {("two", "success")}


async def test_a_page_of_an_earlier_caller_is_dropped(guarded, address, page, two):
    await sign_in(page, address, two[0])
    async with Held(page, "**/tokens") as held:
        await page.locator("#menu").get_by_role("link", name="Tokens").click()
        await held.arrived.wait()
        await page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
        await follow(page, two[1])
    await is_undisturbed(guarded, page)


async def test_a_change_of_an_earlier_caller_leads_the_next_nowhere(guarded, address, page, two):
    await sign_in(page, address, two[0])
    await open_page(page, "New key")
    async with Held(page, "**/key/generate", "POST") as held:
        await page.get_by_role("button", name="Make the key").click()
        await held.arrived.wait()
        await page.get_by_role("button", name="Sign out").click()
        await follow(page, two[1])
    await is_undisturbed(guarded, page)


async def test_the_profiles_of_an_earlier_caller_do_not_switch_the_next(
    guarded, address, page, two
):
    await sign_in(page, address, two[0])
    async with Held(page, "**/profiles?*") as held:
        await page.evaluate("window.dispatchEvent(new Event('profileschange'))")
        await held.arrived.wait()
        await page.get_by_role("button", name="Sign out").click()
        await follow(page, two[1])
    await is_undisturbed(guarded, page)


async def test_a_late_page_does_not_replace_the_next(guarded, signed_in):
    async with Held(signed_in, "**/tokens") as held:
        await signed_in.locator("#menu").get_by_role("link", name="Tokens").click()
        await held.arrived.wait()
        await open_page(signed_in, "Profiles")
    await open_page(signed_in, "Profiles")
    await expect(signed_in.get_by_role("heading", level=1)).to_have_text("Profiles")


async def test_a_slow_page_has_its_own_heading_while_it_loads(guarded, signed_in):
    await make(guarded, alias="issuer")
    await open_page(signed_in, "Keys")
    rows = signed_in.locator("main tbody tr")
    await expect(rows).to_have_count(1)
    heading = signed_in.get_by_role("heading", level=1)
    async with Held(signed_in, "**/tokens") as held:
        await signed_in.locator("#menu").get_by_role("link", name="Tokens").click()
        await held.arrived.wait()
        await expect(heading).to_have_text("Tokens")
        await expect(heading).to_be_focused()
        await expect(signed_in).to_have_title("Tokens · Mini KMS")
        await expect(signed_in.get_by_text("Loading…")).to_be_visible()
        await expect(rows).to_have_count(0)
        await expect(signed_in.locator("main")).to_have_attribute("aria-busy", "true")
    await expect(signed_in.get_by_role("heading", name="New token")).to_be_visible()
    await expect(heading).to_be_focused()


async def test_a_search_keeps_its_page_while_it_loads(guarded, signed_in):
    await make(guarded, alias="issuer")
    await open_page(signed_in, "Due")
    await open_page(signed_in, "Keys")
    rows = signed_in.locator("main tbody tr")
    await expect(rows).to_have_count(1)
    async with Held(signed_in, "**/algorithms") as held:
        await signed_in.get_by_label("Label").fill("a:b")
        await signed_in.get_by_role("button", name="Search").click()
        await held.arrived.wait()
        await expect(rows).to_have_count(1)
    await expect(rows).to_have_count(0)


async def test_keys_of_another_profile_are_gone_while_its_page_loads(guarded, address, page, admin):
    await ok(await guarded.post("/profile", json={"name": "alice"}))
    await make(guarded, alias="issuer")
    await sign_in(page, address, admin[0])
    rows, profile = page.locator("main tbody tr"), page.get_by_label("Profile", exact=True)
    await expect(rows).to_have_count(1)
    await profile.focus()
    async with Held(page, "**/algorithms") as held:
        await profile.select_option("alice")
        await held.arrived.wait()
        await expect(rows).to_have_count(0)
    await expect(page.get_by_text("This profile has no keys yet.")).to_be_visible()
    await expect(profile).to_be_focused()


async def test_the_field_for_the_token_has_the_focus(address, page, admin):
    await page.goto(address)
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.keyboard.type(admin[0])
    await page.keyboard.press("Enter")
    await expect(page.locator("#menu a").first).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_focused()


async def test_a_visit_leaves_no_line_in_the_audit_log(guarded, address, page):
    await page.goto(address)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert await events(guarded, outcome="unauthenticated") == []


async def test_own_reads_are_left_out_of_the_audit_page(guarded, signed_in):
    key = await make(guarded, alias="issuer")
    await ok(await guarded.get("/keys"))  # with the token of the console
    other = await make_token(guarded, name="other")
    await ok(await guarded.get("/keys", headers=bearer(other)))
    await open_page(signed_in, "Audit")
    rows = signed_in.locator("main tbody tr")
    shown = signed_in.locator("main td[data-heading=Operation]")
    await expect(shown.filter(has_text="generateKey")).to_have_count(1)
    await expect(rows.filter(has_text="listKeys")).to_have_count(1)
    await expect(rows.filter(has_text="listKeys")).to_contain_text("other")
    await expect(rows.filter(has_text="listAuditEvents")).to_have_count(0)
    await signed_in.get_by_label("With your own reads").check()
    await signed_in.get_by_role("button", name="Search").click()
    await expect(rows.filter(has_text="listAuditEvents").first).to_be_visible()
    await expect(rows.filter(has_text="listKeys").nth(1)).to_be_visible()
    assert key["kid"]


async def test_an_alias_of_another_key_stays_with_it(guarded, signed_in):
    key = await make(guarded, alias="taken")
    await open_page(signed_in, "New key")
    await signed_in.get_by_label("Alias").fill("taken")
    await signed_in.get_by_role("button", name="Make the key").click()
    await expect(signed_in.get_by_role("alert")).to_be_visible()
    found = await ok(await guarded.get("/key", params={"alias": "taken"}))
    assert found["kid"] == key["kid"]
    assert len(await ok(await guarded.get("/keys"))) == 1


async def test_a_key_is_stored_as_the_form_has_it(guarded, signed_in):
    await open_page(signed_in, "New key")
    await signed_in.get_by_label("Algorithm").select_option("p256")
    await signed_in.get_by_label("Labels").fill("team: wallets\nurl: https://a.example")
    await signed_in.get_by_label("Verifies only from").fill("2100-01-31")
    await signed_in.get_by_role("button", name="Make the key").dblclick()
    await expect(signed_in.get_by_role("heading", level=2, name="Facts")).to_be_visible()
    [key] = await ok(await guarded.get("/keys"))  # a double click makes one
    assert (key["alg"], key["expires"]) == ("p256", "2100-01-31T00:00:00.000Z")
    assert key["labels"] == {"team": "wallets", "url": "https://a.example"}


async def test_a_token_is_stored_as_the_form_has_it(guarded, signed_in):
    before = {record["id"] for record in await ok(await guarded.get("/tokens"))}
    await open_page(signed_in, "Tokens")
    form = signed_in.get_by_role("region", name="New token")
    await form.get_by_label("Name", exact=True).fill("issuer")
    await form.get_by_label("sign: ", exact=False).first.check()
    await form.get_by_label("Ends on").fill("2100-01-31")
    await form.get_by_role("textbox", name="Profiles").fill("default")
    await form.get_by_role("button", name="Make the token").dblclick()
    await expect(signed_in.get_by_role("heading", name="The new token")).to_be_visible()
    [made] = [each for each in await ok(await guarded.get("/tokens")) if each["id"] not in before]
    assert (made["name"], made["scopes"], made["profiles"]) == ("issuer", ["sign"], ["default"])
    assert made["expires"] == "2100-01-31T00:00:00.000Z"


async def test_settings_are_stored_as_the_form_has_them(guarded, signed_in):
    await open_page(signed_in, "Profiles")
    await signed_in.get_by_role("button", name="Settings of default").click()
    dialog = signed_in.get_by_role("dialog")
    await dialog.get_by_label("Most keys").fill("7")
    await dialog.get_by_label("Days until a deletion").fill("2")
    await dialog.get_by_label("need the scope keys:delete").check()
    await dialog.get_by_role("button", name="Save").click()
    await expect(signed_in.get_by_text("The settings are saved.")).to_be_visible()
    stored = (await ok(await guarded.get("/profiles")))["settings"]["default"]
    assert (stored["max_keys"], stored["min_deletion_delay"]) == (7, 172_800)
    assert stored["delete_scope"] is True
    assert stored["calls_per_second"] is None


async def test_no_page_is_wider_than_a_window_of_1280(guarded, signed_in):
    await make(guarded, alias="did:web:issuer.example:with:a:long:path#key-" + "1" * 60)
    token = await make_token(guarded, name="issuer", expires="2100-01-31T00:00:00Z")
    for alias in ("nobody", "did:web:issuer.example:with:a:long:path#key-" + "2" * 60):
        headers = {**bearer(token), "X-Request-Id": "a" * 64}
        await guarded.post("/sign", json={"alias": alias, "data": ""}, headers=headers)
    secret = await make(guarded, alg="hs256", alias="a secret")
    await guarded.post("/jwe/encrypt", json={"kid": secret["kid"]}, headers=headers)
    await guarded.post(
        "/key-attestation",
        json={"kid": secret["kid"], "keys": ["a"], "expires_in": 60},
        headers=headers,
    )
    await signed_in.set_viewport_size({"width": 1280, "height": 800})
    for item in await signed_in.locator("#menu a").all_text_contents():
        await open_page(signed_in, item)
        await signed_in.wait_for_timeout(200)  # rows come after the page
        width = await signed_in.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert width <= 0, item
