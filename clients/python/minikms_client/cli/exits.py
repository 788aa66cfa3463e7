"""Exit codes, and errors as one sentence."""

import ssl
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import click
from httpx import RemoteProtocolError

from minikms_client.cli.display import tell
from minikms_client.errors import (
    InvalidSetting,
    MinikmsError,
    NotFound,
    ProblemError,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    caused_by,
)

NOT_VALID: Final = 1
"""The signature, JWS or code is not valid."""
WRONG_USAGE: Final = 2
"""The command line is wrong; click uses the same code."""
NOT_FOUND: Final = 3
"""There is no such key, alias, profile or token."""
NOT_PERMITTED: Final = 4
"""The token is missing, not valid, or does not permit the call."""
REFUSED: Final = 5
"""The service refuses the call."""
NO_ANSWER: Final = 6
"""The service cannot be reached, or cannot answer now."""
FAULT: Final = 7
"""An unforeseen fault."""
STOPPED: Final = 130
"""Control-C, for which shells use this code, or a question not answered by yes."""


# OpenSSL's X509_V_ERR_… of a chain that ends at an authority that is not trusted.
_UNKNOWN_AUTHORITY: Final = frozenset({18, 19, 20, 21})


def code_of(error: MinikmsError) -> int:
    """Return the exit code for an error."""
    match error:
        case InvalidSetting():
            return WRONG_USAGE
        case Unreachable() | UnexpectedAnswer() | Unavailable() | TooManyAttempts():
            return NO_ANSWER
        case NotFound():
            return NOT_FOUND
        case ProblemError(status=401 | 403):
            return NOT_PERMITTED
        case ProblemError(status=status) if status >= 500:
            return NO_ANSWER
        case _:
            return REFUSED


def fail(message: str, code: int) -> NoReturn:
    """Exit with a sentence on standard error; parts of it may come from a service."""
    tell(f"mkms: {' '.join(message.split())}")
    sys.exit(code)


def sentence(error: MinikmsError, spelling: Callable[[str], str] = str) -> str:
    """Return the message for an error, with the next step if there is one.

    `spelling` returns the option of a JSON pointer into the request.
    """
    match error:
        case Unauthenticated():
            sources = "--token-file, MINIKMS_TOKEN, MINIKMS_TOKEN_FILE or mkms login"
            return f"{error} The token comes from {sources}."
        case ProblemError():
            faults = (f"{spelling(pointer)}: {fault}" for pointer, fault in error.errors)
            return " ".join((error.detail, *faults))
        case Unreachable() if caused_by(error, ConnectionRefusedError):
            return f"{error} Start a service with `minikms serve`, or name another one with --url."
        case Unreachable() if caused_by(error, RemoteProtocolError):
            if str(error).startswith("http:"):
                return f"{error} If it speaks TLS there, its URL begins with https://."
        case Unreachable() if cause := caused_by(error, ssl.SSLCertVerificationError):
            if cause.verify_code in _UNKNOWN_AUTHORITY:
                return f"{error} If you trust its authority, name it with --ca."
    return str(error)


@contextmanager
def sentences(spelling: Callable[[str], str] = str) -> Iterator[None]:
    """Turn an error into a sentence and an exit code; `spelling` is as in `sentence`."""
    try:
        yield
    except MinikmsError as error:
        fail(sentence(error, spelling), code_of(error))
    except BrokenPipeError:
        # The reader closed the pipe, like `head`: nothing more is written, even at the exit.
        sys.stdout = None
        sys.exit(0)
    except OSError as error:
        # Python's own code for it is 1, which says that a signature is not valid. Output that could
        # not be written is not written at the exit either.
        sys.stdout = None
        fail(f"{error.strerror or error}.", WRONG_USAGE)
    except (click.Abort, KeyboardInterrupt):
        fail("Stopped.", STOPPED)
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        # Its message may contain a secret.
        at = traceback.extract_tb(error.__traceback__)[-1]
        name = type(error).__name__
        fail(f"This is a fault of mkms: {name} in {at.name}, {at.filename}:{at.lineno}.", FAULT)
