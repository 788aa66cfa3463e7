"""The script that prepares a release, on a copy of the files that it changes."""

import datetime
import importlib.util
import re
import shutil
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
