"""Answers of AWS to Encrypt, Decrypt and ReEncrypt, and about data keys."""

from botocore import xform_name
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from aws_facts.fact import Call, Fact, Has, Ref, Refused, key, with_key

MESSAGE = b"test message !%$@ 1234567890"
WRONG_KEY = Refused(
    "IncorrectKeyException",
    "The key ID in the request does not identify a CMK that can perform this operation.",
)
# Its message is empty.
INVALID = Refused("InvalidCiphertextException")
DRY_RUN = Refused(
    "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."
)
CONTEXT = {"context-key": "context-value"}


def encrypted_by_pyca(public):
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)
    return load_der_public_key(public).encrypt(MESSAGE, oaep)


def encrypt(name="key", answer=None, **arguments):
    """Encrypt the message; the ciphertext is kept."""
    kept = {} if isinstance(answer, Refused) else {"blob": "CiphertextBlob"}
    given = {"KeyId": Ref(name), "Plaintext": MESSAGE, **arguments}
    return Call("Encrypt", given, answer, kept)


def decrypt(answer, blob="blob", change=lambda blob: blob, **arguments):
    """Decrypt the kept ciphertext."""
    return Call("Decrypt", {"CiphertextBlob": Ref(blob, change), **arguments}, answer)


def oaep(spec, size):
    """The maximal plaintext of an RSA key."""
    algorithm = "RSAES_OAEP_SHA_256"
    return Fact(
        "test_encrypt_validate_plaintext_size_per_key_type",
        (
            key(KeyUsage="ENCRYPT_DECRYPT", KeySpec=spec),
            encrypt(Plaintext=bytes(size), EncryptionAlgorithm=algorithm),
            encrypt(
                Plaintext=bytes(size + 1),
                EncryptionAlgorithm=algorithm,
                answer=Refused(
                    "ValidationException",
                    f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than "
                    f"{size} bytes.",
                ),
            ),
        ),
    )


