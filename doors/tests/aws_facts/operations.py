"""Answers of AWS about signatures, MACs, key agreement, and uses that a key does not allow."""

import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from aws_facts.encryption import MESSAGE, WRONG_KEY, decrypt, encrypt
from aws_facts.fact import Call, Fact, Has, Ref, Refused, Size, invalid, key, with_key

OURS = ec.generate_private_key(ec.SECP256R1())
OUR_PUBLIC = OURS.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


def usage(name, is_, operation):
    """The sentence for a key that is for something else."""
    return Refused(
        "InvalidKeyUsageException",
        f"{{{name}_arn}} key usage is {is_} which is not valid for {operation}.",
    )


def random(size, answer):
    """GenerateRandom of `size` bytes."""
    return Call("GenerateRandom", {"NumberOfBytes": size}, answer)


RANDOM = (
    *(
        Fact("test_generate_random", (random(size, {"Plaintext": Size(size)}),))
        for size in (12, 44, 91, 1, 1024)
    ),
    Fact(
        "test_generate_random_invalid_number_of_bytes",
        (
            Call(
                "GenerateRandom", {}, Refused("ValidationException", "NumberOfBytes is required.")
            ),
            random(0, invalid("numberOfBytes", 0, "have value greater than or equal to 1")),
            random(1025, invalid("numberOfBytes", 1025, "have value less than or equal to 1024")),
        ),
    ),
)


def signed(spec, algorithm):
    """Signatures over a message and over its digest, and refused calls."""
    digest = hashlib.new("sha" + algorithm[-3:], MESSAGE).digest()
    used = {"KeyId": Ref("key"), "SigningAlgorithm": algorithm}
    too_long = f"Digest is invalid length for algorithm {algorithm}."
    valid = {"KeyId": Ref("key_arn"), "SignatureValid": True, "SigningAlgorithm": algorithm}

    def sign(kind, message, answer=None, name="signature"):
        kept = {} if isinstance(answer, Refused) else {name: "Signature"}
        return Call("Sign", {**used, "MessageType": kind, "Message": message}, answer, kept)

    def verify(kind, message, answer, name="signature"):
        sent = {"MessageType": kind, "Message": message, "Signature": Ref(name)}
        return Call("Verify", {**used, **sent}, answer)

    return (
        key(KeyUsage="SIGN_VERIFY", KeySpec=spec),
        sign("RAW", b"bad", name="other"),
        sign(
            "RAW",
            MESSAGE,
            {"KeyId": Ref("key_arn"), "Signature": bytes, "SigningAlgorithm": algorithm},
        ),
        verify("RAW", MESSAGE, valid),
        verify("DIGEST", digest, valid),
        sign("DIGEST", digest),
        verify("DIGEST", digest, valid),
        verify("RAW", MESSAGE, valid),
        sign("DIGEST", MESSAGE, Refused("ValidationException", too_long)),
        verify("RAW", MESSAGE, Refused("KMSInvalidSignatureException"), "other"),
        verify("RAW", b"bad message 321", Refused("KMSInvalidSignatureException")),
        verify("DIGEST", b"bad message 321", Refused("ValidationException", too_long)),
    )


SIGNATURES = tuple(
    Fact("test_sign_verify", signed(spec, algorithm))
    for spec, algorithm in (
        ("RSA_2048", "RSASSA_PSS_SHA_256"),
        ("RSA_2048", "RSASSA_PSS_SHA_384"),
        ("RSA_2048", "RSASSA_PSS_SHA_512"),
        ("RSA_4096", "RSASSA_PKCS1_V1_5_SHA_256"),
        ("RSA_4096", "RSASSA_PKCS1_V1_5_SHA_512"),
        ("ECC_NIST_P256", "ECDSA_SHA_256"),
        ("ECC_NIST_P384", "ECDSA_SHA_384"),
        ("ECC_SECG_P256K1", "ECDSA_SHA_256"),
    )
)


def mac(algorithm, answer=None, name="key"):
    """GenerateMac; the code is kept."""
    given = {"KeyId": Ref(name), "Message": MESSAGE, "MacAlgorithm": algorithm}
    return Call("GenerateMac", given, answer, {} if isinstance(answer, Refused) else {"mac": "Mac"})


def verify_mac(algorithm, answer, message=MESSAGE):
    """VerifyMac of the kept MAC."""
    given = {"KeyId": Ref("key"), "Message": message, "MacAlgorithm": algorithm, "Mac": Ref("mac")}
    return Call("VerifyMac", given, answer)


