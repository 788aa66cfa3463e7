"""Make minikms_client/_sync from minikms_client/_async; `--check` fails if _sync is outdated."""

import sys
import tempfile
from pathlib import Path

import unasync

PACKAGE = Path(__file__).parent / "minikms_client"
NAMES = {
    **{
        f"Async{name}": name
        for name in (
            *("Transport", "Keys", "Operations", "Jose", "Cose", "Boxes", "Encapsulation"),
            *("Administration", "Approvals", "Client"),
        )
    },
    "_async": "_sync",
    "aclose": "close",
    "aiter_raw": "iter_raw",
    "anyio": "time",
}


def make(target: Path) -> None:
    """Write the files of the blocking client to a folder."""
    source = PACKAGE / "_async"
    rule = unasync.Rule(f"{source}/", f"{target}/", additional_replacements=NAMES)
    unasync.unasync_files([str(file) for file in source.glob("*.py")], [rule])
    (target / "__init__.py").write_text('"""The blocking client, made by make_sync.py."""\n')


def differing() -> list[str]:
    """Return the names of the files that differ from the output of `make`."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "_sync"
        make(made)
        names = {file.name for file in [*made.glob("*.py"), *(PACKAGE / "_sync").glob("*.py")]}
        return sorted(name for name in names if _text(made, name) != _text(PACKAGE / "_sync", name))


def _text(folder: Path, name: str) -> str | None:
    file = folder / name
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(" ".join(["Run make_sync.py for", *found]) if (found := differing()) else 0)
    make(PACKAGE / "_sync")
