"""The console as a browser shows it: each page, each change, and names that are markup."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from base64url import b64
from cryptography import x509
from http_answers import bearer, ok
from node import AXE, install
from problems import refused
from token_folder import until_open
from waiting import waiting_for
from web.approvals.approvers import Passkey, rule
from web.console.console_pages import complaints, expect, make, make_token, open_page, sign_in

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import METRICS

# Chromium opens pages and presses their buttons.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

MARKUP = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>&amp;\''
BACKWARDS = "\u202egnp.exe"
KIND = f'{MARKUP}"}} 1.0\n\\,kind="\u2028'
PROFILE = "<svg/onload=window.hit=1>"
# Names that a voice says must contain the text that is shown; axe calls this rule experimental.
AXE_RUN = """async () => (await axe.run({
    rules: { "label-content-name-mismatch": { enabled: true } },
})).violations"""

# Table cells that are narrower than their content.
TOO_WIDE = """[...document.querySelectorAll("main td > div")]
    .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"""

# The pages of the menu, in its order, with the scope that each needs.
PAGES = {
    "Keys": "keys:read",
    "New key": "keys:write",
    "Due": "keys:read",
    "Approvals": "approvals",
    "Try it": "sign",
    "Profiles": "profiles",
    "Tokens": "admin",
    "Audit": "audit",
    "Health": None,
}


def escaped(text):
    """A text as the value of a label (the text format of Prometheus)."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Metrics:
    """Metrics in which each reading counts more calls; half of them failed.

    The kind of a seal and the name of a provider are markup.
    """

    def __init__(self):
        self.readings = 0

    async def __call__(self):
        self.readings += 1
        number = self.readings * 1000
        operation = 'operation="sign",alg="ed25519"'
        name = "minikms_operation_duration_seconds_bucket"
        return (
            "# HELP minikms_operations_total Calls of the API.\n"
            f'minikms_operations_total{{{operation},outcome="success"}} {number}.0\n'
            f'minikms_operations_total{{{operation},outcome="key-not-found"}} {number}.0\n'
            f'{name}{{{operation},le="0.0025"}} 0.0\n'
            f'{name}{{{operation},le="0.005"}} {number * 2}.0\n'
            f'{name}{{{operation},le="+Inf"}} {number * 2}.0\n'
            "# HELP minikms_connections Connections of callers.\n"
            "minikms_connections 7.0\n"
            "# HELP minikms_last_backup_timestamp_seconds Time of the last backup.\n"
            "minikms_last_backup_timestamp_seconds 1.8e+09\n"
            'minikms_store_key_info{kept="sealed"} 1.0\n'
            'minikms_seal_info{kind="awskms",place="10",state="not-asked"} 1.0\n'
            f'minikms_seal_info{{kind="{escaped(KIND)}",place="2",state="failed"}} 1.0\n'
            'minikms_seal_info{kind="pkcs11",place="3",state="opened"} 1.0\n'
            f'minikms_provider_up{{provider="{escaped(MARKUP)}"}} 0.0\n'
            f'minikms_provider_objects_waiting{{provider="{BACKWARDS}"}} 3.0\n'
        ).encode()


@pytest.fixture
async def guarded(start, admin, tmp_path):
    """A service that asks for tokens, with an audit log and metrics; its client is its admin."""
    config = Config(auth="token", admin_token_file=admin[1], audit_log=str(tmp_path / "audit.log"))
    app = create_service(config)
    app[METRICS] = Metrics()
    client = await start(app)
    client.session.headers.update(bearer(admin[0]))
    return client


async def test_a_service_without_tokens_shows_the_keys_at_once(client, page):
    key = await make(client, alias="did:example:123#key-1")
    await page.goto(str(client.make_url("/console")))
    await expect(page).to_have_title("Keys · Mini KMS")
    await page.get_by_role("link", name="did:example:123#key-1").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("did:example:123#key-1")
    await expect(page.get_by_text(key["did"], exact=True)).to_be_visible()
    origin = str(client.make_url("/"))
    assert [url for url in page.requested if not url.startswith(origin)] == []
    assert page.complaints == []


async def test_a_service_without_tokens_says_who_may_use_its_keys(client, guarded, page, signed_in):
    warning = "anybody on this machine, and whoever else reaches this service, may use its keys"
    await expect(signed_in.get_by_role("heading", level=1)).to_have_text("Keys")
    await expect(signed_in.get_by_text(warning)).to_have_count(0)
    await page.goto(str(client.make_url("/console")))
    await expect(page.get_by_text(warning)).to_be_visible()


async def test_a_page_without_rows_says_the_next_step(guarded, address, page):
    """An audit log has events as soon as somebody has opened the console."""
    await sign_in(page, address, await make_token(guarded, scopes=["keys:read", "audit"]))
    await expect(page.get_by_text("A token with the scope keys:write makes them")).to_be_visible()
    await open_page(page, "Audit")
    await page.get_by_label("Operation").fill("nothing")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="Show all events").click()
    await expect(page.get_by_role("cell", name="createToken")).to_be_visible()


async def test_a_new_service_says_the_next_step(client, page):
    await page.goto(str(client.make_url("/console")))
    await page.get_by_label("Alias, kid or DID").fill("nowhere")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="Show all keys").click()
    await open_page(page, "Tokens")
    await expect(page.get_by_text("There is no token yet. Make one below")).to_be_visible()
    await open_page(page, "Audit")
    await expect(page.get_by_text("if it is started with --audit-log")).to_be_visible()
    await open_page(page, "Keys")
    await page.get_by_role("link", name="Make the first one").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("New key")
    assert complaints(page) == []


async def test_a_token_is_in_memory_alone(guarded, address, page, admin, caplog):
    wrong = await make_token(guarded)
    for one in await ok(await guarded.get("/tokens")):
        await guarded.delete(f"/tokens/{one['id']}")
    await page.goto(address)
    await page.get_by_label("Token").fill(wrong)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("The token is not valid.")

    await sign_in(page, address, admin[0])
    for name in PAGES:
        await open_page(page, name)
    secret = admin[0].rpartition("_")[2]
    kept = await page.evaluate(
        """async () => JSON.stringify([
            {...localStorage}, {...sessionStorage}, document.cookie, history.state, location.href,
            await indexedDB.databases(), await caches.keys(), document.documentElement.outerHTML,
        ])"""
    )
    assert json.loads(kept)[:4] == [{}, {}, "", None]
    assert secret not in kept
    assert not [url for url in page.requested if secret in url]
    assert secret not in caplog.text
    await page.reload()
    await expect(page.get_by_label("Token")).to_have_value("")
    assert complaints(page) == []


