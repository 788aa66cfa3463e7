"""Lay out the root folder of the image: Python, the service, and the libraries that they load.

Usage: python deploy/image.py ENVIRONMENT ROOT, in the first stage of the Dockerfile. The image thus
has no shell, no package manager and no other program.
"""

import compileall
import hashlib
import json
import os
import platform
import py_compile
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

USER = 999
# Parts of the standard library that a service does not need. Two load libraries under the GPL.
UNUSED = shutil.ignore_patterns(
    "__pycache__", "_dbm*", "_gdbm*", "_tkinter*", "config-3*", "dist-packages", "ensurepip",
    "idlelib", "lib2to3", "pydoc_data", "readline*", "site-packages", "test", "tkinter",
    "turtledemo",
)  # fmt: skip
# Below the root folder.
BILL = Path("usr/share/doc/minikms/bill.cdx.json")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def lay_out(environment: Path, root: Path) -> None:
    """Copy the environment, and everything that it needs, to the new folder `root`."""
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(environment, below(root, environment), symlinks=True, ignore=compiled)
    shutil.copytree(standard, below(root, standard), symlinks=True, ignore=UNUSED)
    interpreter = environment / "bin/python"
    for file in chain(interpreter):
        copy(file, root)
    programs = [interpreter.resolve(), *environment.rglob("*.so*")]
    programs += [standard / path.relative_to(below(root, standard))
                 for path in below(root, standard).rglob("*.so*")]  # fmt: skip
    libraries = {library for program in programs for library in loaded(program)}
    for library in libraries:
        copy(library, root)
    files: dict[str, list[Path]] = {"ca-certificates": [AUTHORITIES]}
    for file in sorted({*libraries, interpreter.resolve(), standard / "os.py"}):
        if file.is_symlink():
            continue
        if package := package_of(file.resolve()):
            files.setdefault(package, []).append(file)
    add_licences(files, root)
    copy(Path("/etc/ld.so.cache"), root)
    copy(AUTHORITIES, root)
    default = Path(ssl.get_default_verify_paths().openssl_cafile)
    below(root, default.parent).mkdir(parents=True, exist_ok=True)
    below(root, default).symlink_to(AUTHORITIES)
    add_user(root)
    write_bill(environment, interpreter.resolve(), files, root)
    # Not by time: a repeated build may change the times of all files.
    compileall.compile_dir(
        root, quiet=1, stripdir=str(root), prependdir="/", maxlevels=50,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def compiled(_: str, names: list[str]) -> list[str]:
    """Return the names of compiled modules, which are compiled again at the end."""
    return [name for name in names if name == "__pycache__"]


def below(root: Path, path: Path) -> Path:
    """Return an absolute path's counterpart below `root`."""
    return root / path.relative_to("/")


def copy(file: Path, root: Path) -> None:
    """Copy a file, or a link as a link, unless it is already copied."""
    target = below(root, file)
    if not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target, follow_symlinks=False)


def chain(file: Path) -> Iterator[Path]:
    """Yield a file and the links to it."""
    yield file
    while file.is_symlink():
        file = Path(os.path.normpath(file.parent / os.readlink(file)))
        yield file


def loaded(program: Path) -> Iterator[Path]:
    """Yield the shared libraries that a program or a library loads, and the links to them."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise SystemExit(f"{program} lacks a library:\n{done.stdout}")
    for name in re.findall(r"(?:=> |^\s+)(/\S+)", done.stdout, re.MULTILINE):
        yield from chain(Path(name))


def package_of(file: Path) -> str | None:
    """Return the name of the Debian package of a file; None for a Python that is built here."""
    done = subprocess.run(
        ["dpkg-query", "--search", file], capture_output=True, text=True, check=False
    )
    if done.returncode:
        if not file.is_relative_to(sys.base_prefix):
            raise SystemExit(f"{file} is in no package, so its licence is not known")
        return None
    return re.split("[:,]", done.stdout)[0]


def add_licences(packages: Iterable[str], root: Path) -> None:
    """Copy the licences of Debian packages, and note each version, as scanners expect it."""
    common = Path("/usr/share/common-licenses")  # the texts that licences of packages refer to
    shutil.copytree(common, below(root, common), symlinks=True)
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for name in packages:
        licence = Path("/usr/share/doc", name, "copyright")
        below(root, licence.parent).mkdir(parents=True)
        shutil.copyfile(licence, below(root, licence))
        (status / name).write_bytes(subprocess.check_output(["dpkg-query", "--status", name]))


def write_bill(
    environment: Path, interpreter: Path, files: dict[str, list[Path]], root: Path
) -> None:
    """Write the bill of materials (CycloneDX) of the image into it.

    A package of Debian has the hashes of its files that are here, one of Python that of its RECORD,
    which has the hashes of all of its files.
    """
    version = platform.python_version()
    python = {"type": "application", "name": "python", "version": version}
    components = [{**python, "purl": f"pkg:generic/python@{version}", **hashed(interpreter)}]
    for name, found in sorted(files.items()):
        status = (root / "var/lib/dpkg/status.d" / name).read_text("utf-8")
        version = re.findall("^Version: (.*)$", status, re.MULTILINE)[0]
        components.append(
            component(f"pkg:deb/debian/{name}@{quote(version)}", name, version, found)
        )
    for record in sorted(environment.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        package = Distribution.at(record.parent)
        purl = f"pkg:pypi/{package.name.lower()}@{package.version}"
        components.append(component(purl, package.name, package.version, [record]))
    (own,) = (each for each in components if each["name"] == "minikms-server")
    image = {"type": "container", "name": "mini-kms", "version": own["version"]}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    bill |= {"metadata": {"component": image}, "components": components}
    target = root / BILL
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", "utf-8")


def component(purl: str, name: str, version: str, files: Iterable[Path]) -> dict[str, Any]:
    """Return a component of a bill, with the hashes of some of its files."""
    parts = [{"type": "file", "name": str(file), **hashed(file)} for file in files]
    named = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
    return {**named, "components": parts}


def hashed(file: Path) -> dict[str, Any]:
    """Return the member of a component that has the hash of its file."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"hashes": [{"alg": "SHA-256", "content": digest}]}


def add_user(root: Path) -> None:
    """Make the user of the service, its folder, and a folder for temporary files."""
    etc = root / "etc"
    (etc / "passwd").write_text(f"minikms:x:{USER}:{USER}::/data:/nonexistent\n", "ascii")
    (etc / "group").write_text(f"minikms:x:{USER}:\n", "ascii")
    data, temporary = root / "data", root / "tmp"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
