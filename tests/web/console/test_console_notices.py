"""Notices of the console: how refusals are shown and closed, and that they hide nothing."""

import pytest
from http_answers import ok
from web.console.console_pages import Held, expect, make, make_token, open_page

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

# Whether the middle of an element is in the window, and nothing else is over it.
IS_ON_TOP = """(one) => {
    const { left, top, width, height } = one.getBoundingClientRect();
    return one.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""


@pytest.fixture
async def refused(guarded, signed_in):
    """The page of the tokens after a revocation that was refused."""
    await make_token(guarded, name="issuer")
    await open_page(signed_in, "Tokens")
    [record] = await ok(await guarded.get("/tokens"))
    await ok(await guarded.delete(f"/tokens/{record['id']}"))
    await signed_in.get_by_role("button", name="Revoke the token issuer").click()
    async with Held(signed_in, "**/tokens/*", "DELETE") as held:
        await signed_in.get_by_role("dialog").locator("button[type=submit]").click()
        await held.arrived.wait()
        await signed_in.keyboard.press("Escape")
        await expect(signed_in.get_by_role("dialog")).to_have_count(0)
    return signed_in


async def test_a_refusal_outlives_its_dialog(refused):
    """Without it, a caller would believe that the change was made."""
    await expect(refused.get_by_role("alert")).to_contain_text("Revoke this token? ")
    await expect(refused.get_by_role("alert")).to_contain_text("Request id")


async def test_a_refusal_ends_with_the_next_action(refused):
    alert = refused.get_by_role("alert")
    await expect(alert).to_be_visible()
    await refused.get_by_label("Name", exact=True).fill("other")
    await refused.get_by_label("sign: sign messages").check()
    await refused.get_by_role("button", name="Make the token").click()
    await expect(refused.get_by_role("heading", name="The new token")).to_be_visible()
    await expect(alert).to_have_count(0)


async def test_a_refusal_does_not_follow_to_another_page(refused):
    alert = refused.get_by_role("alert")
    await expect(alert).to_be_visible()
    await open_page(refused, "Profiles")
    await expect(alert).to_have_count(0)


async def test_a_refusal_ends_with_the_session(refused):
    await expect(refused.get_by_role("alert")).to_be_visible()
    await refused.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    await expect(refused.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(refused.get_by_role("alert")).to_have_count(0)


async def test_a_success_leads_to_its_page(guarded, signed_in):
    await open_page(signed_in, "New key")
    await signed_in.get_by_role("button", name="Make the key").click()
    await expect(signed_in.get_by_role("heading", level=2, name="Facts")).to_be_visible()
    await expect(signed_in.get_by_text("The key is made.")).to_be_visible()


async def test_what_is_copied_is_told(guarded, signed_in):
    key = await make(guarded)
    await signed_in.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await open_page(signed_in, "Due")
    await open_page(signed_in, "Keys")
    await signed_in.get_by_role("link", name=key["kid"]).click()
    await signed_in.get_by_role("button", name="Copy kid").click()
    await expect(signed_in.get_by_text("kid copied.")).to_be_visible()
    assert await signed_in.evaluate("navigator.clipboard.readText()") == key["kid"]


async def test_clicks_beside_a_notice_reach_the_page(signed_in):
    await open_page(signed_in, "Profiles")
    await signed_in.get_by_label("New profile").fill("alice")
    await signed_in.get_by_role("button", name="Make").click()
    notice = signed_in.locator(".notice")
    box = await notice.bounding_box()
    at = "([x, y]) => document.elementFromPoint(x, y).closest('#notices') === null"
    middle = box["y"] + box["height"] / 2
    assert not await signed_in.evaluate(at, [box["x"] + 9, middle])
    assert await signed_in.evaluate(at, [box["x"] - 9, middle])
    assert await signed_in.evaluate(at, [box["x"] + box["width"] + 9, middle])
    await signed_in.get_by_role("button", name="Close the notice").click()
    await expect(notice).to_have_count(0)


async def test_the_button_that_caused_a_notice_is_not_under_it(guarded, signed_in):
    key = await make(guarded, alias="issuer")
    await signed_in.set_viewport_size({"width": 390, "height": 700})
    await open_page(signed_in, "Due")
    await open_page(signed_in, "Keys")
    await signed_in.get_by_role("link", name="issuer").click()
    add = signed_in.get_by_role("button", name="Add")
    await signed_in.get_by_label("New alias").fill("a" * 200)
    await add.evaluate("(one) => scrollBy(0, one.getBoundingClientRect().bottom - innerHeight + 9)")
    await ok(await guarded.delete(f"/key/{key['kid']}"))
    await add.focus()
    await signed_in.keyboard.press("Enter")
    await expect(signed_in.get_by_role("alert")).to_be_visible()
    await expect(add).to_be_focused()
    assert await add.evaluate(IS_ON_TOP)


@pytest.mark.parametrize("step", ["Tab", "Shift+Tab"])
async def test_what_the_keyboard_reaches_is_not_under_a_notice(guarded, signed_in, step):
    for number in range(20):
        await make(guarded, alias=f"key {number}")
    await signed_in.set_viewport_size({"width": 390, "height": 700})
    await open_page(signed_in, "Profiles")
    await signed_in.get_by_label("New profile").fill("alice")
    await signed_in.get_by_role("button", name="Make").click()
    await expect(signed_in.locator(".notice")).to_be_visible()
    await open_page(signed_in, "Keys")
    await expect(signed_in.locator("main tbody tr")).to_have_count(20)
    reached = []
    for _ in range(45):
        await signed_in.keyboard.press(step)
        focused = signed_in.locator(":focus")
        if await focused.count() == 0:  # the browser's own controls
            continue
        reached.append(await focused.evaluate("(one) => one.outerHTML.slice(0, 60)"))
        assert await focused.evaluate(IS_ON_TOP), reached
    assert len(set(reached)) > 30
