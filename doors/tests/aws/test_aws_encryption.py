"""Encrypt, Decrypt and ReEncrypt."""

import itertools

import pytest
from app_servers import keys_of_door
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import padding

from minikms_aws.encryption import aad_of

SECRET = b"what is encrypted"
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
INCORRECT = "The key ID in the request does not identify a CMK that can perform this operation."


async def test_a_ciphertext_decrypts_with_its_context(aws):
    key_id = await aws.make("a256gcm")
    context = {"tenant": "a", "größe": "10 €", "": ""}
    seen = set()
    for _ in range(3):  # from the store, then from the cache
        made = await aws.encrypt(KeyId=key_id, Plaintext=SECRET, EncryptionContext=context)
        assert made["KeyId"] == aws.arn(key_id)
        assert made["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
        seen.add(made["CiphertextBlob"])
        call = {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": context}
        for named in ({}, {"KeyId": key_id}, {"KeyId": aws.arn(key_id)}):
            read = await aws.decrypt(**call, **named)
            assert read["Plaintext"] == SECRET
            assert read["KeyId"] == aws.arn(key_id)
            assert read["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
            assert len(bytes.fromhex(read["KeyMaterialId"])) == 32
    assert len(seen) == 3


@pytest.mark.parametrize("size", [1, 4096])
async def test_plaintexts_of_the_allowed_sizes_come_back(aws, size):
    made = await aws.encrypt(KeyId=await aws.make("a256gcm"), Plaintext=bytes(size))
    read = await aws.decrypt(CiphertextBlob=made["CiphertextBlob"])
    assert read["Plaintext"] == bytes(size)


@pytest.mark.parametrize(
    ("context", "other"),
    [
        ({"a": "b"}, {}),
        ({}, {"a": "b"}),
        ({"a": "b"}, {"a": "c"}),
        ({"a": "b"}, {"a": "b", "c": "d"}),
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "b", "c": "d"}, {"a": "d", "c": "b"}),
        ({"a": "b", "c": "d"}, {"ab": "cd"}),
        ({"a": ""}, {"": "a"}),
    ],
)
async def test_another_encryption_context_is_refused(aws, context, other):
    made = await aws.encrypt(
        KeyId=await aws.make("a256gcm"), Plaintext=SECRET, EncryptionContext=context
    )
    call = {"CiphertextBlob": made["CiphertextBlob"]}
    said = await aws.refused(
        "InvalidCiphertextException", "decrypt", **call, EncryptionContext=other
    )
    assert said == ""
    turned = dict(reversed(context.items()))
    assert (await aws.decrypt(**call, EncryptionContext=turned))["Plaintext"] == SECRET


def test_each_context_has_data_of_its_own():
    texts = ("", "a", "b", "ab", "\0", "\0\0\0\1a")
    pairs = list(itertools.product(texts, repeat=2))
    contexts = [{}, *({name: value} for name, value in pairs)]
    contexts += [dict(two) for two in itertools.combinations(pairs, 2) if two[0][0] != two[1][0]]
    found = {aad_of(context) for context in contexts}
    assert len(found) == len(contexts)
    assert aad_of({"a": "é"}) == b"\0\0\0\1a\0\0\0\2\xc3\xa9"


async def test_a_context_that_is_too_long(aws):
    key_id = await aws.make("a256gcm")
    call = {"KeyId": key_id, "Plaintext": SECRET}
    await aws.encrypt(**call, EncryptionContext={"a": "b" * 8183})
    await aws.refused("ValidationException", "encrypt", **call, EncryptionContext={"a": "b" * 8184})
    many = {str(number): "" for number in range(5_000)}
    await aws.refused("ValidationException", "encrypt", **call, EncryptionContext=many)


async def test_a_blob_that_was_changed(aws):
    made = await aws.encrypt(KeyId=await aws.make("a256gcm"), Plaintext=b"x")
    blob = made["CiphertextBlob"]
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=bytes(changed))
    for cut in (1, 2, 3, 45, len(blob) - 16, len(blob) - 1):
        await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=blob[:cut])
    await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=blob + b"\0")


async def test_a_blob_of_a_key_that_is_not_there(aws):
    key_id = await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    alice = await aws.new_profile("alice")
    await alice.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=blob)
    assert (await aws.rest.delete(f"/key/{await aws.kid(key_id)}")).status == 200
    await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=blob)


