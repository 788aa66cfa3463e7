"""`minikms audit show`: lines of audit logs, by the filters of `GET /audit`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from audit.audit_logs import event
from click.testing import CliRunner

from minikms.audit.heads import AuditStore
from minikms.audit.log import AuditLog
from minikms.cli.main import main
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
async def files(tmp_path):
    """Two files of a service, of five calls each; every second one fails."""
    paths = [tmp_path / "audit.log.1", tmp_path / "audit.log"]
    async with KeyStore.open_memory() as keys:
        for path in paths:
            async with AuditLog.open(str(path), AuditStore(keys.database)) as log:
                for number in range(5):
                    call = event(number, kid=f"k{number}", profile=f"p{number}")
                    log.write([call], "key-not-usable" if number % 2 else "success")
    return [str(path) for path in paths]


@pytest.fixture
def shown():
    def show(*arguments):
        done = CliRunner().invoke(main, ["audit", "show", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout.splitlines()

    return show


def ids(lines):
    return [json.loads(line)["request_id"].removeprefix("request ") for line in lines]


def test_lines_are_shown_as_they_are_the_newest_first(shown, files):
    lines = shown(*files)
    assert ids(lines) == ["4", "3", "2", "1", "0"] * 2
    assert lines == shown(*reversed(files))
    written = "".join(Path(file).read_text() for file in files)
    assert all(f"{line}\n" in written for line in lines)


def test_each_filter_leaves_the_lines_that_it_names(shown, files):
    now = datetime.now(UTC)
    assert ids(shown("--kid", "k3", *files)) == ["3", "3"]
    assert ids(shown("--profile", "p2", files[0])) == ["2"]
    assert ids(shown("--outcome", "failed", files[0])) == ["3", "1"]
    assert ids(shown("--outcome", "ok", files[0])) == ["4", "2", "0"]
    assert ids(shown("--outcome", "key-not-usable", "--limit", "3", *files)) == ["3", "1", "3"]
    assert shown("--who", "nobody", *files) == []
    assert len(shown("--operation", "sign", "--since", "1h", *files)) == 10
    assert shown("--until", (now - timedelta(hours=1)).isoformat(), *files) == []
    assert len(shown("--until", (now + timedelta(hours=1)).isoformat(), *files)) == 10


@pytest.mark.parametrize("time", ["yesterday", "2026-01-31T12:00:00", "2026-01-31"])
def test_a_time_has_its_zone(files, time):
    done = CliRunner().invoke(main, ["audit", "show", "--since", time, *files])
    assert done.exit_code == 2
    assert time in done.stderr


def test_a_file_that_is_not_a_log(files, tmp_path):
    other = tmp_path / "other"
    other.write_text("text\n")
    for wrong in (other, tmp_path / "nowhere"):
        done = CliRunner().invoke(main, ["audit", "show", *files, str(wrong)])
        assert (done.exit_code, done.stdout) == (2, "")
        assert str(wrong) in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--since", "99999999d"),
        ("--until", "99999999h"),
        ("--since", "0001-01-01T00:00:00+14:00"),
        ("--until", "9999-12-31T23:59:59-12:00"),
        *((f"--{name}", "\udcff") for name in ("kid", "who", "operation", "outcome", "profile")),
    ],
)
def test_a_value_that_no_line_can_have(files, option, value):
    done = CliRunner().invoke(main, ["audit", "show", option, value, *files])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '{option}': {value!r} is not " in done.stderr