HMAC = key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
UNKNOWN_MAC = invalid("macAlgorithm", "INVALID", "satisfy enum value set: [")
OTHER_MAC = Refused(
    "InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."
)
MACS = (
    *(
        Fact(
            "test_generate_and_verify_mac",
            (
                key(KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC"),
                mac(algorithm, {"KeyId": Ref("key_arn"), "Mac": bytes, "MacAlgorithm": algorithm}),
                verify_mac(
                    algorithm,
                    {"KeyId": Ref("key_arn"), "MacAlgorithm": algorithm, "MacValid": True},
                ),
                Call(
                    "GenerateMac",
                    {"KeyId": "key_id", "Message": MESSAGE, "MacAlgorithm": algorithm},
                    Refused("NotFoundException", "Invalid keyId 'key_id'"),
                ),
            ),
        )
        for bits, algorithm in ((bits, f"HMAC_SHA_{bits}") for bits in (256, 384, 512))
    ),
    Fact(
        "test_invalid_generate_mac",
        (HMAC, mac("HMAC_SHA_512", OTHER_MAC), mac("INVALID", UNKNOWN_MAC)),
    ),
    Fact(
        "test_invalid_verify_mac",
        (
            HMAC,
            mac("HMAC_SHA_256"),
            verify_mac("HMAC_SHA_256", Refused("KMSInvalidMacException"), b"another message"),
            verify_mac("HMAC_SHA_512", OTHER_MAC),
            verify_mac("INVALID", UNKNOWN_MAC),
        ),
    ),
)


def agree(answer, name="key", algorithm="ECDH", public=OUR_PUBLIC):
    """DeriveSharedSecret."""
    given = {"KeyId": Ref(name), "KeyAgreementAlgorithm": algorithm, "PublicKey": public}
    return Call("DeriveSharedSecret", given, answer)


def our_secret(public):
    """Derive our side of a secret with a key of the service."""
    return OURS.exchange(ec.ECDH(), load_der_public_key(public))


AGREEMENT = key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
PUBLIC = Call("GetPublicKey", {"KeyId": Ref("key")}, None, {"public": "PublicKey"})
AGREEMENTS = (
    Fact(
        "test_derive_shared_secret_matches_openssl",
        (
            AGREEMENT,
            PUBLIC,
            agree(
                {
                    "KeyAgreementAlgorithm": "ECDH",
                    "KeyId": Ref("key_arn"),
                    "KeyOrigin": "AWS_KMS",
                    "SharedSecret": Ref("public", our_secret),
                }
            ),
        ),
    ),
    Fact(
        "test_derive_shared_secret",
        (
            AGREEMENT,
            key("signs", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"),
            agree(usage("signs", "SIGN_VERIFY", "DeriveSharedSecret"), "signs"),
            agree(
                invalid("keyAgreementAlgorithm", "INVALID", "satisfy enum value set: [ECDH]"),
                algorithm="INVALID",
            ),
            key("encrypts"),
            agree(usage("encrypts", "ENCRYPT_DECRYPT", "DeriveSharedSecret"), "encrypts"),
            agree(Refused("ValidationException"), public=b"InvalidPublicKey"),
        ),
    ),
)

USAGES = (
    Fact(
        "test_get_public_key",
        (
            key(KeyUsage="ENCRYPT_DECRYPT", KeySpec="RSA_2048"),
            with_key(
                "GetPublicKey",
                answer=Has(
                    KeyId=Ref("key_arn"),
                    KeySpec="RSA_2048",
                    KeyUsage="ENCRYPT_DECRYPT",
                    PublicKey=bytes,
                ),
            ),
        ),
    ),
    Fact(
        "test_error_messaging_for_invalid_keys",
        (
            HMAC,
            key("encrypts"),
            key("signs", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY"),
            mac("HMAC_SHA_256", usage("encrypts", "ENCRYPT_DECRYPT", "GenerateMac"), "encrypts"),
            Call(
                "Sign",
                {"KeyId": Ref("key"), "Message": MESSAGE, "SigningAlgorithm": "RSASSA_PSS_SHA_256"},
                usage("key", "GENERATE_VERIFY_MAC", "Sign"),
            ),
            Call(
                "Verify",
                {
                    "KeyId": Ref("encrypts"),
                    "Message": MESSAGE,
                    "Signature": b"random text",
                    "SigningAlgorithm": "ECDSA_SHA_256",
                },
                usage("encrypts", "ENCRYPT_DECRYPT", "Verify"),
            ),
            encrypt("signs", usage("signs", "SIGN_VERIFY", "Encrypt")),
            encrypt("encrypts"),
            decrypt(WRONG_KEY, KeyId=Ref("key")),
        ),
    ),
    Fact(
        "test_invalid_key_usage",
        (
            key(KeySpec="RSA_4096", KeyUsage="ENCRYPT_DECRYPT"),
            Call(
                "Sign",
                {"KeyId": Ref("key"), "Message": MESSAGE, "SigningAlgorithm": "RSASSA_PSS_SHA_256"},
                usage("key", "ENCRYPT_DECRYPT", "Sign"),
            ),
        ),
    ),
    Fact(
        "test_get_parameters_for_import_raises_for_non_external_kms_keys",
        (
            key(),
            Call(
                "GetParametersForImport",
                {
                    "KeyId": Ref("key"),
                    "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
                    "WrappingKeySpec": "RSA_2048",
                },
                Refused("UnsupportedOperationException"),
            ),
        ),
    ),
)

FACTS = (*RANDOM, *SIGNATURES, *MACS, *AGREEMENTS, *USAGES)