async def test_a_blob_that_names_a_key_of_another_kind(aws):
    blob = (await aws.encrypt(KeyId=await aws.make("a256gcm"), Plaintext=b"x"))["CiphertextBlob"]
    for alg in ("p256", "hs256", "a128gcm", "rsa2048"):
        kid = (await aws.kid(await aws.make(alg))).encode()
        assert len(kid) == 43
        forged = blob[:2] + kid + blob[45:]
        await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=forged)


@pytest.mark.parametrize(("alg", "operations"), [("a256gcm", ()), ("p256", ()), ("rsa2048", ())])
async def test_another_key_than_that_of_the_blob(aws, alg, operations):
    key_id, other = await aws.make("a256gcm"), await aws.make(alg, *operations)
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    said = await aws.refused("IncorrectKeyException", "decrypt", CiphertextBlob=blob, KeyId=other)
    assert said == INCORRECT
    said = await aws.refused(
        "IncorrectKeyException",
        "re_encrypt",
        CiphertextBlob=blob,
        SourceKeyId=other,
        DestinationKeyId=key_id,
    )
    assert said == INCORRECT


async def test_a_blob_from_before_a_rotation(aws):
    key_id = await aws.make("a256gcm")
    blobs = []
    for _ in range(3):
        blobs.append((await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"])
        await aws.rotate(key_id)
    materials = set()
    for blob in blobs:
        assert (await aws.decrypt(CiphertextBlob=blob))["Plaintext"] == SECRET
        named = await aws.decrypt(CiphertextBlob=blob, KeyId=key_id)
        assert (named["Plaintext"], named["KeyId"]) == (SECRET, aws.arn(key_id))
        materials.add(named["KeyMaterialId"])
    assert len(materials) == 3
    await aws.change(key_id, state="disabled")
    await aws.refused("DisabledException", "decrypt", CiphertextBlob=blobs[0], KeyId=key_id)


async def test_a_blob_from_before_a_rotation_by_a_key_with_a_newer_alias(aws):
    key_id = await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    await aws.rotate(key_id)
    await aws.create_alias(AliasName="alias/newer", TargetKeyId=key_id)
    assert (await aws.decrypt(CiphertextBlob=blob, KeyId=key_id))["Plaintext"] == SECRET


async def test_a_dry_run_sees_that_the_key_of_an_old_blob_is_disabled(aws):
    key_id = await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    old = await aws.kid(key_id)
    await aws.rotate(key_id)
    named = {"CiphertextBlob": blob, "KeyId": key_id, "DryRun": True}
    await aws.refused("DryRunOperationException", "decrypt", **named)
    assert (await aws.rest.patch(f"/key/{old}", json={"state": "disabled"})).status == 200
    await aws.refused("DisabledException", "decrypt", **named)


@pytest.mark.parametrize(
    ("method", "members", "code"),
    [
        ("rotate", {}, None),
        ("change", {"state": "disabled"}, "DisabledException"),
        ("schedule_deletion_of", {}, "KMSInvalidStateException"),
    ],
)
async def test_a_key_that_changes_meanwhile(aws, monkeypatch, method, members, code):
    service = keys_of_door(aws.rest.app)
    perform = service.perform

    async def perform_late(*args):
        monkeypatch.undo()
        await getattr(aws, method)(key_id, **members)
        return await perform(*args)

    key_id = await aws.make("a256gcm")
    monkeypatch.setattr(service, "perform", perform_late)
    call = {"KeyId": key_id, "Plaintext": SECRET}
    if code is not None:
        said = await aws.refused(code, "encrypt", **call)
        assert said.startswith(f"{aws.arn(key_id)} is ")
    else:
        blob = (await aws.encrypt(**call))["CiphertextBlob"]
        assert (await aws.kid(key_id)).encode() in blob  # of the key that encrypted it
        assert (await aws.decrypt(CiphertextBlob=blob, KeyId=key_id))["Plaintext"] == SECRET


async def test_the_state_of_a_key(aws):
    key_id, other = await aws.make("a256gcm"), await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    theirs = (await aws.encrypt(KeyId=other, Plaintext=SECRET))["CiphertextBlob"]
    calls = [
        ("encrypt", {"KeyId": key_id, "Plaintext": SECRET}),
        ("decrypt", {"CiphertextBlob": blob}),
        ("decrypt", {"CiphertextBlob": blob, "KeyId": key_id}),
        ("re_encrypt", {"CiphertextBlob": blob, "DestinationKeyId": other}),
        ("re_encrypt", {"CiphertextBlob": theirs, "DestinationKeyId": key_id}),
    ]
    for operation, members in calls:
        await getattr(aws, operation)(**members)
    await aws.change(key_id, state="disabled")
    for operation, members in calls:
        said = await aws.refused("DisabledException", operation, **members)
        assert said == f"{aws.arn(key_id)} is disabled."
    await aws.schedule_deletion_of(key_id)
    for operation, members in calls:
        said = await aws.refused("KMSInvalidStateException", operation, **members)
        assert said == f"{aws.arn(key_id)} is pending deletion."


async def test_a_key_that_decrypts_alone(aws):
    key_id = await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    await aws.change(key_id, state="verify-only")
    await aws.refused("DisabledException", "encrypt", KeyId=key_id, Plaintext=SECRET)
    assert (await aws.decrypt(CiphertextBlob=blob))["Plaintext"] == SECRET


@pytest.mark.parametrize(
    ("alg", "usage"),
    [("p256", "SIGN_VERIFY"), ("rsa2048", "SIGN_VERIFY"), ("hs256", "GENERATE_VERIFY_MAC")],
)
async def test_a_key_of_another_usage_does_not_encrypt_again(aws, alg, usage):
    key_id, blob = (
        await aws.make(alg),
        await aws.encrypt(KeyId=await aws.make("a256gcm"), Plaintext=SECRET),
    )
    call = {"CiphertextBlob": blob["CiphertextBlob"], "DestinationKeyId": key_id}
    said = await aws.refused("InvalidKeyUsageException", "re_encrypt", **call)
    assert said == f"{aws.arn(key_id)} key usage is {usage} which is not valid for ReEncrypt."


async def test_encryption_to_a_public_key(aws):
    key_id = await aws.make("rsa2048", "encrypt", "decrypt")
    rsa = {"KeyId": key_id, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    for _ in range(2):
        made = await aws.encrypt(**rsa, Plaintext=SECRET)
    assert (made["KeyId"], made["EncryptionAlgorithm"]) == (aws.arn(key_id), "RSAES_OAEP_SHA_256")
    public = ser.load_der_public_key((await aws.get_public_key(KeyId=key_id))["PublicKey"])
    for ciphertext in (made["CiphertextBlob"], public.encrypt(SECRET, OAEP)):
        read = await aws.decrypt(**rsa, CiphertextBlob=ciphertext)
        assert (read["Plaintext"], read["KeyId"]) == (SECRET, aws.arn(key_id))
        assert "KeyMaterialId" not in read
    changed = bytes([ciphertext[0] ^ 1, *ciphertext[1:]])
    for bad in (changed, ciphertext[:-1], bytes(256)):
        await aws.refused("InvalidCiphertextException", "decrypt", **rsa, CiphertextBlob=bad)
    await aws.encrypt(**rsa, Plaintext=bytes(190))
    said = await aws.refused("ValidationException", "encrypt", **rsa, Plaintext=bytes(191))
    assert said == (
        "Algorithm RSAES_OAEP_SHA_256 and key spec RSA_2048 cannot encrypt data larger than "
        "190 bytes."
    )
    context = {"EncryptionContext": {"a": "b"}}
    await aws.refused("ValidationException", "encrypt", **rsa, Plaintext=SECRET, **context)
    await aws.refused("ValidationException", "decrypt", **rsa, CiphertextBlob=ciphertext, **context)
    said = await aws.refused(
        "ValidationException",
        "decrypt",
        CiphertextBlob=ciphertext,
        EncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    assert said == "KeyId is required for algorithm RSAES_OAEP_SHA_256."


@pytest.mark.parametrize(
    ("alg", "operations", "spec", "algorithm", "code"),
    [
        (
            "rsa2048",
            ("encrypt", "decrypt"),
            "RSA_2048",
            "SYMMETRIC_DEFAULT",
            "InvalidKeyUsageException",
        ),
        (
            "rsa2048",
            ("encrypt", "decrypt"),
            "RSA_2048",
            "RSAES_OAEP_SHA_1",
            "UnsupportedOperationException",
        ),
        ("rsa2048", ("encrypt", "decrypt"), "RSA_2048", "SM2PKE", "InvalidKeyUsageException"),
        ("a256gcm", (), "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256", "InvalidKeyUsageException"),
    ],
)
async def test_an_algorithm_of_another_key_is_refused(aws, alg, operations, spec, algorithm, code):
    key_id = await aws.make(alg, *operations)
    said = await aws.refused(
        code, "encrypt", KeyId=key_id, Plaintext=SECRET, EncryptionAlgorithm=algorithm
    )
    if code == "InvalidKeyUsageException":
        assert said == f"Algorithm {algorithm} is incompatible with key spec {spec}."
    if algorithm != "SYMMETRIC_DEFAULT":
        await aws.refused(
            code, "decrypt", KeyId=key_id, CiphertextBlob=bytes(256), EncryptionAlgorithm=algorithm
        )


async def test_re_encryption_moves_a_plaintext_to_another_key(aws):
    source, destination = await aws.make("a256gcm"), await aws.make("a256gcm")
    old, new = {"old": "context"}, {"new": "context"}
    blob = (await aws.encrypt(KeyId=source, Plaintext=SECRET, EncryptionContext=old))[
        "CiphertextBlob"
    ]
    call = {
        "CiphertextBlob": blob,
        "SourceEncryptionContext": old,
        "DestinationKeyId": destination,
        "DestinationEncryptionContext": new,
    }
    for named in ({}, {"SourceKeyId": source}):
        made = await aws.re_encrypt(**call, **named)
        assert (made["SourceKeyId"], made["KeyId"]) == (aws.arn(source), aws.arn(destination))
        assert made["SourceEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
        assert made["DestinationEncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
        assert made["SourceKeyMaterialId"] != made["DestinationKeyMaterialId"]
        read = await aws.decrypt(
            CiphertextBlob=made["CiphertextBlob"], KeyId=destination, EncryptionContext=new
        )
        assert read["Plaintext"] == SECRET
    await aws.refused(
        "InvalidCiphertextException", "re_encrypt", **{**call, "SourceEncryptionContext": new}
    )
    await aws.refused("NotFoundException", "re_encrypt", **{**call, "DestinationKeyId": "alias/a"})


async def test_re_encryption_between_algorithms(aws):
    symmetric = await aws.make("a256gcm")
    rsa = await aws.make("rsa2048", "encrypt", "decrypt")
    blob = (await aws.encrypt(KeyId=symmetric, Plaintext=SECRET))["CiphertextBlob"]
    to_rsa = await aws.re_encrypt(
        CiphertextBlob=blob,
        DestinationKeyId=rsa,
        DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    back = await aws.re_encrypt(
        CiphertextBlob=to_rsa["CiphertextBlob"],
        SourceKeyId=rsa,
        SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256",
        DestinationKeyId=symmetric,
    )
    assert (await aws.decrypt(CiphertextBlob=back["CiphertextBlob"]))["Plaintext"] == SECRET
    large = (await aws.encrypt(KeyId=symmetric, Plaintext=bytes(191)))["CiphertextBlob"]
    await aws.refused(
        "ValidationException",
        "re_encrypt",
        CiphertextBlob=large,
        DestinationKeyId=rsa,
        DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    await aws.refused(
        "InvalidKeyUsageException", "re_encrypt", CiphertextBlob=blob, DestinationKeyId=rsa
    )


async def test_dry_runs_of_encryption_are_refused_as_such(aws):
    key_id = await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=SECRET))["CiphertextBlob"]
    for operation, members in (
        ("encrypt", {"KeyId": key_id, "Plaintext": SECRET}),
        ("decrypt", {"CiphertextBlob": blob}),
        ("re_encrypt", {"CiphertextBlob": blob, "DestinationKeyId": key_id}),
    ):
        await aws.refused("DryRunOperationException", operation, **members, DryRun=True)
    await aws.refused(
        "UnsupportedOperationException",
        "decrypt",
        CiphertextBlob=blob,
        DryRun=True,
        DryRunModifiers=["IGNORE_CIPHERTEXT"],
    )
    await aws.change(key_id, state="disabled")
    await aws.refused("DisabledException", "decrypt", CiphertextBlob=blob, DryRun=True)


async def test_nobody_decrypts_for_an_enclave(aws):
    blob = (await aws.encrypt(KeyId=await aws.make("a256gcm"), Plaintext=SECRET))["CiphertextBlob"]
    recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b"document"}
    said = await aws.refused(
        "UnsupportedOperationException", "decrypt", CiphertextBlob=blob, Recipient=recipient
    )
    assert said == "Recipient is not supported here."


async def test_a_malformed_ciphertext_blob_is_refused(aws):
    await aws.refused("ValidationException", "decrypt")
    for blob in (b"\1", b"\2" * 100, b"\1\0" + bytes(60), bytes(6144)):
        await aws.refused("InvalidCiphertextException", "decrypt", CiphertextBlob=blob)
    await aws.refused("ValidationException", "decrypt", CiphertextBlob=bytes(6145))
