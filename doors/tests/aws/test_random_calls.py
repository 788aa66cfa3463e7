"""Answers fit botocore's model of AWS KMS, for valid and invalid bodies drawn from the model."""

import base64
import binascii
import random
from collections import Counter
from functools import cache

import orjson
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from minikms.plugin.registry import AlgorithmRegistry
from minikms_aws.door import AwsDoor

MODEL = ServiceModel(Loader().load_service_model("kms", "service-2"))
OPERATIONS = [
    each.operation
    for each in AwsDoor({}, AlgorithmRegistry.from_installed()).routes
    if each.operation in MODEL.operation_names
]
KEYS = {
    "ECC_NIST_P256": ("SIGN_VERIFY", "KEY_AGREEMENT"),
    "ECC_NIST_P521": ("SIGN_VERIFY",),
    "ECC_NIST_EDWARDS25519": ("SIGN_VERIFY",),
    "RSA_2048": ("SIGN_VERIFY", "ENCRYPT_DECRYPT"),
    "SYMMETRIC_DEFAULT": ("ENCRYPT_DECRYPT",),
    "HMAC_256": ("GENERATE_VERIFY_MAC",),
    "ML_DSA_44": ("SIGN_VERIFY",),
    "ML_KEM_768": ("ENCAPSULATE_DECAPSULATE",),
}
# Errors that AWS's model lists for no operation, or not for each that raises them here.
COMMON = {
    "AccessDeniedException",
    "InvalidArnException",
    "NotAuthorizedException",
    "SerializationException",
    "ThrottlingException",
    "UnsupportedOperationException",
    "ValidationException",
}
# The usage of the keys of an operation, by a part of its name.
USAGES = {
    "Sign": "SIGN_VERIFY",
    "Verify": "SIGN_VERIFY",
    "crypt": "ENCRYPT_DECRYPT",
    "DataKey": "ENCRYPT_DECRYPT",
    "Mac": "GENERATE_VERIFY_MAC",
    "Derive": "KEY_AGREEMENT",
    "capsulate": "ENCAPSULATE_DECAPSULATE",
}
# Operations that end the use of a key or an alias get keys of their own, so that others stay
# usable.
ENDING = {"DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "DeleteAlias", "UpdateAlias"}
# Keys that take seconds to make.
SLOW = {"RSA_3072", "RSA_4096"}
BLOBS = {"CiphertextBlob", "Signature", "Mac", "PublicKey", "SharedSecretCiphertextBlob"}
ALGORITHMS = {"Signing", "Encryption", "Mac", "KeyAgreement", "Encapsulation"}


def text_of(data):
    return base64.b64encode(data).decode()


MESSAGE = b"m" * 32
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["\0", "a" * 3000, "alias/\0", "arn:aws:kms:us-east-1:000000000000:key/"]),
    st.sampled_from([[], {}, [None], [{}], {"a": None}, {"": {"": []}}, [{"TagKey": {}}] * 60]),
)
TEXTS = (
    st.text(max_size=8)
    | st.text('"\\%: ', max_size=4)
    | st.text(st.characters(codec="utf-8", categories=["Cc"]), max_size=3)
)


