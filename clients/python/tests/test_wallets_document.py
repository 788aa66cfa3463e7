"""The recipes of docs/wallets.md, pasted after the start of docs/mdoc.md."""

import os
import shutil

import pytest
from pasted import ROOT, Block, blocks, paste, section

WALLETS = (ROOT / "docs/wallets.md").read_text("utf-8")
START = section((ROOT / "docs/mdoc.md").read_text("utf-8"), "## Start it")
MISSING = [name for name in ("node", "npm", "openssl", "curl") if shutil.which(name) is None]


def pasted(block):
    """A block of a program as a person runs it."""
    to = {"python": "python", "js": "node --input-type=module"}.get(block.language)
    return Block("sh", f"{to} <<'END'\n{block.text}END\n") if to else block


@pytest.fixture(autouse=True)
def programs():
    """Skip a test whose programs are missing."""
    if MISSING:
        missing = f"missing: {' '.join(MISSING)}"
        if os.environ.get("MINIKMS_TEST_REQUIRE_NODE") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


def test_status_list_tokens_are_read_by_other_libraries(tmp_path):
    recipe = blocks(START) + blocks(section(WALLETS, "### Status lists"))
    done = paste(map(pasted, recipe), tmp_path)
    assert done.answered == done.shown
    assert len(done.shown) == 1
