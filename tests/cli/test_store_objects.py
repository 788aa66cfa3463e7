"""Commands about the objects of providers."""

import asyncio

import pytest
from click.testing import CliRunner
from filled_stores import options_of
from minikms_files import FilesProvider

from minikms.cli.main import main
from minikms.key_requests import KeyPolicy
from minikms.keys.providers.providers import Providers
from minikms.keys.service import KeyService
from minikms.plugin.providers import make_providers
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
def token(token_folder):
    return token_folder


@pytest.fixture
def options(tmp_path, key_file):
    return options_of(f"sqlite://{tmp_path}/keys.db", key_file)


@pytest.fixture
def kids(tmp_path, key, token):
    """The kids of two keys in a new store."""

    async def make():
        registry = AlgorithmRegistry.from_installed().with_providers(make_providers([token.option]))
        providers = Providers(registry)
        location = StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")
        async with KeyStore.create(location, StoreKey(key)) as store, providers.running():
            service = KeyService(registry, store, providers=providers)
            while not providers["hsm"].status.available:
                await asyncio.sleep(0.001)
            policy = KeyPolicy(provider="hsm")
            made = await service.creation.generate_batch(DEFAULT_PROFILE, "p256", 2, policy)
            return [each.kid for each in made]

    return asyncio.run(make())


def called(*args, answer=""):
    """The exit code of a command, and its output."""
    ended = CliRunner().invoke(main, ["store", *args], input=answer)
    return ended.exit_code, ended.output


def test_a_store_and_its_provider_agree(options, token, kids):
    code, output = called("verify", "--provider", token.option, *options)
    assert (code, "The provider hsm: 2 keys, 0 without object." in output) == (0, True)
    code, output = called("destroy-orphans", "--yes", "--provider", token.option, *options)
    assert (code, output) == (0, "Destroyed 0 objects of the provider hsm.\n")
    assert len(token.keys) == len(kids)


def test_an_orphan_is_destroyed_unless_a_key_lacks_its_object(options, token, kids):
    lost = sorted(token.keys)[0]
    file = token.path / f"{lost}.pem"
    pem = file.read_bytes()
    orphan = f"{lost[:12]}{'0' * 20}"
    of_another_store = "0" * 32
    for each in (orphan, of_another_store):
        (token.path / f"{each}.pem").write_bytes(pem)
    file.unlink()
    code, output = called("verify", "--provider", token.option, *options)
    assert code == 1
    assert any(f"default {kid} its object {lost} is not at hsm" in output for kid in kids)
    assert f"Left over: the object {orphan} of the provider hsm" in output
    assert of_another_store not in output
    code, output = called("destroy-orphans", "--yes", "--provider", token.option, *options)
    assert (code, orphan in token.keys) == (2, True)
    file.write_bytes(pem)
    destroy = ("destroy-orphans", "--provider", token.option, *options)
    assert called(*destroy, answer="n\n")[0] == 1
    assert orphan in token.keys
    assert called(*destroy, answer="y\n")[0] == 0
    assert of_another_store in token.keys
    assert len(token.keys) == 3
    assert called("verify", "--provider", token.option, *options)[0] == 0


def test_an_object_that_is_made_during_the_command_stays(options, token, kids, monkeypatch):
    """The process that makes it may store its key later."""
    pem = next(token.path.glob("*.pem")).read_bytes()
    made = token.path / f"{min(token.keys)[:12]}{'0' * 20}.pem"
    find = FilesProvider.find

    def find_before_it_is_made(provider):
        found = find(provider)
        made.write_bytes(pem)
        return found

    monkeypatch.setattr(FilesProvider, "find", find_before_it_is_made)
    code, output = called("destroy-orphans", "--yes", "--provider", token.option, *options)
    assert (code, output) == (0, "Destroyed 0 objects of the provider hsm.\n")
    assert made.exists()


def test_a_store_that_shares_its_objects_destroys_none(options, token, kids):
    destroy = ("destroy-orphans", "--yes", "--provider", token.option, *options)
    assert called("share-objects", *options)[0] == 0
    code, output = called(*destroy)
    assert (code, "own-objects" in output) == (2, True)
    assert called("own-objects", *options)[0] == 0
    assert called(*destroy)[0] == 0


@pytest.mark.usefixtures("kids")
def test_a_provider_that_is_away_or_not_named(options, token):
    token.set("away")
    for command in ("verify", "destroy-orphans"):
        code, output = called(command, "--provider", token.option, *options)
        assert (code, "provider hsm does not answer" in output) == (2, True)
    assert called("destroy-orphans", *options)[0] == 2


def test_a_store_without_keys_of_providers(options, tmp_path, key):
    async def make():
        location = StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")
        async with KeyStore.create(location, StoreKey(key)):
            pass

    asyncio.run(make())
    for command in ("own-objects", "share-objects"):
        code, output = called(command, *options)
        assert (code, "never made" in output) == (0, True)
