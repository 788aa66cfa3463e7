"""The recipes of docs/wallets.md, pasted after the start of docs/mdoc.md."""

import os
import shutil
from pathlib import Path

import pytest
from document_blocks import ROOT, Block, blocks, paste, section

WALLETS = (ROOT / "docs/wallets.md").read_text("utf-8")
START = section((ROOT / "docs/mdoc.md").read_text("utf-8"), "## Start it")
WALLET = Path(__file__).with_name("dc_api_wallet.mjs")
READER = Path(__file__).with_name("status_list_reader.mjs")
READERS = "jose@6.2.18 @sd-jwt/jwt-status-list@0.19.0 @auth0/cose@1.0.2"
PACKAGES = "jose@6.2.18 @openid4vc/openid4vp@0.4.6 @sd-jwt/sd-jwt-vc@0.19.0"
# The commands name the programs in the checkout.
IN_CHECKOUT = {"clients/python/recipes": str(ROOT / "clients/python/recipes")}
MISSING = [name for name in ("node", "npm", "openssl", "curl") if shutil.which(name) is None]


@pytest.fixture(autouse=True)
def programs():
    """Skip a test whose programs are missing."""
    if MISSING:
        missing = f"missing: {' '.join(MISSING)}"
        if os.environ.get("MINIKMS_TEST_REQUIRE_NODE") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


def test_status_list_tokens_are_read_by_other_libraries(tmp_path):
    (tmp_path / READER.name).write_text(READER.read_text("utf-8"))
    install = f"npm install --silent --no-audit --no-fund --no-save {READERS}\n"
    read = Block("sh", f"{install}node {READER.name}\n")
    statuses = Block("text", "JWT 1 0\nCWT 1 0\n")
    recipe = blocks(section(WALLETS, "### Status lists"))
    done = paste([*blocks(START), *recipe, read, statuses], tmp_path, IN_CHECKOUT)
    assert done.answered == done.shown
    assert len(done.shown) == 1


def test_a_verifier_asks_and_opens_the_answer_of_another_library(tmp_path):
    recipe = blocks(section(WALLETS, "### A verifier for the Digital Credentials API"))
    keys, request, opening, shown = recipe
    (tmp_path / WALLET.name).write_text(WALLET.read_text("utf-8"))
    install = f"npm install --silent --no-audit --no-fund --no-save {PACKAGES}\n"
    answer = Block("sh", f"{install}node {WALLET.name} answer\n")
    verify = Block("sh", f"node {WALLET.name} verify\n")
    claims = Block("text", "Erika false origin:https://verifier.example\n")
    left = Block("sh", "mkms key list --json | grep -c kid\n")
    without_the_key = Block("text", "2\n")
    steps = [keys, request, answer, opening, shown, verify, claims, left, without_the_key]
    done = paste(blocks(START) + steps, tmp_path, IN_CHECKOUT)
    assert done.answered == done.shown
    assert len(done.shown) == 3
