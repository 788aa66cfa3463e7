"""docs/documents.md: its commands and programs print the shown output."""

import shutil
import struct
import zlib

import pytest
from pasted import ROOT, Block, blocks, paste

DOCUMENT = (ROOT / "docs/documents.md").read_text("utf-8")


def pasted(block):
    """A block of a program as a person runs it."""
    run = f"python <<'END'\n{block.text}END\n"
    return Block("sh", run) if block.language == "python" else block


def png():
    """A black picture of eight by eight points."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    points = zlib.compress((b"\0" + bytes(24)) * 8)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", points), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pdf(path):
    """Write a document of one empty page."""
    from pyhanko.pdf_utils.generic import StreamObject
    from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

    writer = PdfFileWriter()
    contents = writer.add_object(StreamObject(stream_data=b""))
    writer.insert_page(PageObject(contents=contents, media_box=(0, 0, 200, 200)))
    with path.open("wb") as file:
        writer.write(file)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is missing: apt-get install curl")
def test_the_pasted_programs_print_the_shown_output(tmp_path):
    (tmp_path / "photo.png").write_bytes(png())
    pdf(tmp_path / "contract.pdf")
    done = paste(map(pasted, blocks(DOCUMENT)), tmp_path)
    assert done.answered == done.shown == ["INTACT:TRUSTED,UNTOUCHED\n", "Trusted\n"]
