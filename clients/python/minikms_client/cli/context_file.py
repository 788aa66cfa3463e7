"""Named contexts in the user's file: services with the caller's identity."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import click

from minikms_client.shapes import members, optional, text

_LARGEST: Final = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """A service and its caller; each member except `token` is the option with that name."""

    url: str | None = None
    profile: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None

    def over(self, others: "Settings") -> "Settings":
        """Return these settings, completed by `others`.

        A token and the name of its file count as one setting.
        """
        merged = {
            each.name: getattr(self, each.name) or getattr(others, each.name)
            for each in fields(self)
        }
        if self.token or self.token_file:
            merged |= {"token": self.token, "token_file": self.token_file}
        return Settings(**merged)

    def without_token(self) -> "Settings":
        """Return the other settings."""
        return replace(self, token=None, token_file=None)

    def absolute(self) -> "Settings":
        """Return the settings with absolute paths of files, since commands run in any folder."""
        files = {name: getattr(self, name) for name in ("token_file", "ca", "cert", "cert_key")}
        return replace(
            self, **{name: str(Path(file).absolute()) for name, file in files.items() if file}
        )

    def shown(self) -> dict[str, str]:
        """Return the members that are neither secret nor empty."""
        members = asdict(replace(self, token=None))
        return {name: value for name, value in members.items() if value is not None}


@dataclass(slots=True)
class Contexts:
    """The contexts by name, and the name of the current one."""

    file: Path
    current: str | None = None
    by_name: dict[str, Settings] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Contexts":
        """Read the user's file, which need not exist.

        Raises UsageError for a file that other users can read, since it may hold a token.
        """
        file = _file()
        try:
            with open(file, "rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                content = opened.read(_LARGEST)
        except FileNotFoundError:
            return cls(file)
        except OSError as error:
            raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise click.UsageError(
                f"Other users can read or change {file}, which may hold a token: chmod 600 it."
            )
        try:
            data = members(json.loads(content))
            contexts = {name: _settings(each) for name, each in members(data["contexts"]).items()}
            return cls(file, optional(text, data["current"]), contexts)
        except (ValueError, TypeError, LookupError) as error:
            raise click.UsageError(f"{file} does not have the contexts of mkms.") from error

    @classmethod
    @contextmanager
    def changed(cls) -> Iterator["Contexts"]:
        """Read the file, and replace it after the block; other commands wait to change it."""
        import fcntl  # Windows lacks it

        file = _file()
        for folder in reversed(file.parents):  # `parents=True` leaves their modes to the umask
            folder.mkdir(mode=0o700, exist_ok=True)
        with open(f"{file}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contexts = cls.read()
            yield contexts
            contexts._write()

    def named(self, name: str) -> Settings:
        """Return a context; raises UsageError if it does not exist."""
        if name not in self.by_name:
            raise click.UsageError(f"There is no context {name!r}: see mkms context list.")
        return self.by_name[name]

    def _write(self) -> None:
        """Replace the file, which only the user can read."""
        contexts = {
            name: {member: value for member, value in asdict(each).items() if value is not None}
            for name, each in self.by_name.items()
        }
        with tempfile.NamedTemporaryFile(
            "w", dir=self.file.parent, prefix=".mkms-", delete=False
        ) as new:
            try:
                json.dump({"current": self.current, "contexts": contexts}, new, indent=2)
                new.write("\n")
                new.flush()
                os.replace(new.name, self.file)
            except BaseException:
                os.unlink(new.name)
                raise


def _file() -> Path:
    """The file of the user, which need not exist."""
    named = os.environ.get("MINIKMS_CONFIG") or Path(click.get_app_dir("mkms"), "config.json")
    return Path(os.path.realpath(named))


def _settings(data: Any) -> Settings:
    """Parse a context of the file; raises TypeError or LookupError.

    It must have a URL, so that its token is for one service.
    """
    given = {name: text(value) for name, value in members(data).items()}
    return Settings(url=given.pop("url"), **given)
