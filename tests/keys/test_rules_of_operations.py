"""Rules of a key in the service: operations that they do not know, and operations of batches."""

import pytest

from minikms.errors import RuleViolated
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.hmac import ComputeHmac, VerifyHmac
from minikms.keys.operation import ByRecord, Each, Operation, Use
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions
from minikms.plugin.protocol import SignatureOptions, Signer
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.rules import Rules
from minikms.store.cache import Bounds
from minikms.store.keys.key_store import KeyStore


@pytest.fixture(params=[0, 100], ids=["not cached", "cached"])
async def service(request):
    async with KeyStore.open_memory() as store:
        bounds = Bounds(request.param, 1024 * 1024)
        yield KeyService(AlgorithmRegistry.from_installed(), store, cache=bounds)


@pytest.fixture
def ruled(service):
    """Make a key with rules, and give a reference to it."""

    async def make(rules, alg="p256"):
        policy = KeyPolicy(rules=Rules.parse(rules))
        made = await service.creation.generate(DEFAULT_PROFILE, alg, policy)
        return KeyRef(kid=made.kid)

    return make


class OfADoor(Operation):
    """A signature as an operation of another package makes it, which knows no rules."""

    uses = (Use(Signer, "sign"),)

    def compute(self, key):
        return key.algorithm.sign(key.material, b"", SignatureOptions("ES256"))


@pytest.mark.parametrize(
    ("rules", "rule"),
    [({"raw": False}, "raw"), ({"jws": {}}, "raw"), ({"algs": ["ES256"]}, "algs")],
)
async def test_an_operation_that_knows_no_rules_is_raw(service, ruled, rules, rule):
    by = await ruled(rules)
    for _ in range(2):
        with pytest.raises(RuleViolated) as error:
            await service.operations.perform(DEFAULT_PROFILE, by, OfADoor())
        assert error.value.rule == rule
    assert await service.operations.perform(DEFAULT_PROFILE, await ruled({"per_day": 9}), OfADoor())


async def test_the_operation_that_a_record_chooses_is_checked(service, ruled):
    async def sign(rules, options):
        choose = ByRecord(Sign.uses, lambda record: Sign(b"", options))
        return await service.operations.perform(DEFAULT_PROFILE, await ruled(rules), choose)

    assert await sign({"algs": ["ES256"]}, SignOptions())
    for rules in ({"raw": False}, {"algs": ["ES256"]}):
        with pytest.raises(RuleViolated):
            await sign(rules, SignOptions(hash="sha512"))


async def test_each_operation_of_a_batch_is_checked(service, ruled):
    items = [Sign(b"", SignOptions()), Sign(b"", SignOptions(hash="sha512"))]
    batch = Each(Sign.uses)
    good, refused = await service.batches.perform(
        DEFAULT_PROFILE, await ruled({"algs": ["ES256"]}), batch, items
    )
    assert good.sig
    assert isinstance(refused, RuleViolated)
    with pytest.raises(RuleViolated):
        await service.batches.perform(DEFAULT_PROFILE, await ruled({"raw": False}), batch, items)


async def test_the_derived_secret_of_a_key_is_under_its_rules(service, ruled):
    by = await ruled("sd-jwt-vc")
    with pytest.raises(RuleViolated):
        await service.operations.perform(DEFAULT_PROFILE, by, ComputeHmac(b"", "sha256"))
    check = VerifyHmac(b"", "sha256", b"")
    assert await service.operations.perform(DEFAULT_PROFILE, by, check) is False


async def test_equal_rules_are_one_object_in_the_cache(service, ruled):
    found = [
        await service.operations.get(DEFAULT_PROFILE, await ruled("federation")) for _ in range(2)
    ]
    assert found[0].rules is found[1].rules
