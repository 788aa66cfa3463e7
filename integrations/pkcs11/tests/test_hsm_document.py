"""docs/hsm.md: its commands, pasted into a shell, and its table of tokens."""

import re
import shutil

import pytest
from document_blocks import ROOT, blocks, paste, section

from minikms_pkcs11.kinds import KINDS

DOCUMENT = (ROOT / "docs/hsm.md").read_text("utf-8")
FIVE_MINUTES = section(DOCUMENT, "## SoftHSM in five minutes")
# The packages are installed here by now.
INSTALLS = {
    "sudo apt-get install --yes softhsm2\n": "",
    ".venv/bin/pip install ./integrations/pkcs11\n": "",
}


@pytest.mark.skipif(not shutil.which("softhsm2-util"), reason="softhsm2 is missing")
def test_the_pasted_commands_print_the_shown_output(tmp_path):
    assert all(line in FIVE_MINUTES for line in INSTALLS)
    done = paste(blocks(FIVE_MINUTES), tmp_path, INSTALLS)
    assert done.answered == done.shown
    assert len(done.shown) == 2


def test_the_table_of_tokens(softhsm, opencryptoki, connect):
    table = DOCUMENT.partition("<!-- tokens -->")[2].partition("<!-- /tokens -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (yes|no) \|$", table, re.MULTILINE)
    tokens = [connect(token).algorithms() for token in (softhsm, opencryptoki)]
    answer = {True: "yes", False: "no"}
    assert rows == [(name, *(answer[name in has] for has in tokens)) for name in KINDS]
