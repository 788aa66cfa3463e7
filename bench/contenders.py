"""Whom `run.py` compares: how each is started, how it is asked, and what its answers say."""

import json
import os
import secrets
import socket
import sys
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from service import bearer, process

from minikms.access.tokens import Token
from minikms.startup_errors import AccessError
from minikms.store.secret_files import write_secret

BATCH: Final = "batch of 100"
BESIDE: Final = "sign beside batches of 1,000"


class Request(NamedTuple):
    """A call as it is sent, without the headers that all of a contender's have."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What came of it; `body` is JSON that was read."""

    status: int
    body: Any


class Key(NamedTuple):
    """A key, as a contender names it."""

    alg: str
    name: str


def post(path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    """A call with a body."""
    return Request("POST", path, json.dumps(body).encode(), headers or {})


class Contender(ABC):
    """A service and its API. What is not in `algorithms` and `operations` it cannot do."""

    algorithms: ClassVar[Mapping[str, Any]]  # ours, as it calls them
    operations: ClassVar[frozenset[str]] = frozenset(
        ("generate", "get", "sign", "verify", "encrypt", BATCH, BESIDE)
    )
    probe: ClassVar[Request]  # answered 200 as soon as it serves
    set_up: ClassVar[Sequence[Request]] = ()
    title: str
    like: str | None  # the contender that is asked for the same
    audit: bool  # writes `audit.log` in its folder, or `audit.N.log` for each worker

    def can(self, operation: str, alg: str) -> bool:
        """Whether it has what such a row needs."""
        return operation in self.operations and alg in self.algorithms

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every call."""
        return {"Content-Type": "application/json"}

    @property
    def intrusion(self) -> Request | None:
        """A call without a token, where it asks for one."""
        return None

    async def prepare(self, folder: Path) -> None:  # noqa: B027
        """Make what there has to be before the first start."""

    @abstractmethod
    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        """What starts it."""

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables that it is started with."""
        return {**os.environ, "HOME": str(folder)}

    @abstractmethod
    def generate(self, alg: str, name: str) -> Request:
        """Make a key, under this name where callers choose it."""

    @abstractmethod
    def name(self, body: Any) -> str:
        """What the key is called that was made, or got."""

    @abstractmethod
    def get(self, key: Key) -> Request: ...

    @abstractmethod
    def sign(self, key: Key, message: bytes) -> Request: ...

    @abstractmethod
    def signature(self, body: Any) -> str: ...

    @abstractmethod
    def verify(self, key: Key, message: bytes, signature: str) -> Request: ...

    @abstractmethod
    def valid(self, answer: Answer) -> bool: ...

    @abstractmethod
    def batch(self, key: Key, messages: Sequence[bytes]) -> Request: ...

    @abstractmethod
    def signatures(self, body: Any) -> list[str]: ...

    @abstractmethod
    def encrypt(self, key: Key, plaintext: bytes) -> Request: ...

    @abstractmethod
    def decrypt(self, key: Key, encrypted: Any) -> Request:
        """Undo `encrypt`, whose answer had the body `encrypted`."""

    @abstractmethod
    def plaintext(self, body: Any) -> bytes: ...


@dataclass(frozen=True)
class MiniKms(Contender):
    """`minikms serve`; no line in its log for each request, as the others have none."""

    title: str
    like: str | None = "openbao"
    durable: bool = False
    audit: bool = False  # and asks for a token
    options: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: Token.new().reveal(), repr=False)
    python: str = sys.executable

    algorithms: ClassVar = {
        name: name for name in ("ed25519", "p256", "k256", "rsa2048", "mldsa44", "a256gcm")
    }
    probe = Request("GET", "/readyz")

    @property
    def headers(self) -> dict[str, str]:
        given = super().headers
        return given | bearer(self.token) if self.audit else given

    @property
    def intrusion(self) -> Request | None:
        nobody = {"Authorization": "Bearer nobody"}
        return post("/key/generate", {"alg": "ed25519"}, nobody) if self.audit else None

    async def prepare(self, folder: Path) -> None:
        if self.audit:
            write_secret(f"{folder}/token", self.token, "token", AccessError)
        if self.durable:
            command = (self.python, "-m", "minikms", "store", "init", "--generate-key")
            async with process(*command, env=self.environment(folder), stdout=DEVNULL) as made:
                assert await made.wait() == 0, "no store was made"

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        # -P: what is installed there, not what is in this folder.
        serve = ("-P", "-m", "minikms", "serve", "--port", str(port), "--log-level", "warning")
        return (self.python, *serve, *self.options)

    def environment(self, folder: Path) -> dict[str, str]:
        given = super().environment(folder) | {"MINIKMS_SHUTDOWN_GRACE": "0"}
        if self.durable:
            given["MINIKMS_STORE"] = f"sqlite://{folder}/keys.db"
            given["MINIKMS_STORE_KEY_FILE"] = f"{folder}/store.key"
        if self.audit:
            given["MINIKMS_ADMIN_TOKEN_FILE"] = f"{folder}/token"
            given["MINIKMS_AUDIT_LOG"] = f"{folder}/audit.log"
        return {**given, "MINIKMS_AUTH": "token" if self.audit else "none"}

    def generate(self, alg: str, name: str) -> Request:
        return post("/key/generate", {"alg": alg})

    def name(self, body: Any) -> str:
        return str(body["kid"])

    def get(self, key: Key) -> Request:
        return Request("GET", f"/key/{key.name}")

    def sign(self, key: Key, message: bytes) -> Request:
        return post("/sign", {"kid": key.name, "data": base64url(message)})

    def signature(self, body: Any) -> str:
        return str(body["sig"])

    def verify(self, key: Key, message: bytes, signature: str) -> Request:
        body = {"kid": key.name, "data": base64url(message), "sig": signature}
        return post("/verify", body)

    def valid(self, answer: Answer) -> bool:
        return bool(answer.body["valid"])

    def batch(self, key: Key, messages: Sequence[bytes]) -> Request:
        items = [{"data": base64url(message)} for message in messages]
        return post("/sign/batch", {"kid": key.name, "items": items})

    def signatures(self, body: Any) -> list[str]:
        return [result["sig"] for result in body["results"]]

    def encrypt(self, key: Key, plaintext: bytes) -> Request:
        return post("/encrypt", {"kid": key.name, "plaintext": base64url(plaintext)})

    def decrypt(self, key: Key, encrypted: Any) -> Request:
        return post("/decrypt", {"kid": key.name, **encrypted})

    def plaintext(self, body: Any) -> bytes:
        return urlsafe_b64decode(body["plaintext"])


