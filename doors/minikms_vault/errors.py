"""The errors of Vault: a status, and messages in `{"errors": [...]}`."""

from collections.abc import Mapping
from typing import Final

import orjson

from minikms.doors import KmsError, errors

PERMISSION_DENIED: Final = "permission denied"

# Slugs of Vault's own errors, used as outcomes in the audit log.
_SLUGS: Final[Mapping[int, str]] = {
    400: "vault-invalid-request",
    404: "vault-not-found",
    405: "vault-unsupported-operation",
}


class VaultError(KmsError):
    """An error with Vault's status and messages; without a message, `errors` is empty.

    `data` are members of a batch's answer beside the errors; `headers` go into the HTTP answer.
    """

    title = "The request was refused"

    def __init__(
        self,
        status: int,
        *sentences: str,
        data: Mapping[str, object] | None = None,
        slug: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.slug = status, slug or _SLUGS.get(status, "vault-refused")
        self.sentences, self.data = sentences, data
        super().__init__("; ".join(sentences), headers=headers)


def invalid(sentence: str) -> VaultError:
    """Return the error for a request that is not valid or that the key does not allow."""
    return VaultError(400, sentence)


def not_found() -> VaultError:
    """Return the error for a read that finds nothing; it has no message."""
    return VaultError(404)


# Errors with another status at this door, and Vault's message, if any.
_STATUSES: Final[Mapping[type[KmsError], tuple[int, str]]] = {
    errors.Unauthenticated: (403, PERMISSION_DENIED),
    errors.TooManyAttempts: (429, ""),
    # Vault wraps the message if the token is valid.
    errors.Forbidden: (403, f"1 error occurred:\n\t* {PERMISSION_DENIED}\n\n"),
    # Another tenant's profile looks as if it did not exist.
    errors.ProfileNotFound: (404, "namespace not found"),
    errors.NotExportable: (400, "key is not exportable"),
    errors.ApprovalRequired: (403, ""),
    errors.RuleViolated: (403, ""),
    errors.MethodNotAllowed: (405, "1 error occurred:\n\t* unsupported operation\n\n"),
    errors.RouteNotFound: (404, "1 error occurred:\n\t* unsupported path\n\n"),
}

# Statuses of the HTTP layer and of an unavailable service are kept. All others become 400, as in
# Vault.
_KEPT: Final = frozenset({404, 405, 408, 413, 421, 429, 431, 500, 503})


def as_vault(error: KmsError) -> tuple[int, tuple[str, ...]]:
    """Return the status and the messages of an error."""
    if isinstance(error, VaultError):
        return error.status, error.sentences
    if known := _STATUSES.get(type(error)):
        status, sentence = known
        return status, (sentence or error.detail,)
    # The HTTP API would also send each fault's JSON pointer.
    sentences = [sentence for _, sentence in error.errors] or [error.detail]
    return error.status if error.status in _KEPT else 400, tuple(sentences)


def body_of(error: KmsError, sentences: tuple[str, ...]) -> bytes:
    """Return the body of an error."""
    body: dict[str, object] = {"errors": sentences}
    if isinstance(error, VaultError) and error.data is not None:
        body["data"] = error.data
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
