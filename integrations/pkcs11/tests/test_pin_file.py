"""The file with the PIN, whose lock keeps a refused PIN from being tried by other processes."""

import pytest

from minikms.plugin import ProviderUnavailable
from minikms_pkcs11 import pin_file
from minikms_pkcs11.pin_file import PinFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pin"
    path.write_bytes(b"1234\n")
    return path


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(pin_file, "_WAIT", 0.05)


@pytest.mark.parametrize(
    "content", [b"1234", b"1234\n", b"12 34", "ß".encode(), b"x" * 256, "ß".encode() * 128 + b"\n"]
)
def test_it_has_the_pin(path, content):
    path.write_bytes(content)
    with PinFile(str(path)) as file:
        assert file.pin == content.decode().removesuffix("\n")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"x" * 257, b"\xff", b"x" + "ß".encode() * 200, b"x" * 256 + b"\nx"],
)
def test_it_has_no_pin(path, content):
    path.write_bytes(content)
    with pytest.raises(ProviderUnavailable) as refusal:
        PinFile(str(path))
    assert refusal.value.__cause__ is None


def test_there_is_no_file(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ProviderUnavailable):
            PinFile(str(path))


def test_one_login_at_a_time(path):
    with PinFile(str(path)), pytest.raises(ProviderUnavailable, match="Another process"):
        PinFile(str(path))
    with PinFile(str(path)) as file:
        assert file.pin == "1234"


def test_a_refused_pin_stays_locked(path):
    with PinFile(str(path)) as file:
        file.keep_locked()
    with pytest.raises(ProviderUnavailable, match="Another process"):
        PinFile(str(path))
    # A new file, as after its correction by a rename, has a lock of its own.
    path.unlink()
    path.write_text("5678")
    with PinFile(str(path)) as file:
        assert file.pin == "5678"
