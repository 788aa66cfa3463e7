"""How a command ends that cannot go on."""

import sys
from typing import NoReturn

import click


def fail(message: str, code: int) -> NoReturn:
    """End the process with a code and one sentence on standard error."""
    click.echo(f"minikms: {message}", err=True)
    sys.exit(code)
