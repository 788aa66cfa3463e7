"""Vault's key types, and the algorithm of each."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from minikms.doors import AlgorithmRegistry, KeyRecord
from minikms_vault.errors import VaultError, invalid


class KeyType(NamedTuple):
    """One of Vault's key types, and its algorithm.

    In the answer to a read, `keys` is the name of each version, and `facts` are further members.
    """

    name: str
    alg: str
    keys: str = ""
    encrypts: bool = False
    signs: bool = False
    derives: bool = False
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def is_symmetric(self) -> bool:
        """Tell whether keys of this type are symmetric encryption keys."""
        return self.encrypts and not self.signs

    @property
    def is_hmac(self) -> bool:
        """Tell whether keys of this type only make MACs."""
        return not self.encrypts and not self.signs


class KeyTypes:
    """The types whose algorithm is installed."""

    def __init__(self, registry: AlgorithmRegistry) -> None:
        there = {entry.algorithm.name for entry in registry}
        self._by_alg = {each.alg: each for each in _all() if each.alg in there}

    def of(self, record: KeyRecord) -> KeyType | None:
        """Find the type of a key; None if Vault has no such type."""
        return self._by_alg.get(record.alg)

    def named(self, name: str) -> list[KeyType]:
        """Find the types with a name; HMAC and Vault's name for ML-DSA have several types.

        Raises VaultError with 400 for an unknown name.
        """
        names = _ML_DSA if name == ML_DSA else (_OLD_NAMES.get(name, name),)
        found = [each for each in self._by_alg.values() if each.name in names]
        if not found:
            raise invalid(f"unknown key type {name}")
        return found

    def get(self, name: str, key_size: int = 0, parameter_set: str = "") -> KeyType:
        """Find a type by its name; `hmac` also needs a size, and `ml-dsa` a parameter set.

        Raises VaultError with 400.
        """
        if name == ML_DSA:
            if f"{ML_DSA}-{parameter_set}" not in _OLD_NAMES:
                raise invalid("parameter_set is 44, 65 or 87 for ml-dsa")
            name = f"{ML_DSA}-{parameter_set}"
        found = self.named(name)
        if found[0].is_hmac:
            size = key_size or _HMAC_SIZE
            found = [each for each in found if each.facts["key_size"] == size]
            if not found:
                raise _no_size(size)
        elif key_size:
            raise invalid(f"key_size is not valid for algorithm {name}")
        return found[0]


@lru_cache(maxsize=8)
def key_types(registry: AlgorithmRegistry) -> KeyTypes:
    """Return the types of a service."""
    return KeyTypes(registry)


_HMAC_SIZE: Final = 32
_HMAC_SIZES: Final = range(32, 513)
ML_DSA: Final = "ml-dsa"
"""The type of HashiCorp's Vault for ML-DSA with any parameter set; OpenBao has a type for each."""
_PARAMETER_SETS: Final = ("44", "65", "87")
_ML_DSA: Final = tuple(f"mldsa-{each}" for each in _PARAMETER_SETS)
# Names that this door used first.
_OLD_NAMES: Final = {f"{ML_DSA}-{each}": f"mldsa-{each}" for each in _PARAMETER_SETS}


def _no_size(key_size: int) -> VaultError:
    if key_size not in _HMAC_SIZES:
        return invalid(f"invalid key_size {key_size}")
    return invalid("key_size is 32, 48 or 64: an HMAC key here is as long as its hash")


def _all() -> Iterator[KeyType]:
    for name, alg in (
        ("aes128-gcm96", "a128gcm"),
        ("aes256-gcm96", "a256gcm"),
        ("chacha20-poly1305", "c20p"),
        ("xchacha20-poly1305", "xc20p"),
    ):
        yield KeyType(name, alg, encrypts=True, derives=True)
    yield KeyType("ed25519", "ed25519", "ed25519", signs=True, derives=True)
    for name, alg, curve in (
        ("ecdsa-p256", "p256", "P-256"),
        ("ecdsa-p384", "p384", "P-384"),
        ("ecdsa-p521", "p521", "P-521"),
        ("ecdsa-secp256k1", "k256", "secp256k1"),
    ):
        yield KeyType(name, alg, curve, signs=True)
    for size in (2048, 3072, 4096):
        yield KeyType(f"rsa-{size}", f"rsa{size}", f"rsa-{size}", encrypts=True, signs=True)
    for each in _PARAMETER_SETS:
        yield KeyType(f"mldsa-{each}", f"mldsa{each}", f"mldsa-{each}", signs=True)
    for bits in (256, 384, 512):
        yield KeyType("hmac", f"hs{bits}", facts={"key_size": bits // 8})
