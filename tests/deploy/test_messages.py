"""docs/operations/messages.md quotes the service."""

import ast
import re

from deploy.deployment import ROOT

DOCUMENT = (ROOT / "docs/operations/messages.md").read_text("utf-8")


def texts():
    """The texts in the code, with … for each value."""
    for path in (ROOT / "minikms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%(?:\.\d)?[sdf]", "…", node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                ]
                yield "".join(parts)


def test_messages_are_those_of_the_service():
    known = "\n".join(texts())
    quoted = [
        text
        for _, section in re.findall(
            r"^## (In the log|At the start)$(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S
        )
        for cell in re.findall(r"^\| (`.*?`) \|", section, re.M)
        for text in re.findall(r"`(.*?)`", cell)
    ]
    assert len(quoted) > 30
    assert [text for text in quoted if text.rstrip("… ") not in known] == []
