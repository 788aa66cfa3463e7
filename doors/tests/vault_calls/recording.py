"""OpenBao's answers to the calls of this package: openbao.json, made by record_openbao.py."""

import json
from pathlib import Path
from typing import Any

from vault import Answer

from vault_calls.call import Call

FILE = Path(__file__).with_name("openbao.json")


def shown(call: Call) -> list[Any]:
    """Return a call in the form of the recording, to find calls that have changed."""
    body = call.body.decode("latin-1") if isinstance(call.body, bytes) else call.body
    return [call.method, call.path, body, dict(call.headers)]


def write(version: str, groups: dict[str, list[tuple[Call, Answer]]]) -> None:
    """Write a recording, one answer to a line."""
    lines = [f'{{"version": {json.dumps(version)}, "groups": {{']
    for name, asked in groups.items():
        answered = [json.dumps([shown(call), *answer]) for call, answer in asked]
        lines.append(f"{json.dumps(name)}: [\n" + ",\n".join(answered) + "\n],")
    FILE.write_text("\n".join(lines).rstrip(",") + "\n}}\n", "utf-8")


def recorded(group: str, calls: list[Call]) -> list[Answer]:
    """OpenBao's answers to the calls of a group."""
    lines = json.loads(FILE.read_text("utf-8"))["groups"].get(group, [])
    assert [call for call, *_ in lines] == [shown(call) for call in calls], (
        "run doors/tests/record_openbao.py"
    )
    return [Answer(status, body) for _, status, body in lines]
