"""The script that prepares a release, on a copy of the files that it changes."""

import datetime
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RELEASED = re.search(r"^## (\S+) - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1]
TODAY = datetime.date(2030, 1, 31)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("release", ROOT / "deploy/prepare_release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(script, tmp_path):
    for name in {"CHANGELOG.md", *(name for name, _ in script.PLACES)}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "changes", tmp_path / "changes")
    return tmp_path


def test_a_release_has_all_items_and_one_version(script, checkout):
    before = (checkout / "CHANGELOG.md").read_text("utf-8")
    script.prepare(checkout, "9.8.7", TODAY)
    after = (checkout / "CHANGELOG.md").read_text("utf-8")
    assert [file.name for file in (checkout / "changes").iterdir()] == ["README.md"]
    head, releases = re.split(r"^(?=## \d)", before, maxsplit=1, flags=re.MULTILINE)
    assert after.startswith(f"{head}## 9.8.7 - 2030-01-31\n\n")
    assert after.endswith(f"\n\n{releases}")
    for file in (ROOT / "changes").glob("*.md"):
        if file.name != "README.md":
            for item in re.split(r"^### .*\n\n", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
                assert item.strip() in after
    for name, place in script.PLACES:
        assert (checkout / name).read_text("utf-8").count(place.format("9.8.7")) == 1
    packages = ROOT.glob("integrations/*/pyproject.toml")
    assert {str(file.relative_to(ROOT)) for file in packages} <= {name for name, _ in script.PLACES}


def test_each_heading_is_there_once_in_the_order_of_the_readme(script, checkout):
    readme = (ROOT / "changes/README.md").read_text("utf-8")
    assert tuple(re.findall(r"`### ([^`]+)`", readme)) == script.HEADINGS
    script.prepare(checkout, "9.8.7", TODAY)
    section = (checkout / "CHANGELOG.md").read_text("utf-8").partition("## 9.8.7")[2]
    headings = re.findall(r"^### (.+)$", section.partition("\n## ")[0], re.MULTILINE)
    assert headings == [name for name in script.HEADINGS if name in headings]


@pytest.mark.parametrize("version", [RELEASED, "1.0", "1.0.0rc1", ""])
def test_other_versions_are_refused(script, checkout, version):
    with pytest.raises(SystemExit):
        script.prepare(checkout, version, TODAY)
    assert (checkout / "setup.cfg").read_text("utf-8") == (ROOT / "setup.cfg").read_text("utf-8")


def test_an_unknown_heading_is_refused(script, checkout):
    (checkout / "changes/other.md").write_text("### Other\n\n- An item.\n", "utf-8")
    with pytest.raises(SystemExit, match=r"other\.md"):
        script.prepare(checkout, "9.8.7", TODAY)


@pytest.mark.slow
@pytest.mark.timeout(200)  # builds a package and installs it, with the tool that writes the bill
@pytest.mark.skipif(not shutil.which("uv"), reason="needs uv: pip install uv")
@pytest.mark.parametrize(
    ("folder", "name", "extras", "part"),
    [
        (".", "minikms-server", "postgres", "asyncpg"),
        ("clients/python", "minikms-client", "cli", "click"),
    ],
)
def test_a_bill_of_materials_describes_its_package(tmp_path, folder, name, extras, part):
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)[
        1
    ]
    source, bill = tmp_path / "source", tmp_path / "bill.json"
    unbuilt = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "node_modules")
    shutil.copytree(ROOT, source, ignore=unbuilt)
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path, source / folder]
    subprocess.run(build, check=True)
    wheel = next(tmp_path.glob("*.whl"))
    script = [sys.executable, ROOT / "deploy/bill_of_materials.py", f"{wheel}[{extras}]", bill]
    subprocess.run(script, check=True)
    found = json.loads(bill.read_text("utf-8"))
    described = found["metadata"]["component"]
    assert (described["name"], described["version"]) == (name, version)
    names = {each["name"] for each in found["components"]}
    assert part in names
    assert name not in names
    of_package = next(each for each in found["dependencies"] if each["ref"] == described["bom-ref"])
    assert any(each.startswith(f"{part}==") for each in of_package["dependsOn"])


@pytest.fixture
def newest(script):
    """The newest Python, for which wheels come last."""
    if not shutil.which("uv"):
        pytest.skip("this needs uv: pip install uv")
    return script.PYTHONS[-1:]


@pytest.mark.slow
@pytest.mark.timeout(240)  # six commands ask the package index
def test_no_user_needs_a_compiler(script, newest):
    script.require_wheels(ROOT / "setup.cfg", newest)


@pytest.mark.slow
@pytest.mark.timeout(120)  # as above
def test_a_dependency_without_a_wheel_is_named(script, newest, tmp_path):
    setup, marker = tmp_path / "setup.cfg", '; python_version < "3.14"'
    text = (ROOT / "setup.cfg").read_text("utf-8")
    setup.write_text(text.replace(marker, ""), "utf-8")
    with pytest.raises(SystemExit, match="coincurve"):
        script.require_wheels(setup, newest, script.PLATFORMS[:1])
