"""Sign, Verify and GetPublicKey: pyca/cryptography, which the door does not sign with, verifies."""

import hashlib

import pytest
from algorithm_facts import ECDSA, FACTS, named
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from minikms.encodings import b64url_decode

MESSAGE = b"what is signed"
DIGEST = "Digest is invalid length for algorithm "
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def signing(names):
    """Algorithm, key spec and signing algorithm of AWS."""
    return [
        (name, FACTS[name].aws, algorithm)
        for name in names
        for algorithm in FACTS[name].aws_usages["SIGN_VERIFY"]
    ]


EC, RSA = signing(name for name in ECDSA if FACTS[name].aws), signing(["rsa2048"])
PURE = signing(named(lambda facts: "SIGN_VERIFY" in facts.aws_usages and not facts.prehashed))


def check(public, algorithm, signature, message=MESSAGE):
    """Verify a signature as AWS's documents say that the algorithm makes it."""
    digest = HASHES.get(algorithm[-3:])
    if algorithm.startswith("ECDSA"):
        public.verify(signature, message, ec.ECDSA(digest))
    elif algorithm.startswith("RSASSA_PSS"):
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        public.verify(signature, message, pss, digest)
    elif algorithm.startswith("RSASSA"):
        public.verify(signature, message, padding.PKCS1v15(), digest)
    else:
        public.verify(signature, message)


async def public_key(aws, key_id):
    return ser.load_der_public_key((await aws.get_public_key(KeyId=key_id))["PublicKey"])


def digest_of(algorithm, message=MESSAGE):
    return hashlib.new(f"sha{algorithm[-3:]}", message).digest()


@pytest.mark.parametrize(("alg", "spec", "algorithm"), EC + RSA + PURE)
async def test_a_signature_verifies_and_a_changed_one_does_not(aws, alg, spec, algorithm):
    key_id = await aws.make(alg)
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{key_id}"
    call = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": algorithm}
    public = await public_key(aws, key_id)
    for _ in range(3):  # from the store, then from the cache
        signed = await aws.sign(**call)
        assert (signed["KeyId"], signed["SigningAlgorithm"]) == (arn, algorithm)
        check(public, algorithm, signed["Signature"])
    call["Signature"] = signed["Signature"]
    for _ in range(3):
        verified = await aws.verify(**call)
        assert (verified["KeyId"], verified["SignatureValid"]) == (arn, True)
        assert verified["SigningAlgorithm"] == algorithm
    assert (
        await aws.refused(
            "KMSInvalidSignatureException", "verify", **{**call, "Message": b"another"}
        )
        == ""
    )
    for signature in (b"\0", signed["Signature"][:-1], signed["Signature"] + b"\0"):
        await aws.refused(
            "KMSInvalidSignatureException", "verify", **{**call, "Signature": signature}
        )


@pytest.mark.parametrize(("alg", "spec", "algorithm"), EC + RSA)
async def test_a_digest_is_signed_as_it_is(aws, alg, spec, algorithm):
    key_id = await aws.make(alg)
    whole = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": algorithm}
    digest = {**whole, "Message": digest_of(algorithm), "MessageType": "DIGEST"}
    public = await public_key(aws, key_id)
    signature = (await aws.sign(**digest))["Signature"]
    check(public, algorithm, signature)
    assert (await aws.verify(**whole, MessageType="RAW", Signature=signature))["SignatureValid"]
    signature = (await aws.sign(**whole))["Signature"]
    assert (await aws.verify(**digest, Signature=signature))["SignatureValid"]
    # A digest that is taken for a message is hashed, and so is another message.
    hashed = {**digest, "MessageType": "RAW"}
    await aws.refused("KMSInvalidSignatureException", "verify", **hashed, Signature=signature)
    with pytest.raises(InvalidSignature):
        check(public, algorithm, (await aws.sign(**hashed))["Signature"])


@pytest.mark.parametrize(("alg", "spec", "algorithm"), [*EC, RSA[0], RSA[-1]])
@pytest.mark.parametrize("size", [1, 20, 31, 33, 65])
async def test_a_digest_of_another_length(aws, alg, spec, algorithm, size):
    call = {
        "KeyId": await aws.make(alg),
        "Message": bytes(size),
        "MessageType": "DIGEST",
        "SigningAlgorithm": algorithm,
    }
    said = f"{DIGEST}{algorithm}."
    assert await aws.refused("ValidationException", "sign", **call) == said
    assert await aws.refused("ValidationException", "verify", **call, Signature=b"s") == said


