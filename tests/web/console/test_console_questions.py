"""docs/console.md: the console answers each question on the page that it names."""

import asyncio
import os
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession
from http_answers import bearer, ok

browsers = pytest.importorskip(
    "playwright.async_api", reason="needs playwright: pip install -e '.[test-all]'"
)
expect = browsers.expect
expect.set_options(timeout=60_000)

PAGE = (Path(__file__).parents[3] / "docs/console.md").read_text("utf-8")
QUESTIONS = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
NAMED = "did:example:123#key-1"
ANSWERS = {}

# Chromium opens the console of a service with two workers.
pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.timeout(120)]


def answers(question):
    """Register the steps of an operator who has this question."""

    def register(steps):
        ANSWERS[question] = steps
        return steps

    return register


class Console:
    """The console in the hands of an operator, and its service."""

    def __init__(self, page, service):
        self.page, self.service = page, service
        self.rows = page.locator("main tbody tr")

    async def open(self, name):
        """Open a page of the menu."""
        menu = self.page.locator("#menu")
        await menu.get_by_role("link", name=name, exact=True).click()
        await expect(menu.locator("[aria-current=page]")).to_have_text(name)
        await expect(self.page.locator("main")).not_to_have_attribute("aria-busy", "true")

    async def search(self, **wanted):
        """Fill fields of the search, or choose among their options."""
        form = self.page.get_by_role("search")
        for label, value in wanted.items():
            control = form.get_by_label(label.replace("_", " "))
            if await control.evaluate("(one) => one.tagName") == "SELECT":
                await control.select_option(label=value)
            else:
                await control.fill(value)
        await form.get_by_role("button", name="Search").click()

    async def expect_rows(self, *texts):
        """Expect these texts in the rows, from the first one on, and no other row."""
        await expect(self.rows).to_have_count(len(texts))
        for place, text in enumerate(texts):
            await expect(self.rows.nth(place)).to_contain_text(text)


@pytest.fixture
async def console(serve, admin, free_port, page, tmp_path):
    """The console of a service after the calls that the questions are about."""
    log = str(tmp_path / "audit.log")
    given = ("--auth", "token", "--admin-token-file", admin[1], "--audit-log", log)
    more = ("--metrics-port", free_port, "--workers", "2", "--port", "0")
    service = await asyncio.to_thread(serve, *given, *more)
    address = f"http://127.0.0.1:{service.port}"
    async with ClientSession(address, headers=bearer(admin[0])) as client:
        await prepare(client)
        await page.goto(f"{address}/console/")
        await page.get_by_label("Token").fill(admin[0])
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Keys")
        page.complaints.clear()  # it asked without a token first
        yield Console(page, service)


async def prepare(client):
    async def call(method, path, body, **headers):
        return await ok(await client.request(method, path, json=body, headers=headers))

    kids = {}
    for name in (NAMED, "due", "certified", "signer"):
        rules = {} if name == "signer" else {"rules": {"raw": False}}
        labels = {"labels": {"use": "login"}} if name == "signer" else {}
        made = await call(
            "POST", "/key/generate", {"alg": "p256", "alias": name, **rules, **labels}
        )
        kids[name] = made["kid"]
    await call("POST", "/sign", {"alias": "signer", "data": "aGVsbG8"})
    await call("DELETE", f"/key/{kids['due']}?after=7d", None)
    rotated = await call("POST", f"/key/{kids[NAMED]}/rotate", None)
    await call("POST", f"/key/{rotated['kid']}/associate", {"alias": "another"})
    certificate = {"kid": kids["certified"], "profile": "self-signed", "subject": "CN=a"}
    made = await call("POST", "/certificate", {**certificate, "days": 30})
    path = f"/key/{kids['certified']}/certificates"
    await call("PUT", path, {"certificates": [made["certificate"]]})
    await call("POST", "/profile", {"name": "bob"})
    body = {"alg": "ed25519", "count": 9}
    await call("POST", "/key/generate/batch", body, **{"X-Profile": "bob"})
    token = {"name": "issuer", "scopes": ["sign"], "profiles": ["default"]}
    issuer = bearer((await call("POST", "/tokens", token))["token"])
    for name, status in ((NAMED, 403), ("nope", 404)):
        body = {"alias": name, "data": "aGVsbG8"}
        async with client.post("/sign", json=body, headers=issuer) as answer:
            assert answer.status == status


