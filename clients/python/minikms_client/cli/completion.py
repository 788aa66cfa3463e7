"""Shell completion of names from the service and from the user's file."""

import os
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import click
from click.shell_completion import BashComplete, CompletionItem, split_arg_string

from minikms_client import Client
from minikms_client.cli.context_file import Contexts
from minikms_client.cli.session import Session
from minikms_client.errors import MinikmsError

Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Find: TypeAlias = Callable[[Client, str], Iterable[str]]

_SECONDS: Final = 3
# A word that needs no quotes in a shell, and is not an option. Other names are not offered: an
# alias such as $(reboot) or --url=… would take effect when the line is entered.
_WORD: Final = re.compile(r"[\w@%+=:,./][\w@%+=:,./#-]*", re.ASCII)


def _items(found: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return each name that begins with `incomplete`, once."""
    names = dict.fromkeys(name for name in found if name.startswith(incomplete))
    return [CompletionItem(name) for name in names if _WORD.fullmatch(name)]


def _from_the_service(find: Find) -> Complete:
    """Make a completion for names that `find` gets from the service."""

    def complete(
        context: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            with Session(context.find_root()).connect(timeout=_SECONDS, retries=0) as client:
                return _items(find(client, incomplete), incomplete)
        except (MinikmsError, click.ClickException):
            return []  # An error would disturb the line that is being typed.

    return complete


def contexts(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a context."""
    try:
        return _items(Contexts.read().by_name, incomplete)
    except click.ClickException:
        return []


def _keys(client: Client, incomplete: str) -> Iterable[str]:
    """Return aliases of the first 1,000 keys, or kids if a key has no alias or a kid is begun."""
    for key in client.list_keys(limit=1000).keys:
        yield from key.aliases
        if incomplete or not key.aliases:
            yield key.kid


def _aliases(client: Client, _: str) -> Iterable[str]:
    return (alias for key in client.list_keys(limit=1000).keys for alias in key.aliases)


def _algorithms(client: Client, _: str) -> Iterable[str]:
    return (algorithm.name for algorithm in client.list_algorithms())


def _jose_names(client: Client, _: str) -> Iterable[str]:
    return (name for algorithm in client.list_algorithms() for name in algorithm.jose_algs)


def _operations(client: Client, _: str) -> Iterable[str]:
    return (name for algorithm in client.list_algorithms() for name in algorithm.operations)


def _profiles(client: Client, _: str) -> Iterable[str]:
    return client.list_profiles()


def _scopes(client: Client, _: str) -> Iterable[str]:
    names: list[str] = client.openapi()["components"]["schemas"]["Scope"]["enum"]
    return names


def _tokens(client: Client, _: str) -> Iterable[str]:
    return (token.id for token in client.list_tokens())


keys: Final = _from_the_service(_keys)
"""Complete the name of a key: an alias or its kid."""
aliases: Final = _from_the_service(_aliases)
algorithms: Final = _from_the_service(_algorithms)
jose_names: Final = _from_the_service(_jose_names)
operations: Final = _from_the_service(_operations)
profiles: Final = _from_the_service(_profiles)
scopes: Final = _from_the_service(_scopes)
tokens: Final = _from_the_service(_tokens)


class Bash(BashComplete):
    """Completion in bash, which ends words at colons; DID URLs contain colons."""

    source_template = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env MKMS_LINE="${COMP_LINE:0:COMP_POINT}" MKMS_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
    _kept = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the incomplete word."""
        line = os.environ.get("MKMS_LINE")
        if line is None:  # a script printed by an earlier version
            return super().get_completion_args()
        words = split_arg_string(line)
        word = "" if line[-1:].isspace() else words.pop()
        value = word.partition("=")[2] if word.startswith("--") else word
        breaks = [value.rfind(sign) for sign in ":=" if sign in os.environ.get("MKMS_BREAKS", "")]
        self._kept = value[: max(breaks, default=-1) + 1]
        return words[1:], word

    def format_completion(self, item: CompletionItem) -> str:
        """Omit the part of the value up to its last colon: bash keeps that part."""
        item.value = item.value.removeprefix(self._kept)
        return super().format_completion(item)
