"""The console's page of approvals: uses in words, passkeys of Chromium's virtual authenticator."""

import asyncio
import json
import re

import pytest
from base64url import b64
from http_answers import ok
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule
from web.console.console_pages import complaints, expect, make, make_token, sign_in

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEADER = {"alg": "ES256", "typ": "dc+sd-jwt"}
CLAIMS = {"iss": "https://issuer.example", "exp": 1798761600}
IN_WORDS = "JWS of type dc+sd-jwt, iss https://issuer.example, exp 2027-01-01T00:00:00Z"

# Let the page prefer an algorithm; authenticators take the first that they have.
PREFERRED = """
    const create = navigator.credentials.create.bind(navigator.credentials);
    navigator.credentials.create = (options) => {
        options.publicKey.pubKeyCredParams.sort((one) => (one.alg === %d ? -1 : 1));
        return create(options);
    };
"""


def plain(data):
    return b64(data).rstrip("=")


def signing_input(header=HEADER, payload=CLAIMS):
    return ".".join(plain(json.dumps(part).encode()) for part in (header, payload)).encode()


class Rule:
    """An approver who is given as the rule has it."""

    def __init__(self, approver):
        self._approver = approver

    def approver(self):
        return self._approver


@pytest.fixture
def local(address):
    """The address of the console at a name: browsers use no passkeys at an IP address."""
    return address.replace("127.0.0.1", "localhost")


@pytest.fixture
async def console(page, local, admin):
    """The page of approvals in the hands of the admin, in a browser with an authenticator."""
    await authenticator(page)
    await sign_in(page, local, admin[0])
    await page.goto(f"{local}#/approvals")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for approval")
    yield page
    assert complaints(page) == []


async def authenticator(page, **options):
    """Add an authenticator that verifies its user, to a page."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    facts = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        **options,
    }
    added = await session.send("WebAuthn.addVirtualAuthenticator", {"options": facts})
    return session, added["authenticatorId"]


async def register(page, name):
    """Register a passkey on the page; return the approver that it shows."""
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Register a passkey").click()
    shown = page.get_by_role("group", name="approver")
    await expect(shown).to_contain_text(f'"name": "{name}"')
    return json.loads(await shown.inner_text())


async def ask(client, path="/sign", body=None, method="POST"):
    """Send a call that must ask for an approval, and give the approval."""
    answer = await client.request(method, path, json=body)
    return (await refused(answer, 403, "approval-required"))["approval"]


async def look(page):
    """Let the page read again, as it does now and then."""
    async with page.expect_response(re.compile(r"/approvals$")):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def use(page, words):
    """The region of a use."""
    return page.get_by_role("region", name=words)


@pytest.mark.parametrize(("alg", "kind"), [(-7, "EC"), (-8, "OKP"), (-257, "RSA")])
async def test_a_registered_passkey_approves_a_use(guarded, page, local, admin, alg, kind):
    await page.add_init_script(PREFERRED % alg)
    await authenticator(page)
    await sign_in(page, local, admin[0])
    await page.goto(f"{local}#/approvals")
    approver = await register(page, "ann")
    assert approver["jwk"]["kty"] == kind
    assert approver["passkey"]["rp_id"] == "localhost"
    assert approver["passkey"]["origins"] == [local.removesuffix("/console/")]
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(Rule(approver)))
    asked = {"kid": key["kid"], "data": plain(signing_input())}
    await ask(guarded, body=asked)
    await look(page)
    shown = use(page, f"sign with issuer: {IN_WORDS}")
    await expect(shown).to_contain_text(key["kid"])
    await expect(shown).to_contain_text("0 of 1")
    await shown.get_by_role("button", name="Approve with a passkey").click()
    await expect(page.get_by_text("The use is approved")).to_be_visible()
    await expect(shown).to_contain_text("1 of 1: ann")
    await expect(shown.get_by_role("button", name="Approve")).to_have_count(0)
    assert (await ok(await guarded.post("/sign", json=asked)))["sig"]
    await look(page)
    await expect(page.get_by_text("Nothing waits in this profile.")).to_be_visible()
    await ask(guarded, body=asked)  # once
    assert complaints(page) == []
