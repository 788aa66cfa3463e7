"""Send calls to a server, and compare its answers with others."""

from collections.abc import Iterable, Iterator
from typing import Any

from vault import Answer, Vault

from vault_calls.call import Call
from vault_calls.compare import differences
from vault_calls.judge import judge


def answers(calls: Iterable[Call], server: Vault) -> Iterator[tuple[Call, Answer]]:
    """Send calls, filled with values of earlier answers; yield each call sent, with its answer."""
    kept: dict[str, Any] = {}
    for call in calls:
        filled = call.filled(kept)
        answer = server.ask(filled.method, filled.path, filled.body, **filled.headers)
        for name, path in call.keep.items():
            value = answer.body
            for part in path.split("."):
                value = value[int(part) if isinstance(value, list) else part]
            kept[name] = value
        yield filled, answer


def disagreements(calls: list[Call], expected: list[Answer], door: Vault) -> str:
    """List differences between OpenBao's answers and the door's; pyca checks the door's answers."""
    found = []
    for call, there, (sent, here) in zip(calls, expected, answers(calls, door), strict=True):
        judge(door, sent, here)
        shown = f"{sent.method} {sent.path} {sent.body}"
        found += [f"{shown}\n    {each}" for each in differences(call, there, here)]
    return "\n".join(found)
