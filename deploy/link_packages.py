#!/usr/bin/env python3
"""Name the repository in the packages of a checkout, which is changed.

deploy/link_packages.py CHECKOUT REPOSITORY. The address of the repository, such as
https://forge.example/owner/minikms, is added to the metadata of each package. Relative links in a
package's README, which an index shows without other files, become links to the tag of the version.
"""

import json
import posixpath
import re
import sys
from pathlib import Path

PYTHON = ("clients/python", "integrations/acapy", "integrations/p11", "integrations/pkcs11")
NPM = ("clients/typescript", "integrations/credo")

_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")


def link(checkout: Path, repository: str) -> None:
    """Change the metadata and the READMEs of all packages."""
    setup = checkout / "setup.cfg"
    text = setup.read_text("utf-8")
    version = next(re.finditer(r"^version = (.+)$", text, re.MULTILINE))[1]
    place = "license = "
    urls = f"project_urls =\n    Source = {repository}\n"
    setup.write_text(text.replace(place, urls + place, 1), "utf-8")
    for folder in PYTHON:
        with (checkout / folder / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[project.urls]\nSource = "{repository}"\n')
    for folder in NPM:
        package = checkout / folder / "package.json"
        members = json.loads(package.read_text("utf-8"))
        members["repository"] = {"type": "git", "url": f"git+{repository}.git", "directory": folder}
        package.write_text(json.dumps(members, indent=2) + "\n", "utf-8")
    for folder in (*PYTHON, *NPM):
        readme = checkout / folder / "README.md"
        base = f"{repository}/blob/v{version}/"
        readme.write_text(absolute(readme.read_text("utf-8"), base, folder), "utf-8")


def absolute(text: str, base: str, folder: str) -> str:
    """Return Markdown of a file README.md in `folder`, with absolute links outside of blocks."""

    def target(found: re.Match[str]) -> str:
        path, mark, section = found[1].partition("#")
        path = posixpath.normpath(posixpath.join(folder, path or "README.md"))
        return f"]({base}{path}{mark}{section})"

    parts = _FENCED.split(text)
    parts[::2] = [_LINK.sub(target, part) for part in parts[::2]]
    return "".join(parts)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].startswith("https://"):
        raise SystemExit(__doc__)
    link(Path(sys.argv[1]), sys.argv[2].removesuffix("/").removesuffix(".git"))
