"""docs/guide.md, pasted from its beginning to its end."""

import shutil

import pytest
from document_blocks import ROOT, Block, blocks, paste

GUIDE = (ROOT / "docs/guide.md").read_text("utf-8")

# The credentials of before and after the rotation are of two keys.
OTHER_HEADER = Block("sh", 'test "${first%%.*}" != "${second%%.*}"\n')


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_pasted_commands_print_the_shown_output(tmp_path):
    done = paste([*blocks(GUIDE), OTHER_HEADER], tmp_path)
    assert done.answered == done.shown
    assert len(done.shown) == 14
    assert "pip install" not in done.commands
