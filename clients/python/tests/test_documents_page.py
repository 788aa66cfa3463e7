"""docs/documents.md: its commands print the shown output. Its programs are in `examples`."""

import shutil

import pytest
from document_blocks import ROOT, blocks


@pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl is missing: apt-get install openssl"
)
def test_the_commands_certify_the_key(shell):
    commands, shown = blocks((ROOT / "docs/documents.md").read_text("utf-8"))
    assert f"{shell(commands.text)}\n" == shown.text
