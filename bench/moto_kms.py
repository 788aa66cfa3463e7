"""The KMS of moto as a contender, and the AWS door of Mini KMS, which accepts the same requests."""

import sys
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from contender import Answer, Contender, Key, Request, base64, post
from mini_kms import door_command, door_environment


@dataclass(frozen=True)
class Moto(Contender):
    """The KMS of moto; its request log cannot be switched off."""

    title: str
    like: str | None = None
    audit: bool = False

    # KeySpec, KeyUsage, SigningAlgorithm.
    algorithms: ClassVar = {
        "p256": ("ECC_NIST_P256", "SIGN_VERIFY", "ECDSA_SHA_256"),
        "k256": ("ECC_SECG_P256K1", "SIGN_VERIFY", "ECDSA_SHA_256"),
        "rsa2048": ("RSA_2048", "SIGN_VERIFY", "RSASSA_PKCS1_V1_5_SHA_256"),
        "a256gcm": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", ""),
    }
    operations = frozenset(("generate", "get", "sign", "verify", "encrypt"))
    probe = Request("GET", "/moto-api/")

    @property
    def headers(self) -> dict[str, str]:
        scope = "Credential=bench/20260101/us-east-1/kms/aws4_request"
        return {
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
        }

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return (sys.executable, "-m", "moto.server", "-p", str(port))

    def generate(self, alg: str, name: str) -> Request:
        spec, usage, _ = self.algorithms[alg]
        return self._call("CreateKey", KeySpec=spec, KeyUsage=usage)

    def name(self, body: Any) -> str:
        return str(body["KeyMetadata"]["KeyId"])

    def get(self, key: Key) -> Request:
        return self._call("DescribeKey", KeyId=key.name)

    def sign(self, key: Key, message: bytes) -> Request:
        return self._with("Sign", key, Message=base64(message))

    def signature(self, body: Any) -> str:
        return str(body["Signature"])

    def verify(self, key: Key, message: bytes, signature: str) -> Request:
        return self._with("Verify", key, Message=base64(message), Signature=signature)

    def valid(self, answer: Answer) -> bool:
        return answer.status == 200 and answer.body["SignatureValid"]

    def encrypt(self, key: Key, plaintext: bytes) -> Request:
        return self._call("Encrypt", KeyId=key.name, Plaintext=base64(plaintext))

    def decrypt(self, key: Key, encrypted: Any) -> Request:
        return self._call("Decrypt", KeyId=key.name, CiphertextBlob=encrypted["CiphertextBlob"])

    def plaintext(self, body: Any) -> bytes:
        return b64decode(body["Plaintext"])

    def _call(self, target: str, **body: Any) -> Request:
        return post("/", body, {"X-Amz-Target": f"TrentService.{target}"})

    def _with(self, target: str, key: Key, **body: Any) -> Request:
        signing_alg = self.algorithms[key.alg][2]
        return self._call(target, KeyId=key.name, SigningAlgorithm=signing_alg, **body)


@dataclass(frozen=True)
class AwsDoor(Moto):
    """`minikms serve --aws-port`, keys in memory; no line in its log for each request."""

    like: str | None = "moto"

    algorithms: ClassVar = {
        **Moto.algorithms,
        "ed25519": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY", "ED25519_SHA_512"),
    }
    probe: ClassVar[Request] = post("/", {}, {"X-Amz-Target": "TrentService.ListKeys"})

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return door_command("--aws-port", str(port))

    def environment(self, folder: Path) -> dict[str, str]:
        return door_environment(folder)
