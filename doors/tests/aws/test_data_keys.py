"""Data keys and data key pairs."""

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, rsa

CONTEXT = {"purpose": "test"}
KINDS = {
    "RSA_2048": rsa.RSAPrivateKey,
    "ECC_NIST_P256": ec.EllipticCurvePrivateKey,
    "ECC_NIST_P384": ec.EllipticCurvePrivateKey,
    "ECC_NIST_P521": ec.EllipticCurvePrivateKey,
    "ECC_SECG_P256K1": ec.EllipticCurvePrivateKey,
    "ECC_NIST_EDWARDS25519": ed25519.Ed25519PrivateKey,
    "ML_KEM_768": mlkem.MLKEM768PrivateKey,
    "ML_KEM_1024": mlkem.MLKEM1024PrivateKey,
}
OPERATIONS = {
    f"generate_data_key{pair}{plain}": members
    for pair, members in (("", {"KeySpec": "AES_256"}), ("_pair", {"KeyPairSpec": "ECC_NIST_P256"}))
    for plain in ("", "_without_plaintext")
}


@pytest.mark.parametrize(
    ("members", "size"),
    [
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
async def test_a_data_key_decrypts_from_its_ciphertext(aws, members, size):
    key_id = await aws.make("a256gcm")
    found = set()
    for _ in range(3):  # from the store, then from the cache
        made = await aws.generate_data_key(KeyId=key_id, EncryptionContext=CONTEXT, **members)
        assert made["KeyId"] == aws.arn(key_id)
        assert len(made["Plaintext"]) == size
        blob = {"CiphertextBlob": made["CiphertextBlob"]}
        read = await aws.decrypt(**blob, EncryptionContext=CONTEXT)
        assert read["Plaintext"] == made["Plaintext"]
        assert read["KeyMaterialId"] == made["KeyMaterialId"]
        await aws.refused("InvalidCiphertextException", "decrypt", **blob)
        found.add(made["Plaintext"])
    assert len(found) == 3 or size == 1
    alone = await aws.generate_data_key_without_plaintext(KeyId=key_id, **members)
    assert "Plaintext" not in alone
    read = await aws.decrypt(CiphertextBlob=alone["CiphertextBlob"])
    assert len(read["Plaintext"]) == size


@pytest.mark.parametrize(
    "members", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}], ids=["none", "both"]
)
@pytest.mark.parametrize("operation", ["generate_data_key", "generate_data_key_without_plaintext"])
async def test_either_a_size_or_a_spec(aws, members, operation):
    key_id = await aws.make("a256gcm")
    said = await aws.refused("ValidationException", operation, KeyId=key_id, **members)
    assert said == "Please specify either number of bytes or key spec."


@pytest.mark.parametrize("size", [0, 1025])
async def test_sizes_that_are_none(aws, size):
    said = await aws.refused(
        "ValidationException", "generate_data_key", KeyId="k", NumberOfBytes=size
    )
    assert f"Value '{size}' at 'numberOfBytes'" in said


@pytest.mark.parametrize("spec", KINDS)
async def test_a_data_key_pair(aws, spec):
    key_id = await aws.make("a256gcm")
    call = {"KeyId": key_id, "EncryptionContext": CONTEXT, "KeyPairSpec": spec}
    made = await aws.generate_data_key_pair(**call)
    assert (made["KeyId"], made["KeyPairSpec"]) == (aws.arn(key_id), spec)
    private = ser.load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert isinstance(private, KINDS[spec])
    public = private.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        names = {
            "secp256r1": "ECC_NIST_P256",
            "secp384r1": "ECC_NIST_P384",
            "secp521r1": "ECC_NIST_P521",
            "secp256k1": "ECC_SECG_P256K1",
        }
        assert names[public.curve.name] == spec
    info = ser.PublicFormat.SubjectPublicKeyInfo
    assert public.public_bytes(ser.Encoding.DER, info) == made["PublicKey"]
    read = await aws.decrypt(
        CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT
    )
    assert read["Plaintext"] == made["PrivateKeyPlaintext"]
    assert len(await (await aws.rest.get("/keys")).json()) == 1  # the pair is not kept
    if spec != "RSA_2048":
        alone = await aws.generate_data_key_pair_without_plaintext(**call)
        assert "PrivateKeyPlaintext" not in alone
        assert alone["PublicKey"] != made["PublicKey"]
        read = await aws.decrypt(
            CiphertextBlob=alone["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT
        )
        again = ser.load_der_private_key(read["Plaintext"], None).public_key()
        assert again.public_bytes(ser.Encoding.DER, info) == alone["PublicKey"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [3072, 4096])
async def test_a_large_rsa_key_pair(aws, size):
    key_id = await aws.make("a256gcm")
    made = await aws.generate_data_key_pair(KeyId=key_id, KeyPairSpec=f"RSA_{size}")
    private = ser.load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert private.key_size == size
    read = await aws.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])
    assert read["Plaintext"] == made["PrivateKeyPlaintext"]


@pytest.mark.parametrize("spec", ["SM2", "ML_KEM_512"])
async def test_a_pair_of_a_spec_that_is_not_here(aws, spec):
    key_id = await aws.make("a256gcm")
    said = await aws.refused(
        "UnsupportedOperationException", "generate_data_key_pair", KeyId=key_id, KeyPairSpec=spec
    )
    assert said == f"KeySpec {spec} is not supported here."


@pytest.mark.parametrize(("operation", "members"), OPERATIONS.items())
async def test_a_key_that_is_not_symmetric_or_not_there_is_refused(aws, operation, members):
    rsa_key = await aws.make("rsa2048", "encrypt", "decrypt")
    said = await aws.refused("InvalidKeyUsageException", operation, KeyId=rsa_key, **members)
    assert said == "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."
    await aws.refused("NotFoundException", operation, KeyId="alias/none", **members)


@pytest.mark.parametrize("operation", ["generate_data_key", "generate_data_key_pair"])
async def test_nothing_is_made_for_an_enclave(aws, operation):
    said = await aws.refused(
        "UnsupportedOperationException",
        operation,
        KeyId=await aws.make("a256gcm"),
        Recipient={"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
        **OPERATIONS[operation],
    )
    assert said == "Recipient is not supported here."
