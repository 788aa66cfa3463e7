"""Commands as they are typed: where they are, their environment, and a terminal."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

COMMANDS = Path(sys.executable).parent


def environment(minikms):
    return {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "MINIKMS_URL": minikms.url,
        "MINIKMS_PROFILE": minikms.profile,
        "MINIKMS_CONFIG": os.environ["MINIKMS_CONFIG"],
        "COLUMNS": "80",
    }


def on_a_terminal(line, minikms, *, typed="", after="", code=0):
    """Return the output of a line of bash on a terminal, with input typed `after` a prompt."""
    reader, writer = pty.openpty()
    if not after:
        os.write(reader, typed.encode())
        typed = ""
    process = subprocess.Popen(
        ["bash", "-c", line],
        stdin=writer,
        stdout=writer,
        stderr=writer,
        env=environment(minikms),
        start_new_session=True,
    )
    os.close(writer)
    written = b""
    while select.select([reader], [], [], 60)[0]:
        try:
            part = os.read(reader, 65536)
        except OSError:  # EIO: nobody has the other side open
            break
        if not part:
            break
        written += part
        if typed and after.encode() in written:
            os.write(reader, typed.encode())
            typed = ""
    os.close(reader)
    assert process.wait() == code, written
    return written.decode()