async def test_signing_out_and_a_revoked_token_end_the_session(guarded, address, page):
    token = await make_token(guarded)
    await sign_in(page, address, token)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("The token is forgotten.")).to_be_visible()
    await expect(page.locator("#menu a")).to_have_count(0)

    await sign_in(page, address, token)
    [record] = await ok(await guarded.get("/tokens"))
    await guarded.delete(f"/tokens/{record['id']}")
    await page.locator("#menu").get_by_role("link", name="Profiles").click()
    await expect(page.get_by_text("The token is no longer valid.")).to_be_visible()
    assert complaints(page) == []


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_token_is_offered_only_its_own_pages(guarded, address, page, scope):
    await sign_in(page, address, await make_token(guarded, scopes=[scope]))
    offered = await page.locator("#menu a").all_inner_texts()
    wanted = {scope, "sign" if scope == "verify" else scope}
    assert offered == [name for name, needed in PAGES.items() if needed in {*wanted, None}]
    await page.goto(f"{address}#/tokens")
    if scope != "admin":
        await expect(page.get_by_role("heading", level=1)).to_have_text("Not permitted")
    assert complaints(page) == []


async def test_a_reader_is_offered_no_change(guarded, address, page):
    key = await make(guarded)
    await sign_in(page, address, await make_token(guarded, scopes=["keys:read"]))
    await page.goto(f"{address}#/key/{key['kid']}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(key["kid"])
    buttons = await page.locator("main").get_by_role("button").all_inner_texts()
    assert set(buttons) <= {"Copy"}
    assert complaints(page) == []


async def test_keys_are_found_by_each_of_their_names(guarded, signed_in):
    for number in range(60):
        await make(guarded, alias=f"did:example:{number}#key", labels={"number": str(number)})
    wanted = await make(guarded, alg="p256", alias="did:example:wanted#key-1", labels={"a": "b:c"})
    rows = signed_in.locator("main tbody tr")
    await open_page(signed_in, "Due")
    await open_page(signed_in, "Keys")
    await expect(rows).to_have_count(50)
    await signed_in.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(61)

    async def search(found, **values):
        for label in ("Alias, kid or DID", "Label"):
            await signed_in.get_by_label(label).fill(values.pop(label, ""))
        for label in ("Algorithm", "State", "Not used"):
            option = values.pop(label, "any")
            await signed_in.get_by_role("search").get_by_label(label).select_option(label=option)
        assert not values
        # The rows and the form before stay until the new page has come.
        async with signed_in.expect_response("**/algorithms"):
            await signed_in.get_by_role("button", name="Search").click()
        await expect(signed_in.locator("main")).not_to_have_attribute("aria-busy", "true")
        await expect(rows).to_have_count(found)

    for text in (
        "did:example:wanted#key-1",
        wanted["kid"],
        wanted["did"],
        wanted["multikey"],
        f"{wanted['did']}#{wanted['multikey']}",
        "wanted",
    ):
        await search(1, **{"Alias, kid or DID": text})
        await expect(rows).to_contain_text("did:example:wanted#key-1")
    await search(1, Label="number:7")
    await search(1, Label="a:b:c")
    await search(1, Algorithm="p256")
    await search(0, State="disabled")
    await search(61, State="without rules")
    await guarded.patch(f"/key/{wanted['kid']}", json={"rules": {"raw": False}})
    await search(60, State="without rules")
    await guarded.patch(f"/key/{wanted['kid']}", json={"state": "disabled"})
    await search(1, State="disabled")
    nothing = signed_in.get_by_text("No key of this profile is like this.")
    await search(0, **{"Alias, kid or DID": wanted["kid"], "Not used": "for 30 days"})
    await expect(nothing).to_be_visible()
    await search(0, **{"Alias, kid or DID": "nowhere"})
    await expect(nothing).to_be_visible()


async def test_a_search_is_stopped_and_goes_on(guarded, signed_in):
    """The buttons of the search keep the focus while pages come."""
    page = signed_in
    for number in range(6):
        await make(guarded, alias=f"did:example:{number}#key", labels={"number": str(number)})
    come = asyncio.Semaphore(0)

    async def small_pages(route):
        await come.acquire()
        await route.continue_(url=route.request.url.replace("limit=1000", "limit=1"))

    await page.route("**/keys?*", small_pages)
    await page.get_by_label("Alias, kid or DID").fill("#key")
    await page.get_by_role("button", name="Search").click()
    come.release()  # the key of this alias, which is not there
    stop, more = (page.get_by_role("button", name=name) for name in ("Stop", "Show more"))
    status, rows = page.get_by_role("status"), page.locator("main tbody tr")
    await stop.focus()
    for number in range(1, 4):
        come.release()
        await expect(rows).to_have_count(number)
        await expect(stop).to_be_focused()
    await rows.first.get_by_role("link").focus()
    come.release()
    await expect(rows).to_have_count(4)
    await expect(rows.first.get_by_role("link")).to_be_focused()
    await stop.focus()
    await page.keyboard.press("Enter")
    come.release()
    await expect(more).to_be_focused()
    await expect(status).to_have_text("5 keys. There may be more.")
    await page.keyboard.press("Enter")
    await expect(stop).to_be_focused()
    come.release()
    come.release()  # a page without keys, if there is one
    await expect(status).to_have_text("6 keys.")
    await expect(status).to_be_focused()
    await expect(stop).to_be_hidden()
    await expect(more).to_be_hidden()


async def test_a_search_that_fails_says_so_beside_its_rows(guarded, signed_in):
    page = signed_in
    for number in range(2):
        await make(guarded, alias=f"did:example:{number}#key")

    async def small_pages(route):
        if "after=" in route.request.url:
            await route.abort()
        else:
            await route.continue_(url=route.request.url.replace("limit=1000", "limit=1"))

    await page.route("**/keys?*", small_pages)
    await page.get_by_label("Alias, kid or DID").fill("#key")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("status")).to_have_text("1 key. The rest was not read.")
    await expect(page.locator("main tbody tr")).to_have_count(1)
    await expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    page.complaints.clear()


