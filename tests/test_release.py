"""The script that prepares a release, on a copy of the files that it changes."""

import configparser
import datetime
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RELEASED = re.search(r"^## (\S+) - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1]
TODAY = datetime.date(2030, 1, 31)


def of_deploy(name):
    """The module of a script in deploy/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"deploy/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return of_deploy("prepare_release")


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


REPOSITORY = "https://forge.example/owner/minikms"


@pytest.fixture
def linked(tmp_path):
    """A copy of the packages' metadata and READMEs, in which the repository is named."""
    script = of_deploy("link_packages")
    for file in ("setup.cfg", *(f"{folder}/pyproject.toml" for folder in script.PYTHON)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    for folder in (*script.PYTHON, *script.NPM):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / folder / "README.md", tmp_path / folder)
    for folder in script.NPM:
        shutil.copy(ROOT / folder / "package.json", tmp_path / folder)
    script.link(tmp_path, REPOSITORY)
    return tmp_path


def test_each_package_names_the_repository(linked):
    setup = configparser.ConfigParser()
    setup.read(linked / "setup.cfg", "utf-8")
    assert setup["metadata"]["project_urls"].strip() == f"Source = {REPOSITORY}"
    pythons = sorted(linked.glob("*/*/pyproject.toml"))
    assert [each.parent.name for each in pythons] == ["python", "acapy", "p11", "pkcs11"]
    for file in pythons:
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        assert project["urls"] == {"Source": REPOSITORY}
    for folder in ("clients/typescript", "integrations/credo"):
        package = json.loads((linked / folder / "package.json").read_text("utf-8"))
        named = package.pop("repository")
        assert (named["url"], named["directory"]) == (f"git+{REPOSITORY}.git", folder)
        assert package == json.loads((ROOT / folder / "package.json").read_text("utf-8"))


def test_links_of_a_packed_readme_lead_to_files_of_the_repository(linked):
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    version = re.search(r"^version = (.*)$", setup, re.MULTILINE)[1]
    base, leading = f"{REPOSITORY}/blob/v{version}/", 0
    for readme in linked.glob("*/*/README.md"):
        text = re.sub(
            r"^```.*?^```$", "", readme.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            assert target.startswith("https://"), (readme, target)
            if target.startswith(base):
                assert (ROOT / target.removeprefix(base).partition("#")[0]).is_file(), target
                leading += 1
        blocks = r"^```.*?^```$"
        before = (ROOT / readme.relative_to(linked)).read_text("utf-8")
        assert re.findall(blocks, before, re.DOTALL | re.MULTILINE) == re.findall(
            blocks, readme.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
    assert leading > 20


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
    script = [
        sys.executable,
        ROOT / "deploy/bill_of_materials.py",
        "wheel",
        f"{wheel}[{extras}]",
        bill,
    ]
    subprocess.run(script, check=True)
    found = json.loads(bill.read_text("utf-8"))
    described = found["metadata"]["component"]
    assert (described["name"], described["version"]) == (name, version)
    names = {each["name"] for each in found["components"]}
    assert part in names
    assert name not in names
    of_package = next(each for each in found["dependencies"] if each["ref"] == described["bom-ref"])
    assert any(each.startswith(f"{part}==") for each in of_package["dependsOn"])
    for each in found["components"]:
        assert re.fullmatch("[0-9a-f]{64}", each["hashes"][0]["content"]), each["name"]
    (own,) = described["hashes"]
    assert own == {"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm: apt-get install npm")
def test_a_bill_of_materials_describes_a_package_for_npm(tmp_path):
    pack, bill = tmp_path / "pack.tgz", tmp_path / "bill.json"
    pack.write_bytes(b"pack")
    script = [sys.executable, ROOT / "deploy/bill_of_materials.py", "npm"]
    subprocess.run([*script, ROOT / "clients/typescript", pack, bill], check=True, timeout=60)
    found = json.loads(bill.read_text("utf-8"))
    described = found["metadata"]["component"]
    assert described["name"] == "@minikms/client"
    assert described["hashes"][0]["content"] == hashlib.sha256(b"pack").hexdigest()
    assert not {"serialNumber", "timestamp"} & {*found, *found["metadata"]}


def test_the_bill_of_an_image_is_the_one_in_it(tmp_path):
    """In the format of `docker save`: a list of layers, and an archive for each."""
    inner, archive, bill = tmp_path / "layer", tmp_path / "image.tar", tmp_path / "bill.json"
    inner.mkdir()
    kept = inner / "usr/share/doc/minikms/bill.cdx.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"metadata": {"component": {"name": "mini-kms"}}}))
    (tmp_path / "manifest.json").write_text(json.dumps([{"Layers": ["one.tar", "two.tar"]}]))
    with tarfile.open(tmp_path / "one.tar", "w") as layer:
        layer.add(inner / "usr", "usr")
    with tarfile.open(tmp_path / "two.tar", "w") as layer:
        layer.add(ROOT / "deploy/health.py", "health.py")
    with tarfile.open(archive, "w") as whole:
        for name in ("manifest.json", "one.tar", "two.tar"):
            whole.add(tmp_path / name, name)
    script = [sys.executable, ROOT / "deploy/bill_of_materials.py", "image", archive, bill]
    subprocess.run(script, check=True)
    described = json.loads(bill.read_text("utf-8"))["metadata"]["component"]
    assert described["name"] == "mini-kms"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert described["hashes"] == [{"alg": "SHA-256", "content": digest}]


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
