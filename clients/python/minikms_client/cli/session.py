"""The session of every command: the client, the names of keys, and the output of answers."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

import click

from minikms_client import AliasNotFound, Client, KeyNotFound
from minikms_client.cli.display import show_members, show_rows, visible
from minikms_client.cli.exits import NOT_FOUND, fail
from minikms_client.models import Key
from minikms_client.wire import encode, encode_time

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
# A SHA-256 thumbprint (RFC 7638), or as long: the form of the service's own kids.
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Session:
    """The client and the output format, as the options say."""

    def __init__(self, context: click.Context, options: dict[str, Any]) -> None:
        self._context = context
        self._options = options

    def change(self, name: str, value: object) -> None:
        """Set an option that comes after the command, before the client is made."""
        self._options[name] = value

    @property
    def is_json(self) -> bool:
        """True if answers are shown as JSON."""
        return bool(self._options["is_json"])

    @cached_property
    def client(self) -> Client:
        """The client, which is closed when the command ends."""
        options = {name: value for name, value in self._options.items() if name != "is_json"}
        cert, key = options.pop("cert"), options.pop("cert_key")
        if (cert is None) != (key is None):
            raise click.UsageError(
                "A certificate needs its private key: give --cert and --cert-key."
            )
        try:
            client = Client(**options, cert=None if cert is None else (cert, key))
        except OSError as error:
            raise click.UsageError(f"A TLS file cannot be read: {error}.") from error
        return self._context.with_resource(client)

    def by_name(self, name: str, call: Callable[..., ResultT]) -> ResultT:
        """Return the result of `call(alias=…)`; a name like a kid is first tried as `call(kid=…)`.

        So only an alias of that form needs two calls, the first of which fails.
        """
        if _KID.fullmatch(name):
            try:
                return call(kid=name)
            except KeyNotFound:
                pass
        try:
            return call(alias=name)
        except AliasNotFound:
            fail(f"There is no key with the kid or the alias {name!r}.", NOT_FOUND)

    def by_alias(self, alias: str) -> Key:
        """Return the key with this alias."""
        try:
            return self.client.find_key(alias)
        except AliasNotFound:
            fail(f"There is no key with the alias {alias!r}.", NOT_FOUND)

    def kid(self, name: str) -> str:
        """Return the kid of the key with this kid or alias."""
        return self.key(name).kid

    def key(self, name: str) -> Key:
        """Return the key with this kid or alias."""
        return self.by_name(
            name,
            lambda kid=None, alias=None: (
                self.client.get_key(kid) if kid is not None else self.client.find_key(alias)
            ),
        )

    def show(self, answer: object, *cells: str) -> None:
        """Print an answer: its cells separated by tabs, or all of it as JSON."""
        if self.is_json:
            self.show_json(answer)
        else:
            click.echo("\t".join(map(visible, cells) if sys.stdout.isatty() else cells))

    def show_json(self, answer: object) -> None:
        """Print all of an answer as a line of JSON, in ASCII."""
        click.echo(json.dumps(plain(answer)))

    def show_key(self, key: Key) -> None:
        """Print a key: a table for people, its kid in a pipe."""
        if self.is_json or not sys.stdout.isatty():
            self.show(key, key.kid)
        else:
            show_members(plain(key))

    def show_rows(
        self, rows: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]]
    ) -> None:
        """Print rows as they come: a table for people, lines with tabs in a pipe, or JSON lines."""
        if sys.stdout.isatty() and not self.is_json:
            show_rows(rows, columns)
            return
        for row in rows:
            self.show(row, *(column(row) for column in columns.values()))


def plain(value: object) -> Any:
    """Convert an answer for JSON: the names of the API, bytes in base64url."""
    match value:
        case bytes():
            return encode(value)
        case datetime():
            return encode_time(value)
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return value


pass_session = click.make_pass_decorator(Session)
