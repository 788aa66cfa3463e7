"""OpenBao's Transit as a contender, in memory and on raft, and the Vault door of Mini KMS."""

import asyncio
import json
import sys
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from certificate import certificate_file
from contender import (
    BATCH_OF_KEYS,
    BESIDE,
    Answer,
    Ask,
    Contender,
    Key,
    Request,
    base64,
    free_port,
    post,
)
from mini_kms import door_command, door_environment

BAO = str(Path(sys.executable).with_name("bao"))
MOUNT = post("/v1/sys/mounts/transit", {"type": "transit"})
POLICY = "keys"
OF_KEYS = 'path "transit/*" { capabilities = ["create", "read", "update", "delete", "list"] }'
TOKEN = "root"  # noqa: S105 - of a server that this script starts


@dataclass(frozen=True)
class OpenBao(Contender):
    """OpenBao's Transit in memory, with its root token, which needs no policies."""

    title: str
    like: str | None = None
    audit: bool = False
    tls: bool = False

    # By OpenBao's type, with the options for signatures like ours.
    algorithms: ClassVar = {
        "ed25519": ("ed25519", {}),
        "p256": ("ecdsa-p256", {"marshaling_algorithm": "jws"}),
        "rsa2048": ("rsa-2048", {"signature_algorithm": "pkcs1v15"}),
        "a256gcm": ("aes256-gcm96", {}),
    }
    # It refuses JSON with over 1,000 strings, and thus a batch of 1,000. A call makes one key, with
    # one name. It imports only wrapped keys.
    operations = Contender.operations - {BESIDE, BATCH_OF_KEYS, "associate", "import"}
    probe = Request("GET", "/v1/sys/health")
    set_up: ClassVar[Sequence[Request]] = (MOUNT,)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "X-Vault-Token": TOKEN}

    @property
    def intrusion(self) -> Request | None:
        return post("/v1/transit/keys/nobody", {"type": "ed25519"}, {"X-Vault-Token": "nobody"})

    async def prepare(self, folder: Path) -> None:
        await super().prepare(folder)
        options = f'options {{ file_path = "{folder}/audit.log" }}'
        audit = f'audit "file" "file" {{\n{options}\n}}\n' if self.audit else ""
        (folder / "bao.hcl").write_text(audit)

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return (
            BAO,
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={TOKEN}",
            f"-dev-listen-address=127.0.0.1:{port}",
            f"-config={folder}/bao.hcl",
        )

    def generate(self, alg: str, name: str) -> Request:
        return post(f"/v1/transit/keys/{name}", {"type": self.algorithms[alg][0]})

    def name(self, body: Any) -> str:
        return str(body["data"]["name"])

    def names(self, body: Any) -> list[str]:
        return list(body["data"]["keys"])

    def rotate(self, key: Key) -> Request:
        return Request("POST", f"/v1/transit/keys/{key.name}/rotate")

    def unlock(self, key: Key) -> Request:
        return post(f"/v1/transit/keys/{key.name}/config", {"deletion_allowed": True})

    def delete(self, key: Key) -> Request:
        return Request("DELETE", f"/v1/transit/keys/{key.name}")

    def page(self, limit: int) -> Request:
        return Request("GET", f"/v1/transit/keys?list=true&limit={limit}")

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
class VaultDoor(OpenBao):
    """`minikms serve --vault-port`, keys in memory; no line in its log for each request."""

    like: str | None = "openbao"
    options: tuple[str, ...] = ()

    set_up: ClassVar[Sequence[Request]] = ()

    @property
    def intrusion(self) -> Request | None:
        return None

    async def prepare(self, folder: Path) -> None:
        pass

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        return door_command("--vault-port", str(port), *self.options)

    def environment(self, folder: Path) -> dict[str, str]:
        return door_environment(folder)


@dataclass(frozen=True)
class OpenBaoOnRaft(OpenBao):
    """OpenBao with its keys on disk, in a cluster of one node; it syncs before it acknowledges.

    Its token has one policy, which permits every call to keys. OpenBao's default policy, which
    tokens have unless they are made without it, would more than double the time of a call.
    """

    probe = Request("GET", "/v1/sys/seal-status")
    set_up: ClassVar[Sequence[Request]] = ()

    async def prepare(self, folder: Path) -> None:
        await super().prepare(folder)
        (folder / "raft").mkdir()

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        address, file = f"127.0.0.1:{port}", str(certificate_file(folder))
        tls = {"tls_cert_file": file, "tls_key_file": file} if self.tls else {"tls_disable": True}
        config = {
            "storage": {"raft": {"path": f"{folder}/raft", "node_id": "one"}},
            "listener": {"tcp": {"address": address, **tls}},
            "api_addr": f"{self.scheme}://{address}",
            "cluster_addr": f"http://127.0.0.1:{free_port()}",
        }
        (folder / "bao.json").write_text(json.dumps(config))
        return (BAO, "server", f"-config={folder}/bao.json", f"-config={folder}/bao.hcl")

    async def open(self, ask: Ask, folder: Path) -> None:
        made, share = None, folder / "share"
        if not share.exists():
            shares = {"secret_shares": 1, "secret_threshold": 1}
            made = (await ask(post("/v1/sys/init", shares))).body
            share.write_text(made["keys"][0])
        await ask(post("/v1/sys/unseal", {"key": share.read_text()}))
        while (await ask(Request("GET", "/v1/sys/health"))).status != 200:  # until it is the leader
            await asyncio.sleep(0.02)
        if made:
            root = {"X-Vault-Token": made["root_token"]}
            token = {"id": TOKEN, "policies": [POLICY], "no_default_policy": True}
            for request in (
                post(f"/v1/sys/policies/acl/{POLICY}", {"policy": OF_KEYS}, root),
                post("/v1/auth/token/create", token, root),
                MOUNT._replace(headers=root),
            ):
                assert (await ask(request)).status in (200, 204), request.path