ENCRYPTION = (
    *(oaep(*bound) for bound in (("RSA_2048", 190), ("RSA_3072", 318), ("RSA_4096", 446))),
    Fact(
        "test_plaintext_size_for_encrypt",
        (
            key(),
            encrypt(
                Plaintext=bytes(4097),
                answer=Refused(
                    "ValidationException",
                    "1 validation error detected: Value at 'plaintext' failed to satisfy "
                    "constraint: Member must have length less than or equal to 4096",
                ),
            ),
        ),
    ),
    Fact(
        "test_encrypt_decrypt",
        (
            key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"),
            encrypt(EncryptionAlgorithm="RSAES_OAEP_SHA_256"),
            decrypt(
                {
                    "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                    "KeyId": Ref("key_arn"),
                    "Plaintext": MESSAGE,
                },
                KeyId=Ref("key"),
                EncryptionAlgorithm="RSAES_OAEP_SHA_256",
            ),
        ),
    ),
    Fact(
        "test_symmetric_encrypt_offline_decrypt_online",
        (
            key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"),
            Call("GetPublicKey", {"KeyId": Ref("key")}, None, {"public": "PublicKey"}),
            decrypt(
                Has(Plaintext=MESSAGE),
                "public",
                encrypted_by_pyca,
                KeyId=Ref("key"),
                EncryptionAlgorithm="RSAES_OAEP_SHA_256",
            ),
        ),
    ),
    Fact(
        "test_encrypt_decrypt_encryption_context",
        (
            key(),
            encrypt(
                EncryptionAlgorithm="SYMMETRIC_DEFAULT",
                EncryptionContext=CONTEXT,
                answer={
                    "CiphertextBlob": bytes,
                    "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                    "KeyId": Ref("key_arn"),
                },
            ),
            decrypt(
                {
                    "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                    "KeyId": Ref("key_arn"),
                    "KeyMaterialId": str,
                    "Plaintext": MESSAGE,
                },
                EncryptionContext=CONTEXT,
            ),
            decrypt(INVALID),
            decrypt(INVALID, change=lambda blob: blob[10:], EncryptionContext=CONTEXT),
        ),
    ),
    Fact(
        "test_key_rotations_encryption_decryption",
        (key(), encrypt(), decrypt(INVALID, change=lambda blob: blob + b"bad_data")),
    ),
    *(
        Fact(
            "test_re_encrypt",
            (
                key("source", KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT"),
                key("destination", KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT"),
                encrypt("source", EncryptionAlgorithm=algorithm),
                Call(
                    "ReEncrypt",
                    {
                        "SourceKeyId": Ref("source"),
                        "DestinationKeyId": Ref("destination"),
                        "CiphertextBlob": Ref("blob"),
                        "SourceEncryptionAlgorithm": algorithm,
                        "DestinationEncryptionAlgorithm": algorithm,
                    },
                    {
                        "CiphertextBlob": bytes,
                        "DestinationEncryptionAlgorithm": algorithm,
                        "KeyId": Ref("destination_arn"),
                        "SourceEncryptionAlgorithm": algorithm,
                        "SourceKeyId": Ref("source_arn"),
                    },
                    {"moved": "CiphertextBlob"},
                ),
                decrypt(
                    Has(Plaintext=MESSAGE),
                    "moved",
                    KeyId=Ref("destination"),
                    EncryptionAlgorithm=algorithm,
                ),
            ),
        )
        for spec, algorithm in (
            ("SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"),
            ("RSA_2048", "RSAES_OAEP_SHA_256"),
        )
    ),
    *(
        Fact(
            name,
            (
                key(),
                key("other", **spec),
                encrypt(),
                Call(
                    "ReEncrypt",
                    {
                        "CiphertextBlob": Ref("blob"),
                        "SourceKeyId": Ref(source),
                        "DestinationKeyId": Ref("other"),
                    },
                    answer,
                ),
            ),
        )
        for name, spec, source, answer in (
            (
                "test_re_encrypt_incorrect_source_key",
                {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
                "other",
                WRONG_KEY,
            ),
            (
                "test_re_encrypt_invalid_destination_key",
                {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
                "key",
                Refused("InvalidKeyUsageException"),
            ),
        )
    ),
)


AES, RSA = {"KeySpec": "AES_256"}, {"KeyPairSpec": "RSA_2048"}
PAIR = {**RSA, "PublicKey": bytes}
# An operation that makes a data key, and the members of its answer: ciphertext and plaintext.
MADE = (
    ("GenerateDataKey", AES, {}, "CiphertextBlob", "Plaintext"),
    ("GenerateDataKeyWithoutPlaintext", AES, {}, "CiphertextBlob", None),
    ("GenerateDataKeyPair", RSA, PAIR, "PrivateKeyCiphertextBlob", "PrivateKeyPlaintext"),
    ("GenerateDataKeyPairWithoutPlaintext", RSA, PAIR, "PrivateKeyCiphertextBlob", None),
)


def data_key(operation, spec, members, blob, secret):
    """Three facts of one operation."""
    name = xform_name(operation)
    given, kept, plaintext = {"KeyId": Ref("key"), **spec}, {"blob": blob}, bytes
    answer = {"KeyId": Ref("key_arn"), blob: bytes, **members}
    if secret:
        answer[secret], kept["secret"], plaintext = bytes, secret, Ref("secret")
    yield Fact(
        f"test_{name}",
        (
            key(),
            Call(operation, given, answer, kept),
            decrypt(Has(Plaintext=plaintext), KeyId=Ref("key")),
        ),
    )
    with_context = Call(operation, {**given, "EncryptionContext": CONTEXT}, answer, kept)
    yield Fact(
        f"test_encryption_context_{name}", (key(), with_context, decrypt(INVALID, KeyId=Ref("key")))
    )
    if spec is RSA:
        dry = Call(operation, {**given, "DryRun": True}, DRY_RUN)
        yield Fact(f"test_{name}_dry_run", (key(), dry))


DATA_KEYS = tuple(fact for made in MADE for fact in data_key(*made))

USED = (
    Fact(
        "test_all_types_of_key_id_can_be_used_for_encryption",
        (
            key(),
            Call("CreateAlias", {"AliasName": "alias/any", "TargetKeyId": Ref("key")}, {}),
            *(
                Call(
                    "Encrypt",
                    {"KeyId": name, "Plaintext": b"encrypt-me"},
                    Has(KeyId=Ref("key_arn")),
                )
                for name in (
                    Ref("key_arn"),
                    Ref("key"),
                    Ref("key_arn", lambda arn: f"{arn.rpartition(':')[0]}:alias/any"),
                    "alias/any",
                )
            ),
        ),
    ),
    Fact(
        "test_cant_use_disabled_or_deleted_keys",
        (
            key(),
            with_key("DisableKey"),
            with_key("GenerateDataKey", KeySpec="AES_256", answer=Refused("DisabledException")),
            with_key("ScheduleKeyDeletion"),
            with_key(
                "GenerateDataKey", KeySpec="AES_256", answer=Refused("KMSInvalidStateException")
            ),
        ),
    ),
)

FACTS = (*ENCRYPTION, *DATA_KEYS, *USED)
