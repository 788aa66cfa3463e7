#!/usr/bin/env python3
"""Write the bill of materials (CycloneDX) of a built package or image, with SHA-256 hashes.

deploy/bill_of_materials.py wheel WHEEL[EXTRAS] FILE. Needs uv; finds other wheels beside this one.
deploy/bill_of_materials.py npm FOLDER PACK FILE. Needs npm, and the lock file in the folder.
deploy/bill_of_materials.py image ARCHIVE FILE. The archive is that of `docker save`.
"""

import email.message
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from image import BILL

Bill: TypeAlias = dict[str, Any]


def of_wheel(requirement: str, output: Path) -> None:
    """Install a package in a new environment, and write the bill of everything in it."""
    wheel = Path(requirement.partition("[")[0])
    metadata = metadata_of(wheel)
    with TemporaryDirectory() as folder:
        python, report = Path(folder, "venv/bin/python"), Path(folder, "report.json")
        project, bill = Path(folder, "pyproject.toml"), Path(folder, "bill.json")
        supported = metadata["Requires-Python"]
        run("uv", "venv", "--quiet", "--python", supported, python.parents[1])
        pip = ("uv", "tool", "run", "--quiet", "--from", "pip>=26", "pip", "--python", python)
        beside = ("--find-links", wheel.parent)
        run(*pip, "install", "--quiet", "--report", report, *beside, requirement)
        project.write_text(project_of(metadata), "utf-8")
        tool = ("uv", "tool", "run", "--quiet", "--from", "cyclonedx-bom>=7,<8", "cyclonedx-py")
        options = ("--output-reproducible", "--of", "JSON", "--output-file", bill)
        run(*tool, "environment", "--pyproject", project, *options, python)
        found = json.loads(bill.read_text("utf-8"))
        hashes = {
            normal(each["metadata"]["name"]): each["download_info"]["archive_info"]["hashes"]
            for each in json.loads(report.read_text("utf-8"))["install"]
        }
    for component in (found["metadata"]["component"], *found["components"]):
        add_hash(component, hashes[normal(component["name"])]["sha256"])
    write(found, output)


def of_npm(folder: Path, pack: Path, output: Path) -> None:
    """Write the bill of a package for npm: the packages that it installs."""
    options = ("--sbom-format", "cyclonedx", "--sbom-type", "library", "--omit", "dev")
    found = json.loads(run("npm", "--prefix", folder, "sbom", "--package-lock-only", *options))
    del found["serialNumber"], found["metadata"]["timestamp"]  # they differ each time
    described = found["metadata"]["component"]  # npm gives it the name of the folder
    described["name"] = json.loads((folder / "package.json").read_text("utf-8"))["name"]
    add_hash(described, sha256(pack))
    write(found, output)


def of_image(archive: Path, output: Path) -> None:
    """Write the bill that deploy/image.py put into the image."""
    with tarfile.open(archive) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
        for name in manifest[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                if str(BILL) in layer.getnames():
                    found = json.load(layer.extractfile(str(BILL)))  # type: ignore[arg-type]
    add_hash(found["metadata"]["component"], sha256(archive))
    write(found, output)


def metadata_of(wheel: Path) -> email.message.Message:
    """Read the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_string(opened.read(name).decode())


def project_of(metadata: email.message.Message) -> str:
    """Return a pyproject.toml, by which the bill describes the package itself, not as a part."""
    requirements = metadata.get_all("Requires-Dist") or []
    facts = {
        "name": metadata["Name"],
        "version": metadata["Version"],
        "description": metadata["Summary"],
        "license": metadata["License-Expression"] or metadata["License"],
        "dependencies": [each.partition(";")[0].strip() for each in requirements],
    }
    return "\n".join(["[project]", *(f"{name} = {json.dumps(it)}" for name, it in facts.items())])


def add_hash(component: Bill, digest: str) -> None:
    """Add the SHA-256 of a component's file."""
    component["hashes"] = [{"alg": "SHA-256", "content": digest}]


def normal(name: str) -> str:
    """Return the name of a package of Python in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sha256(file: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write(bill: Bill, output: Path) -> None:
    """Write a bill as JSON."""
    output.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", "utf-8")


def run(*command: str | Path) -> str:
    """Run a command; returns its standard output."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["wheel", requirement, output]:
            of_wheel(requirement, Path(output))
        case ["npm", folder, pack, output]:
            of_npm(Path(folder), Path(pack), Path(output))
        case ["image", archive, output]:
            of_image(Path(archive), Path(output))
        case _:
            raise SystemExit(__doc__)
