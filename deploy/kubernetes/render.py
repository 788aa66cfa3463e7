"""Render the plain manifests from the chart: python deploy/kubernetes/render.py [FOLDER].

It needs helm-python-sdk (the extra `test-all`). Without FOLDER it writes beside itself.
"""

import sys
from pathlib import Path
from typing import Any, Final

import helm_python

HERE: Final = Path(__file__).parent
CHART: Final = HERE.parent / "helm/minikms"

# The values of each file.
FILES: Final[dict[str, dict[str, Any]]] = {
    "sqlite.yaml": {"store": {"kind": "sqlite"}},
    "postgres.yaml": {"store": {"kind": "postgres"}},
}
_HEAD: Final = """\
# Made by deploy/kubernetes/render.py from deploy/helm/minikms: change the chart, not this file.
# docs/operations/deployment.md has the Secret that comes first.
"""


def render(values: dict[str, Any]) -> list[str]:
    """Render the manifests of the chart, one for each template."""
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values, name="minikms", namespace="default")
    return [
        text.strip()
        for path, text in sorted(rendered.items())
        if path.endswith(".yaml") and text.strip()
    ]


def main(folder: Path) -> None:
    """Write the files into a folder."""
    for name, values in FILES.items():
        manifests = "\n---\n".join(render(values))
        (folder / name).write_text(f"{_HEAD}---\n{manifests}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