async def test_a_key_is_made_changed_rotated_and_deleted(guarded, signed_in):
    page = signed_in
    await open_page(page, "New key")
    await page.get_by_label("Algorithm").select_option("p256")
    await page.get_by_label("Alias").fill("issuer")
    await page.get_by_label("Labels").fill("use: assertion\nteam:a:b")
    await page.get_by_role("button", name="Make the key").click()
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("issuer")
    [first] = await ok(await guarded.get("/keys"))
    assert (first["alg"], first["labels"]) == ("p256", {"use": "assertion", "team": "a:b"})
    assert {"sign", "verify", "derive"} <= set(first["operations"])

    async def press(name, *, typed=None):
        await page.locator("main .buttons").get_by_role("button", name=name, exact=True).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_be_visible()
        if typed:
            await dialog.get_by_role("textbox").fill(typed)
        await dialog.locator("button[type=submit]").click()
        await expect(dialog).to_have_count(0)

    await press("Disable")
    await expect(page.locator("main .badge").first).to_have_text("disabled")
    await page.get_by_role("button", name="Enable").click()
    await expect(page.locator("main .badge").first).to_have_text("enabled")
    await page.get_by_label("New alias").fill("second")
    await page.get_by_role("button", name="Add").click()
    await expect(page.get_by_role("button", name="Remove the alias second")).to_be_visible()

    await press("Rotate")
    await expect(page.get_by_text("The key is rotated. This is the new one.")).to_be_visible()
    old, new = await ok(await guarded.get("/keys"))
    assert (old["state"], new["aliases"]) == ("verify-only", ["issuer", "second"])
    await expect(page.get_by_text(new["kid"], exact=True).first).to_be_visible()

    await page.locator("main .buttons").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox").fill("wrong")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog.get_by_text("The text differs.")).to_be_visible()
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    await press("Delete", typed=new["kid"][:8])
    await expect(page.get_by_text("The deletion is scheduled for")).to_be_visible()
    assert (await ok(await guarded.get(f"/key/{new['kid']}")))["deletes"]
    await open_page(page, "Due")
    await expect(page.locator("main tbody tr")).to_contain_text("the key is deleted")
    await page.locator("main tbody").get_by_role("link").click()
    await page.get_by_role("button", name="Restore").click()
    await expect(page.get_by_text("The key is restored.")).to_be_visible()

    await page.locator("main .buttons").get_by_role("button", name="Delete").click()
    await dialog.get_by_label("When").select_option(label="now")
    await dialog.get_by_role("textbox").fill(new["kid"][:8])
    await dialog.locator("button[type=submit]").click()
    await expect(page).to_have_title("Keys · Mini KMS")
    assert [key["kid"] for key in await ok(await guarded.get("/keys"))] == [old["kid"]]


async def test_a_key_that_deletes_itself_is_enabled_and_not_offered_for_rotation(
    guarded, signed_in
):
    page = signed_in
    key = await make(guarded, alg="p256", alias="request", delete_after=600)
    await open_page(page, "Due")
    await expect(page.locator("main tbody tr")).to_contain_text("the key is deleted")
    await page.locator("main tbody").get_by_role("link").click()
    badge = page.locator("main .badge").first
    await expect(badge).to_have_text(f"enabled until {key['deletes'][:10]}")
    await expect(page.get_by_role("button", name="Disable")).to_be_visible()
    for name in ("Rotate", "Schedule", "Restore"):
        await expect(page.get_by_role("button", name=name)).to_have_count(0)


@pytest.mark.parametrize("state", ["disabled", "verify-only", "deletion scheduled"])
async def test_a_key_that_deletes_itself_is_enabled_again_and_keeps_its_time(
    guarded, address, signed_in, state
):
    key = await make(guarded, alg="p256", alias="request", delete_after=600)
    path = f"/key/{key['kid']}"
    if state == "deletion scheduled":
        await ok(await guarded.delete(f"{path}?after=5m"))
    else:
        await ok(await guarded.patch(path, json={"state": state}))
    await signed_in.goto(f"{address}#{path}")
    name = "Enable" if state == "verify-only" else "Restore"
    await signed_in.get_by_role("button", name=name).click()
    badge = signed_in.locator("main .badge").first
    await expect(badge).to_have_text(f"enabled until {key['deletes'][:10]}")
    assert (await ok(await guarded.get(path)))["deletes"] == key["deletes"]


async def test_certificates_are_shown_with_their_ends(guarded, signed_in):
    key = await make(guarded, alg="p256", alias="ca")
    body = {"kid": key["kid"], "profile": "self-signed", "subject": "CN=Example,O=A", "days": 40}
    made = (await ok(await guarded.post("/certificate", json=body)))["certificate"]
    path = f"/key/{key['kid']}/certificates"
    await ok(await guarded.put(path, json={"certificates": [made]}))
    await open_page(signed_in, "Due")
    await expect(signed_in.locator("main tbody tr")).to_contain_text("its certificate ends")
    await signed_in.get_by_role("link", name="ca", exact=True).click()
    await expect(signed_in.get_by_role("cell", name="CN=Example, O=A").first).to_be_visible()


# Of each profile: the members of its certificate besides the subject, and the days until it ends.
PROFILES = {
    "iaca": {"issuer_alternative_names": ["URI:https://a.example"], "crl": "http://a.example"},
    "self-signed": {},
    "document-signer": {},
    "reader": {},
    "client": {},
    "access": {
        **{"policies": ["0.4.0.194118.1.2"], "cps": "http://a.example"},
        **{"crl": "http://a.example", "issuer_url": "http://a.example"},
        "alternative_names": ["email:a@a.example"],
    },
    "pid-provider": {
        **{"policies": ["1.2.3"], "crl": "http://a.example", "issuer_url": "http://a.example"},
    },
    "document": {"document_signing": True},
}


async def test_the_certificate_of_a_key_is_shown_with_its_profile(guarded, signed_in):
    subject = "CN={},O=A,organizationIdentifier=VATDE-1,C=DE"
    root = await make(guarded, alg="p256", alias="root")
    chain = []
    for profile in PROFILES:
        own = profile in ("iaca", "self-signed")
        key = root if profile == "iaca" else await make(guarded, alg="p256", alias=profile)
        body = {"profile": profile, "subject": subject.format(profile), "days": 90 if own else 29}
        body |= {"kid": key["kid"]} if own else {"kid": root["kid"], "key": key["kid"]}
        made = await ok(await guarded.post("/certificate", json=body | PROFILES[profile]))
        certificates = [made["certificate"], *([] if own else chain)]
        path = f"/key/{key['kid']}/certificates"
        await ok(await guarded.put(path, json={"certificates": certificates}))
        chain = chain or certificates
        await signed_in.goto(f"{guarded.make_url('/console/')}#/key/{key['kid']}")
        shown = signed_in.get_by_role("region", name="Certificate")
        fact = shown.locator("dl div")
        name = "CA" if profile == "self-signed" else profile
        await expect(fact.filter(has_text="Profile")).to_contain_text(name)
        await expect(fact.filter(has_text="Issuer")).to_contain_text("itself" if own else "CN=iaca")
        serial = x509.load_pem_x509_certificate(made["certificate"].encode()).serial_number
        await expect(fact.filter(has_text="Serial number")).to_contain_text(f"{serial:x}")
        profiles = shown.locator("td[data-heading=Profile]")
        await expect(profiles).to_have_text([name] if own else [name, "iaca"])
        warnings = signed_in.locator(".badge.warn")
        await expect(warnings).to_have_count(0 if own else 2)  # beside the state, and the end
    await open_page(signed_in, "Keys")
    await expect(signed_in.locator(".badge.warn")).to_have_count(len(PROFILES) - 2)
    await open_page(signed_in, "Due")
    await expect(signed_in.locator(".badge.warn").first).to_have_text("soon")


