"""Lay out the root folder of the image: Python, the service, and the libraries that they load.

Usage: python deploy/image.py ENVIRONMENT ROOT, in the first stage of the Dockerfile. The image thus
has no shell, no package manager and no other program.
"""

import compileall
import os
import py_compile
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

USER = 999
# Parts of the standard library that a service does not need.
UNUSED = shutil.ignore_patterns(
    "__pycache__", "_tkinter*", "config-3*", "dist-packages", "ensurepip", "idlelib", "lib2to3",
    "pydoc_data", "site-packages", "test", "tkinter", "turtledemo",
)  # fmt: skip
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
    for program in programs:
        for library in loaded(program):
            copy(library, root)
    copy(Path("/etc/ld.so.cache"), root)
    copy(AUTHORITIES, root)
    default = Path(ssl.get_default_verify_paths().openssl_cafile)
    below(root, default.parent).mkdir(parents=True, exist_ok=True)
    below(root, default).symlink_to(AUTHORITIES)
    add_user(root)
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
