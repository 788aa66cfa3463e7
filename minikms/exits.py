"""The exit of a command that fails."""

import sys
from typing import NoReturn

import click


def fail(message: str, code: int) -> NoReturn:
    """Exit with this code, and one sentence on standard error."""
    click.echo(f"minikms: {message}", err=True)
    sys.exit(code)