@pytest.mark.parametrize(("alg", "spec", "algorithm"), PURE)
@pytest.mark.parametrize("kind", ["DIGEST"])
async def test_pure_algorithms_refuse_digests(aws, alg, spec, algorithm, kind):
    said = await aws.refused(
        "ValidationException",
        "sign",
        KeyId=await aws.make(alg),
        Message=bytes(64),
        MessageType=kind,
        SigningAlgorithm=algorithm,
    )
    assert said == f"MessageType {kind} is not valid for algorithm {algorithm}."


@pytest.mark.parametrize(("alg", "spec", "algorithm"), PURE[1:])
async def test_ml_dsa_signs_an_external_mu(aws, alg, spec, algorithm):
    """FIPS 204 sections 5.2 and 6.2: mu of the empty context, by a library of hashes alone."""
    key_id = await aws.make(alg)
    public = await public_key(aws, key_id)
    of_key = hashlib.shake_256(public.public_bytes_raw()).digest(64)
    mu = hashlib.shake_256(of_key + b"\0\0" + MESSAGE).digest(64)
    whole = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": algorithm}
    external = {**whole, "Message": mu, "MessageType": "EXTERNAL_MU"}
    signature = (await aws.sign(**external))["Signature"]
    public.verify(signature, MESSAGE)
    for call in (whole, external):
        assert (await aws.verify(**call, Signature=signature))["SignatureValid"]
    signature = (await aws.sign(**whole))["Signature"]
    assert (await aws.verify(**external, Signature=signature))["SignatureValid"]
    raw = {**external, "MessageType": "RAW"}
    await aws.refused("KMSInvalidSignatureException", "verify", **raw, Signature=signature)
    for bad in (mu[:-1], mu + b"\0", MESSAGE):
        said = await aws.refused("ValidationException", "sign", **{**external, "Message": bad})
        assert said == f"{DIGEST}{algorithm}."


@pytest.mark.parametrize(("alg", "spec", "algorithm"), [EC[0], RSA[0], PURE[0]])
async def test_mu_is_of_ml_dsa_alone(aws, alg, spec, algorithm):
    said = await aws.refused(
        "ValidationException",
        "sign",
        KeyId=await aws.make(alg),
        Message=bytes(64),
        MessageType="EXTERNAL_MU",
        SigningAlgorithm=algorithm,
    )
    assert said == f"MessageType EXTERNAL_MU is not valid for algorithm {algorithm}."


@pytest.mark.parametrize(
    ("alg", "spec", "algorithm"),
    [
        ("p256", "ECC_NIST_P256", "ECDSA_SHA_384"),
        ("p256", "ECC_NIST_P256", "RSASSA_PSS_SHA_256"),
        ("p256", "ECC_NIST_P256", "ED25519_PH_SHA_512"),
        ("k256", "ECC_SECG_P256K1", "SM2DSA"),
        ("rsa2048", "RSA_2048", "ECDSA_SHA_256"),
        ("ed25519", "ECC_NIST_EDWARDS25519", "ML_DSA_SHAKE_256"),
        ("mldsa44", "ML_DSA_44", "ED25519_SHA_512"),
    ],
)
async def test_an_algorithm_of_other_keys(aws, alg, spec, algorithm):
    call = {"KeyId": await aws.make(alg), "Message": MESSAGE, "SigningAlgorithm": algorithm}
    said = f"Algorithm {algorithm} is incompatible with key spec {spec}."
    assert await aws.refused("InvalidKeyUsageException", "sign", **call, DryRun=True) == said
    call["Signature"] = b"s"
    assert await aws.refused("InvalidKeyUsageException", "verify", **call) == said


async def test_an_algorithm_that_is_not_here(aws):
    await aws.refused(
        "UnsupportedOperationException",
        "sign",
        KeyId=await aws.make("ed25519"),
        Message=bytes(64),
        MessageType="DIGEST",
        SigningAlgorithm="ED25519_PH_SHA_512",
    )


async def test_a_high_s_verifies_on_secp256k1(aws):
    """AWS verifies a high s of other signers; the service makes a low s."""
    key_id = await aws.make("k256")
    call = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": "ECDSA_SHA_256"}
    r, s = utils.decode_dss_signature((await aws.sign(**call))["Signature"])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert s <= order // 2
    high = utils.encode_dss_signature(r, order - s)
    assert (await aws.verify(**call, Signature=high))["SignatureValid"]


async def test_a_public_key_out_of_use_is_not_shown(aws):
    key_id = await aws.make("p256")
    await aws.get_public_key(KeyId=key_id)
    await aws.change(key_id, state="disabled")
    said = await aws.refused("DisabledException", "get_public_key", KeyId=key_id)
    assert said == f"{aws.arn(key_id)} is disabled."
    await aws.schedule_deletion_of(key_id)
    said = await aws.refused("KMSInvalidStateException", "get_public_key", KeyId=key_id)
    assert said == f"{aws.arn(key_id)} is pending deletion."


