"""Rules of a key hold at the AWS door, besides those in test_rules_at_every_door.py."""

RAW = {"raw": False}


async def ruled(aws, alg, rules, *operations):
    """The KeyId of a new key with rules."""
    key_id = await aws.make(alg, *operations)
    await aws.change(key_id, rules=rules)
    return key_id


async def test_an_allowed_algorithm_signs(aws):
    key_id = await ruled(aws, "rsa2048", {"algs": ["PS256"]}, "sign", "verify")
    message = {"KeyId": key_id, "Message": b"hello"}
    signed = await aws.sign(**message, SigningAlgorithm="RSASSA_PSS_SHA_256")
    await aws.verify(
        **message, SigningAlgorithm="RSASSA_PSS_SHA_256", Signature=signed["Signature"]
    )
    said = await aws.refused(
        "AccessDeniedException", "sign", **message, SigningAlgorithm="RSASSA_PSS_SHA_384"
    )
    assert "The rule algs: " in said


async def test_codes_and_shared_secrets_are_raw(aws):
    key_id = await ruled(aws, "hs256", RAW)
    call = {"KeyId": key_id, "Message": b"hello", "MacAlgorithm": "HMAC_SHA_256"}
    assert "The rule raw: " in await aws.refused("AccessDeniedException", "generate_mac", **call)
    key_id = await ruled(aws, "p256", RAW, "derive")
    peer = await aws.make("p256", "derive")
    public = (await aws.get_public_key(KeyId=peer))["PublicKey"]
    said = await aws.refused(
        "AccessDeniedException",
        "derive_shared_secret",
        KeyId=key_id,
        KeyAgreementAlgorithm="ECDH",
        PublicKey=public,
    )
    assert "The rule raw: " in said


async def test_no_secret_of_a_kem_is_given(aws):
    key_id = await ruled(aws, "mlkem768", RAW)
    call = {"KeyId": key_id, "EncapsulationAlgorithm": "ML_KEM"}
    sent = await aws.encapsulate(**call)  # with its public key
    ciphertext = sent["SharedSecretCiphertextBlob"]
    said = await aws.refused(
        "AccessDeniedException", "decapsulate", **call, SharedSecretCiphertextBlob=ciphertext
    )
    assert "The rule raw: " in said


async def test_a_rotation_on_demand_keeps_the_rules(aws):
    key_id = await ruled(aws, "a256gcm", {"per_day": 2}, "encrypt", "decrypt")
    old = await aws.kid(key_id)
    await aws.rotate_key_on_demand(KeyId=key_id)
    new = await aws.kid(key_id)
    assert new != old
    async with aws.rest.get(f"/key/{new}") as answer:
        assert (await answer.json())["rules"] == {"raw": True, "per_day": 2}


async def test_a_call_that_is_refused_for_its_members_does_not_count(aws):
    key_id = await ruled(aws, "p256", {"per_minute": 1}, "sign")
    call = {"KeyId": key_id, "Message": b"hello"}
    await aws.refused(
        "InvalidKeyUsageException", "sign", **call, SigningAlgorithm="RSASSA_PSS_SHA_256"
    )
    call["SigningAlgorithm"] = "ECDSA_SHA_256"
    await aws.refused("DryRunOperationException", "sign", **call, DryRun=True)
    await aws.sign(**call)
    await aws.refused("ThrottlingException", "sign", **call)