def values_of(strategy, number=200):
    """Draw `number` new values; drawing whole bodies in this way would take most of the time."""
    found = []

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(value=strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


def rarely():
    return random.random() < 1 / 8


def often():
    return not rarely()


def number_from(least, most):
    return random.choice([least, most, random.randint(least, most)])


def bodies(keys, number):
    """Yield `number` new pairs of an operation's name and a body."""
    texts, junk = values_of(TEXTS), values_of(JUNK)
    *others, last = keys

    def value(member, shape, key):
        if member.endswith("KeyId") and often():
            return random.choice(key["ids"])
        if member in BLOBS and often():
            known = member in key and key[member]
            return text_of(known or random.randbytes(number_from(0, 64)))
        if shape.type_name == "structure":
            members = shape.members.items()
            return {name: value(name, each, key) for name, each in members if often()}
        if shape.type_name == "list":
            return [value("", shape.member, key) for _ in range(random.randint(0, 3))]
        if shape.type_name == "map":
            return {random.choice(texts): random.choice(texts) for _ in range(random.randint(0, 3))}
        if shape.type_name == "blob":
            return text_of(random.choice([MESSAGE, random.randbytes(number_from(0, 70))]))
        if shape.type_name == "boolean":
            return rarely()
        if shape.type_name == "integer":
            return number_from(shape.metadata.get("min", 0), 2000)
        kind = member.removesuffix("Algorithm").removeprefix("Source").removeprefix("Destination")
        if kind in ALGORITHMS and often():
            return random.choice(key.get(f"{kind}Algorithms") or shape.enum)
        if getattr(shape, "enum", None):
            return random.choice([each for each in shape.enum if each not in SLOW])
        if member == "AliasName":
            return random.choice(["alias/a", "alias/b", "alias/aws/c", "alias/", "d"])
        return random.choice(texts)

    for _ in range(number):
        name = random.choice(OPERATIONS)
        usage = [usage for part, usage in USAGES.items() if part in name][-1:]
        fitting = [last] if name in ENDING else [key for key in others if key["KeyUsage"] in usage]
        key = random.choice(fitting if fitting and often() else others)
        given = MODEL.operation_model(name).input_shape
        body = {
            member: value(member, shape, key)
            for member, shape in given.members.items()
            if (often() if member in given.required_members else rarely())
        }
        if name in ("GenerateDataKey", "GenerateRandom") and often():
            body["NumberOfBytes"] = number_from(1, 1024)
        if body and rarely():
            body[random.choice([*body])] = random.choice(junk)
        sent = orjson.dumps(body)
        yield name, sent[: random.randint(0, len(sent))] if rarely() and rarely() else sent


async def made_keys(aws):
    """Make a key of each spec and usage, and one more, with their names and results."""
    keys = []
    for spec, usages in KEYS.items():
        for usage in usages:
            key = (await aws.create_key(KeySpec=spec, KeyUsage=usage))["KeyMetadata"]
            key_id, alias = key["KeyId"], f"alias/{spec}-{usage}"
            await aws.create_alias(AliasName=alias, TargetKeyId=key_id)
            key["ids"] = [key_id, key["Arn"], alias, await aws.kid(key_id)]
            keys.append(key)
            if usage == "SIGN_VERIFY":
                algorithm = key["SigningAlgorithms"][0]
                made = await aws.sign(KeyId=key_id, Message=MESSAGE, SigningAlgorithm=algorithm)
                key["Signature"] = made["Signature"]
            if usage == "ENCRYPT_DECRYPT":
                algorithm = key["EncryptionAlgorithms"][0]
                call = {"KeyId": key_id, "EncryptionAlgorithm": algorithm}
                key["CiphertextBlob"] = (await aws.encrypt(Plaintext=b"p", **call))[
                    "CiphertextBlob"
                ]
            if usage == "KEY_AGREEMENT":
                key["PublicKey"] = (await aws.get_public_key(KeyId=key_id))["PublicKey"]
            if usage == "GENERATE_VERIFY_MAC":
                call = {"KeyId": key_id, "MacAlgorithm": key["MacAlgorithms"][0]}
                key["Mac"] = (await aws.generate_mac(Message=MESSAGE, **call))["Mac"]
            if usage == "ENCAPSULATE_DECAPSULATE":
                call = {"KeyId": key_id, "EncapsulationAlgorithm": "ML_KEM"}
                key |= await aws.encapsulate(**call)
    last = (await aws.create_key())["KeyMetadata"]
    return [*keys, {**last, "ids": [last["KeyId"]]}]


@cache
def errors_of(name):
    return COMMON | {shape.name for shape in MODEL.operation_model(name).error_shapes}


def require(shape, value):
    """Fail if a value of an answer does not have its shape."""
    kind = shape.type_name
    if kind == "structure":
        assert value.keys() <= shape.members.keys()
        assert value.keys() >= set(shape.required_members)
        for name, each in value.items():
            if name != "CustomerMasterKeySpec":  # which has newer key specs, too, at AWS as here
                require(shape.members[name], each)
    elif kind == "list":
        for each in value:
            require(shape.member, each)
    elif kind == "blob":
        assert binascii.a2b_base64(value, strict_mode=True)
    elif kind == "timestamp":
        assert isinstance(value, float)
    else:
        types = {"string": str, "boolean": bool, "integer": int}
        assert type(value) is types[kind]
        assert kind != "string" or not shape.enum or value in shape.enum


async def call(aws, name, sent):
    """Return the status and the error code of an answer; fail if they do not fit the model."""
    headers = {"X-Amz-Target": f"TrentService.{name}"}
    async with aws.rest.session.post(aws.url, data=sent, headers=headers) as response:
        status, content = response.status, await response.read()
    if status != 200:
        assert status == 400
        answer = orjson.loads(content)
        assert answer.keys() == {"__type", "message"}
        assert answer["__type"] in errors_of(name)
        return answer["__type"]
    shape = MODEL.operation_model(name).output_shape
    if shape is None or not content:
        assert not content
        return "success"
    require(shape, orjson.loads(content))
    parts = {"body": content, "headers": dict(response.headers), "status_code": status}
    create_parser("json").parse(parts, shape)
    return "success"


@pytest.mark.parametrize(
    "number", [300, pytest.param(3_000, marks=[pytest.mark.slow, pytest.mark.timeout(120)])]
)
async def test_answers_fit_the_model(aws, number):
    keys, outcomes = await made_keys(aws), Counter()
    for name, sent in bodies(keys, number):
        try:
            outcomes[await call(aws, name, sent)] += 1
        except Exception as exc:
            pytest.fail(f"{name} {sent.decode(errors='replace')}: {exc!r}")
    assert outcomes["success"] > number / 10
    assert len(outcomes) > 5, outcomes
