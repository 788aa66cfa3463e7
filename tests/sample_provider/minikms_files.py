"""A provider that keeps key pairs as PEM files in a folder: to test services, not for real keys.

Its URI is `files:FOLDER`. A test sets faults by files in the folder: while `away` exists, nothing
answers; `exchanged`, another token is in place, which has no keys; `full`, no key is made;
`wrong-pin`, opening fails for good; `hold`, every call waits; `hold-NAME`, calls of the method NAME
wait. `opened` gets a line for each attempt to open it.
"""

import threading
import time
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from minikms.plugin import (
    HASHES,
    KeyUnreadable,
    Provider,
    ProviderFault,
    ProviderKey,
    ProviderStatus,
    ProviderUnavailable,
    Scheme,
)

_TOKEN: Final = "0123456789"
_CURVES: Final = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
    "k256": ec.SECP256K1(),
}
_BITS: Final = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}
_LONGEST: Final = 600.0  # seconds that a call waits
_LOOK_EVERY: Final = 0.005


class PrivateKey(Protocol):
    """A private key of pyca/cryptography."""

    def private_bytes(self, encoding: Any, form: Any, encryption: Any, /) -> bytes: ...

    def public_key(self) -> Any: ...


class FilesProvider(Provider):
    """Key pairs in a folder, each in a file with the name of its identifier."""

    def __init__(self, uri: str) -> None:
        folder = uri.partition(":")[2]
        if not folder:
            raise ValueError("it names no folder.")
        self._folder = Path(folder)
        self._connecting = threading.Lock()
        self._is_open = self._was_open = False
        self._reconnects = 0

    def open(self) -> None:
        with self._connecting:
            if self._is_open:
                return
            # Looked for first, since a test that has seen the attempt may end the fault.
            is_wrong, is_away = ((self._folder / fault).exists() for fault in ("wrong-pin", "away"))
            with (self._folder / "opened").open("a") as file:
                file.write("opened\n")
            if is_wrong:
                raise ProviderFault("The PIN is wrong.")
            if is_away:
                raise ProviderUnavailable("There is no folder.")
            self._is_open = True
            self._reconnects += self._was_open
            self._was_open = True

    def close(self) -> None:
        self._is_open = False

    def algorithms(self) -> frozenset[str]:
        return frozenset({*_CURVES, *_BITS, "ed25519"})

    def make(self, algorithm: str, key_id: bytes) -> ProviderKey:
        self._enter("make")
        if (self._folder / "full").exists():
            raise ProviderUnavailable("The token is full.")
        key = _generate(algorithm)
        pem = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        self._file(key_id).write_bytes(pem)
        form = ser.PublicFormat.SubjectPublicKeyInfo
        return ProviderKey(_TOKEN, key_id, key.public_key().public_bytes(ser.Encoding.DER, form))

    def sign(self, key: ProviderKey, data: bytes, scheme: Scheme) -> bytes:
        self._enter("sign")
        if self._is_exchanged():
            raise ProviderUnavailable("Another token is in place.")
        try:
            pem = self._file(key.key_id).read_bytes()
        except FileNotFoundError:
            raise KeyUnreadable("The token does not have the key.") from None
        # Validation would take a hundred times as long as a signature.
        private = ser.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        return _sign(private, data, scheme)

    def find(self) -> set[bytes]:
        self._enter("find")
        if self._is_exchanged():
            return set()
        return {bytes.fromhex(file.stem) for file in self._folder.glob("*.pem")}

    def destroy(self, key_id: bytes) -> None:
        self._enter("destroy")
        if not self._is_exchanged():
            self._file(key_id).unlink(missing_ok=True)

    def destroy_in(self, token: str, key_id: bytes) -> bool:
        if self._is_exchanged():
            return token != _TOKEN
        return super().destroy_in(token, key_id)

    def status(self) -> ProviderStatus:
        return ProviderStatus(
            self._is_open,
            "" if self._is_open else "The folder is closed.",
            sessions=int(self._is_open),
            reconnects=self._reconnects,
        )

    def _enter(self, name: str) -> None:
        """Begin a call: connect again if that is necessary, and wait while a test holds it."""
        if (self._folder / "away").exists():
            self._is_open = False
            raise ProviderUnavailable("There is no folder.")
        self.open()
        until = time.monotonic() + _LONGEST
        held = [self._folder / "hold", self._folder / f"hold-{name}"]
        while any(file.exists() for file in held) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY)

    def _is_exchanged(self) -> bool:
        return (self._folder / "exchanged").exists()

    def _file(self, key_id: bytes) -> Path:
        return self._folder / f"{key_id.hex()}.pem"


def _generate(algorithm: str) -> PrivateKey:
    if algorithm in _BITS:
        return rsa.generate_private_key(65537, _BITS[algorithm])
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def _sign(key: Any, data: bytes, scheme: Scheme) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    digest: Any = None if scheme.hash is None else HASHES[scheme.hash]
    hashed: Any = utils.NoDigestInfo() if digest is None else utils.Prehashed(digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.key_size + 7) // 8
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    padded: padding.AsymmetricPadding = padding.PKCS1v15()
    if scheme.name == "rsa-pss":
        padded = padding.PSS(padding.MGF1(digest), scheme.salt_length or 0)
    signature: bytes = key.sign(data, padded, hashed)
    return signature
