"""Build the documents as a site: docs/, pages beside it, examples, and the references.

Usage: python docsite/build_site.py. The sources go to build/docs, the site to build/site.
"""

import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from api_reference import Reference
from command_reference import command_page

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.responses import error_classes
from minikms.web.state import DOCUMENT

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build"
SITE: Final = BUILD / "site"
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
    "examples/README.md": "examples.md",
    "bench/measurements.md": "internals/measurements.md",
}

# Pages that show the files of a folder; so do the examples.
_FOLDERS: Final = {"operations/dividing.md": "deploy/haproxy"}

# Shown files, by their endings.
_LANGUAGES: Final = {".py": "python", ".sh": "sh", ".ts": "ts", ".cfg": "haproxy", ".map": "text"}

_LINK: Final = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)"
)
_SOURCE: Final = re.compile(r'\b(src|srcset)="([^":]+)"')  # of a picture, in HTML
_FENCE: Final = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
_CALL: Final = re.compile(r"###? `([A-Z]+ /\S*)`$", re.MULTILINE)
# A heading without a text, such as the one over the names of rows: for a screen reader, no heading.
_EMPTY_HEAD: Final = re.compile(r"<th([^>]*)></th>")
_ROW: Final = re.compile(r"^\| (`([a-z-]+)\b.*) \|$", re.MULTILINE)

# The page of the commands, which has no source.
COMMANDS: Final = "commands.md"


class Row(NamedTuple):
    """A row of a table about an option or a problem: its place, and its text."""

    location: str
    name: str
    text: str


def pages() -> dict[Path, str]:
    """List each page of the repository with its name in the site."""
    docs = ROOT / "docs"
    inside = {path: str(path.relative_to(docs)) for path in sorted(docs.rglob("*.md"))}
    beside = {ROOT / path: name for path, name in _BESIDE.items()}
    examples = sorted((ROOT / "examples").glob("*/README.md"))
    return beside | inside | {path: f"examples/{path.parent.name}.md" for path in examples}


def main() -> None:
    """Write the sources, and build the site of them."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    names = pages()
    reference = Reference(_openapi())
    rows: list[Row] = []
    for page, name in names.items():
        text = _relinked(page.read_text("utf-8"), page, names)
        if name.startswith("examples/"):
            text += _files(page.parent)
        elif folder := _FOLDERS.get(name):
            text += _files(ROOT / folder)
        text = _with_places(text, name, rows)
        target = SOURCES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_with_reference(text, name, reference), "utf-8")
    (SOURCES / COMMANDS).write_text(command_page(), "utf-8")
    for picture in (ROOT / "docs").iterdir():
        if picture.suffix in (".svg", ".webp"):
            shutil.copy(picture, SOURCES)
    shutil.copy(Path(__file__).with_name("site.css"), SOURCES)
    shutil.copy(Path(__file__).with_name("zensical.toml"), BUILD)
    command = (sys.executable, "-m", "zensical", "build", "--clean", "--strict")
    if code := subprocess.run(command, cwd=BUILD, check=False).returncode:
        sys.exit(code)
    for page in SITE.rglob("*.html"):
        page.write_text(_EMPTY_HEAD.sub(r"<td\1></td>", page.read_text("utf-8")), "utf-8")
    _index(rows)


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


def _files(folder: Path) -> str:
    """Show the programs and the configuration in a folder."""
    shown = ""
    for file in sorted(folder.iterdir()):
        if language := _LANGUAGES.get(file.suffix):
            shown += f"\n## {file.name}\n\n```{language}\n{file.read_text('utf-8')}```\n"
    return shown


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


def _with_places(text: str, page: str, rows: list[Row]) -> str:
    """Give each row about an option or a problem an anchor, and add it to the rows."""
    problems = {error.slug for error in error_classes()}
    seen = set()

    def replace(row: re.Match[str]) -> str:
        cells, name = row.groups()
        if name in seen or not (name in problems or name.startswith("--")):
            return row[0]
        seen.add(name)
        anchor = f"row-{name.strip('-')}"
        said = html.escape(_LINK.sub(r"\2", cells).replace("`", ""))
        rows.append(Row(f"{Path(page).with_suffix('.html')}#{anchor}", name, said))
        return f'| <span id="{anchor}"></span>{cells} |'

    parts = _FENCE.split(text)
    parts[::2] = [_ROW.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def _index(rows: list[Row]) -> None:
    """Let the search find the rows: Zensical's index has only whole sections."""
    file = SITE / "search.json"
    index = orjson.loads(file.read_bytes())
    paths = {item["location"]: item["path"] for item in index["items"]}
    for location, name, text in rows:
        path = paths[location.partition("#")[0]]
        found = {"location": location, "title": name, "text": text, "path": path}
        index["items"].append(found | {"level": 3, "tags": []})
    file.write_bytes(orjson.dumps(index))


if __name__ == "__main__":
    main()
