"""The documents are complete, and their links have targets."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from minikms.access.callers import SCOPES
from minikms.config import ENV_PREFIX, OPTIONS, Config
from minikms.credentials.jose.jwe_forms import MAX_HEADER, MAX_HEADERS, MAX_RECIPIENTS
from minikms.key_bounds import (
    MAX_ALIAS_BYTES,
    MAX_ALIASES,
    MAX_BATCH_BYTES,
    MAX_LABEL_BYTES,
    MAX_LABELS,
)
from minikms.plugin import SignatureOptions
from minikms.plugin.protocol import KeyPairAlgorithm, Mac, Signer
from minikms.plugin.registry import AlgorithmRegistry
from minikms.rule_members import MAX_RULE_VALUES
from minikms.rules import MAX_RULE_BYTES
from minikms.serve.assembly import create_service
from minikms.store.keys.record_queries import MAX_PAGE_BYTES
from minikms.versions import MAX_VERSIONS
from minikms.web.parameters import MAX_LIMIT
from minikms.web.responses import error_classes
from minikms.web.routes import ROUTES
from minikms.web.schemas import didcomm_bodies
from minikms.web.schemas.key_bodies import MAX_KEYS
from minikms.web.schemas.operation_bodies import MAX_BATCH, MAX_RANDOM

ROOT = Path(__file__).parents[1]
API = "\n".join(
    path.read_text("utf-8")
    for path in (*sorted((ROOT / "docs/reference").glob("*.md")), ROOT / "docs/http-api.md")
)
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
ALGORITHMS = (ROOT / "docs/algorithms.md").read_text("utf-8")
WALLETS = (ROOT / "docs/wallets.md").read_text("utf-8")
GUIDE = (ROOT / "docs/guide.md").read_text("utf-8")
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples/README.md",
    ROOT / "bench/measurements.md",
    *sorted((ROOT / "examples").glob("*/README.md")),
]


def shown(route):
    """Method and path as people write them: without the expressions."""
    return f"{route.method} {web.UrlDispatcher().add_resource(route.path).canonical}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_has_its_section(route):
    assert re.search(rf"^###? `{re.escape(shown(route))}`$", API, re.MULTILINE)


def test_no_section_is_of_a_route_that_is_not_there():
    sections = set(re.findall(r"^###? `([A-Z]+ \S+)`$", API, re.MULTILINE))
    assert sections == set(map(shown, ROUTES))


def test_table_of_problems_is_that_of_the_errors():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", API, re.MULTILINE)
    assert sorted(rows) == sorted((error.slug, str(error.status)) for error in error_classes())


OF_ANY_CALL = {"validation-failed", "audit-unavailable"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_section_explains_problems_of_its_call_alone(route):
    """The site lists them all, from the OpenAPI document."""
    for path in (*sorted((ROOT / "docs/reference").glob("*.md")), ROOT / "docs/http-api.md"):
        section = re.search(
            rf"^###? `{re.escape(shown(route))}`$.*?(?=^## |^### `|\Z)",
            path.read_text("utf-8"),
            re.DOTALL | re.MULTILINE,
        )
        if section:
            break
    explained = section[0].partition("**Problems:**")[2].partition("\n\n")[0]
    slugs = {error.slug for error in error_classes()}
    own = {error.slug for error in route.problems}
    assert set(re.findall(r"`([a-z-]+)`", explained)) & slugs <= own | OF_ANY_CALL


def built_in(kind):
    for entry in AlgorithmRegistry.from_installed():
        if entry.source == "minikms-server" and isinstance(entry.algorithm, kind):
            yield entry.algorithm


def table(name, document):
    return document.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]


def test_table_of_signatures_is_that_of_the_algorithms():
    rows = re.findall(
        r"^\| `(\w+)` \| (?:.*, )?([\d,]+) bytes", table("signatures", ALGORITHMS), re.M
    )
    expected = []
    for algorithm in built_in(Signer):
        key = algorithm.generate()
        length = len(algorithm.sign(key, b"", SignatureOptions(algorithm.signing_algs[0])))
        expected.append((algorithm.name, f"{length:,}"))
    assert rows == expected


def test_table_of_cose_numbers_is_that_of_the_algorithms():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([-\d, ]+) \|$", table("cose", API), re.M))
    expected = {}
    for kind in (Signer, Mac):
        for algorithm in built_in(kind):
            names = algorithm.cose_algs.values()
            numbers = {
                name: ", ".join(str(n) for n, of in algorithm.cose_algs.items() if of == name)
                for name in names
            }
            assert numbers.keys() == set(algorithm.jws_algs)
            expected |= numbers
    assert rows == expected


def test_table_of_multicodecs_is_that_of_the_algorithms():
    rows = re.findall(
        r"^\| `(\w+)` \| `(0x\w+)` \| (yes|no) \|$", table("multicodecs", ALGORITHMS), re.M
    )
    assert rows == [
        (algorithm.name, hex(algorithm.multicodec), "yes" if algorithm.did_key else "no")
        for algorithm in built_in(KeyPairAlgorithm)
        if algorithm.multicodec is not None
    ]


def test_table_of_algorithms_is_that_of_the_registry():
    """On a failure, the table to paste is the one that was expected."""
    rows = [("Name", "Also", "Key type", "JOSE", "Operations"), ("---",) * 5]
    for entry in AlgorithmRegistry.from_installed():
        if entry.source == "minikms-server":
            alg = entry.algorithm
            assert "import-jwk" in alg.operations
            operations = [op for op in alg.operations if op != "import-jwk"]
            columns = ((alg.name,), alg.aliases, (alg.kty,), entry.jose_algs, operations)
            cells = [[f"`{word}`" for word in words] for words in columns]
            cells[-1] = [f"{op}*" if op[1:-1] in alg.opt_in else op for op in cells[-1]]
            rows.append([" ".join(words) for words in cells])
    expected = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    assert table("algorithms", ALGORITHMS).strip() == expected.replace("|  |", "| |").strip()


def test_the_document_names_the_one_path_not_taken_over():
    """The one path of the original that no route here has."""
    assert re.search(r"^### Not there\n\n- `/vc-holder/\*`: .*\n\n##", GUIDE, re.MULTILINE)
    assert not any(route.path.startswith("/vc-holder") for route in ROUTES)


def test_table_of_options_is_that_of_the_config():
    rows = re.findall(
        r"^\| `(--\S+)`(?:, `--no-\S+`)? \| `(\w+)` \| `(\S+)` \|", OPERATIONS, re.MULTILINE
    )
    expected = []
    for option in OPTIONS:
        flag, variable = option.name.replace("_", "-"), option.name.upper()
        if option.metadata["flag"]:
            default = "none" if option.default in ("", ()) else str(option.default)
            expected.append((f"--{flag}", ENV_PREFIX + variable, default))
        else:
            assert f"`{ENV_PREFIX}{variable}`" in OPERATIONS
    assert rows == expected


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_choices_of_an_option_are_named(option):
    for choice in option.metadata["choices"]:
        assert f"`{choice}`" in OPERATIONS


def test_table_of_scopes_is_that_of_the_routes():
    rows = re.findall(r"^\| `([a-z:]+)` \| (`[A-Z]+ .*`) \|$", API, re.MULTILINE)
    needed = {scope: set(re.findall("`(.+?)`", calls)) for scope, calls in rows}
    assert list(needed) == list(SCOPES)
    for scope in SCOPES:
        assert needed[scope] == {shown(route) for route in ROUTES if route.scope == scope}


def test_architecture_lists_the_pages_of_internals():
    pages = {f"internals/{path.name}" for path in (ROOT / "docs/internals").glob("*.md")}
    assert pages <= set(re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \|", ARCHITECTURE, re.MULTILINE))


def test_calls_for_wallets_are_there():
    calls = set(re.findall(r"`((?:GET|POST|PATCH|DELETE) /\S*)`", WALLETS))
    assert len(calls) > 20
    assert calls <= set(map(shown, ROUTES))


def test_table_of_limits_is_that_of_the_code():
    limits = dict(
        re.findall(r"^\| ([^|]+) \| ([\d,]+)\D", API.partition("## Limits")[2], re.MULTILINE)
    )
    expected = {
        "keys on a page of `GET /keys`": MAX_LIMIT,
        "tokens on a page of `GET /tokens`": MAX_LIMIT,
        "items of a batch": MAX_BATCH,
        "keys that one call makes": MAX_KEYS,
        "bytes of `POST /random`": MAX_RANDOM,
        "aliases of a key": MAX_ALIASES,
        "versions of an alias": MAX_VERSIONS,
        "labels of a key": MAX_LABELS,
        "bytes of all aliases of a key together, in UTF-8": MAX_ALIAS_BYTES,
        "bytes of all labels of a key together, names and values, in UTF-8": MAX_LABEL_BYTES,
        "bytes of the labels and rules of all keys that one call makes": MAX_BATCH_BYTES,
        "strings in a list in rules": MAX_RULE_VALUES,
        "bytes of all strings in the [rules](rules.md#the-rules) of a key together, in UTF-8": (
            MAX_RULE_BYTES
        ),
        "bytes of a page of `GET /keys`": MAX_PAGE_BYTES,
        "recipients of a JWE": MAX_RECIPIENTS,
        "recipients of a DIDComm v1 message": didcomm_bodies.MAX_RECIPIENTS,
        "a header of a JWE": MAX_HEADER,
        "all headers of a JWE together": MAX_HEADERS,
    }
    assert {name: limits[name] for name in expected} == {
        name: f"{most:,}" for name, most in expected.items()
    }
    assert f"more than {MAX_ALIASES:,} aliases" in API
    assert f"1 to {MAX_BATCH:,} items" in API


def test_folder_tree_has_the_folders_of_the_package():
    tree = set(re.findall(r"^ *(\w+)/ ", ARCHITECTURE, re.MULTILINE))
    packages = {path.parent.name for path in (ROOT / "minikms").rglob("__init__.py")}
    assert tree == packages - {"minikms"} | {"examples"}


def test_files_of_tests_have_different_names_and_few_helpers_stand_above_all_folders():
    folders = "tests", "doors/tests", "clients/*/tests", "integrations/*/tests", "examples"
    names = [file.name for each in folders for file in ROOT.glob(f"{each}/**/test_*.py")]
    assert [name for name, number in Counter(names).items() if number > 1] == []
    helpers = [file.name for file in ROOT.glob("tests/*.py") if not file.name.startswith("test_")]
    assert len(helpers) <= 25


@pytest.mark.parametrize("path", ["/sign", "/key/generate"])
async def test_the_documented_way_of_a_request_is_the_way_of_the_code(start, tmp_path, path):
    """Each file that it names runs, and there are 15 of them at most."""
    steps = ARCHITECTURE.partition(f"`POST {path}`")[2].partition("1. ")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", steps))
    assert len(named) <= 15
    client = await start(create_service(Config(cache_size=1, audit_log=str(tmp_path / "log"))))
    ran = set()

    def note(frame, event, _):
        if event == "call":
            ran.add(frame.f_code.co_filename)

    key = {"alg": "ed25519", "alias": "mine"}
    message = {"alias": "mine", "data": "aGVsbG8"}
    calls = [("/key/generate", key), ("/sign", message), ("/sign", message)]
    for number, (called, body) in enumerate(calls):
        if called == path and number != 1:  # the first to sign has to read the key
            sys.setprofile(note)
        try:
            assert (await client.post(called, json=body)).status == 200
        finally:
            sys.setprofile(None)
    assert {str(ROOT / "minikms" / file) for file in named} <= ran


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document):
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        path, _, section = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if section:
            assert section in anchors(linked.read_text("utf-8")), target


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(document):
    """By their path in the repository, or in the package."""
    text = re.sub(
        r"^ *```.*?^ *```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for named in re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|md|js|lua|svg))?)`", text):
        assert any((folder / named).exists() for folder in (ROOT, ROOT / "minikms")), named