async def test_ends_within_30_days_are_marked(guarded, signed_in):
    def after(days):
        return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")

    await make(guarded, expires=after(5), alias="expiry")
    await make(guarded, expires=after(31), alias="late expiry")
    deleted = await make(guarded, alias="deletion")
    await guarded.delete(f"/key/{deleted['kid']}?after=7d")
    await make(guarded, rotate_every=29 * 86_400, alias="rotation")
    await make(guarded, rotate_every=31 * 86_400, alias="late rotation")
    await make_token(guarded, name="token", expires=after(5))
    await make_token(guarded, name="late token", expires=after(31))
    rows = signed_in.locator("main tbody tr")
    await open_page(signed_in, "Due")
    await expect(rows).to_have_count(5)
    marked = rows.filter(has=signed_in.locator(".badge.warn", has_text="soon"))
    await expect(marked.get_by_role("link")).to_have_text(["expiry", "deletion", "rotation"])
    await open_page(signed_in, "Tokens")
    await expect(rows).to_have_count(2)
    await expect(marked.locator("td").first).to_have_text("token")


async def test_profiles_are_made_chosen_and_deleted(guarded, signed_in):
    page = signed_in
    await open_page(page, "Profiles")
    await page.get_by_label("New profile").fill("alice")
    await page.get_by_role("button", name="Make").click()
    await expect(page.get_by_text("The profile is made.")).to_be_visible()
    async with guarded.post("/key/generate", json={"alg": "ed25519", "alias": "of alice"},
                            headers={"X-Profile": "alice"}) as answer:  # fmt: skip
        assert answer.status == 200
    await page.get_by_role("button", name="Count the keys").click()
    counted = page.get_by_role("table", name="Keys by profile").locator("tbody tr")
    await expect(counted).to_have_text([re.compile("alice.*1"), re.compile("default.*0")])
    await page.get_by_role("button", name="Show keys of alice").click()
    await expect(page.get_by_role("link", name="of alice")).to_be_visible()
    await page.get_by_label("Profile").select_option("default")
    await expect(page.get_by_text("This profile has no keys yet.")).to_be_visible()
    await open_page(page, "Profiles")
    await page.get_by_role("button", name="Delete the profile alice").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Lost are all keys")
    await dialog.get_by_role("textbox").fill("alice")
    await dialog.locator("button[type=submit]").click()
    await expect(page.get_by_text("The profile is deleted.")).to_be_visible()
    assert (await ok(await guarded.get("/profiles")))["profiles"] == ["default"]


async def test_profiles_are_read_as_they_are_shown(guarded, signed_in):
    page = signed_in
    for number in range(50):
        await ok(await guarded.post("/profile", json={"name": f"p{number:02d}"}))
    await ok(await guarded.patch("/profile/p49", json={"max_keys": 7}))
    await open_page(page, "Profiles")
    rows = page.get_by_role("table", name="Profiles").locator("tbody tr")

    def asked():
        return sum("include=jwks" in url for url in page.requested)

    await expect(rows).to_have_count(50)
    await expect(rows.last).to_contain_text("p48")
    assert asked() == 1
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(51)
    await expect(rows.last).to_contain_text("p49")
    await expect(rows.last).to_contain_text("at most 7 keys")
    await expect(page.get_by_role("status")).to_have_text("51 profiles.")
    assert asked() == 2


async def test_rules_are_tightened_and_a_rotation_is_scheduled(guarded, signed_in):
    page = signed_in
    key = await make(guarded, alg="p256", alias="issuer")
    await page.get_by_label("Alias, kid or DID").fill("issuer")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="issuer").click()

    async def save(name, label, value):
        await page.locator("main .buttons").get_by_role("button", name=name, exact=True).click()
        await page.get_by_role("dialog").get_by_label(label).fill(value)
        await page.get_by_role("dialog").locator("button[type=submit]").click()

    dialog = page.get_by_role("dialog")
    await save("Rules", "Rules", "{")
    await expect(dialog.get_by_text("The rules are not JSON.")).to_be_visible()
    await dialog.get_by_label("Rules").fill('{"raw": false}')
    await dialog.locator("button[type=submit]").click()
    await expect(page.get_by_role("group", name="Rules")).to_contain_text('"raw": false')
    await save("Rules", "Rules", '{"raw": true}')
    await expect(dialog.get_by_role("alert")).not_to_be_empty()
    await dialog.get_by_role("button", name="Cancel").click()
    await save("Schedule", "Days between rotations", "30")
    await expect(page.locator("dd", has_text="30 days")).to_be_visible()
    found = await ok(await guarded.get(f"/key/{key['kid']}"))
    assert (found["rules"]["raw"], found["rotate_every"]) == (False, 30 * 86_400)


async def steps_of(page):
    """The steps of the shown key's line in time: when it is, name, time, and note."""
    items = page.get_by_role("region", name="In time").get_by_role("listitem")
    await expect(items.first).to_be_visible()
    return [tuple((await item.inner_text()).split("\n")) for item in await items.all()]


def shown(text):
    return text[:19].replace("T", " ")


