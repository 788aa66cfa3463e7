"""The console's files and their headers, and the metrics that it reads."""

import re
from pathlib import Path

import pytest
from http_answers import bearer
from problems import refused

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.console import FOLDER
from minikms.web.state import METRICS

POLICY = {
    "default-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
}
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*"))
MODULES = [name for name in FILES if name.endswith(".js")]
TEXTS = {name: (FOLDER / name).read_text("utf-8") for name in FILES}

SAMPLES = b"# HELP minikms_connections Connections of callers.\nminikms_connections 1.0\n"


async def samples():
    return SAMPLES


@pytest.fixture
async def guarded(start, admin):
    """A service that asks for tokens and has metrics, and the header of its admin."""
    app = create_service(Config(auth="token", admin_token_file=admin[1]))
    app[METRICS] = samples
    return await start(app), bearer(admin[0])


@pytest.mark.parametrize("name", ["", *FILES])
async def test_each_file_is_sent_with_a_strict_policy(guarded, name):
    client, _ = guarded
    async with client.get(f"/console/{name}") as answer:
        assert answer.status == 200
        assert await answer.text() == TEXTS[name or "index.html"]
        assert set(answer.headers["Content-Security-Policy"].split("; ")) == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        # A browser keeps no page that was shown with a token for a later look.
        kept = "no-store" if name in ("", "index.html") else "no-cache"
        assert answer.headers["Cache-Control"] == kept
        kind = {"html": "text/html", "css": "text/css", "svg": "image/svg+xml"}
        suffix = (name or "index.html").rpartition(".")[2]
        assert answer.content_type == kind.get(suffix, "text/javascript")


async def test_the_page_says_whether_callers_need_a_token(client, guarded):
    """So that it needs no call to find out, which would leave a line in the audit log."""
    for one, said in ((client, "not-needed"), (guarded[0], "needed")):
        async with one.get("/console/") as answer:
            assert f'data-token="{said}"' in await answer.text()


@pytest.mark.parametrize("path", ["nothing.js", "pages", "pages/", "../app.py", "%2e%2e/app.py"])
async def test_nothing_else_is_sent(client, path):
    assert (await client.get(f"/console/{path}", allow_redirects=False)).status == 404


async def test_the_page_has_its_own_folder_below_any_path(client):
    async with client.get("/console", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "console/")


async def test_no_console_takes_it_away(start):
    client = await start(create_service(Config(console=False)))
    for path in ("/console", "/console/", "/console/main.js", "/console/metrics"):
        await refused(await client.get(path), 404, "route-not-found")


def test_it_is_small():
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 150 * 1024


def test_the_page_fetches_each_module_at_once():
    page = TEXTS["index.html"]
    fetched = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)
    assert sorted([*fetched, "main.js"]) == MODULES
    assert re.findall(r'<script type="module" src="([^"]+)"></script>', page) == ["main.js"]


def test_nothing_is_inline_or_from_elsewhere():
    assert not re.search(
        r"<style|<script(?! type=\"module\" src=)| style=| on\w+=", TEXTS["index.html"]
    )
    for name, text in TEXTS.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`]*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name


@pytest.mark.parametrize("name", MODULES)
def test_no_module_makes_markup_of_a_text_or_keeps_anything(name):
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\b|new Function|localStorage|sessionStorage|indexedDB|\.cookie\b|console\.\w+\("
    )
    assert not re.search(forbidden, TEXTS[name])


def test_each_scope_is_explained():
    explained = re.findall(r'^  "?([a-z:]+)"?: "', TEXTS["scopes.js"], re.MULTILINE)
    assert set(explained) >= set(SCOPES)


async def test_metrics_are_for_callers_who_may_read_the_audit_log_of_all_profiles(guarded):
    client, admin = guarded
    await refused(await client.get("/console/metrics"), 401, "unauthenticated")
    async with client.get("/console/metrics", headers=admin) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert await answer.read() == SAMPLES

    async def token(**facts):
        body = {"name": "t", **facts}
        async with client.post("/tokens", json=body, headers=admin) as answer:
            return bearer((await answer.json())["token"])

    others = await token(scopes=[scope for scope in SCOPES if scope != "audit"])
    of_a_profile = await token(scopes=["audit"], profiles=["default"])
    for headers in others, of_a_profile:
        answer = await client.get("/console/metrics", headers=headers)
        await refused(answer, 403, "forbidden")
    headers = await token(scopes=["audit"])
    assert (await client.get("/console/metrics", headers=headers)).status == 200
    answer = await client.get("/console/metrics?a=b", headers=headers)
    await refused(answer, 422, "validation-failed")


async def test_a_service_without_metrics_has_none_for_the_console(client):
    await refused(await client.get("/console/metrics"), 404, "route-not-found")


async def test_readings_of_the_metrics_leave_no_line_in_the_audit_log(start, tmp_path):
    file: Path = tmp_path / "audit.log"
    app = create_service(Config(audit_log=str(file)))
    app[METRICS] = samples
    client = await start(app)
    before = file.read_bytes()
    assert (await client.get("/console/metrics")).status == 200
    assert file.read_bytes() == before
