"""The public JWK of a key, checked, so that no faulty algorithm reveals a private key."""

from typing import Any

from minikms.encodings import PRIVATE_MEMBERS
from minikms.plugin.protocol import KeyPairAlgorithm


class PublicJwkIsPrivate(TypeError):
    """The `public_jwk` of an algorithm has a private member."""


def public_jwk(algorithm: KeyPairAlgorithm[Any, Any], key: Any) -> dict[str, str]:
    """The public JWK of a key; raises PublicJwkIsPrivate."""
    jwk = algorithm.public_jwk(key)
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise PublicJwkIsPrivate(algorithm.name)
    return jwk