@answers("Who used a key yesterday?")
async def uses_on_a_day(console):
    await console.open("Audit")
    now = datetime.now(UTC)
    day, after = (f"{now + timedelta(days=days):%Y-%m-%dT00:00}" for days in (0, 1))
    await console.search(Key="signer", Since=day, Until=after)
    await console.expect_rows("sign", "generateKey")
    await expect(console.rows.first).to_contain_text("admin")
    before = f"{now - timedelta(days=1):%Y-%m-%dT00:00}"
    await console.search(Since=before, Until=day)
    await expect(console.page.get_by_text("No event is like this.")).to_be_visible()


@answers("Which keys are due for deletion?")
async def deletions(console):
    await console.open("Due")
    await console.expect_rows("the key is deleted", "its certificate ends")
    await expect(console.rows.first).to_contain_text("due")
    await console.open("Keys")
    await console.search(State="deletion scheduled")
    await console.expect_rows("due")


@answers("Which certificate ends first?")
async def certificates(console):
    await console.open("Due")
    ends = console.rows.filter(has_text="certificate")
    await expect(ends.first).to_contain_text("certified")


@answers("Which keys were not used for 90 days?")
async def unused(console):
    await console.search(Not_used="for 90 days")
    await expect(console.page.get_by_text("No key of this profile is like this.")).to_be_visible()


@answers("Which keys have no rules?")
async def without_rules(console):
    await console.search(State="without rules")
    await console.expect_rows("signer")


@answers("Which keys does an application have?")
async def labelled(console):
    await console.search(Label="use:login")
    await console.expect_rows("signer")


@answers("When was an alias moved?")
async def moved(console):
    await console.open("Audit")
    await console.search(Key=NAMED, Operation="associateAlias")
    await console.expect_rows("associateAlias")


@answers("When was the key of an alias rotated?")
async def rotated(console):
    await console.open("Audit")
    await console.search(Key=NAMED, Operation="rotateKey")
    await console.expect_rows("replaced by")


@answers("Which calls of a token failed, and why?")
async def failures(console):
    await console.open("Audit")
    await console.search(Who="issuer", Outcome="failed")
    await console.expect_rows("alias-not-found", "rule-violated by raw")


@answers("Which tokens exist, and what may they do?")
async def tokens(console):
    await console.open("Tokens")
    row = console.rows.filter(has_text="issuer")
    await expect(row.get_by_role("cell").nth(1)).to_have_text("sign")
    await expect(row.get_by_role("cell").nth(2)).to_contain_text("default")


@answers("Who made a token?")
async def maker(console):
    await console.open("Tokens")
    await console.page.get_by_role("link", name="by whom the token issuer was made").click()
    await console.expect_rows("createToken")
    await expect(console.rows.first).to_contain_text("admin")


@answers("Which profile has the most keys?")
async def largest_profile(console):
    await console.open("Profiles")
    await console.page.get_by_role("button", name="Count the keys").click()
    counted = console.page.get_by_role("table", name="Keys by profile").locator("tbody tr")
    await expect(counted.first).to_have_text(re.compile("bob.*9"))


@answers("Is a worker being restarted, and why?")
async def workers(console):
    lines = "".join(console.service.lines)
    os.kill(int(re.search(r"worker 1 is process (\d+)", lines)[1]), signal.SIGKILL)
    await asyncio.to_thread(console.service.read_until, "ended with signal 9")
    await console.open("Health")
    for text in ("workers alive 2", "worker ends total SIGKILL 1"):
        await expect(console.page.get_by_role("row", name=text)).to_be_visible()


async def test_the_console_answers_every_question(console):
    for question in QUESTIONS:
        await console.open("Keys")
        begun = time.monotonic()
        await ANSWERS[question](console)
        print(f"{time.monotonic() - begun:4.1f} s  {question}")
    assert console.page.complaints == []
