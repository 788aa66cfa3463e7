"""Exit codes, and errors as one sentence."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import click

from minikms_client.cli.display import visible
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
)

NOT_VALID: Final = 1
"""What was to be verified is not valid."""
WRONG_USAGE: Final = 2
"""The command cannot be done as it was typed; click's code for it too."""
NOT_FOUND: Final = 3
"""There is no such key, alias, profile or token."""
NOT_PERMITTED: Final = 4
"""The token is missing, not valid, or not for this."""
REFUSED: Final = 5
"""The service does not do this, as it was asked for."""
NO_ANSWER: Final = 6
"""The service is not there, or cannot answer now."""
FAULT: Final = 7
"""Something that no code here has foreseen."""
STOPPED: Final = 130
"""Control-C, or a question that was not answered by yes: what a shell has for the former."""


def code_of(error: MinikmsError) -> int:
    """The exit code that says the kind of an error."""
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
    """End with a sentence on standard error, of which a service may have written a part."""
    click.echo(f"mkms: {visible(' '.join(message.split()))}", err=True)
    sys.exit(code)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what goes wrong into a sentence and an exit code."""
    try:
        yield
    except Unauthenticated as error:
        sources = "--token-file, MINIKMS_TOKEN or MINIKMS_TOKEN_FILE"
        fail(f"{error} The token comes from {sources}.", code_of(error))
    except MinikmsError as error:
        fail(str(error), code_of(error))
    except BrokenPipeError:
        # Whoever read has enough, as `head`: nothing more is written, not at the exit either.
        sys.stdout = None
        sys.exit(0)
    except OSError as error:
        # Python's own code for it is 1, which says that a signature is not valid. What standard
        # output could not take is not written at the exit either.
        sys.stdout = None
        fail(f"{error.strerror or error}.", WRONG_USAGE)
    except (click.Abort, KeyboardInterrupt):
        fail("Stopped.", STOPPED)
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        # Its text may have what is secret.
        at = traceback.extract_tb(error.__traceback__)[-1]
        name = type(error).__name__
        fail(f"This is a fault of mkms: {name} in {at.name}, {at.filename}:{at.lineno}.", FAULT)