async def test_the_times_of_a_rotation_are_set_and_shown_in_a_line(guarded, signed_in):
    page, day = signed_in, 86_400
    dialog = page.get_by_role("dialog")
    await open_page(page, "New key")
    await page.get_by_label("Alias").fill("issuer")
    await page.get_by_label("Days between rotations").fill("30")
    await page.get_by_label("Days for which the next key is published before").fill("0.5")
    await page.get_by_label("Days until a replaced key retires").fill("31")
    await page.get_by_role("button", name="Make the key").click()
    [key] = await until_made(guarded, 1)
    times = ("rotate_every", "publish_ahead", "retire_after")
    assert [key[name] for name in times] == [30 * day, day / 2, 31 * day]
    rotates = datetime.fromisoformat(key["rotates"])
    begins, ends = rotates - timedelta(hours=12), rotates + timedelta(days=31)
    assert await steps_of(page) == [
        ("Published", "past", shown(key["created"])),
        ("Signing", "now"),
        ("Next key published", "to come", shown(begins.isoformat())),
        ("Replaced", "to come", shown(key["rotates"])),
        ("Retired", "to come", shown(ends.isoformat())),
    ]
    await expect(page.locator("[aria-current=step]")).to_contain_text("Signing")

    await page.get_by_role("button", name="Schedule").click()
    await dialog.get_by_label("Days for which the next key is published before").fill("30")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Must be less than rotate_every.")
    await dialog.get_by_label("Days for which the next key is published before").fill("")
    await dialog.get_by_label("Days until a replaced key retires").fill("")
    await dialog.locator("button[type=submit]").click()
    await expect(page.get_by_text("The schedule is saved.")).to_be_visible()
    found = await ok(await guarded.get(f"/key/{key['kid']}"))
    assert [found.get(name) for name in times] == [30 * day, None, None]
    assert (await steps_of(page))[2:] == [
        ("Replaced", "to come", shown(found["rotates"])),
        ("Retired", "to come", "not scheduled"),
    ]


async def test_a_next_key_is_made_and_takes_its_place_once_it_was_published(
    guarded, address, signed_in, clock
):
    page = signed_in
    dialog = page.get_by_role("dialog")
    old = await make(guarded, alias="issuer", retire_after=2 * 86_400)
    await page.goto(f"{address}#/key/{old['kid']}")
    await page.get_by_role("button", name="Make the next key").click()
    line = page.get_by_role("region", name="In time")
    await expect(line).to_contain_text("Next key published")
    await expect(page.get_by_role("button", name="Make the next key")).to_have_count(0)
    [following] = await ok(await guarded.get("/keys?state=next"))

    await line.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(following["kid"])
    await expect(page.locator("main .badge").first).to_have_text("next")
    assert await steps_of(page) == [
        ("Published", "now", shown(following["created"]), "follows issuer"),
        ("Signing", "to come", "after a rotation by hand"),
        ("Replaced", "to come"),
        ("Retired", "to come", "2 days later"),
    ]
    changes = page.locator("main .buttons").first.get_by_role("button")
    await expect(changes).to_have_text(["Delete"])
    await expect(page.get_by_label("New alias")).to_have_count(0)
    await page.locator("dl").get_by_role("link", name=old["kid"]).click()

    async def rotate(published):
        await page.locator("main .buttons").get_by_role("button", name="Rotate").click()
        await dialog.get_by_label("Only if the next key is published for").select_option(published)
        await dialog.locator("button[type=submit]").click()

    await rotate("1 day")
    await expect(dialog.get_by_role("alert")).to_contain_text("has been published for")
    await dialog.get_by_role("button", name="Cancel").click()
    clock(86_400 + 60)
    await rotate("1 day")
    await expect(page.get_by_text("The key is rotated. This is the new one.")).to_be_visible()
    assert (await ok(await guarded.get("/key?alias=issuer")))["kid"] == following["kid"]
    await page.get_by_role("link", name=old["kid"]).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(old["kid"])
    retires = (await ok(await guarded.get(f"/key/{old['kid']}")))["retires"]
    assert await steps_of(page) == [
        ("Published", "past", shown(old["created"])),
        ("Signing", "past"),
        ("Replaced", "now", "only verifies and decrypts"),
        ("Retired", "to come", shown(retires), "disabled then"),
    ]
    await open_page(page, "Due")
    await expect(page.locator("main tbody tr")).to_contain_text("the key retires")
    assert complaints(page) == []


async def test_next_keys_are_found_and_deleted_and_their_line_says_whom_they_follow(
    guarded, signed_in
):
    page = signed_in
    old = (await make(guarded, alias="issuer"))["kid"]
    await make(guarded, alias="other")
    following = (await ok(await guarded.post(f"/key/{old}/next")))["kid"]
    await page.get_by_label("State").select_option("next key")
    async with page.expect_response("**/keys?*state=next*"):
        await page.get_by_role("button", name="Search").click()
    rows = page.locator("main tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows.locator(".badge")).to_have_text("next")
    await open_page(page, "Audit")
    event = page.locator("main tbody tr").filter(has_text="nextKey")
    await expect(event).to_contain_text(f"{old[:10]}… followed by {following[:10]}… (ed25519)")
    await event.get_by_role("link").nth(1).click()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("issuer")
    assert await ok(await guarded.get("/keys?state=next")) == []


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (None, ["Made past", "In use now", "Replaced to come", "Retired to come"]),
        ("replaced", ["Made past", "In use past", "Replaced now", "Retired to come"]),
        ("retired", ["Made past", "In use past", "Replaced past", "Retired now"]),
        ("disabled", []),
        ("verify-only", []),
    ],
)
async def test_the_line_in_time_follows_the_state(guarded, address, signed_in, clock, state, steps):
    key = await make(guarded, alg="a256gcm", alias="data", retire_after=60)
    path = f"/key/{key['kid']}"
    if state in ("replaced", "retired"):
        await ok(await guarded.post(f"{path}/rotate"))
        clock(61 if state == "retired" else 0)
    elif state is not None:
        await ok(await guarded.patch(path, json={"state": state}))
    await signed_in.clock.set_fixed_time(
        datetime.now(UTC) + timedelta(seconds=62 * (state == "retired"))
    )
    await signed_in.goto(f"{address}#{path}")
    await expect(signed_in.get_by_role("heading", level=2).first).to_be_visible()
    if not steps:
        await expect(signed_in.get_by_role("region", name="In time")).to_have_count(0)
    else:
        assert [" ".join(each[:2]) for each in await steps_of(signed_in)] == steps


async def until_made(client, number):
    """The keys of the profile, once there are so many."""
    async with waiting_for("new keys"):
        while len(keys := await ok(await client.get("/keys"))) < number:
            await asyncio.sleep(0.05)
    return keys


