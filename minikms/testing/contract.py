"""The whole contract of an algorithm, with a part for each capability."""

from minikms.testing.boxes import BoxContract
from minikms.testing.encapsulation import HpkeContract, KemContract
from minikms.testing.facts import FactsContract
from minikms.testing.imports import (
    JwkImporterContract,
    PrivateJwkContract,
    SecretImporterContract,
    SeedImporterContract,
)
from minikms.testing.jwe import DirectContract, EphemeralKeyContract, JweContract
from minikms.testing.keys import KeyContract, PublicContract
from minikms.testing.secrecy import (
    AeadContract,
    KeyAgreementContract,
    KeyWrapContract,
    PublicKeyEncryptionContract,
)
from minikms.testing.signing import EcdsaContract, MacContract, MacSecretContract, SignerContract


class AlgorithmContract(
    FactsContract,
    KeyContract,
    PublicContract,
    SignerContract,
    EcdsaContract,
    MacContract,
    MacSecretContract,
    AeadContract,
    PublicKeyEncryptionContract,
    KeyWrapContract,
    KeyAgreementContract,
    JweContract,
    DirectContract,
    EphemeralKeyContract,
    BoxContract,
    KemContract,
    HpkeContract,
    JwkImporterContract,
    PrivateJwkContract,
    SecretImporterContract,
    SeedImporterContract,
):
    """All tests of an algorithm; a subclass sets `algorithm` to an instance."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for contract in AlgorithmContract.__bases__:
            parts = vars(contract).get("applies_to", ())
            if not all(isinstance(cls.algorithm, part) for part in parts):
                for name in vars(contract):
                    if name.startswith("test_"):
                        setattr(cls, name, None)  # not collected by pytest
