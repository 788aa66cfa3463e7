"""A seal whose key is in a folder; files there cause its faults, and count its calls."""

import os
import time
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.seals import Seal, SealFault, SealUnavailable

_NONCE = 12


class ToySeal(Seal):
    """`toy:FOLDER`."""

    def __init__(self, uri: str) -> None:
        self._folder = Path(uri.removeprefix("toy:"))
        if not self._folder.is_absolute():
            raise ValueError("It is toy:FOLDER, with a path from the root.")

    def seal(self, secret: bytes, associated_data: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._key().encrypt(nonce, secret, associated_data)

    def unseal(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        key = self._key()
        if self._has("lies"):
            return b"another key"
        if self._has("empty"):
            return b""
        if self._has("null"):
            return None  # type: ignore[return-value]
        try:
            return key.decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], associated_data)
        except (InvalidTag, ValueError):
            raise SealFault("It has not made the ciphertext.") from None

    def _key(self) -> AESGCM:
        with (self._folder / "calls").open("a") as calls:
            calls.write("called\n")
        if self._has("away"):
            raise SealUnavailable("It is away.")
        if self._has("refuses"):
            raise SealFault("It refuses the PIN.")
        if self._has("fails"):
            raise RuntimeError((self._folder / "key").read_bytes().hex())
        while self._has("hangs"):
            time.sleep(0.01)
        return AESGCM((self._folder / "key").read_bytes())

    def _has(self, fault: str) -> bool:
        return (self._folder / fault).exists()
