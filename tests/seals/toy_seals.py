"""The toy seal as an installed package, and the folders that are its seals."""

import os
import threading
import time
from pathlib import Path

import pytest
from packages import leave_package

from minikms.basics.secret_files import replace_secret
from minikms.seals.key_file import read_key
from minikms.seals.opening import seal

SAMPLE = Path(__file__).parents[1] / "toy_seal"


class Toy:
    """A toy seal, and its faults: `away`, `refuses`, `hangs`, `fails`, `lies`, `empty`, `null`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "key").write_bytes(os.urandom(32))
        self.folder, self.uri = folder, f"toy:{folder}"

    def begin(self, fault: str) -> None:
        (self.folder / fault).touch()

    def end(self, fault: str) -> None:
        (self.folder / fault).unlink()

    def end_once(self, fault: str, other: "Toy", calls: int = 1) -> None:
        """End a fault after the next calls of a toy, in a thread."""
        before = other.calls

        def wait() -> None:
            while other.calls < before + calls:
                time.sleep(0.001)
            self.end(fault)

        threading.Thread(target=wait, daemon=True).start()

    @property
    def calls(self) -> int:
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what pip leaves of the toy seal, for processes too."""
    site = folder / "site"
    leave_package(site, "minikms-toy", "minikms.seals", toy="minikms_toy:ToySeal")
    for path in (site, SAMPLE):
        monkeypatch.syspath_prepend(path)
        monkeypatch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)


def seal_file(file: str, *toys: Toy) -> None:
    """Seal the plain key in a file by toys."""
    envelope = seal(read_key(file, "", "raw").secret, [toy.uri for toy in toys])
    replace_secret(file, envelope.dump(), "key", OSError)
