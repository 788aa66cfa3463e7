"""The contract of providers: the sample keeps it, and each broken provider here fails a test."""

import inspect
import itertools
import threading

import pytest
from minikms_files import FilesProvider

from minikms.plugin import KeyUnreadable, ProviderKey, Scheme
from minikms.testing import ProviderContract


class TestFiles(ProviderContract):
    @pytest.fixture(autouse=True)
    def _token(self, tmp_path):
        self.uri = f"files:{tmp_path}"

    def new_provider(self):
        return FilesProvider(self.uri)


def caught_by(*names):
    """Note the tests of the contract, without `test_`, that a provider fails."""

    def note(toy):
        toy.caught_by = {f"test_{name}" for name in names}
        return toy

    return note


class Quick(FilesProvider):
    """Has two algorithms, so that a toy takes little time."""

    def algorithms(self):
        return frozenset({"ed25519", "p256"})


@caught_by()
class Sound(Quick):
    pass


@caught_by("it_is_not_available_before_it_is_opened")
class IsAlwaysThere(Quick):
    def status(self):
        self._is_open, before = True, self._is_open
        try:
            return super().status()
        finally:
            self._is_open = before


@caught_by(
    "it_has_algorithms_that_the_service_knows",
    "a_key_has_the_identifier_that_it_was_given",
    "another_key_does_not_sign_for_it",
    "another_process_signs_with_a_key",
    "a_key_that_was_never_made_is_not_there",
    "a_key_is_destroyed_in_its_token",
    "threads_sign_at_once",
)
class KnowsOnlyOthers(Quick):
    def algorithms(self):
        return frozenset({"ecdsa"})


@caught_by("signatures_verify", "the_hash_of_a_signature_may_be_chosen", "a_destroyed_key_is_gone")
class HashesAgain(Quick):
    def sign(self, key, data, scheme):
        return super().sign(key, data[::-1] if scheme.name == "ecdsa" else data, scheme)


@caught_by("the_hash_of_a_signature_may_be_chosen")
class KnowsOneSalt(FilesProvider):
    def algorithms(self):
        return frozenset({"ed25519", "rsa2048"})

    def sign(self, key, data, scheme):
        if scheme.name == "rsa-pss":
            scheme = Scheme(scheme.name, scheme.hash, len(data))
        return super().sign(key, data, scheme)


@caught_by(
    "a_key_has_the_identifier_that_it_was_given",
    "another_key_does_not_sign_for_it",
    "a_destroyed_key_is_gone",
)
class MakesOneKey(Quick):
    def make(self, algorithm, key_id):
        made = super().make(algorithm, key_id)
        first = self.__dict__.setdefault(algorithm, made)
        if first is not made:
            super().destroy(key_id)
        return first


@caught_by("another_process_signs_with_a_key", "a_destroyed_key_is_gone")
class KnowsOnlyItsOwn(Quick):
    def make(self, algorithm, key_id):
        self.__dict__.setdefault("own", set()).add(key_id)
        return super().make(algorithm, key_id)

    def sign(self, key, data, scheme):
        if key.key_id not in self.__dict__.get("own", ()):
            raise KeyUnreadable
        return super().sign(key, data, scheme)


@caught_by("its_keys_are_found")
class FindsItsOwn(Quick):
    def make(self, algorithm, key_id):
        self.__dict__.setdefault("own", set()).add(key_id)
        return super().make(algorithm, key_id)

    def find(self):
        return super().find() & self.__dict__.get("own", set())


@caught_by("a_key_is_destroyed_in_its_token")
class KnowsNoToken(Quick):
    def destroy_in(self, token, key_id):
        super().destroy_in(token, key_id)
        return False


@caught_by("a_key_is_destroyed_in_its_token")
class DestroysAnywhereElse(Quick):
    def destroy_in(self, token, key_id):
        return True


@caught_by("a_destroyed_key_is_gone", "a_key_is_destroyed_in_its_token")
class DestroysOnce(Quick):
    def destroy(self, key_id):
        if not self._file(key_id).exists():
            raise KeyUnreadable
        super().destroy(key_id)


@caught_by("a_destroyed_key_is_gone", "a_key_is_destroyed_in_its_token")
class KeepsWhatItDestroys(Quick):
    def destroy(self, key_id):
        pass


@caught_by("a_destroyed_key_is_gone")
class RemembersKeys(Quick):
    def sign(self, key, data, scheme):
        file = self._file(key.key_id)
        known = self.__dict__.setdefault("known", {})
        if file.exists():
            known[key.key_id] = file.read_bytes()
        if key.key_id not in known or file.exists():
            return super().sign(key, data, scheme)
        file.write_bytes(known[key.key_id])
        try:
            return super().sign(key, data, scheme)
        finally:
            file.unlink()


@caught_by("a_key_that_was_never_made_is_not_there", "a_destroyed_key_is_gone")
class SignsByAnyKey(Quick):
    def sign(self, key, data, scheme):
        if not self._file(key.key_id).exists():
            key = ProviderKey(key.token, next(iter(super().find())), key.public)
        return super().sign(key, data, scheme)


@caught_by("threads_sign_at_once")
class SignsInOneThread(Quick):
    def sign(self, key, data, scheme):
        if threading.current_thread() is not threading.main_thread():
            return bytes(64)
        return super().sign(key, data, scheme)


def failures(toy, folder):
    """The names of the contract's tests that a provider fails."""
    numbers = itertools.count()
    for name in dir(ProviderContract):
        if not name.startswith("test_"):
            continue
        token = folder / str(next(numbers))
        token.mkdir()
        contract = type("TestToy", (ProviderContract,), {})()
        contract.new_provider = lambda token=token: toy(f"files:{token}")
        made = []
        known = {"made": made}
        for each in ("provider", "other"):
            known[each] = contract.new_provider()
            known[each].open()
        test = getattr(contract, name)
        try:
            test(**{each: known[each] for each in inspect.signature(test).parameters})
        except (Exception, pytest.fail.Exception):
            yield name


TOYS = [toy for toy in list(globals().values()) if hasattr(toy, "caught_by")]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.__name__)
def test_the_contract_catches_each_faulty_provider(toy, tmp_path):
    assert set(failures(toy, tmp_path)) == toy.caught_by
