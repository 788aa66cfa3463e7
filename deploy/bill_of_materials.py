#!/usr/bin/env python3
"""Write the bill of materials (CycloneDX) of a built package.

deploy/bill_of_materials.py WHEEL[EXTRAS] FILE. Needs uv.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

# Runs in the new environment. The package is the component that the bill describes, so the bill
# does not list it as a part.
PROJECT = """
import json, sys
from importlib.metadata import distribution
package = distribution(sys.argv[1])
facts = {name: package.metadata[name] for name in ("name", "version")}
facts["description"] = package.metadata["summary"]
facts["license"] = package.metadata["license-expression"] or package.metadata["license"]
facts["dependencies"] = [each.partition(";")[0].strip() for each in package.requires]
print("[project]", *(f"{name} = {json.dumps(fact)}" for name, fact in facts.items()), sep="\\n")
"""


def write(requirement: str, output: Path) -> None:
    """Install a package in a new environment, and write the bill of everything in it."""
    name = re.split(r"-\d", Path(requirement).name)[0]
    with TemporaryDirectory() as folder:
        python, project = Path(folder, "venv/bin/python"), Path(folder, "pyproject.toml")
        run("uv", "venv", "--quiet", python.parents[1])
        run("uv", "pip", "install", "--quiet", "--python", python, requirement)
        project.write_text(run(python, "-c", PROJECT, name), "utf-8")
        tool = ("uv", "tool", "run", "--quiet", "--from", "cyclonedx-bom>=7,<8", "cyclonedx-py")
        options = ("--output-reproducible", "--of", "JSON", "--output-file", output)
        run(*tool, "environment", "--pyproject", project, *options, python)


def run(*command: str | Path) -> str:
    """Run a command; returns its standard output."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