@dataclass(frozen=True)
class OpenBao(Contender):
    """OpenBao's Transit, in memory; by its root token, which spares it policies."""

    title: str
    like: str | None = None
    audit: bool = False

    # By OpenBao's type, and what a signature takes besides so that it is as ours are.
    algorithms: ClassVar = {
        "ed25519": ("ed25519", {}),
        "p256": ("ecdsa-p256", {"marshaling_algorithm": "jws"}),
        "rsa2048": ("rsa-2048", {"signature_algorithm": "pkcs1v15"}),
        "a256gcm": ("aes256-gcm96", {}),
    }
    # It refuses JSON with over 1,000 strings, and so a batch of 1,000.
    operations = Contender.operations - {BESIDE}
    probe = Request("GET", "/v1/sys/health")
    set_up = (post("/v1/sys/mounts/transit", {"type": "transit"}),)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "X-Vault-Token": "root"}

    @property
    def intrusion(self) -> Request | None:
        return post("/v1/transit/keys/nobody", {"type": "ed25519"}, {"X-Vault-Token": "nobody"})

    async def prepare(self, folder: Path) -> None:
        options = f'options {{ file_path = "{folder}/audit.log" }}'
        audit = f'audit "file" "file" {{\n{options}\n}}\n' if self.audit else ""
        (folder / "bao.hcl").write_text(audit)

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return (
            str(Path(sys.executable).with_name("bao")),
            "server",
            "-dev",
            "-dev-no-store-token",
            "-dev-root-token-id=root",
            f"-dev-listen-address=127.0.0.1:{port}",
            f"-config={folder}/bao.hcl",
        )

    def generate(self, alg: str, name: str) -> Request:
        return post(f"/v1/transit/keys/{name}", {"type": self.algorithms[alg][0]})

    def name(self, body: Any) -> str:
        return str(body["data"]["name"])

    def get(self, key: Key) -> Request:
        return Request("GET", f"/v1/transit/keys/{key.name}")

    def sign(self, key: Key, message: bytes) -> Request:
        return self._of(key, "sign", input=base64(message))

    def signature(self, body: Any) -> str:
        return str(body["data"]["signature"])

    def verify(self, key: Key, message: bytes, signature: str) -> Request:
        return self._of(key, "verify", input=base64(message), signature=signature)

    def valid(self, answer: Answer) -> bool:
        return bool(answer.body["data"]["valid"])

    def batch(self, key: Key, messages: Sequence[bytes]) -> Request:
        return self._of(key, "sign", batch_input=[{"input": base64(each)} for each in messages])

    def signatures(self, body: Any) -> list[str]:
        return [result["signature"] for result in body["data"]["batch_results"]]

    def encrypt(self, key: Key, plaintext: bytes) -> Request:
        return self._of(key, "encrypt", plaintext=base64(plaintext))

    def decrypt(self, key: Key, encrypted: Any) -> Request:
        return self._of(key, "decrypt", ciphertext=encrypted["data"]["ciphertext"])

    def plaintext(self, body: Any) -> bytes:
        return b64decode(body["data"]["plaintext"])

    def _of(self, key: Key, operation: str, **body: Any) -> Request:
        return post(f"/v1/transit/{operation}/{key.name}", {**body, **self.algorithms[key.alg][1]})


