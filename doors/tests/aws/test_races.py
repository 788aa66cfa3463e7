"""Calls at the AWS door while keys change at either door."""

import asyncio

import pytest
from app_servers import keys_of_door
from botocore.exceptions import ClientError

ECDSA = {"SigningAlgorithm": "ECDSA_SHA_256"}


async def outcomes(calls):
    """Make concurrent calls; return the answers, and the codes of the refused calls."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, ClientError):
            raise each
    codes = [e.response["Error"]["Code"] for e in found if isinstance(e, ClientError)]
    return [each for each in found if not isinstance(each, ClientError)], codes


@pytest.mark.each_store
async def test_a_key_is_used_while_it_is_rotated(start_aws, any_store):
    aws = await start_aws(**any_store)
    secret = await aws.make("a256gcm")
    signer = await aws.make("p256", "sign", "verify")
    blobs = [(await aws.encrypt(KeyId=secret, Plaintext=b"x"))["CiphertextBlob"]]
    for _ in range(4):
        calls = [
            *(aws.rotate(key_id) for key_id in (secret, signer)),
            *(aws.encrypt(KeyId=secret, Plaintext=b"x") for _ in range(3)),
            *(aws.generate_data_key(KeyId=secret, KeySpec="AES_256") for _ in range(2)),
            *(aws.decrypt(CiphertextBlob=blob, KeyId=secret) for blob in blobs[-2:]),
            *(aws.re_encrypt(CiphertextBlob=blob, DestinationKeyId=secret) for blob in blobs[-2:]),
            *(aws.sign(KeyId=signer, Message=b"m", **ECDSA) for _ in range(3)),
        ]
        answers, codes = await outcomes(calls)
        assert codes == []
        blobs += [each["CiphertextBlob"] for each in answers if each and "CiphertextBlob" in each]
    for blob in blobs[::5]:
        await aws.decrypt(CiphertextBlob=blob, KeyId=secret)


@pytest.mark.each_store
async def test_a_key_is_used_while_it_is_deleted(start_aws, any_store):
    aws = await start_aws(**any_store)
    for _ in range(3):
        key_id, secret = await aws.make("p256", "sign", "verify"), await aws.make("a256gcm")
        await aws.create_alias(AliasName="alias/it", TargetKeyId=key_id)
        calls = [
            aws.rest.delete(f"/key/{await aws.kid(key_id)}"),
            aws.rest.delete(f"/key/{await aws.kid(secret)}"),
            *(aws.sign(KeyId="alias/it", Message=b"m", **ECDSA) for _ in range(3)),
            aws.get_public_key(KeyId=key_id),
            aws.disable_key(KeyId=key_id),
            aws.tag_resource(KeyId=key_id, Tags=[{"TagKey": "a", "TagValue": "b"}]),
            aws.update_key_description(KeyId=secret, Description="x"),
            aws.create_alias(AliasName="alias/other", TargetKeyId=key_id),
            aws.delete_alias(AliasName="alias/it"),
            aws.schedule_key_deletion(KeyId=secret),
            aws.encrypt(KeyId=secret, Plaintext=b"x"),
            aws.list_aliases(),
            aws.list_keys(),
        ]
        _, codes = await outcomes(calls)
        assert set(codes) <= {"NotFoundException", "KMSInvalidStateException", "DisabledException"}


@pytest.mark.each_store
async def test_nothing_is_signed_once_a_key_is_scheduled_for_deletion(start_aws, any_store):
    aws = await start_aws(**any_store)
    for end in ("schedule_key_deletion", "disable_key"):
        key_id = await aws.make("p256", "sign", "verify")
        ended = asyncio.Event()

        async def sign(key_id=key_id, ended=ended):
            late = ended.is_set()
            try:
                await aws.sign(KeyId=key_id, Message=b"m", **ECDSA)
            except ClientError:
                return "refused"
            return "late" if late else "signed"

        async def call(end=end, key_id=key_id, ended=ended):
            await getattr(aws, end)(KeyId=key_id)
            ended.set()

        async def signing():
            return [await sign() for _ in range(20)]

        *found, _ = await asyncio.gather(signing(), signing(), signing(), call())
        assert not any("late" in each for each in found)
        assert await sign() == "refused"


@pytest.mark.parametrize("operation", ["sign", "generate_mac"])
async def test_an_answer_names_the_key_that_was_used(aws, monkeypatch, operation):
    if operation == "sign":
        alg, members, check = "p256", ECDSA, "verify"
    else:
        alg, members, check = "hs256", {"MacAlgorithm": "HMAC_SHA_256"}, "verify_mac"
    one, other = await aws.make(alg), await aws.make(alg)
    await aws.create_alias(AliasName="alias/it", TargetKeyId=one)
    service = keys_of_door(aws.rest.app)
    perform = service.perform

    async def after_a_move(*args):
        monkeypatch.undo()
        await aws.update_alias(AliasName="alias/it", TargetKeyId=other)
        return await perform(*args)

    monkeypatch.setattr(service, "perform", after_a_move)
    made = await getattr(aws, operation)(KeyId="alias/it", Message=b"m", **members)
    # Verify by kid: by the UUID, signatures of earlier keys would also be valid.
    kid = await aws.kid(made.pop("KeyId").rpartition("/")[2])
    del made["ResponseMetadata"]
    await getattr(aws, check)(KeyId=kid, Message=b"m", **made)