async def test_settings_of_a_profile_are_changed(guarded, signed_in):
    await open_page(signed_in, "Profiles")
    for label, value in (("Most keys", "5"), ("Most keys", "")):
        await signed_in.get_by_role("button", name="Settings of default").click()
        await signed_in.get_by_label(label).fill(value)
        await signed_in.get_by_role("dialog").locator("button[type=submit]").click()
        await expect(signed_in.get_by_role("dialog")).to_have_count(0)
        words = "at most 5 keys" if value else "none"
        await expect(signed_in.get_by_role("cell", name=words)).to_be_visible()
    await signed_in.get_by_role("button", name="Settings of default").click()
    await signed_in.get_by_label("Seconds for which readers may keep").fill("600")
    await signed_in.get_by_role("dialog").locator("button[type=submit]").click()
    kept = signed_in.get_by_role("cell", name="JWK Set kept for 600 seconds")
    await expect(kept).to_be_visible()
    async with guarded.get("/jwks.json") as answer:
        assert answer.headers["Cache-Control"] == "max-age=600"


async def test_a_token_is_shown_once_and_revoked(guarded, signed_in):
    page = signed_in
    await make_token(guarded, name="before")
    await open_page(page, "Tokens")
    await page.get_by_label("Name", exact=True).fill("issuer")
    await page.get_by_label("sign: sign messages").check()
    await page.get_by_role("group", name="Scopes").get_by_label("verify: verify").check()
    await page.get_by_role("textbox", name="Profiles").fill("default")
    await page.get_by_role("button", name="Make the token").click()
    shown = page.get_by_role("group", name="token")
    token = await shown.inner_text()
    own = await ok(await guarded.get("/tokens/self", headers=bearer(token)))
    assert (own["name"], own["scopes"], own["profiles"]) == (
        "issuer", ["sign", "verify"], ["default"],
    )  # fmt: skip
    rows = page.get_by_role("table", name="Tokens").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_contain_text("issuer")
    await page.get_by_role("button", name="Revoke the token before").click()
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(rows).to_have_count(1)
    await expect(shown).to_have_text(token)
    await page.get_by_role("button", name="I have kept it").click()
    await expect(shown).to_have_count(0)
    await open_page(page, "Keys")
    await open_page(page, "Tokens")
    assert token not in await page.content()
    await page.get_by_role("link", name="by whom the token issuer was made").click()
    await expect(page.locator("main tbody tr").first).to_contain_text("createToken")
    await open_page(page, "Tokens")
    await page.get_by_role("button", name="Revoke the token issuer").click()
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.get_by_text("The token is revoked.")).to_be_visible()
    assert (await guarded.get("/tokens/self", headers=bearer(token))).status == 401


async def test_a_signature_and_a_jws_are_made_and_checked(guarded, signed_in):
    page = signed_in
    await make(guarded, alias="issuer")
    await open_page(page, "Try it")
    await page.get_by_label("Key").fill("issuer")
    await page.get_by_label("Message").fill("héllo")
    await page.get_by_role("button", name="Sign", exact=True).click()
    signature = page.get_by_label("Signature, in base64url")
    await expect(signature).to_have_value(re.compile(r"[\w-]{86}=="))
    await page.get_by_role("button", name="Verify", exact=True).click()
    status = page.get_by_role("status").filter(has_text="valid")
    await expect(status).to_contain_text("valid The service")
    await page.get_by_label("Message").fill("hello")
    await page.get_by_role("button", name="Verify", exact=True).click()
    await expect(status).to_contain_text("not valid")

    await page.get_by_role("button", name="Make a JWS").click()
    await expect(page.get_by_role("group", name="header")).to_contain_text('"alg": "EdDSA"')
    await expect(page.get_by_role("group", name="payload")).to_contain_text('"sub": "alice"')
    await page.get_by_role("button", name="Verify the JWS").click()
    await expect(page.get_by_role("group", name="answer").last).to_contain_text('"valid": true')


async def test_calls_are_found_in_the_audit_log(guarded, signed_in):
    key = await make(guarded, alias="issuer")
    for kid in (key["kid"], key["kid"], "nowhere"):
        await guarded.post("/sign", json={"kid": kid, "data": ""})
    await open_page(signed_in, "Audit")
    rows = signed_in.locator("main tbody tr")
    await expect(rows.filter(has_text="nowhere")).to_contain_text("key-not-found")
    await signed_in.get_by_label("Operation").fill("sign")
    await signed_in.get_by_label("Outcome").fill("failed")
    await signed_in.get_by_label("Since (UTC)").fill("2020-01-31T12:00")
    await signed_in.get_by_role("button", name="Search").click()
    await expect(rows).to_have_count(1)
    await signed_in.get_by_label("Outcome").fill("ok")
    await signed_in.get_by_role("button", name="Search").click()
    await expect(rows).to_have_count(2)
    await rows.first.get_by_role("link").click()
    await expect(signed_in.get_by_role("heading", level=1)).to_have_text("issuer")
    events = signed_in.get_by_role("table", name="Newest events")
    await expect(events.get_by_role("row").filter(has_text="sign")).to_have_count(2)
    picture = signed_in.get_by_role("img", name=re.compile(r"^\d+ calls since .* 0 of them failed"))
    await expect(picture).to_be_visible()
    for span, text in (("30 days", "A bar is 24 hours."), ("24 hours", "A bar is an hour.")):
        await signed_in.get_by_role("button", name=span).click()
        await expect(signed_in.locator("figcaption")).to_contain_text(text)
        chosen = signed_in.get_by_role("region", name="Use").get_by_role("button", pressed=True)
        await expect(chosen).to_have_text(span)
    await signed_in.get_by_role("link", name="All events of this key").click()
    await expect(signed_in.get_by_label("Key", exact=True)).to_have_value(key["kid"])


async def test_a_rotation_leads_to_both_keys(guarded, signed_in):
    old = (await make(guarded))["kid"]
    new = (await ok(await guarded.post(f"/key/{old}/rotate")))["kid"]
    await open_page(signed_in, "Audit")
    row = signed_in.locator("main tbody tr").filter(has_text="rotateKey")
    await expect(row).to_contain_text(f"{old[:10]}… replaced by {new[:10]}… (ed25519)")
    for place, kid in enumerate((old, new)):
        await row.get_by_role("link").nth(place).click()
        await expect(signed_in.get_by_role("heading", level=1)).to_have_text(kid)
        events = signed_in.get_by_role("table", name="Newest events")
        await expect(events.get_by_role("row").filter(has_text="rotateKey")).to_have_count(1)
        await open_page(signed_in, "Audit")


