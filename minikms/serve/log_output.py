"""Where log lines go: standard error, in text or JSON, without holding up who writes them."""

import logging
import os
import sys
import threading
from collections import deque
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

# How long a line waits for others, in seconds, and how many may wait.
_PAUSE: Final = 0.05
_MOST: Final = 10_000


class GatheringHandler(logging.Handler):
    """Writes to a stream what has gathered in a while, in one piece and in a thread of its own.

    So a reader who stands still holds up nobody, and what the system takes for a line is shared. A
    warning, and what is worse, is not waited for. Where too many wait, whoever has another one
    waits for them: an answer that is late is better than a line that is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._due, self._urgent = threading.Event(), threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._keep_on, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record's line."""
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno >= logging.WARNING:
                self._urgent.set()
            if not self._due.is_set():
                self._due.set()
            if len(self._lines) > _MOST:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what has gathered, as `logging` itself does at the end."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()

    def _keep_on(self) -> None:
        while True:
            try:
                self._due.wait()
                self._due.clear()
                self._urgent.wait(_PAUSE)
                self._urgent.clear()
                self.flush()
            except Exception:
                self.handleError(logging.makeLogRecord({"msg": "log lines"}))


class _TextFormatter(logging.Formatter):
    """The message, and the request's id behind it where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        known: Any = getattr(record, "request_id", None)
        return f"{line} [{known}]" if known else line


def configure(log_format: str, log_level: str, *, process: bool = False) -> None:
    """Send every log line to standard error in this format, from this level on.

    With `process` its id is in lines of text too.
    """
    # Not sys.stderr itself: where Python does not buffer it (PYTHONUNBUFFERED), a write that is cut
    # short, as by a signal that stops the process for a while, loses the rest.
    stream = sys.stderr and os.fdopen(
        sys.stderr.fileno(),
        "w",
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        closefd=False,
    )
    handler = GatheringHandler(stream)
    name = "%(name)s[%(process)d]" if process else "%(name)s"
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s%(levelname)s%(name)s%(process)d%(message)s",
            rename_fields={"asctime": "time"},
        )
        if log_format == "json"
        else _TextFormatter(f"%(asctime)s %(levelname)s {name} %(message)s")
    )
    logging.basicConfig(level=log_level.upper(), handlers=[handler], force=True)
