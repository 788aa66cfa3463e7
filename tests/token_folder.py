"""The sample provider as an installed package, and the folder that is its token."""

import os
from pathlib import Path
from typing import Any

import pytest
from packages import leave_package
from waiting import until

from minikms.web.state import SERVICE

SAMPLE = Path(__file__).parent / "sample_provider"


class TokenFolder:
    """The folder of a token, with the faults that a test sets in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.option = f"hsm=files:{path}"

    @property
    def keys(self) -> set[str]:
        """The identifiers of the key pairs."""
        return {file.stem for file in self.path.glob("*.pem")}

    @property
    def attempts(self) -> int:
        """The number of attempts to open it."""
        file = self.path / "opened"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def set(self, fault: str) -> None:
        """Begin a fault."""
        (self.path / fault).touch()

    def end(self, fault: str) -> None:
        """End a fault."""
        (self.path / fault).unlink()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFolder:
    """Leave what pip leaves of the sample provider, for processes too, and make a token."""
    entries = {"files": "minikms_files:FilesProvider"}
    leave_package(folder, "minikms-files", "minikms.providers", **entries)
    for path in (folder, SAMPLE):
        monkeypatch.syspath_prepend(path)
        monkeypatch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)
    token = folder / "token"
    token.mkdir()
    return TokenFolder(token)


async def until_open(client: Any) -> None:
    """Wait until all providers of a service in this process are open."""
    providers = list(client.app[SERVICE].operations.providers)
    await until("its providers", lambda: all(each.status.available for each in providers))
