"""The documents as a site: its pages in reading order, the reference of the API, the search."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec

import pytest
from api_reference import Reference
from build_site import COMMANDS, ROOT, SITE, pages
from command_reference import command_page
from node import AXE, install, require

from minikms.config import OPTIONS
from minikms.web.responses import error_classes
from minikms.web.routes import ROUTES

NAV = tomllib.loads((ROOT / "docsite/zensical.toml").read_text("utf-8"))["project"]["nav"]


def in_order(entries):
    for entry in entries:
        for value in entry.values():
            if isinstance(value, list):
                yield from in_order(value)
            else:
                yield value


def test_every_page_is_in_the_navigation_once():
    assert sorted(in_order(NAV)) == sorted([*pages().values(), COMMANDS])


@pytest.fixture
async def reference(client):
    return Reference(await (await client.get("/openapi.json")).json())


async def test_reference_has_every_call_with_its_facts(reference):
    assert len(reference.calls) == len(ROUTES)
    for name, operation in reference.calls.items():
        text = reference.call(name)
        assert f"`{operation['operationId']}`" in text
        assert "```json\n" in text
        assert bool(re.search(r"\| field of the body \|.*\n.*\n\| `", text)) == (
            "requestBody" in operation
        ), name
        assert not re.search(r"#/components|`None`|\{'", text), name


async def test_reference_says_what_a_field_takes(reference):
    text = reference.call("POST /sign/batch")
    assert "| `kid` | text, form `^[A-Za-z0-9_-]{1,128}$` | one of these |" in text
    assert "| `items` | array of object, 1 to 1,000 items | required |" in text
    assert "| `items[].data` | text | required |" in text
    assert "| `encoding` | `raw`, `der` |" in text
    assert "404 `key-not-found`, `alias-not-found`" in text
    assert "POST /sign/batch\n\n{" in text


@pytest.fixture(scope="module")
def site():
    """The site; Zensical checks each link, and each section that a link names."""
    if find_spec("zensical") is None:
        pytest.skip("zensical is missing: pip install -e '.[test-all]'")
    done = subprocess.run(
        (sys.executable, ROOT / "docsite/build_site.py"),
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@pytest.mark.slow
@pytest.mark.timeout(300)  # it renders some fifty pages
def test_site_is_built_without_a_warning(site):
    for name in pages().values():
        page = (site / name).with_suffix(".html")
        pictures = re.findall(
            r'(?:src|srcset)="?([^":>\s]+\.(?:svg|webp))\b', page.read_text("utf-8")
        )
        assert all((page.parent / picture).exists() for picture in pictures), name


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is missing: apt-get install chromium"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_menu_and_tables_are_readable(site, tmp_path, scheme):
    """By axe: the contrast of texts, and headings of tables."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install -e '.[test-all]'"
    )
    folder = install(tmp_path, AXE)
    axe = (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(color_scheme=scheme)
        for name in ("index.html", "operations.html", "reference/keys.html"):
            page.goto((site / name).as_uri())
            page.locator(".md-nav__link--active:visible").first.wait_for()
            page.evaluate(axe)
            found = page.evaluate(
                "async (rules) => (await axe.run({ runOnly: rules })).violations",
                ["color-contrast", "empty-table-header"],
            )
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        browser.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_search_finds_each_problem_option_and_command(site):
    require("node")
    problems = [error.slug for error in error_classes()]
    options = [f"--{one.name.replace('_', '-')}" for one in OPTIONS if one.metadata["flag"]]
    commands = re.findall("^## `(.+)`$", command_page(), re.MULTILINE)
    assert {"mkms key generate", "minikms store backup"} <= set(commands)
    done = subprocess.run(
        ("node", ROOT / "tests/site_search.mjs", site),
        input=json.dumps(problems + options + commands),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [query for query, titles in found.items() if query not in titles] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_place_that_the_search_gives_is_there(site):
    for item in json.loads((site / "search.json").read_text("utf-8"))["items"]:
        page, _, anchor = item["location"].partition("#")
        assert not anchor or f'id="{anchor}"' in (site / page).read_text("utf-8"), item["location"]
