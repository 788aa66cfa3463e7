#!/usr/bin/env python3
"""Prepare the commit of a release: set the version, and move changes/ into the changelog.

It first checks that users need no compiler: all dependencies have wheels. This needs uv.

Usage: deploy/prepare_release.py VERSION
"""

import configparser
import datetime
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

HEADINGS = ("Before you upgrade", "Security", "New", "Fixed", "Faster", "Documents and tests")
# Each place with the version, in the form used there.
PLACES = (
    ("setup.cfg", "\nversion = {}\n"),
    ("clients/python/pyproject.toml", '\nversion = "{}"'),
    ("integrations/acapy/pyproject.toml", '\nversion = "{}"'),
    ("integrations/acapy/pyproject.toml", '"minikms-client=={}"'),
    ("integrations/p11/pyproject.toml", '\nversion = "{}"'),
    ("integrations/pkcs11/pyproject.toml", '\nversion = "{}"'),
    ("integrations/pkcs11/pyproject.toml", '"minikms-server=={}"'),
    ("clients/typescript/package.json", '"version": "{}"'),
    ("clients/typescript/package-lock.json", '{{\n  "name": "@minikms/client",\n  "version": "{}"'),
    (
        "clients/typescript/package-lock.json",
        '{{\n      "name": "@minikms/client",\n      "version": "{}"',
    ),
    ("clients/typescript/README.md", "minikms-client-{}.tgz"),
    ("integrations/credo/package.json", '"version": "{}"'),
    ("integrations/credo/package-lock.json", '{{\n  "name": "@minikms/credo",\n  "version": "{}"'),
    (
        "integrations/credo/package-lock.json",
        '{{\n      "name": "@minikms/credo",\n      "version": "{}"',
    ),
    ("integrations/credo/README.md", "minikms-credo-{}.tgz"),
    ("deploy/helm/minikms/Chart.yaml", "\nversion: {}\n"),
    ("deploy/helm/minikms/Chart.yaml", "\nappVersion: {}\n"),
)

# README.md names the platforms; setup.cfg has the extras, without those of developers.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
EXTRAS = ("aws-seal", "postgres", "otel")


def require_wheels(
    setup: Path, pythons: tuple[str, ...] = PYTHONS, platforms: tuple[str, ...] = PLATFORMS
) -> None:
    """Exit if the newest allowed version of a dependency has no wheel somewhere.

    `pip download --only-binary=:all:` would choose an older version with a wheel, and evaluates
    environment markers for its own Python.
    """
    config = configparser.ConfigParser()
    config.read(setup, "utf-8")
    extras = config["options.extras_require"]
    needed = "\n".join((config["options"]["install_requires"], *map(extras.get, EXTRAS)))
    for python, platform in product(pythons, platforms):
        command = (
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--python-version", python, "--python-platform", platform, "-"),
        )
        done = subprocess.run(command, input=needed, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            wheels = (*command, "--no-deps", "--only-binary", ":all:")
            done = subprocess.run(
                wheels, input=done.stdout, capture_output=True, text=True, check=False
            )
        if done.returncode != 0:
            raise SystemExit(f"Python {python}, {platform}: {done.stderr}")


def prepare(root: Path, version: str, today: datetime.date) -> None:
    """Change the files of a checkout, and delete the files in changes/."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"{version} is not a version such as 1.2.3.")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    if f"\n## {version} - " in text:
        raise SystemExit(f"CHANGELOG.md has the release {version} already.")
    files = [file for file in sorted((root / "changes").glob("*.md")) if file.name != "README.md"]
    before, after = re.split(r"^(?=## \d)", text, maxsplit=1, flags=re.MULTILINE)
    changelog.write_text(before + section(version, today, files) + after, "utf-8")
    old = re.search(r"^version = (.+)$", (root / "setup.cfg").read_text("utf-8"), re.MULTILINE)
    for name, place in PLACES:
        replace_once(root / name, place.format(old and old[1]), place.format(version))
    for file in files:
        file.unlink()


def section(version: str, today: datetime.date, files: list[Path]) -> str:
    """Return the release's section, with the files' items under their headings."""
    items: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    for file in files:
        for part in re.split(r"^### ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            heading, _, item = part.partition("\n")
            if heading not in items:
                raise SystemExit(f"{file} has the unknown heading {heading!r}.")
            items[heading].append(item.strip("\n"))
    parts = [f"## {version} - {today.isoformat()}"]
    parts += [f"### {name}\n\n" + "\n".join(found) for name, found in items.items() if found]
    return "\n\n".join(parts) + "\n\n"


def replace_once(file: Path, old: str, new: str) -> None:
    """Replace a string that occurs once in a file."""
    text = file.read_text("utf-8")
    if text.count(old) != 1:
        raise SystemExit(f"{file} does not have {old.strip()!r} once.")
    file.write_text(text.replace(old, new), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    checkout = Path(__file__).parents[1]
    require_wheels(checkout / "setup.cfg")
    prepare(checkout, sys.argv[1], datetime.datetime.now(datetime.UTC).date())
