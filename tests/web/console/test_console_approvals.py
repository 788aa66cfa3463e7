"""The console's page of approvals: uses in words, passkeys of Chromium's virtual authenticator."""

import hashlib
import json
import re

import pytest
from base64url import jose, part
from http_answers import ok
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule
from web.console.console_pages import complaints, expect, make, make_token, sign_in

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HEADER = {"alg": "ES256", "typ": "dc+sd-jwt"}
CLAIMS = {"iss": "https://issuer.example", "exp": 1798761600}
SIGNED = f"{part(HEADER)}.{part(CLAIMS)}".encode()
IN_WORDS = "JWS of type dc+sd-jwt, iss https://issuer.example, exp 2027-01-01T00:00:00Z"

# Let the page prefer an algorithm; authenticators take the first that they have.
PREFERRED = """
    const create = navigator.credentials.create.bind(navigator.credentials);
    navigator.credentials.create = (options) => {
        options.publicKey.pubKeyCredParams.sort((one) => (one.alg === %d ? -1 : 1));
        return create(options);
    };
"""


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
    page.authenticator = await authenticator(page)
    await sign_in(page, local, admin[0])
    await page.goto(f"{local}#/approvals")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for approval")
    yield page
    assert complaints(page) == []


async def authenticator(page):
    """Add an authenticator that verifies its user; give its session and its id."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    facts = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
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
    asked = {"kid": key["kid"], "data": jose(SIGNED)}
    await ask(guarded, body=asked)
    await look(page)
    shown = use(page, f"sign with issuer: {IN_WORDS}")
    await expect(shown).to_contain_text(key["kid"])
    await expect(shown).to_contain_text("0 of 1")
    await shown.get_by_role("button", name="Approve with a passkey").click()
    await expect(page.get_by_text("The use is approved")).to_be_visible()
    await expect(shown).to_contain_text("1 of 1: ann")
    await expect(shown.get_by_role("button", name="Approve with")).to_have_count(0)
    assert (await ok(await guarded.post("/sign", json=asked)))["sig"]
    await look(page)
    await expect(page.get_by_text("Nothing waits in this profile.")).to_be_visible()
    await ask(guarded, body=asked)  # once
    assert complaints(page) == []


async def test_two_people_approve_and_one_of_them_in_the_page(guarded, console):
    approver, bob = await register(console, "ann"), Signer("bob")
    rules = rule(Rule(approver), bob, threshold=2)
    key = await make(guarded, alg="p256", rules=rules)
    asked = {"kid": key["kid"], "items": [{"data": jose(bytes([place] * 32))} for place in (0, 1)]}
    approval = await ask(guarded, "/sign/batch", asked)
    await look(console)
    shown = use(console, f"sign with {key['kid']}, 2 times:")
    first = jose(hashlib.sha256(bytes(32)).digest())
    await expect(shown.locator("ol li").first).to_have_text(f"32 bytes with the SHA-256 {first}")
    await shown.get_by_role("button", name="Approve with a passkey").click()
    await expect(console.get_by_text("It needs others, too.")).to_be_visible()
    await expect(shown).to_contain_text("1 of 2: ann waits")
    await expect(shown).to_contain_text("No approver who is left has a passkey for this page.")
    await ok(await guarded.post(f"/approvals/{approval['id']}", json=bob.proof(approval)))
    await look(console)
    await expect(shown).to_contain_text("2 of 2: ann, bob approved")
    answers = (await ok(await guarded.post("/sign/batch", json=asked)))["results"]
    assert all("sig" in one for one in answers)


async def test_a_passkey_of_another_page_and_a_wrong_one_approve_nothing(guarded, console):
    elsewhere, unknown = Passkey("eve"), Passkey("bob", "localhost", "http://localhost")
    for approver in (elsewhere, unknown):
        key = await make(guarded, alg="p256", alias=approver.name, rules=rule(approver))
        await ask(guarded, body={"kid": key["kid"], "data": ""})
    await look(console)
    shown = use(console, 'sign with eve: the text ""')
    await expect(shown).to_contain_text("No approver who is left has a passkey for this page.")
    bob = use(console, 'sign with bob: the text ""')
    await bob.get_by_role("button", name="Approve with a passkey").click()
    await expect(console.get_by_role("alert")).to_contain_text("The passkey was not used.")
    assert {one["state"] for one in await ok(await guarded.get("/approvals"))} == {"pending"}


async def test_a_user_who_is_not_verified_gets_no_passkey(guarded, console):
    session, name = console.authenticator
    verified = {"authenticatorId": name, "isUserVerified": False}
    await session.send("WebAuthn.setUserVerified", verified)
    await console.get_by_label("Your name").fill("ann")
    await console.get_by_role("button", name="Register a passkey").click()
    await expect(console.get_by_role("alert")).to_contain_text("The passkey was not used.")
    await expect(console.get_by_role("group", name="approver")).to_have_count(0)


async def test_a_use_is_withdrawn(guarded, console):
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(Signer()))
    approval = await ask(guarded, body={"kid": key["kid"], "data": jose(b"hello")})
    await look(console)
    shown = use(console, "sign with issuer: the text hello")
    await shown.get_by_role("button", name="Withdraw").click()
    dialog = console.get_by_role("dialog")
    await expect(dialog).to_contain_text("sign with issuer: the text hello")
    await dialog.get_by_role("button", name="Cancel").click()
    await ok(await guarded.get(f"/approvals/{approval['id']}"))
    await shown.get_by_role("button", name="Withdraw").click()
    await dialog.get_by_role("button", name="Withdraw").click()
    await expect(console.get_by_text("The use is withdrawn.")).to_be_visible()
    await expect(shown).to_have_count(0)
    await expect(console.get_by_role("heading", level=1)).to_be_focused()
    await refused(await guarded.get(f"/approvals/{approval['id']}"), 404, "approval-not-found")


async def test_the_menu_has_the_number_that_waits(guarded, local, page, admin):
    key = await make(guarded, alg="p256", rules=rule(Signer()))
    await ask(guarded, body={"kid": key["kid"], "data": ""})
    await page.clock.install()
    await sign_in(page, local, admin[0])
    item = page.locator("#menu [data-page=approvals]")
    await expect(item).to_have_text("Approvals 1")
    approval = await ask(guarded, body={"kid": key["kid"], "data": "YQ"})
    await page.clock.run_for(31_000)
    await expect(item).to_have_text("Approvals 2")
    await ok(await guarded.delete(f"/approvals/{approval['id']}"))
    await ok(await guarded.post("/profile", json={"name": "other"}))
    await page.evaluate("window.dispatchEvent(new Event('profileschange'))")
    await page.get_by_label("Profile", exact=True).select_option("other")
    await expect(item).to_have_text("Approvals")
    await page.get_by_label("Profile", exact=True).select_option("default")
    await expect(item).to_have_text("Approvals 1")
    assert complaints(page) == []


async def test_a_caller_without_the_scope_reads_no_approvals(guarded, local, page):
    await page.clock.install()
    await sign_in(page, local, await make_token(guarded, scopes=["keys:read"]))
    await page.clock.run_for(61_000)
    assert [url for url in page.requested if url.endswith("/approvals")] == []


async def test_a_caller_who_may_not_read_keys_sees_their_kids(guarded, local, page):
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(Signer()), exportable=True)
    await ask(guarded, f"/key/{key['kid']}/export", method="GET")
    await sign_in(page, local, await make_token(guarded, scopes=["approvals"]))
    shown = use(page, f"export the private key of {key['kid']}")
    await expect(shown).to_contain_text("Asked by")
    await expect(shown.get_by_role("link")).to_have_count(0)
    assert complaints(page) == []


async def test_the_list_leaves_the_focus_and_the_form(guarded, console):
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(Signer()))
    await ask(guarded, body={"kid": key["kid"], "data": jose(b"one")})
    await look(console)
    withdraw = console.get_by_role("button", name="Withdraw: sign with issuer: the text one")
    await console.get_by_label("Your name").fill("ann")
    await withdraw.focus()
    await ask(guarded, body={"kid": key["kid"], "data": jose(b"two")})
    await look(console)
    await expect(use(console, "sign with issuer: the text two")).to_be_visible()
    await expect(withdraw).to_be_focused()
    await expect(console.get_by_label("Your name")).to_have_value("ann")


async def test_at_an_ip_address_the_page_says_that_it_has_no_passkeys(guarded, signed_in, address):
    approver = Passkey("ann", "127.0.0.1", address.removesuffix("/console/"))
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(approver))
    await ask(guarded, body={"kid": key["kid"], "data": jose(SIGNED)})
    await signed_in.goto(f"{address}#/approvals")
    await expect(signed_in.get_by_text("not at an IP address")).to_be_visible()
    shown = use(signed_in, f"sign with issuer: {IN_WORDS}")
    await expect(shown.get_by_role("button", name="Withdraw")).to_be_visible()
    for button in ("Approve with a passkey", "Register a passkey"):
        await expect(signed_in.get_by_role("button", name=button)).to_have_count(0)


async def test_without_https_the_page_says_so_and_reads_no_bytes(guarded, page, address, admin):
    """A browser computes no SHA-256 there, with which the page would check the bytes."""
    await page.route("http://kms.example/**", lambda route: forward(route, address))
    approver = Passkey("ann", "kms.example", "http://kms.example")
    key = await make(guarded, alg="p256", alias="issuer", rules=rule(approver))
    await ask(guarded, body={"kid": key["kid"], "data": jose(SIGNED)})
    await sign_in(page, "http://kms.example/console/", admin[0])
    await page.goto("http://kms.example/console/#/approvals")
    await expect(page.get_by_text("Browsers use passkeys over HTTPS only")).to_be_visible()
    digest = jose(hashlib.sha256(SIGNED).digest())
    shown = use(page, f"sign with issuer: bytes with the SHA-256 {digest}")
    await expect(shown.get_by_role("button", name="Withdraw")).to_be_visible()
    await expect(page.get_by_role("button", name="passkey")).to_have_count(0)


async def forward(route, address):
    """Send a call of a page of another host to the service."""
    path = route.request.url.removeprefix("http://kms.example/")
    answer = await route.fetch(url=address.removesuffix("console/") + path)
    await route.fulfill(response=answer)


async def test_each_operation_is_in_words(guarded, console):
    ann, approver = Signer(), Passkey("ann", "localhost", "http://localhost")
    rules = rule(ann, approver, delete=True)
    key = await make(guarded, alg="p256", alias="issuer", exportable=True, rules=rules)
    path = f"/key/{key['kid']}"
    await ask(guarded, f"{path}/export", method="GET")
    await ask(guarded, f"{path}?after=7d", method="DELETE")
    await ask(guarded, path, method="DELETE")
    change = {"rules": rule(ann, Signer("bob"), approver, Signer("carol d"), delete=True)}
    await ask(guarded, path, change, method="PATCH")
    subject = {"profile": "self-signed", "subject": "CN=Example,C=DE", "days": 30}
    await ask(guarded, "/certificate", {"kid": key["kid"], **subject})
    secret = await make(guarded, alg="hs256", alias="secret", rules=rule(ann))
    await ask(guarded, "/mac", {"kid": secret["kid"], "data": jose(b"a\nb")})
    await look(console)
    for words in (
        "export the private key of issuer",
        "delete issuer after 7 days",
        "delete issuer",
        'change the approval rule of issuer to 1 of 3: ann, bob, "carol d"',
        re.compile("sign with issuer: certificate: profile self-signed, days 30, subject "),
        'make a MAC with secret: the text "a\\nb"',
    ):
        await expect(console.get_by_role("heading", name=words, exact=True)).to_have_count(1)
    shown = console.get_by_role("group", name="rule")
    assert (
        json.loads(await shown.inner_text())["approvers"]
        == change["rules"]["approval"]["approvers"]
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"data": [jose(b"other")]}, "The bytes do not match the document."),
        ({"data": [jose(b"hello"), ""]}, "The bytes do not match the document."),
        ({"kid": "A" * 43}, "The document is for another key."),
        ({"challenge": "A" * 43}, "The challenge does not match the document."),
        ({"document": jose(b"{")}, "The challenge does not match the document."),
    ],
)
async def test_what_does_not_match_is_not_approved(guarded, console, change, fault):
    """A service whose answers are changed on their way."""
    approver = Passkey("ann", "localhost", "http://localhost")
    key = await make(guarded, alg="p256", rules=rule(approver))
    await ask(guarded, body={"kid": key["kid"], "data": jose(b"hello")})

    async def changed(route):
        answer = await route.fetch()
        await route.fulfill(json=[{**one, **change} for one in await answer.json()])

    await console.route(re.compile(r"/approvals$"), changed)
    await look(console)
    shown = use(console, "Do not approve this use")
    await expect(shown).to_contain_text(fault)
    buttons = shown.locator(".buttons").get_by_role("button")
    await expect(buttons).to_have_text(["Withdraw"])
