"""The session of every command: the client, the names of keys, and the output of answers."""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from minikms_client import AliasNotFound, Client, KeyNotFound
from minikms_client.cli.context_file import Contexts, Settings
from minikms_client.cli.display import show_members, show_rows, shown_time, visible
from minikms_client.cli.exits import NOT_FOUND, fail
from minikms_client.models import Key
from minikms_client.wire import encode, encode_time, whole_seconds

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_RETRIES: Final = 4  # people wait less than programs
# A SHA-256 thumbprint (RFC 7638) or a string of the same length, like the service's own kids.
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Session:
    """The client and the output format, by options, environment and context."""

    def __init__(self, root: click.Context) -> None:
        self._root = root

    @property
    def is_json(self) -> bool:
        """True if answers are shown as JSON."""
        return bool(self._root.params["is_json"])

    @cached_property
    def client(self) -> Client:
        """The client, which is closed when the command ends."""
        return self._root.with_resource(self.connect())

    def connect(self, settings: Settings | None = None, **options: Any) -> Client:
        """Make a client, by default with settings of the options, the environment and a context."""
        found = settings or self.settings()
        if (found.cert is None) != (found.cert_key is None):
            raise click.UsageError(
                "A certificate needs its private key: give --cert and --cert-key."
            )
        try:
            return Client(
                found.url,
                profile=found.profile,
                # Without a token, "" keeps the client from reading the environment again.
                token=found.token or (None if found.token_file else ""),
                token_file=found.token_file,
                ca=found.ca,
                cert=(found.cert, found.cert_key) if found.cert and found.cert_key else None,
                **{"timeout": self._root.params["timeout"], "retries": _RETRIES, **options},
            )
        except OSError as error:
            raise click.UsageError(f"A TLS file cannot be read: {error}.") from error

    def settings(self) -> Settings:
        """Merge the settings of the options, the environment and a context, in this order.

        A context that --context names comes before the environment. The current context applies
        only if neither an option nor the environment has a URL, so that its token is sent to its
        own service.
        """
        options, environment = self.options(), self.environment()
        if self._is_option("context"):
            if options.url is not None:
                raise click.UsageError("Use --context or --url, not both.")
            context = Contexts.read().named(self._root.params["context"])
            if environment.url not in (None, context.url):
                environment = environment.without_token()  # the token is for the other service
            return options.over(context).over(environment)
        given, name = options.over(environment), self.applied_context()
        return given if name is None else given.over(Contexts.read().named(name))

    def applied_context(self) -> str | None:
        """Return the name of the context that applies, None if none does."""
        if self._is_option("context"):
            return self.context
        if self.options().over(self.environment()).url is not None:
            return None
        return self.context or Contexts.read().current

    @property
    def context(self) -> str | None:
        """The name in --context or MINIKMS_CONTEXT."""
        name: str | None = self._root.params["context"]
        return name

    def options(self) -> Settings:
        """Return the settings given as options."""
        return self._settings_from(ParameterSource.COMMANDLINE)

    def environment(self) -> Settings:
        """Return the settings of the environment; a token has precedence over its file."""
        found = self._settings_from(ParameterSource.ENVIRONMENT)
        tokens = Settings(token=os.environ.get("MINIKMS_TOKEN"))
        files = Settings(token_file=os.environ.get("MINIKMS_TOKEN_FILE"))
        return tokens.over(files).over(found)

    def _settings_from(self, source: ParameterSource) -> Settings:
        """Return the settings with values from this source."""
        names = ("url", "profile", "token_file", "ca", "cert", "cert_key")
        given = {name: self._root.params[name] for name in names if self._is_from(source, name)}
        return Settings(**{name: str(value) for name, value in given.items() if value})

    def _is_option(self, name: str) -> bool:
        return self._is_from(ParameterSource.COMMANDLINE, name)

    def _is_from(self, source: ParameterSource, name: str) -> bool:
        return self._root.get_parameter_source(name) is source

    def by_name(self, name: str, call: Callable[..., ResultT]) -> ResultT:
        """Return the result of `call(alias=…)`; a name like a kid is first tried as `call(kid=…)`.

        Only an alias that looks like a kid needs two calls; the first fails.
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
        """Print an answer: cells separated by tabs, or all members as JSON."""
        if self.is_json:
            self.show_json(answer)
        else:
            click.echo("\t".join(map(visible, cells) if sys.stdout.isatty() else cells))

    def show_json(self, answer: object) -> None:
        """Print all members of an answer as a line of JSON, in ASCII."""
        click.echo(json.dumps(plain(answer)))

    def show_key(self, key: Key) -> None:
        """Print a key: a table for people, its kid in a pipe."""
        self.show_whole(key, key.kid)

    def show_whole(self, answer: object, *cells: str) -> None:
        """Print all members of an answer as a table for people, or its cells in a pipe."""
        if self.is_json or not sys.stdout.isatty():
            self.show(answer, *cells)
        else:
            show_members(plain(answer, shown_time))

    def show_rows(
        self, rows: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]]
    ) -> None:
        """Print rows as they come: a table for people, lines with tabs in a pipe, or JSON lines."""
        if sys.stdout.isatty() and not self.is_json:
            show_rows(rows, columns)
            return
        for row in rows:
            self.show(row, *(column(row) for column in columns.values()))


def plain(value: object, time: Callable[[datetime], str | None] = encode_time) -> Any:
    """Convert an answer to JSON values: the API's names, bytes in base64url, times by `time`."""
    match value:
        case bytes():
            return encode(value)
        case datetime():
            return time(value)
        case timedelta():
            return whole_seconds(value)
        case Mapping():
            return {name: plain(item, time) for name, item in value.items()}
        case list() | tuple():
            return [plain(item, time) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name.rstrip("_"): plain(getattr(value, field.name), time)
            for field in dataclasses.fields(value)
        }
    return value


pass_session = click.make_pass_decorator(Session)
