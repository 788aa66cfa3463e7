"""Run the blocks of a document in one shell, in their order, and compare the output."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ports import free_port

ROOT = Path(__file__).parents[1]
URL = "http://127.0.0.1:8080"

# Values that differ each time, and their form.
VOLATILE = {
    "kid": r"[A-Za-z0-9_-]{43}",
    "x": r"[A-Za-z0-9_-]{43}",
    "y": r"[A-Za-z0-9_-]{43}",
    "b58": r"[1-9A-HJ-NP-Za-km-z]{40,50}",
    "multikey": r"z(6Mk|Dn)[1-9A-HJ-NP-Za-km-z]{44,50}",
    "did": r"did:key:z(6Mk|Dn)[1-9A-HJ-NP-Za-km-z]{44,50}",
    "jws": r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}",
    "sig": r"[A-Za-z0-9_-]{86}==",
    "signature": r"[A-Za-z0-9_-]{86}",
    "created": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
}

# The steps of a person around the blocks: stop a service before its restart, and wait for it.
SHELL = """
set -euo pipefail
service=
export MINIKMS_SHUTDOWN_GRACE=0
stop() { if [ -n "$service" ]; then kill -TERM $service; wait $service; service=; fi; }
ready() { curl -sfk --max-time 5 "$1/readyz" >/dev/null; }
serve() {
    stop
    "$@" >>service.log 2>&1 &
    service=$!
    url=URL
    until ready "$url" || ready "${url/http:/https:}"; do kill -0 $service; sleep 0.05; done
}
trap stop EXIT
"""
# The packages are installed here by now; CI runs the README's run command as it stands.
INSTALL = re.compile(
    r"^python3 -m venv \.venv && \.venv/bin/pip install \."
    r"(?: '\./clients/python\[cli\]')?(?: && |\n)"
    r"|^\.venv/bin/pip install '\.\[postgres\]'\n",
    re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document in Markdown."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [Block(*each) for each in found]


def section(document: str, heading: str) -> str:
    """The section under a heading such as `## Docker`, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    (found,) = re.findall(
        rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)",
        document,
        re.MULTILINE | re.DOTALL,
    )
    return found


def stable(block: Block) -> Any:
    """Lines of JSON with their volatile values replaced by their form; other text as it is."""

    def replace(answer: dict[str, Any]) -> dict[str, Any]:
        for name, form in VOLATILE.items():
            if isinstance(answer.get(name), str) and re.fullmatch(form, answer[name]):
                answer[name] = form
        return answer

    if block.language != "json":
        text = block.text
        for name in ("signature", "kid"):
            text = re.sub(rf"^{VOLATILE[name]}$", name, text, flags=re.MULTILINE)
        return text
    return [json.loads(line, object_hook=replace) for line in block.text.splitlines()]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with no options of the service but `variables`."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("MINIKMS_")}
    return inherited | variables


class Pasted(NamedTuple):
    """The output that a document shows, and the real one, for each block with an answer."""

    shown: list[Any]
    answered: list[Any]
    commands: str


def paste(
    found: Iterable[Block],
    folder: Path,
    replaced: dict[str, str] | None = None,
    *,
    whole: bool = False,
    **variables: str,
) -> Pasted:
    """Run the blocks of `sh` unchanged in one shell, except for the port and `replaced`.

    The next block, of `json` or `text`, shows the end of a block's output, or with `whole` all
    output. A service holds its terminal, so its command ends a block. `variables` are further ones
    of the environment.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    port = free_port()
    steps, shown = [], []
    for block, following in pairwise([*found, Block("end", "")]):
        if block.language == "sh":
            assert not re.search(r"minikms serve.*[^\\]\n.", block.text), block.text
            is_shown = following.language in ("json", "text")
            end = "printf '\\0'\n" if is_shown else ""
            steps += [end, block.text, end]
            if is_shown:
                shown.append(following)
    commands = INSTALL.sub("", "".join(steps))
    script = re.sub(r"^(?=\.venv/bin/minikms serve)", "serve ", commands, flags=re.MULTILINE)
    script = SHELL.replace("URL", URL) + script
    for old, new in {URL: f"http://127.0.0.1:{port}", **(replaced or {})}.items():
        script = script.replace(old, new)
    done = subprocess.run(
        ("bash", "-c", script),
        cwd=folder,
        env=environment(
            MINIKMS_PORT=str(port), MINIKMS_URL=f"http://127.0.0.1:{port}", **variables
        ),
        capture_output=True,
        text=True,
    )
    log = folder / "service.log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    *printed, rest = done.stdout.split("\0")
    assert not rest
    answered = []
    for answer, block in zip(printed[1::2], shown, strict=True):
        last = answer.splitlines(keepends=True)
        if not whole:
            last = last[-len(block.text.splitlines()) :]
        answered.append(stable(Block(block.language, "".join(last))))
    return Pasted([stable(block) for block in shown], answered, commands)
