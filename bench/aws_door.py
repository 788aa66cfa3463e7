"""The AWS door of Mini KMS as a contender, with moto's requests."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from contender import Request, post
from moto_kms import Moto


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
        ports = ("--port", "0", "--aws-port", str(port))
        # -P: the installed package, and no module of this folder.
        return (sys.executable, "-P", "-m", "minikms", "serve", *ports, "--log-level", "warning")

    def environment(self, folder: Path) -> dict[str, str]:
        own = {"HOME": str(folder), "MINIKMS_AUTH": "none", "MINIKMS_SHUTDOWN_GRACE": "0"}
        return {**os.environ, **own}
