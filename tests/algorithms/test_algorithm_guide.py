"""docs/writing-an-algorithm.md says what the code does."""

import inspect
import re
import shutil
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from document_blocks import URL, Block, paste

from minikms import plugin
from minikms.algorithms import okp
from minikms.plugin import SignatureOptions
from minikms.plugin.protocol import (
    CAPABILITIES,
    EcdsaSigner,
    KeyAlgorithm,
    KeyPairAlgorithm,
    Signer,
)
from minikms.testing import AlgorithmContract

TESTS = Path(__file__).parents[1]
SAMPLE = TESTS / "sample_plugin"
DOCS = TESTS.parent / "docs"
GUIDE = (DOCS / "writing-an-algorithm.md").read_text()
OF_PROVIDERS = (DOCS / "writing-a-provider.md").read_text()

ROWS = {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)[`(].*\|$", GUIDE, re.MULTILINE)}


def code(language):
    blocks = re.findall(rf"^ *```{language}\n.*?^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block).removeprefix(f"```{language}\n")[:-3] for block in blocks]


SAMPLE_MODULE, SAMPLE_TEST = code("python")
WITHOUT_A_BASE = Path(__file__).with_name("without_a_base.py").read_text()


@pytest.mark.parametrize(
    ("block", "file"),
    [
        (code("ini")[0], "setup.cfg"),
        (code("toml")[0], "pyproject.toml"),
        (SAMPLE_MODULE, "minikms_bp256.py"),
    ],
)
def test_the_guide_has_the_sample_as_it_is(block, file):
    assert block == (SAMPLE / file).read_text()


def test_the_guide_has_the_samples_test_class():
    wanted = [line for line in SAMPLE_TEST.splitlines() if line]
    lines = (SAMPLE / "test_bp256.py").read_text().splitlines()
    assert [line for line in lines if line in wanted] == wanted


def module(source):
    """A module with the code of the guide's class, where an entry point finds it."""
    made = ModuleType("minikms_of_the_guide")
    sys.modules[made.__name__] = made
    exec(source, made.__dict__)
    return made


class TestWithoutABase(AlgorithmContract):
    algorithm = module(WITHOUT_A_BASE).Ed448()

    def test_the_guides_algorithm_equals_the_built_in_one(self):
        built_in = okp.Ed448()
        key = built_in.generate()
        assert self.algorithm.sign(key, b"hello", SignatureOptions("EdDSA")) == key.sign(b"hello")
        assert self.algorithm.public_jwk(key) == built_in.public_jwk(key)
        for fact in ("name", "kty", "crv", "multicodec", "signing_algs"):
            assert getattr(self.algorithm, fact) == getattr(built_in, fact)


OF_SIGNERS = ("signing_algs", "signing_hashes")
OF_HPKE = ("hpke_aad",)


@pytest.mark.parametrize("name", plugin.__all__)
def test_the_guides_name_everything_that_a_plugin_imports(name):
    assert re.search(rf"`{name}\b", GUIDE + OF_PROVIDERS)


@pytest.mark.parametrize("fact", [*inspect.get_annotations(KeyAlgorithm), *OF_SIGNERS, *OF_HPKE])
def test_the_guide_has_every_fact(fact):
    assert fact in ROWS


def test_only_a_signer_and_hpke_have_facts_of_their_own():
    facts = {fact for capability in CAPABILITIES for fact in inspect.get_annotations(capability)}
    # Mac also annotates facts of KeyAlgorithm, which every algorithm has.
    facts -= inspect.get_annotations(KeyAlgorithm).keys()
    assert facts == {"grants", "public_grants", *OF_SIGNERS, *OF_HPKE}
    assert inspect.get_annotations(Signer).keys() >= {*OF_SIGNERS}


@pytest.mark.parametrize(
    "capability", [*CAPABILITIES, EcdsaSigner], ids=lambda capability: capability.__name__
)
def test_the_guide_has_every_capability(capability):
    row = ROWS[capability.__name__]
    assert all(f"`{operation}`" in row for operation in capability.grants)
    for name, method in vars(capability).items():
        if name in capability.__abstractmethods__:
            _, *parameters = inspect.signature(method).parameters
            assert f"`{name}({', '.join(parameters)})`" in row


@pytest.mark.parametrize(
    "name",
    sorted(KeyAlgorithm.__abstractmethods__ | KeyPairAlgorithm.__abstractmethods__ | {"owns_jwk"}),
)
def test_the_guide_has_every_method_of_a_key(name):
    assert name in ROWS


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_the_pasted_commands_make_the_package(tmp_path):
    """In the folder of the README, but that nothing is installed into the tests' environment."""
    pytest.importorskip("setuptools", reason="setuptools is missing, which builds packages")
    make, use = code("sh")[:2]
    files = {
        "setup.cfg": code("ini")[0],
        "pyproject.toml": code("toml")[0],
        "minikms_bp256.py": SAMPLE_MODULE,
        "test_bp256.py": SAMPLE_TEST,
    }
    write = "".join(
        f"cat >../minikms-bp256/{name} <<'END'\n{text}END\n" for name, text in files.items()
    )
    installed = "pip install -q --no-index --no-deps --no-build-isolation --target ../site "
    (mini_kms := tmp_path / "mini-kms").mkdir()
    shown = "pip install -e '../minikms-bp256[test]'\n"
    assert shown in use
    done = paste(
        [
            Block("sh", make + write),
            Block("sh", f"export PYTHONPATH={tmp_path}/site\n"),
            Block("sh", use.replace(shown, f"{installed} ../minikms-bp256\n")),
            Block("sh", f"curl -s {URL}/algorithms | grep -o '\"bp256\"'\n"),
            Block("text", '"bp256"\n'),
        ],
        mini_kms,
    )
    assert done.answered == done.shown
