"""Flags and variables of the command line, made from the fields of `Config`."""

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from minikms.config import ENV_PREFIX, Config

Command = Callable[..., Any]


def options_of_config(*names: str) -> Callable[[Command], Command]:
    """Give a command the flags of these fields of `Config`, of all of them where none is named."""

    def decorate(command: Command) -> Command:
        for field in reversed(dataclasses.fields(Config)):
            if not field.metadata["flag"] or (names and field.name not in names):
                continue
            kind: Any = str
            flag = "--" + field.name.replace("_", "-")
            if isinstance(field.default, bool):
                kind, flag = bool, f"{flag}/--no-{flag.removeprefix('--')}"
            elif isinstance(field.default, int):
                kind = click.IntRange(*field.metadata["limits"])
            elif field.metadata["choices"]:
                kind = click.Choice(field.metadata["choices"])
            command = click.option(
                flag,
                envvar=ENV_PREFIX + field.name.upper(),
                default=field.default,
                type=kind,
                help=field.metadata["help"],
                show_default=True,
                show_envvar=True,
            )(command)
        return command

    return decorate


def config_of(options: dict[str, Any]) -> Config:
    """The configuration of these options, and of the variables that have no flag."""
    hidden: dict[str, Any] = {
        field.name: os.environ.get(ENV_PREFIX + field.name.upper(), field.default)
        for field in dataclasses.fields(Config)
        if not field.metadata["flag"]
    }
    return Config(**options, **hidden)


def fail(message: str, code: int) -> NoReturn:
    """End the process with a code and one sentence on standard error."""
    click.echo(f"minikms: {message}", err=True)
    sys.exit(code)
