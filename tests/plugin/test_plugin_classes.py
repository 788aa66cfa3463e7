"""Classes that entry points name for providers and seals."""

from importlib.metadata import EntryPoint

import pytest

from minikms import plugin_classes
from minikms.plugin import API_VERSION, Provider
from minikms.plugin.providers import make_providers
from minikms.seals.registry import make_seal
from minikms.startup_errors import PluginError


@pytest.fixture
def installed(monkeypatch):
    """Install entry points of the name `mine`, one for each value."""

    def install(*values):
        found = [EntryPoint("mine", value, "a group") for value in values]
        monkeypatch.setattr(plugin_classes, "entry_points", lambda group, name: found)

    return install


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (["nothing_of_this_name:Mine"], "cannot be imported: ModuleNotFoundError"),
        (["json:dumps"], "is not a subclass of "),
        (["minikms.seals.seal:Seal", "minikms.seals.seal:Seal"], "Two installed packages have a "),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda uri: make_providers([f"hsm={uri}"]), make_seal], ids=["provider", "seal"]
)
def test_a_class_that_cannot_be_used_is_refused(installed, make, values, fault):
    installed(*values)
    with pytest.raises(PluginError, match=fault):
        make("mine:x")


@pytest.mark.parametrize(
    ("make", "value", "lacks"),
    [
        (
            lambda uri: make_providers([f"hsm={uri}"]),
            "minikms.plugin:Provider",
            "algorithms, close",
        ),
        (make_seal, "minikms.seals.seal:Seal", "__init__, seal, unseal"),
    ],
)
def test_a_class_that_lacks_methods_names_them(installed, make, value, lacks):
    installed(value)
    with pytest.raises(PluginError, match=f"lacks: .*{lacks}"):
        make("mine:x")


class OfLaterVersion(Provider):
    """A provider for a version that may ask for other methods than those it lacks here."""

    api_version = API_VERSION + 1


def test_a_provider_for_a_later_version_says_to_update(installed):
    installed(f"{__name__}:OfLaterVersion")
    with pytest.raises(PluginError, match="update Mini KMS"):
        make_providers(["hsm=mine:x"])
