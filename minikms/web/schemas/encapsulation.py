"""Bodies of key encapsulation: each request, followed by its answer."""

from marshmallow import Schema

from minikms.web.schemas.base import ByKey, ToJwk
from minikms.web.schemas.fields import Base64Url


class EncapsulateRequest(ToJwk):
    """Whom the secret is for."""


class EncapsulatedSecret(Schema):
    """A new secret, and the ciphertext that it travels in."""

    ciphertext = Base64Url("What the recipient decapsulates.", required=True)
    secret = Base64Url("The secret, 32 bytes, uniformly random.", required=True)


class DecapsulateRequest(ByKey):
    """What encapsulate gave."""

    ciphertext = Base64Url("The ciphertext.", required=True)


class DecapsulatedSecret(Schema):
    """The secret of a ciphertext; another one, where the ciphertext does not fit the key."""

    secret = Base64Url("The secret.", required=True)
