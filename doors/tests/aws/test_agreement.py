"""DeriveSharedSecret, Encapsulate and Decapsulate, with pyca/cryptography on the other side."""

import pytest
from algorithm_facts import FACTS, named, using
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def der(public):
    return public.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("alg", named(lambda facts: "KEY_AGREEMENT" in facts.aws_usages))
async def test_both_sides_derive_the_same_secret(aws, alg):
    key_id = await aws.make(alg, "derive")
    peer = ec.generate_private_key(FACTS[alg].curve)
    call = {"KeyId": key_id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": der(peer.public_key())}
    ours = ser.load_der_public_key((await aws.get_public_key(KeyId=key_id))["PublicKey"])
    for _ in range(3):  # from the store, then from the cache
        made = await aws.derive_shared_secret(**call)
        assert made["SharedSecret"] == peer.exchange(ec.ECDH(), ours)
        assert (made["KeyId"], made["KeyOrigin"]) == (aws.arn(key_id), "AWS_KMS")
        assert made["KeyAgreementAlgorithm"] == "ECDH"


def damaged(public):
    """The public key with another y, so that its point is not on the curve."""
    return public[:-1] + bytes([public[-1] ^ 1])


@pytest.mark.parametrize(
    "public",
    [
        b"none",
        der(ec.generate_private_key(ec.SECP256R1()).public_key())[:-1],
        damaged(der(ec.generate_private_key(ec.SECP256R1()).public_key())),
        der(ec.generate_private_key(ec.SECP384R1()).public_key()),
        der(ec.generate_private_key(ec.SECP256K1()).public_key()),
        der(ec.generate_private_key(ec.BrainpoolP256R1()).public_key()),
        der(ed25519.Ed25519PrivateKey.generate().public_key()),
        der(rsa.generate_private_key(65537, 2048).public_key()),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption()
        ),
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=[
        "none",
        "cut",
        "no point",
        "P-384",
        "secp256k1",
        "brainpool",
        "Ed25519",
        "RSA",
        "private",
        "PEM",
    ],
)
async def test_a_public_key_that_does_not_fit(aws, public):
    await aws.refused(
        "ValidationException",
        "derive_shared_secret",
        KeyId=await aws.make("p256", "derive"),
        KeyAgreementAlgorithm="ECDH",
        PublicKey=public,
    )


@pytest.mark.parametrize("alg", using("decapsulate"))
async def test_an_encapsulated_secret_is_decapsulated(aws, alg):
    key_id = await aws.make(alg)
    call = {"KeyId": key_id, "EncapsulationAlgorithm": "ML_KEM"}
    for _ in range(3):  # from the store, then from the cache
        made = await aws.encapsulate(**call)
        ciphertext = made["SharedSecretCiphertextBlob"]
        assert (len(made["SharedSecret"]), len(ciphertext)) == (32, FACTS[alg].enc)
        read = await aws.decapsulate(**call, SharedSecretCiphertextBlob=ciphertext)
        for answer in (made, read):
            assert answer["KeyId"] == aws.arn(key_id)
            assert answer["EncapsulationAlgorithm"] == "ML_KEM"
        assert read["SharedSecret"] == made["SharedSecret"]
    public = ser.load_der_public_key((await aws.get_public_key(KeyId=key_id))["PublicKey"])
    secret, ciphertext = public.encapsulate()
    read = await aws.decapsulate(**call, SharedSecretCiphertextBlob=ciphertext)
    assert read["SharedSecret"] == secret


async def test_a_ciphertext_that_does_not_fit(aws):
    key_id = await aws.make("mlkem768")
    call = {"KeyId": key_id, "EncapsulationAlgorithm": "ML_KEM"}
    made = await aws.encapsulate(**call)
    ciphertext = made["SharedSecretCiphertextBlob"]
    for bad in (ciphertext[:-1], ciphertext + b"\0", bytes(1568)):
        await aws.refused(
            "InvalidCiphertextException", "decapsulate", **call, SharedSecretCiphertextBlob=bad
        )
    changed = bytes([ciphertext[0] ^ 1, *ciphertext[1:]])
    read = await aws.decapsulate(**call, SharedSecretCiphertextBlob=changed)
    assert len(read["SharedSecret"]) == 32
    assert read["SharedSecret"] != made["SharedSecret"]


async def test_a_secret_for_an_enclave(aws):
    await aws.refused(
        "UnsupportedOperationException",
        "derive_shared_secret",
        KeyId=await aws.make("p256", "derive"),
        KeyAgreementAlgorithm="ECDH",
        PublicKey=der(ec.generate_private_key(ec.SECP256R1()).public_key()),
        Recipient={"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
    )


async def test_secp256k1_does_not_agree_at_aws(aws):
    """The AWS door does not find such a key."""
    key_id = await aws.make("k256", "derive")
    await aws.refused("NotFoundException", "get_public_key", KeyId=key_id)
