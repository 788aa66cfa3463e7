"""Signatures by keys in a SoftHSM token, compared in turns with the service's own keys.

Run it with the Python that Mini KMS and minikms-pkcs11 are installed in. Needs wrk and softhsm2. It
prints a line as turns.py does; the last ratio is that of the token to the service's own keys.
"""

import asyncio
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import click
from contender import Ask, Contender, Request, post
from mini_kms import MiniKms
from rows import Row
from server import PATIENCE
from turns import measure

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True)
class SoftHsm(MiniKms):
    """`minikms serve` with a token of SoftHSM, which makes all keys."""

    async def prepare(self, folder: Path) -> None:
        tokens, pin = folder / "tokens", folder / "pin"
        tokens.mkdir()
        pin.write_text("12345678")
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\n")
        command = ["softhsm2-util", "--init-token", "--free", "--label", "bench"]
        pins = ["--pin", "12345678", "--so-pin", "12345678"]
        subprocess.run(  # noqa: S603
            [*command, *pins], env=self.environment(folder), check=True, capture_output=True
        )

    def environment(self, folder: Path) -> dict[str, str]:
        uri = f"pkcs11:token=bench?module-path={MODULE}&pin-source=file:{folder}/pin"
        return super().environment(folder) | {
            "SOFTHSM2_CONF": f"{folder}/softhsm2.conf",
            "MINIKMS_PROVIDER": f"hsm={uri}",
        }

    async def open(self, ask: Ask, folder: Path) -> None:
        """Wait until the token is connected."""
        end = time.monotonic() + PATIENCE
        while "away" in (await ask(Request("GET", "/readyz"))).body:
            assert time.monotonic() < end, "the token is not connected"
            await asyncio.sleep(0.05)

    def generate(self, alg: str, name: str) -> Request:
        return post("/key/generate", {"alg": alg, "provider": "hsm"})


@click.command(help=__doc__)
@click.option("--algs", default="p256,ed25519,rsa2048", show_default=True)
@click.option("--callers", default=8, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1, show_default=True, type=click.IntRange(1), help="Of a round.")
def main(algs: str, callers: int, rounds: int, seconds: int) -> None:
    """Measure, and print a line for each algorithm."""
    contenders: dict[str, Contender] = {"service": MiniKms("service"), "token": SoftHsm("token")}
    rows = [Row("sign", alg, callers) for alg in algs.split(",")]
    asyncio.run(measure(contenders, rows, rounds, seconds))


if __name__ == "__main__":
    main()
