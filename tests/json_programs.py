"""Run programs that read JSON from standard input and print JSON."""

import asyncio
import json
from pathlib import Path
from typing import Any


async def ask(*command: str | Path, asked: Any, cwd: Path | None = None) -> Any:
    """Run a program with JSON as its standard input, and return the JSON that it prints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, errors.decode()
    return json.loads(output)
