"""The Helm chart, rendered by Helm's own library."""

import importlib.util

import pytest
import yaml
from deploy.deployment import DEPLOY

SCRIPT = DEPLOY / "kubernetes/render.py"

needs_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None,
    reason="helm-python-sdk is missing: pip install -e '.[test-all]'",
)


def load_script():
    """The script that renders the plain manifests."""
    spec = importlib.util.spec_from_file_location("render", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def render(values):
    """The objects that the chart makes with these values."""
    texts = load_script().render(values)
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def only(objects, kind):
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def pod(objects):
    return only(objects, "StatefulSet")["spec"]["template"]["spec"]


def container(objects, name):
    containers = (*pod(objects).get("initContainers", ()), *pod(objects)["containers"])
    return next(each for each in containers if each["name"] == name)


def environment(found):
    """The variables of a container; a value from a secret is its key."""
    return {
        each["name"]: each.get("value") or each["valueFrom"]["secretKeyRef"]["key"]
        for each in found["env"]
    }
