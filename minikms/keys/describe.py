"""The record of a new key: all its public facts, computed once."""

import secrets
import time
from typing import Any, Literal

from minikms.encodings import PRIVATE_MEMBERS, b58, multikey, thumbprint
from minikms.errors import UnsupportedOperation
from minikms.plugin.protocol import KeyAlgorithm, KeyPairAlgorithm
from minikms.records import KeyPolicy, KeyRecord


def describe(
    algorithm: KeyAlgorithm[Any],
    key: Any,
    material: Literal["askar", "bytes", "none"],
    policy: KeyPolicy,
    operations: tuple[str, ...],
) -> KeyRecord:
    """The record of `key`, which is a public key if `material` is "none".

    `operations` come from `allowed_operations` for the policy.
    """
    jwk = public = None
    if isinstance(algorithm, KeyPairAlgorithm):
        jwk, public = public_jwk(algorithm, key), algorithm.public_bytes(key)
    multibase = None
    if public is not None and algorithm.multicodec is not None:
        multibase = multikey(algorithm.multicodec, public)
    return KeyRecord(
        # RFC 7638 section 7: the thumbprint of a secret would reveal something of it.
        kid=secrets.token_urlsafe(32) if jwk is None else thumbprint(jwk),
        alg=algorithm.name,
        kty=algorithm.kty,
        jwk=jwk,
        b58=None if public is None else b58(public),
        multikey=multibase,
        did=f"did:key:{multibase}" if multibase and algorithm.did_key else None,
        operations=operations,
        material=material,
        created=time.time_ns(),
        exportable=policy.exportable,
        labels=policy.labels,
        expires=policy.expires,
    )


def allowed_operations(
    algorithm: KeyAlgorithm[Any], policy: KeyPolicy, *, public_only: bool
) -> tuple[str, ...]:
    """The operations of a new key: named by the policy, or all that are not opt-in.

    Raises UnsupportedOperation for an operation that the key cannot do.
    """
    can = algorithm.public_operations if public_only else algorithm.key_operations
    if policy.operations is None:
        return tuple([op for op in can if op not in algorithm.opt_in])
    beyond = [op for op in policy.operations if op not in can]
    if beyond:
        raise UnsupportedOperation(f"Such a key can: {', '.join(can) or 'nothing'}.")
    return tuple([op for op in can if op in policy.operations])


class PublicJwkIsPrivate(TypeError):
    """The `public_jwk` of an algorithm has a private member."""


def public_jwk(algorithm: KeyPairAlgorithm[Any, Any], key: Any) -> dict[str, str]:
    """The public JWK of a key, checked, so that no faulty algorithm reveals a private key.

    Raises PublicJwkIsPrivate.
    """
    jwk = algorithm.public_jwk(key)
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise PublicJwkIsPrivate(algorithm.name)
    return jwk
