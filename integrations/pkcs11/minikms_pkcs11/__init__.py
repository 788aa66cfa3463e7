"""Keys of Mini KMS in a PKCS#11 token: a provider for `minikms serve --provider`."""

from minikms_pkcs11.provider import Pkcs11Provider

__all__ = ["Pkcs11Provider"]
