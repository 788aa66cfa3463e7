"""docs/writing-an-algorithm.md says what the code does."""

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from minikms import plugin
from minikms.protocol import CAPABILITIES, KeyAlgorithm, KeyPairAlgorithm, Signer

TESTS = Path(__file__).parents[1]
SAMPLE = TESTS / "sample_plugin"
GUIDE = (TESTS.parent / "docs" / "writing-an-algorithm.md").read_text()

ROWS = {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)[`(].*\|$", GUIDE, re.MULTILINE)}


def code(language):
    blocks = re.findall(rf"^ *```{language}\n.*?^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block).removeprefix(f"```{language}\n")[:-3] for block in blocks]


@pytest.mark.parametrize(
    ("language", "file"),
    [("ini", "setup.cfg"), ("toml", "pyproject.toml"), ("python", "minikms_ed448.py")],
)
def test_the_guide_has_the_sample_as_it_is(language, file):
    assert code(language)[0] == (SAMPLE / file).read_text()


def test_the_guide_has_the_samples_test_class():
    assert code("python")[1] in (SAMPLE / "test_ed448.py").read_text()


@pytest.mark.parametrize("name", plugin.__all__)
def test_the_guide_names_everything_that_a_plugin_imports(name):
    assert re.search(rf"`{name}\b", GUIDE)


@pytest.mark.parametrize("fact", [*inspect.get_annotations(KeyAlgorithm), "signing_algs"])
def test_the_guide_has_every_fact(fact):
    assert fact in ROWS


def test_signing_algs_is_the_only_fact_of_a_capability():
    facts = {fact for capability in CAPABILITIES for fact in inspect.get_annotations(capability)}
    assert facts == {"grants", "signing_algs"}
    assert "signing_algs" in inspect.get_annotations(Signer)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: capability.__name__)
def test_the_guide_has_every_capability(capability):
    row = ROWS[capability.__name__]
    assert all(f"`{operation}`" in row for operation in capability.grants)
    for name, method in vars(capability).items():
        if name in capability.__abstractmethods__:
            _, *parameters = inspect.signature(method).parameters
            assert f"`{name}({', '.join(parameters)})`" in row


@pytest.mark.parametrize(
    "name", sorted(KeyAlgorithm.__abstractmethods__ | KeyPairAlgorithm.__abstractmethods__)
)
def test_the_guide_has_every_method_of_a_key(name):
    assert name in ROWS
