"""Log output: text or JSON on standard error, written by a thread in batches."""

import logging
import os
import sys
import threading
from collections import deque
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

# The longest wait of a line for further lines, in seconds; the largest number of waiting lines.
_DELAY: Final = 0.05
_MAX_WAITING: Final = 10_000


class BatchHandler(logging.Handler):
    """Writes lines to a stream in batches, in a thread of its own.

    A slow reader thus does not block the service, and lines share the cost of a write. Warnings and
    errors are written without delay. If too many lines wait, the next caller writes them: a late
    answer is better than a lost line.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._has_lines, self._urgent = threading.Event(), threading.Event()
        self._write_lock = threading.Lock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno >= logging.WARNING:
                self._urgent.set()
            if not self._has_lines.is_set():
                self._has_lines.set()
            if len(self._lines) > _MAX_WAITING:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write all waiting lines; `logging` also calls this at exit."""
        with self._write_lock:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()

    def _run(self) -> None:
        while True:
            try:
                self._has_lines.wait()
                self._has_lines.clear()
                self._urgent.wait(_DELAY)
                self._urgent.clear()
                self.flush()
            except Exception:
                self.handleError(logging.makeLogRecord({"msg": "log lines"}))


class _TextFormatter(logging.Formatter):
    """Formats a message, followed by the id of its request if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        known: Any = getattr(record, "request_id", None)
        return f"{line} [{known}]" if known else line


def configure(log_format: str, log_level: str, *, process: bool = False) -> None:
    """Send log lines of this level and above to standard error in this format.

    With `process`, lines of text include the id of the process.
    """
    # A stream of our own: if sys.stderr has no buffer (PYTHONUNBUFFERED), a write that a signal
    # interrupts loses the rest.
    stream = sys.stderr and os.fdopen(
        sys.stderr.fileno(),
        "w",
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        closefd=False,
    )
    handler = BatchHandler(stream)
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
    # Askar repeats warnings of its libraries about connections; the store logs their meaning.
    if log_level != "debug":
        logging.getLogger("aries_askar").setLevel(logging.ERROR)
