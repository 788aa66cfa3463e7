"""Build the documents as a site: docs/, the pages beside it, and the reference of the HTTP API.

Usage: python docsite/build_site.py. The sources go to build/docs, the site to build/site.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import orjson
from api_reference import Reference

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import DOCUMENT

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build"
SOURCES: Final = BUILD / "docs"

# Pages outside docs/, with their names in the site.
_BESIDE: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "clients/python/README.md": "client-python.md",
    "clients/typescript/README.md": "client-typescript.md",
    "integrations/acapy/README.md": "client-acapy.md",
    "integrations/credo/README.md": "client-credo.md",
    "integrations/p11/README.md": "client-p11.md",
    "integrations/pkcs11/README.md": "provider-pkcs11.md",
}

_LINK: Final = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)"
)
_SOURCE: Final = re.compile(r'\b(src|srcset)="([^":]+)"')  # of a picture, in HTML
_FENCE: Final = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
_CALL: Final = re.compile(r"###? `([A-Z]+ /\S*)`$", re.MULTILINE)


def pages() -> dict[Path, str]:
    """List each page of the repository with its name in the site."""
    docs = ROOT / "docs"
    inside = {path: str(path.relative_to(docs)) for path in sorted(docs.rglob("*.md"))}
    return {ROOT / path: name for path, name in _BESIDE.items()} | inside


def main() -> None:
    """Write the sources, and build the site of them."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    names = pages()
    reference = Reference(_openapi())
    for page, name in names.items():
        text = _relinked(page.read_text("utf-8"), page, names)
        target = SOURCES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_with_reference(text, name, reference), "utf-8")
    for picture in (ROOT / "docs").iterdir():
        if picture.suffix in (".svg", ".webp"):
            shutil.copy(picture, SOURCES)
    shutil.copy(Path(__file__).with_name("zensical.toml"), BUILD)
    command = (sys.executable, "-m", "zensical", "build", "--clean", "--strict")
    sys.exit(subprocess.run(command, cwd=BUILD, check=False).returncode)


def _openapi() -> Any:
    app = create_service(Config(auth="token"))
    return orjson.loads(asyncio.run(app[DOCUMENT].content()))


def _relinked(text: str, page: Path, names: dict[Path, str]) -> str:
    """Point links to pages of the site; replace a link to another file by its text."""
    here = Path(names[page]).parent

    def replace_source(source: re.Match[str]) -> str:
        linked = (page.parent / source[2]).resolve().relative_to(ROOT / "docs")
        return f'{source[1]}="{os.path.relpath(linked, here)}"'

    def replace(link: re.Match[str]) -> str:
        mark, shown, path, section = link.groups("")
        linked = (page.parent / path).resolve()
        if linked in names:
            to = os.path.relpath(names[linked], here)
        elif mark and linked.is_relative_to(ROOT / "docs"):
            to = os.path.relpath(linked.relative_to(ROOT / "docs"), here)
        elif linked.exists():
            return shown
        else:
            to = path  # Zensical refuses it
        return f"{mark}[{shown}]({to}{section})"

    parts = _FENCE.split(text)
    parts[::2] = [_SOURCE.sub(replace_source, _LINK.sub(replace, part)) for part in parts[::2]]
    return "".join(parts)


def _with_reference(text: str, page: str, reference: Reference) -> str:
    """Append its reference to the section of each call."""
    errors = os.path.relpath("http-api.md", Path(page).parent)
    parts = [""]
    for block in _FENCE.split(text):
        # A comment in a fenced block is not a heading.
        first, *others = [block] if _FENCE.match(block) else _HEADING.split(block)
        parts[-1] += first
        parts += others
    for number, part in enumerate(parts):
        if call := _CALL.match(part):
            described = reference.call(call[1]).replace("](http-api.md", f"]({errors}")
            parts[number] = f"{part.rstrip()}\n\n{described}\n"
    return "".join(parts)


if __name__ == "__main__":
    main()
