"""The exit of a failed command."""

import sys
from typing import NoReturn

import click


def fail(message: str, code: int) -> NoReturn:
    """Write one sentence to standard error and exit with this code."""
    click.echo(f"minikms: {message}", err=True)
    sys.exit(code)
