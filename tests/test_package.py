"""Packages: their files, and their page in an index."""

import configparser
import email
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# Files that gather in a checkout, and do not belong to it (.gitignore).
PASSING = shutil.ignore_patterns(
    ".git", ".acapy", ".venv*", "*.egg-info", ".*_cache", ".hypothesis", ".schemathesis",
    "__pycache__", "node_modules", ".coverage*", "build", "dist",
    "*.db*", "*.key", "*.log", "*.token", ".env",
)  # fmt: skip


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """The source distribution of a copy of this checkout, opened."""
    place = tmp_path_factory.mktemp("package")
    source = shutil.copytree(ROOT, place / "source", ignore=PASSING)
    backend = "import setuptools.build_meta as build; build.build_sdist('../built')"
    subprocess.run((sys.executable, "-c", backend), cwd=source, check=True, timeout=120)
    (built,) = (place / "built").iterdir()
    with tarfile.open(built) as archive:
        archive.extractall(place, filter="data")
    return source, place / built.name.removesuffix(".tar.gz")


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(120)  # the first builds the package
def test_source_distribution_is_whole(distribution):
    source, opened = distribution
    missing = {name for name in files(source) - files(opened) if "egg-info" not in name}
    assert missing == set()
    assert "tests/web/keys/test_keys_of_every_algorithm.py" in files(opened)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_page_of_the_package_leads_nowhere_that_is_not_there(distribution):
    """An index shows the description without other files."""
    description = email.message_from_string((distribution[1] / "PKG-INFO").read_text("utf-8"))
    text = description.get_payload()
    assert "Mini KMS" in text
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link] == []


def test_requirements_have_upper_bounds():
    """An undocumented API can change in any release."""
    needed = [Requirement(line) for line in requires("minikms-server")]
    needed = [one for one in needed if one.marker is None]
    assert len(needed) > 10
    for one in needed:
        assert {each.operator for each in one.specifier} == {">=", "<"}, one
    bounds = {one.name: str(one.specifier) for one in needed}
    assert bounds["aiohttp"] == "<3.15,>=3.14.1"


def test_this_version_is_the_last_release_or_the_next_one():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    dated = re.findall(r"^## (\S+) - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    released = [Version(name) for name in dated]
    assert released == sorted(released, reverse=True)
    assert Version(setup["metadata"]["version"]) >= released[0]


def test_packages_have_one_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    for file in (
        ROOT / "clients/python/pyproject.toml",
        *ROOT.glob("integrations/*/pyproject.toml"),
    ):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        assert project["version"] == version
        needed = [Requirement(line) for line in project["dependencies"]]
        assert {str(one.specifier) for one in needed if "minikms" in one.name} <= {f"=={version}"}
    for folder in ("clients/typescript", "integrations/credo"):
        package = json.loads((ROOT / folder / "package.json").read_text("utf-8"))
        assert package["version"] == version


@pytest.mark.parametrize(
    "folder",
    [
        *("clients/python", "clients/typescript"),
        *("integrations/acapy", "integrations/credo", "integrations/p11", "integrations/pkcs11"),
    ],
)
def test_each_package_has_the_licence(folder):
    """A package takes files of its own folder alone, and npm follows no links."""
    licence = ROOT / folder / "LICENSE"
    assert not licence.is_symlink()
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("folder", ["clients/typescript", "integrations/credo"])
def test_the_lock_file_is_of_the_package(folder):
    """Otherwise `npm ci` refuses it: npm install --package-lock-only writes it again."""
    package = json.loads((ROOT / folder / "package.json").read_text("utf-8"))
    text = (ROOT / folder / "package-lock.json").read_text("utf-8")
    locked = json.loads(text)["packages"][""]
    for kind in ("version", "devDependencies", "peerDependencies", "peerDependenciesMeta"):
        assert locked.get(kind) == package.get(kind), kind
    assert '"resolved"' not in text  # the address of somebody's registry


def test_each_build_system_has_one_version():
    """Other versions of setuptools write other bytes."""
    lines = (ROOT / "deploy/build-constraints.txt").read_text("utf-8").splitlines()
    pinned = {one.name: one.specifier for one in map(Requirement, lines)}
    assert [str(each)[:2] for each in pinned.values()] == ["=="] * len(pinned)
    for file in (ROOT / "pyproject.toml", *ROOT.glob("*/*/pyproject.toml")):
        if "tests" not in file.parts:
            (needed,) = tomllib.loads(file.read_text("utf-8"))["build-system"]["requires"]
            (version,) = pinned[Requirement(needed).name]
            assert version.version in Requirement(needed).specifier
