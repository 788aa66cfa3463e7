"""Prometheus reads the alert rules and the dashboard, and the service has their metrics."""

import json
import re
import subprocess

import pytest
import yaml
from deploy.deployment import DEPLOY, ROOT, tool

from minikms.web.responses import error_classes
from minikms.web.routes import ROUTES

FOLDER = DEPLOY / "prometheus"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text("utf-8"))
QUERIES = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
]
# The variables of Grafana, as it fills them in.
FILLED = {"$__rate_interval": "5m", "$job": "minikms", "$instance": ".*"}


def promtool(*args, folder):
    done = subprocess.run(
        ("promtool", *args), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@tool("promtool", "promtool")
def test_rules_are_valid():
    promtool("check", "rules", "--lint-fatal", "alerts.yaml", folder=FOLDER)


@tool("promtool", "promtool")
@pytest.mark.timeout(60)  # some 300 evaluations of each rule
def test_rules_do_what_their_tests_say():
    promtool("test", "rules", "alerts_test.yaml", folder=FOLDER)


@tool("promtool", "promtool")
def test_queries_of_the_dashboard_are_valid(tmp_path):
    rules = []
    for number, query in enumerate(QUERIES):
        for name, value in FILLED.items():
            query = query.replace(name, value)
        rules.append({"record": f"query:number{number}", "expr": query})
    (tmp_path / "queries.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})
    )
    promtool("check", "rules", "queries.yaml", folder=tmp_path)


def test_each_rule_has_a_test_and_a_row_in_the_document():
    tests = (FOLDER / "alerts_test.yaml").read_text("utf-8")
    document = (ROOT / "docs/operations/messages.md").read_text("utf-8")
    names = [rule["alert"] for rule in RULES]
    assert [name for name in names if name not in tests] == []
    rows = re.findall(r"^\| `(Minikms\w+)` \|", document, re.MULTILINE)
    assert rows == names


def test_metrics_are_those_of_the_service():
    """By the table in the documents, which a test compares with a running service."""
    document = (ROOT / "docs/operations/monitoring.md").read_text("utf-8")
    table = document.partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", table, re.MULTILINE)
    families = {name: set(re.findall(r"\w+", labels)) for name, labels in rows}
    assert len(families) > 10
    for query in QUERIES:
        for name, labels in re.findall(r"\b((?:minikms|process)_\w+)(?:{(.*?)})?", query):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert family in families, query
            known = families[family] | {"job", "instance", "le"}
            assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", labels)) <= known, query


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("outcome", {"success", "broken-off", *(error.slug for error in error_classes())}),
        ("operation", {route.name for route in ROUTES}),
        ("alg", {"none"}),
    ],
)
def test_values_of_labels_are_those_of_the_service(label, values):
    named = {
        value
        for query in QUERIES
        for text in re.findall(rf'\b{label}(?:=~|!~|!=|=)"(.*?)"', query)
        for value in text.split("|")
    }
    assert named
    assert named <= values


def test_panels_do_not_overlap():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_panels_say_what_they_show():
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
