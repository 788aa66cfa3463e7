"""The contract of an algorithm, put together from a part for each thing that it can do."""

from minikms.testing.facts import FactsContract
from minikms.testing.imports import (
    JwkImporterContract,
    PrivateJwkContract,
    SecretImporterContract,
    SeedImporterContract,
)
from minikms.testing.keys import KeyContract, PublicContract
from minikms.testing.secrecy import AeadContract, KeyAgreementContract, KeyWrapContract
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
    KeyWrapContract,
    KeyAgreementContract,
    JwkImporterContract,
    PrivateJwkContract,
    SecretImporterContract,
    SeedImporterContract,
):
    """All that an algorithm promises; a subclass names the one that it tests as `algorithm`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for contract in AlgorithmContract.__bases__:
            parts = vars(contract).get("applies_to", ())
            if not all(isinstance(cls.algorithm, part) for part in parts):
                for name in vars(contract):
                    if name.startswith("test_"):
                        setattr(cls, name, None)  # which pytest does not collect