@dataclass(frozen=True)
class Moto(Contender):
    """The KMS of moto, which many test against; its log of requests cannot be switched off."""

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

    def batch(self, key: Key, messages: Sequence[bytes]) -> Request:
        raise NotImplementedError

    def signatures(self, body: Any) -> list[str]:
        raise NotImplementedError

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
class Echo(MiniKms):
    """What aiohttp costs alone: it is asked as Mini KMS is, and a message is its own signature."""

    like: str | None = None

    algorithms: ClassVar = {"ed25519": "ed25519"}
    operations = frozenset(("sign", BATCH))
    probe = post("/", {})

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return (sys.executable, str(Path(__file__).with_name("echo.py")), str(port))

    def generate(self, alg: str, name: str) -> Request:
        return post("/key/generate", {"kid": secrets.token_urlsafe(32)})

    def signature(self, body: Any) -> str:
        return str(body["data"])

    def valid(self, answer: Answer) -> bool:
        return bool(answer.body["data"] == answer.body["sig"])

    def signatures(self, body: Any) -> list[str]:
        return [item["data"] for item in body["items"]]


CONTENDERS: Final[dict[str, Contender]] = {
    "memory": MiniKms("memory"),
    "memory-2": MiniKms("memory, 2 workers", options=("--workers", "2")),
    "sqlite": MiniKms("SQLite", durable=True),
    "sqlite-2": MiniKms("SQLite, 2 workers", durable=True, options=("--workers", "2")),
    "memory-audit": MiniKms("memory, token, audit", like="openbao-audit", audit=True),
    "memory-2-audit": MiniKms(
        "memory, 2 workers, token, audit",
        like="openbao-audit",
        audit=True,
        options=("--workers", "2"),
    ),
    "sqlite-2-audit": MiniKms(
        "SQLite, 2 workers, token, audit",
        like="openbao-audit",
        durable=True,
        audit=True,
        options=("--workers", "2"),
    ),
    "openbao": OpenBao("OpenBao"),
    "openbao-audit": OpenBao("OpenBao, audit", audit=True),
    "moto": Moto("moto"),
    "echo": Echo("echo"),
}


def base64(data: bytes) -> str:
    """Base64 as OpenBao and KMS have it."""
    return b64encode(data).decode()


def base64url(data: bytes) -> str:
    """Base64url as Mini KMS has it."""
    return urlsafe_b64encode(data).decode()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
