"""Every operation with a key refuses a key of another usage or state, and a dry run."""

import pytest
from botocore import xform_name
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from minikms_aws import door
from minikms_aws.specs import OPERATIONS_OF

PEER = ec.generate_private_key(ec.SECP256R1()).public_key()
ECDH = {
    "KeyAgreementAlgorithm": "ECDH",
    "PublicKey": PEER.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo),
}
SIGNED = {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
HMAC = {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
ML_KEM = {"EncapsulationAlgorithm": "ML_KEM"}
OAEP = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
# A key of each usage.
KEYS = {
    "SIGN_VERIFY": "p256",
    "ENCRYPT_DECRYPT": "rsa2048",
    "GENERATE_VERIFY_MAC": "hs256",
    "KEY_AGREEMENT": "p256",
    "ENCAPSULATE_DECAPSULATE": "mlkem768",
}
# Operations with their usage, an algorithm if the one in KEYS does not fit, and the members.
CALLS = {
    "Sign": ("SIGN_VERIFY", "", SIGNED),
    "Verify": ("SIGN_VERIFY", "", {**SIGNED, "Signature": b"s"}),
    "Encrypt": ("ENCRYPT_DECRYPT", "", {"Plaintext": b"m", **OAEP}),
    "Decrypt": ("ENCRYPT_DECRYPT", "", {"CiphertextBlob": bytes(256), **OAEP}),
    "GenerateDataKey": ("ENCRYPT_DECRYPT", "a256gcm", {"KeySpec": "AES_256"}),
    "GenerateDataKeyWithoutPlaintext": ("ENCRYPT_DECRYPT", "a256gcm", {"KeySpec": "AES_256"}),
    "GenerateDataKeyPair": ("ENCRYPT_DECRYPT", "a256gcm", {"KeyPairSpec": "ECC_NIST_P256"}),
    "GenerateDataKeyPairWithoutPlaintext": (
        *("ENCRYPT_DECRYPT", "a256gcm"),
        {"KeyPairSpec": "ECC_NIST_P256"},
    ),
    "GenerateMac": ("GENERATE_VERIFY_MAC", "", HMAC),
    "VerifyMac": ("GENERATE_VERIFY_MAC", "", {**HMAC, "Mac": b"m"}),
    "DeriveSharedSecret": ("KEY_AGREEMENT", "", ECDH),
    "Encapsulate": ("ENCAPSULATE_DECAPSULATE", "", ML_KEM),
    "Decapsulate": (
        "ENCAPSULATE_DECAPSULATE",
        "",
        {**ML_KEM, "SharedSecretCiphertextBlob": bytes(1088)},
    ),
}


def test_the_calls_are_all_operations_that_can_be_dry_runs():
    """ReEncrypt has two keys, and tests of its own."""
    dry = {each.name for each in door._operations() if "DryRun" in each.request}
    assert CALLS.keys() == dry - {"ReEncrypt"}


@pytest.mark.parametrize("name", CALLS)
async def test_a_key_of_another_usage_is_refused(aws, name):
    for usage in KEYS.keys() - {CALLS[name][0]}:
        other = await aws.make(KEYS[usage], *OPERATIONS_OF[usage])
        said = await aws.refused(
            "InvalidKeyUsageException", xform_name(name), KeyId=other, **CALLS[name][2]
        )
        assert said == f"{aws.arn(other)} key usage is {usage} which is not valid for {name}."


@pytest.mark.parametrize("name", CALLS)
async def test_a_dry_run_and_a_key_out_of_use_are_refused(aws, name):
    usage, alg, members = CALLS[name]
    key_id = await aws.make(alg or KEYS[usage], *OPERATIONS_OF[usage])
    call = {"KeyId": key_id, **members}
    said = await aws.refused("DryRunOperationException", xform_name(name), **call, DryRun=True)
    assert said == "The request would have succeeded, but the DryRun option is set."
    await aws.change(key_id, state="disabled")
    for dry in ({}, {"DryRun": True}):
        said = await aws.refused("DisabledException", xform_name(name), **call, **dry)
        assert said == f"{aws.arn(key_id)} is disabled."
    await aws.schedule_deletion_of(key_id)
    said = await aws.refused("KMSInvalidStateException", xform_name(name), **call)
    assert said == f"{aws.arn(key_id)} is pending deletion."
