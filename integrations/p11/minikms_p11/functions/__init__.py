"""The functions of PKCS#11 that programs call, by name."""

from collections.abc import Mapping
from typing import Final

from minikms_p11.functions import (
    ciphers,
    digests,
    general,
    keypairs,
    objects,
    sessions,
    signatures,
)
from minikms_p11.functions.answers import Function

FUNCTIONS: Final[Mapping[str, Function]] = {
    **general.FUNCTIONS,
    **sessions.FUNCTIONS,
    **objects.FUNCTIONS,
    **digests.FUNCTIONS,
    **signatures.FUNCTIONS,
    **ciphers.FUNCTIONS,
    **keypairs.FUNCTIONS,
}
