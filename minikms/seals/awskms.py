"""A seal by a symmetric key of AWS KMS, with the credentials that boto3 finds."""

import logging
from typing import Any, Final

from minikms.basics.addresses import service_url
from minikms.seals.seal import Seal, SealFault, SealUnavailable, seal_options

_TIMEOUT: Final = 5  # seconds

# botocore does not raise its own errors for an unexpected body, such as `null` or a list.
_MALFORMED: Final = (AttributeError, LookupError, TypeError, ValueError)

# AWS's error codes for a ciphertext that is malformed or from another key.
_FINAL: Final = ("InvalidCiphertextException", "IncorrectKeyException", "ValidationException")


class AwsKms(Seal):
    """Encrypts by `Encrypt`, with the associated data as the encryption context."""

    def __init__(self, uri: str) -> None:
        self._key, _, query = uri.removeprefix("awskms:").partition("?")
        if not self._key:
            raise ValueError("It is awskms:KEYID?region=REGION.")
        options = seal_options(query, ("region", "endpoint"))
        self._region, self._endpoint = options.get("region"), options.get("endpoint")
        if self._endpoint:
            service_url(self._endpoint)

    def seal(self, secret: bytes, associated_data: bytes) -> bytes:
        return self._call("encrypt", "CiphertextBlob", associated_data, Plaintext=secret)

    def unseal(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        return self._call("decrypt", "Plaintext", associated_data, CiphertextBlob=ciphertext)

    def _call(self, operation: str, wanted: str, associated_data: bytes, **members: bytes) -> bytes:
        """Call AWS, and return a member of the answer."""
        try:
            import boto3  # optional, and takes long to import
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise SealFault("It needs boto3: install minikms-server[aws-seal].") from None
        logging.getLogger("botocore").setLevel(logging.WARNING)  # they contain the key
        config = Config(
            connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"total_max_attempts": 1}
        )
        context = {"minikms": associated_data.decode()}
        try:
            client: Any = boto3.Session().client(
                "kms", region_name=self._region, endpoint_url=self._endpoint, config=config
            )
            call = getattr(client, operation)
            member: bytes = call(KeyId=self._key, EncryptionContext=context, **members)[wanted]
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            failure = SealFault if code in _FINAL else SealUnavailable
            raise failure(f"It answers {code}.") from None
        except BotoCoreError as exc:
            raise SealUnavailable(f"It cannot be called: {type(exc).__name__}.") from None
        except _MALFORMED:
            raise SealUnavailable("Its answer is not in AWS's format.") from None
        return member