async def test_health_moves_with_each_reading(signed_in):
    await open_page(signed_in, "Health")
    await expect(signed_in.get_by_text("ready", exact=True)).to_be_visible()
    calls = signed_in.get_by_role("img", name=re.compile("^Calls: [1-9]"))
    await expect(calls).to_be_visible()
    await expect(
        signed_in.get_by_role("img", name=re.compile("^Failed calls: [1-9]"))
    ).to_be_visible()
    await expect(signed_in.get_by_role("img", name="p99: 5 ms, most 5")).to_be_visible()
    row = signed_in.get_by_role("table", name="Operations").get_by_role("row", name="sign")
    await expect(row).to_contain_text("5 ms")
    # With the calls before the page was opened: the first reading counted 1,000 that failed.
    figures = [await row.get_by_role("cell").nth(place).inner_text() for place in (4, 5)]
    total, failed = (int(figure.replace(",", "")) for figure in figures)
    assert total == 2 * failed >= 4000
    in_all = signed_in.get_by_role("img", name=re.compile(r"^Failed calls: .*, [1-9],000 in all$"))
    await expect(in_all).to_be_visible()
    for figure in ("Calls of sign", "Failed calls of sign", "p99 of sign"):
        small = row.get_by_role("img", name=figure, exact=True)
        # A second reading draws it on.
        await expect(small.locator("polyline")).to_have_attribute("points", re.compile(r"\S+ \S+"))
    await expect(signed_in.get_by_role("row", name="connections 7")).to_be_visible()
    await expect(signed_in.get_by_role("cell", name="2027-01-15 08:00:00 UTC")).to_be_visible()


async def test_health_says_that_metrics_are_off(client, page):
    await page.goto(str(client.make_url("/console/#/health")))
    await expect(page.get_by_text("Metrics are off.")).to_be_visible()
    await expect(page.get_by_text("ready", exact=True)).to_be_visible()


async def test_keys_of_a_provider_are_made_and_found_and_it_is_away(start, page, token_folder):
    client = await start(create_service(Config(provider=(token_folder.option,))))
    await until_open(client)
    await make(client, alg="p256", alias="software")
    await page.goto(str(client.make_url("/console/#/make")))
    await page.get_by_label("Algorithm").select_option("p256")
    await page.get_by_label("Private part in").select_option("hsm")
    await page.get_by_label("Alias").fill("in the token")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_text("never leaves the provider")).to_be_visible()
    await open_page(page, "Keys")
    rows = page.locator("main tbody tr")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Provider").select_option("hsm")
    await page.get_by_role("button", name="Search").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("p256, in hsm")
    token_folder.set("away")
    await refused(
        await client.post("/sign", json={"alias": "in the token", "data": ""}),
        503,
        "provider-unavailable",
    )
    await open_page(page, "Health")
    await expect(page.get_by_text("Keys of these providers cannot be used: hsm.")).to_be_visible()
    assert complaints(page) == []


async def test_health_shows_the_store_key_and_providers_of_a_service(
    start, page, token_folder, free_port, monkeypatch
):
    monkeypatch.setattr("minikms.serve.upkeep._SWEEP_EVERY", 0.1)
    seals = (("pkcs11", "failed"), ("vault-transit", "opened"), ("awskms", "not-asked"))
    facts = {"key_kept": "sealed", "seals": seals, "metrics_port": int(free_port)}
    client = await start(create_service(Config(provider=(token_folder.option,), **facts)))
    await until_open(client)
    key = await make(client, alg="p256", provider="hsm")
    await page.goto(str(client.make_url("/console/#/health")))
    rows = page.get_by_role("table", name="Seals").locator("tbody tr")
    await expect(rows).to_have_text(
        ["1pkcs11did not open it", "2vault-transitopened it", "3awskmswas not asked"]
    )
    await expect(page.get_by_text("Any one of its 3 seals opens it.")).to_be_visible()
    row = page.get_by_role("table", name="Providers").locator("tbody tr")
    await expect(row).to_have_text(re.compile("hsmanswers.*0$"))

    token_folder.set("away")
    assert (await client.delete(f"/key/{key['kid']}")).status == 200
    await expect(row).to_have_text(re.compile("hsmaway.*1$"))
    token_folder.end("away")
    await expect(row).to_have_text(re.compile("hsmanswers.*0$"))
    await row.get_by_role("link", name="hsm").click()
    await expect(page.get_by_label("Provider", exact=True)).to_have_value("hsm")
    assert page.complaints == []


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ("file", "In a plain file. Whoever copies it and the store can open the store."),
        ("variable", "In the variable MINIKMS_STORE_KEY of the service."),
        ("", "None: the store is in memory."),
        ("sealed", "Sealed. Its one seal is the only way to the store."),
    ],
)
async def test_health_says_how_the_store_key_is_kept(start, page, free_port, kept, sentence):
    seals = (("pkcs11", "opened"),) if kept == "sealed" else ()
    config = Config(metrics_port=int(free_port), key_kept=kept, seals=seals)
    client = await start(create_service(config))
    await page.goto(str(client.make_url("/console/#/health")))
    await expect(page.get_by_role("region", name="Store key")).to_contain_text(sentence)
    assert page.complaints == []


async def hostile(client):
    """Names that are markup, wherever callers may choose them; gives the kid of a key."""
    await ok(await client.post("/profile", json={"name": PROFILE}))
    key = await make(client, alias=MARKUP, labels={MARKUP: MARKUP, BACKWARDS: BACKWARDS})
    await ok(await client.post(f"/key/{key['kid']}/next"))
    for alias in (BACKWARDS, f"{MARKUP} second"):
        path = f"/key/{key['kid']}/associate"
        await ok(await client.post(path, json={"alias": alias}))
    await make_token(client, name=MARKUP, profiles=[PROFILE])
    await client.post("/sign", json={"alias": MARKUP, "data": "!"})
    approvers = rule(Passkey(MARKUP, "localhost", "http://localhost"), expires_in=3600)
    for alias in (f"{MARKUP} third", f"{BACKWARDS} third"):
        asked = await make(client, alias=alias, exportable=True, rules=approvers)
        await client.get(f"/key/{asked['kid']}/export")
        data = b64(f"{MARKUP}{BACKWARDS}".encode())
        await client.post("/sign", json={"alias": alias, "data": data})
    return key["kid"]


