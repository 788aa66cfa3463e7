from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

import pytest
from packages import leave_package

from minikms.errors import UnsupportedAlgorithm
from minikms.plugin import AskarKeyAlgorithm
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.startup_errors import PluginError


class Copycat(AskarKeyAlgorithm):
    name, kty = "p256", "oct"


@pytest.fixture(scope="module")
def registry():
    return AlgorithmRegistry.from_installed()


@pytest.mark.parametrize(
    "name", ["", "-", "p-522-", "ed25519 ", "ed25519\n", "ｅd25519", "\u212a256", "rot13"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(registry, name):
    with pytest.raises(UnsupportedAlgorithm) as caught:
        registry.get(name)
    assert all(entry.algorithm.name in caught.value.detail for entry in registry)


def test_each_copy_of_a_registry_has_its_own_providers(registry):
    first = registry.with_providers({"hsm": SimpleNamespace(make=lambda *_: "first")})
    algorithm = first.get("p256")
    assert first.bound("hsm", algorithm).make(b"") == "first"
    second = first.with_providers({"hsm": SimpleNamespace(make=lambda *_: "second")})
    assert second.bound("hsm", algorithm).make(b"") == "second"
    assert first.bound("hsm", algorithm).make(b"") == "first"


def test_a_listing_has_every_entry_point_and_its_package(registry):
    installed = {(entry.name, entry.dist.name) for entry in entry_points(group=GROUP)}
    assert {(entry.algorithm.name, entry.source) for entry in registry} == installed
    assert [entry.algorithm.name for entry in registry] == sorted(name for name, _ in installed)


def test_a_listing_has_the_signing_algs_first(registry):
    jose_algs = {entry.algorithm.name: entry.jose_algs for entry in registry}
    assert jose_algs["p256"] == ("ES256", "ECDH-ES")
    assert jose_algs["a256gcm"] == ("A256GCM",)
    assert jose_algs["bls12381g1"] == ()


def test_every_written_name_finds_its_algorithm(registry):
    for entry in registry:
        for name in (entry.algorithm.name, *entry.algorithm.aliases):
            assert name in registry.names
            assert registry.get(name) is entry.algorithm
    assert len(set(registry.names)) == len(registry.names)


def test_an_entry_point_without_a_package_is_refused():
    stranger = EntryPoint("mine", f"{__name__}:Copycat", GROUP)
    with pytest.raises(PluginError) as caught:
        AlgorithmRegistry([*entry_points(group=GROUP), stranger])
    for named in ("mine", "unknown", "p256", "minikms-server"):
        assert repr(named) in str(caught.value)


class OneSchnorr(AskarKeyAlgorithm):
    name, kty, crv = "one", "OKP", "secp256k1"


class OtherSchnorr(AskarKeyAlgorithm):
    name, kty, crv = "other", "OKP", "secp256k1"


class OfAnAlg(AskarKeyAlgorithm):
    name, kty, crv, jose_algs = "ofanalg", "OKP", "secp256k1", ("XS", "YS")

    def owns_jwk(self, jwk):
        return super().owns_jwk(jwk) and jwk["alg"] == "XS"  # which fails without one


class OfNone(AskarKeyAlgorithm):
    name, kty = "ofnone", "oct"

    def owns_jwk(self, jwk):
        return False


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package whose algorithms are these classes."""

    def add(*classes):
        entries = {one.name: f"{__name__}:{one.__name__}" for one in classes}
        leave_package(tmp_path, "others", GROUP, **entries)
        monkeypatch.syspath_prepend(tmp_path)

    return add


@pytest.mark.parametrize("other", [OtherSchnorr, OfAnAlg])
def test_two_plugins_with_the_same_jwks_are_refused(install, other):
    install(OneSchnorr, other)
    with pytest.raises(PluginError) as caught:
        AlgorithmRegistry.from_installed()
    for named in ("one", other.name, "OKP", "secp256k1"):
        assert repr(named) in str(caught.value)


@pytest.mark.parametrize("plugins", [[OneSchnorr], [OtherSchnorr, OfNone], [OfAnAlg]])
def test_a_curve_of_another_kty_is_another_curve(install, plugins):
    install(*plugins)
    jwk = {"kty": "OKP", "crv": "secp256k1", "alg": "XS"}
    assert type(AlgorithmRegistry.from_installed().for_jwk(jwk)) is plugins[0]


def test_a_renamed_algorithm_has_its_old_keys(registry):
    """The old name is an alias of the algorithm."""
    record = SimpleNamespace(alg="secp256k1", provider=None)
    assert registry.has(record)
    assert registry.of(record).name == "k256"
    assert not registry.has(SimpleNamespace(alg="nothing"))