async def test_a_key_that_verifies_alone(aws):
    key_id = await aws.make("p256")
    call = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = (await aws.sign(**call))["Signature"]
    await aws.change(key_id, state="verify-only")
    await aws.refused("DisabledException", "sign", **call)
    assert (await aws.verify(**call, Signature=signature))["SignatureValid"]
    assert await public_key(aws, key_id)


async def test_a_signature_from_before_a_rotation(aws):
    key_id = await aws.make("p256")
    call = {"KeyId": key_id, "Message": MESSAGE, "SigningAlgorithm": "ECDSA_SHA_256"}
    before = (await aws.sign(**call))["Signature"]
    old = await public_key(aws, key_id)
    await aws.rotate(key_id)
    signed = await aws.sign(**call)
    assert signed["KeyId"].endswith(f"key/{key_id}")
    check(await public_key(aws, key_id), "ECDSA_SHA_256", signed["Signature"])
    for signature in (before, signed["Signature"]):
        assert (await aws.verify(**call, Signature=signature))["SignatureValid"]
    with pytest.raises(InvalidSignature):
        check(old, "ECDSA_SHA_256", signed["Signature"])


async def test_a_public_key_alone_verifies_and_does_not_sign(aws):
    pair = await aws.make("p256")
    call = {"Message": MESSAGE, "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = (await aws.sign(KeyId=pair, **call))["Signature"]
    jwk = (await (await aws.rest.get(f"/key/{await aws.kid(pair)}")).json())["jwk"]
    alice = await aws.new_profile("alice")
    body = {"jwk": jwk, "alias": "alias/public"}
    made = await aws.rest.post("/key/import", json=body, headers={"X-Profile": "alice"})
    assert made.status == 200, await made.text()
    assert (await alice.verify(KeyId="alias/public", **call, Signature=signature))["SignatureValid"]
    await alice.refused("InvalidKeyUsageException", "sign", KeyId="alias/public", **call)


@pytest.mark.parametrize(
    ("alg", "operations", "expected"),
    [
        ("p256", (), ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", ["ECDSA_SHA_256"])),
        (
            "p384",
            ("derive",),
            ("ECC_NIST_P384", "KEY_AGREEMENT", "KeyAgreementAlgorithms", ["ECDH"]),
        ),
        (
            "rsa3072",
            ("decrypt",),
            ("RSA_3072", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", ["RSAES_OAEP_SHA_256"]),
        ),
        (
            "mlkem1024",
            (),
            ("ML_KEM_1024", "ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithms", ["ML_KEM"]),
        ),
        (
            "ed25519",
            (),
            ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "SigningAlgorithms", ["ED25519_SHA_512"]),
        ),
    ],
)
async def test_a_public_key_comes_with_its_spec_and_usage(aws, alg, operations, expected):
    key_id = await aws.make(alg, *operations)
    answer = await aws.get_public_key(KeyId=key_id)
    assert answer["KeyId"] == f"arn:aws:kms:us-east-1:000000000000:key/{key_id}"
    spec, usage, member, algorithms = expected
    assert (answer["KeySpec"], answer["CustomerMasterKeySpec"]) == (spec, spec)
    assert (answer["KeyUsage"], answer[member]) == (usage, algorithms)
    assert len([name for name in answer if name.endswith("Algorithms")]) == 1
    jwk = (await (await aws.rest.get(f"/key/{await aws.kid(key_id)}")).json())["jwk"]
    public = ser.load_der_public_key(answer["PublicKey"])
    if jwk["kty"] in ("AKP", "OKP"):
        raw = public.public_bytes_raw()
    elif jwk["kty"] == "EC":
        raw = public.public_numbers().x.to_bytes(public.curve.key_size // 8, "big")
    else:
        raw = public.public_numbers().n.to_bytes(384, "big")
    shown = jwk.get("pub") or jwk.get("x") or jwk["n"]
    assert raw == b64url_decode(shown)


@pytest.mark.parametrize("alg", ["a256gcm", "hs256"])
async def test_a_key_without_a_public_key(aws, alg):
    key_id = await aws.make(alg)
    await aws.refused("UnsupportedOperationException", "get_public_key", KeyId=key_id)


async def test_a_message_of_the_largest_size(aws):
    key_id = await aws.make("p256")
    call = {"KeyId": key_id, "Message": bytes(4096), "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = (await aws.sign(**call))["Signature"]
    check(await public_key(aws, key_id), "ECDSA_SHA_256", signature, bytes(4096))
