"""The console in the hands of a caller with roles."""

import time

import pytest
from access.jwt_issuer import SigningKey
from access.role_files import role_of, write_roles
from http_answers import bearer, ok
from web.console.console_pages import complaints, expect, open_page, sign_in

from minikms.config import Config
from minikms.serve.assembly import create_service

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ROLES = role_of("maker", ["keys:read", "keys:write"], ["wallet"]) + role_of(
    "reader", ["keys:read", "sign"], ["pid"]
)


@pytest.fixture
def issuer():
    return SigningKey()


@pytest.fixture
async def guarded(start, admin, tmp_path, issuer):
    """A service with roles; its client is its admin, which has made a key in each profile."""
    roles = write_roles(tmp_path, issuer, ROLES)
    client = await start(
        create_service(Config(auth="token", admin_token_file=admin[1], roles=roles))
    )
    client.session.headers.update(bearer(admin[0]))
    for name in ("pid", "wallet"):
        await ok(await client.post("/profile", json={"name": name}))
        body, headers = {"alg": "ed25519", "alias": f"key of {name}"}, {"X-Profile": name}
        await ok(await client.post("/key/generate", json=body, headers=headers))
    return client


async def test_a_caller_with_roles_works_in_their_profiles(guarded, address, page, issuer):
    """The console shows the pages of the roles that are valid in the chosen profile."""
    await sign_in(page, address, issuer.token({"roles": ["maker", "reader"]}))
    rows, menu = page.locator("main tbody tr"), page.locator("#menu a")
    await expect(page.locator("#caller")).to_contain_text("cluster:alice")
    profile = page.get_by_label("Profile", exact=True)
    await expect(profile.locator("option")).to_have_text(["pid", "wallet"])
    await expect(profile).to_have_value("pid")
    await expect(menu).to_have_text(["Keys", "Due", "Try it", "Health"])
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("key of pid")
    await profile.select_option("wallet")
    await expect(menu).to_have_text(["Keys", "New key", "Due", "Health"])
    await expect(rows).to_contain_text("key of wallet")
    await expect(rows).to_have_count(1)
    await open_page(page, "New key")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("heading", level=1)).not_to_have_text("New key")
    await open_page(page, "Keys")
    await expect(rows).to_have_count(2)
    assert complaints(page) == []


async def test_a_session_ends_with_its_jwt(guarded, address, page, issuer, clock, monkeypatch):
    await sign_in(page, address, issuer.token({"roles": ["reader"]}))
    await expect(page.locator("main tbody tr")).to_have_count(1)
    later = time.time() + 100
    clock(100)
    monkeypatch.setattr(time, "time", lambda: later)
    await page.locator("#menu").get_by_role("link", name="Due").click()
    await expect(page.get_by_text("The token is no longer valid.")).to_be_visible()
    await expect(page.locator("#menu a")).to_have_count(0)
    assert complaints(page) == []


async def test_a_caller_to_whom_no_role_fits_stays_outside(guarded, address, page, issuer):
    await page.goto(address)
    await page.get_by_label("Token").fill(issuer.token())
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("No role fits the caller.")).to_be_visible()
    await expect(page.locator("#menu a")).to_have_count(0)
    assert complaints(page) == []
