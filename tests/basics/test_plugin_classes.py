"""Classes that entry points name for providers and seals."""

from importlib.metadata import entry_points

import pytest
from packages import leave_package

from minikms.basics import plugin_classes
from minikms.doors.registry import installed_doors
from minikms.plugin import API_VERSION, Provider, providers
from minikms.plugin.providers import make_providers
from minikms.plugin.registry import AlgorithmRegistry
from minikms.seals import registry as seals
from minikms.seals.registry import make_seal
from minikms.startup_errors import PluginError, ProviderError, StoreError


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package for each value, with a provider and a seal of the name `mine`."""

    def run(*values):
        for number, value in enumerate(values):
            for group in (providers.GROUP, seals.GROUP):
                leave_package(tmp_path, f"{group}-{number}", group, mine=value)
        monkeypatch.syspath_prepend(tmp_path)

    return run


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
def test_a_class_that_cannot_be_used_is_refused(install, make, values, fault):
    install(*values)
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
def test_a_class_that_lacks_methods_names_them(install, make, value, lacks):
    install(value)
    with pytest.raises(PluginError, match=f"lacks: .*{lacks}"):
        make("mine:x")


class OfLaterVersion(Provider):
    """A provider for a version that may ask for other methods than those it lacks here."""

    api_version = API_VERSION + 1


def test_a_provider_for_a_later_version_says_to_update(install):
    install(f"{__name__}:OfLaterVersion")
    with pytest.raises(PluginError, match="update Mini KMS"):
        make_providers(["hsm=mine:x"])


def test_all_registries_read_the_metadata_of_packages_once(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    read = []
    monkeypatch.setattr(plugin_classes, "entry_points", lambda: read.append(1) or entry_points())
    assert list(AlgorithmRegistry.from_installed())
    assert installed_doors()
    with pytest.raises(StoreError):
        make_seal("nothing:x")
    with pytest.raises(ProviderError):
        make_providers(["hsm=nothing:x"])
    assert len(read) == 1