async def test_names_that_are_markup_stay_texts(guarded, address, signed_in):
    page = signed_in
    kid = await hostile(guarded)

    async def check(*texts):
        for text in texts:
            await expect(page.get_by_text(text, exact=True).first).to_be_visible()
        assert await page.locator("main :is(img, script, iframe, object)").count() == 0
        assert await page.locator("dialog :is(img, script, iframe, object)").count() == 0
        assert await page.evaluate("window.hit") is None

    await open_page(page, "Due")
    await open_page(page, "Keys")
    await check(MARKUP)
    await page.goto(f"{address}#/keys?text={quote(MARKUP)}&label={quote(MARKUP)}")
    await check()
    await page.goto(f"{address}#/key/{kid}")
    await check(MARKUP, BACKWARDS, f"{MARKUP} second")
    assert await page.locator("main bdi", has_text=BACKWARDS).count() >= 2
    for name in ("Rotate", "Disable", "Delete", "Labels", "Schedule", "Rules"):
        await page.locator("main .buttons").get_by_role("button", name=name, exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await check()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Remove the alias").first.click()
    await check()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await open_page(page, "Approvals")
    await check()
    await expect(page.locator("main")).not_to_contain_text("\u202e")
    for number in range(4):
        await page.get_by_role("button", name="Withdraw").nth(number).click()
        await check()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await open_page(page, "Profiles")
    await check(PROFILE)
    await page.get_by_role("button", name="Delete the profile").click()
    await check()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await open_page(page, "Tokens")
    await check(MARKUP, PROFILE)
    await page.get_by_role("button", name="Revoke the token").click()
    await check()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await open_page(page, "Try it")
    await page.get_by_label("Key").fill(MARKUP)
    await page.get_by_role("button", name="Make a JWS").click()
    await expect(page.get_by_role("group", name="header")).to_be_visible()
    await check()
    await page.goto(f"{address}#/{quote(MARKUP)}/{quote(MARKUP)}?{quote(MARKUP)}")
    await check()
    await open_page(page, "Health")
    await check(MARKUP, BACKWARDS)
    seals = page.get_by_role("table", name="Seals").locator("tbody tr")
    assert await seals.locator("bdi").all_text_contents() == [KIND, "pkcs11", "awskms"]
    await page.get_by_role("link", name=MARKUP).click()
    await expect(page.get_by_label("Provider", exact=True)).to_have_value(MARKUP)
    await check()


async def test_a_page_without_its_scripts_says_so(client, page):
    """A new installation over the running service removes the old scripts."""
    await page.route("**/main.js", lambda route: route.fulfill(status=404))
    await page.goto(str(client.make_url("/console/")))
    await expect(page.get_by_text("the scripts of the console cannot be loaded")).to_be_visible()
    await page.unroute_all()
    await page.reload()
    await expect(page).to_have_title("Keys · Mini KMS")
    await expect(page.get_by_text("the scripts of the console")).to_have_count(0)


async def test_a_script_in_the_page_does_not_run(signed_in):
    refusal = """() => {
        try {
            document.body.innerHTML = "<img src=x onerror=window.hit=1>";
        } catch (error) {
            return error.name;
        }
    }"""
    assert await signed_in.evaluate(refusal) == "TypeError"
    inserted = """() => {
        const link = document.createElement("a");
        link.href = "javascript:window.hit=1";
        document.body.append(link);
        link.click();
        return new Promise((resolve) => setTimeout(() => resolve(window.hit), 200));
    }"""
    assert await signed_in.evaluate(inserted) is None
    assert len(signed_in.complaints) >= 2
    signed_in.complaints.clear()


async def test_it_works_by_keyboard(guarded, address, page, admin):
    await page.goto(address)
    await expect(page.get_by_label("Token")).to_be_visible()

    async def press_until(selector, key="Tab"):
        for _ in range(60):
            await page.keyboard.press(key)
            if await page.evaluate("(one) => document.activeElement.matches(one)", selector):
                return
        raise AssertionError(selector)

    await press_until("[name=token]")
    await page.keyboard.type(admin[0])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Keys")
    await press_until("[data-page=make]")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await press_until("[name=alias]")
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("by keyboard")
    await press_until("button.danger")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("main button.danger")).to_be_focused()
    await page.keyboard.press("Enter")
    await press_until("[name=typed]")
    [key] = await ok(await guarded.get("/keys"))
    await page.keyboard.type(key["kid"][:8])
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The deletion is scheduled for")).to_be_visible()
    assert complaints(page) == []


async def each_page(page, kid):
    """Open each page in turn, and the page of a key."""
    address = page.url.partition("#")[0]
    for name in PAGES:
        await open_page(page, name)
        if name == "Health":
            await expect(page.get_by_role("table", name="Figures now")).to_be_visible()
        yield name
    await page.goto(f"{address}#/key/{kid}")
    await expect(page.get_by_role("heading", level=2).first).to_have_text("In time (UTC)")
    yield "Key"
    await page.locator("main .buttons").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    yield "Question"
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    yield "Sign in"
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    yield "Sign in, refused"


@pytest.mark.parametrize("narrow", [390, 320])
async def test_no_page_is_wider_than_a_narrow_window(guarded, signed_in, narrow):
    """A window of 320 pixels is one of 1280 at a zoom of 400 % (WCAG 2.2, 1.4.10)."""
    kid = await hostile(guarded)
    await signed_in.set_viewport_size({"width": narrow, "height": 844})
    async for name in each_page(signed_in, kid):
        await signed_in.wait_for_timeout(200)  # rows come after the page
        width = await signed_in.evaluate("document.documentElement.scrollWidth")
        assert width <= narrow, name
        assert await signed_in.evaluate(TOO_WIDE) == [], name


async def test_colours_of_the_system_leave_the_chosen_visible(guarded, signed_in):
    """The contrast themes of Windows replace all backgrounds."""
    page = signed_in
    key = await make(guarded)
    await page.emulate_media(forced_colors="active")
    await open_page(page, "Tokens")
    background = "(one) => getComputedStyle(one).backgroundColor"
    items = page.locator("#menu a")
    looks = [await item.evaluate(background) for item in await items.all()]
    chosen = list(PAGES).index("Tokens")
    assert looks[chosen] not in looks[:chosen] + looks[chosen + 1 :]
    await page.goto(f"{page.url.partition('#')[0]}#/key/{key['kid']}")
    pressed, others = (page.locator(f"button[aria-pressed={one}]") for one in ("true", "false"))
    await expect(others).to_have_count(2)
    assert await pressed.evaluate(background) != await others.first.evaluate(background)


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core."""
    folder = install(tmp_path_factory.mktemp("npm"), AXE)
    return (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")


@pytest.mark.timeout(300)  # npm installs a package, and axe looks at 40 pages
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_has_no_complaint(guarded, address, page, admin, axe, scheme):
    kid = await hostile(guarded)
    address = address.replace("127.0.0.1", "localhost")  # where passkeys can be used
    await page.emulate_media(color_scheme=scheme)
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 844})
        await sign_in(page, address, admin[0])
        async for name in each_page(page, kid):
            await page.evaluate(axe)
            found = await page.evaluate(AXE_RUN)
            faults = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
            assert faults == [], (name, width)
    assert complaints(page) == []
