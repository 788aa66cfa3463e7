"""`mkms key`: make, import, list, change, name and delete keys."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Group
from minikms_client.cli.data import contents, from_json, from_text
from minikms_client.cli.display import last_use, progress, shown_time, visible
from minikms_client.cli.session import Session, pass_session
from minikms_client.cli.times import after_option, bound_option, duration_option, expires_option
from minikms_client.models import Key
from minikms_client.shapes import moment, optional, seconds
from minikms_client.wire import UNSET, UnsetType

_MOST_ALIASES = 5
_TAKEN = click.Choice(["move", "refuse"])
_TAKEN_HELP = "If another key has the alias, move it or refuse the call."
_STATES = click.Choice(["enabled", "disabled", "verify-only"])
_SCHEDULED = "deletion-scheduled"
_NEXT = "next"
_LISTED = click.Choice([*_STATES.choices, _NEXT, _SCHEDULED])


def _labels(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Parse labels of the form `NAME=VALUE`."""
    if wrong := [label for label in given if "=" not in label]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE.")
    return dict(label.split("=", 1) for label in given)


_expires_option = expires_option(
    "When the key stops signing and encrypting, and only verifies and decrypts"
)
_rotate_every_option = duration_option(
    "--rotate-every", "Let the service rotate the key, such as every 90d."
)
_PUBLISH_AHEAD = "--publish-ahead", "Publish the next key so long before each scheduled rotation"
_RETIRE_AFTER = "--retire-after", "Disable a replaced key so long after its rotation"
_delete_after_option = duration_option(
    "--delete-after", "Let the service delete the key, such as after 10m; at most 24h."
)
_labels_option = click.option(
    "--label",
    "labels",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_labels,
    help="A label of the key; repeatable.",
)


def _rules(_: click.Context, __: click.Parameter, given: str | None) -> str | dict[str, Any] | None:
    """Parse rules: an object in JSON, or the name of a preset."""
    if given is None or not given.lstrip().startswith("{"):
        return given
    found: dict[str, Any] = from_json(given.encode(), "RULES")
    return found


def _takes_new_key(command: Any) -> Any:
    """Add the argument and the options of a new key to a command."""
    for option in (
        _expires_option,
        _rotate_every_option,
        duration_option(_PUBLISH_AHEAD[0], f"{_PUBLISH_AHEAD[1]}, such as 2d."),
        duration_option(_RETIRE_AFTER[0], f"{_RETIRE_AFTER[1]}, such as 31d."),
        _delete_after_option,
        click.option("--exportable", is_flag=True, help="Allow export of the private part."),
        click.option(
            "--operation",
            "operations",
            shell_complete=completion.operations,
            multiple=True,
            help="An operation that the key may be used for; repeatable.",
        ),
        click.option(
            "--rules",
            callback=_rules,
            help="Rules of the key: a JSON object, or a name such as sd-jwt-vc.",
        ),
        _labels_option,
        click.option(
            "--alias-taken",
            type=_TAKEN,
            help=_TAKEN_HELP,
        ),
        click.option("--alias", help="An alias of the key, which moves if another key has it."),
        click.argument("name", required=False),
    ):
        command = option(command)
    return command


def _given(name: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; NAME is an alias that no other key may have."""
    given = {name: value for name, value in options.items() if value not in (None, (), {}, False)}
    if name is None:
        return given
    if "alias" in given:
        raise click.UsageError("Give NAME or --alias, not both.")
    return {"alias_taken": "refuse", **given, "alias": name}


@click.group(cls=Group)
def key() -> None:
    """Make, import, list, change and delete keys."""


@key.command(
    examples="mkms key generate p256 issuer\n"
    "mkms key generate ed25519 --alias did:example:123#key-1\n"
    "mkms key generate p256 --operation sign --label use=login --expires 90d\n"
    "mkms key generate p256 --operation jwe-decrypt --delete-after 10m\n"
    "mkms key generate ed25519 --count 100 >kids",
)
@click.argument("alg", shell_complete=completion.algorithms)
@click.option("--count", type=click.IntRange(1), default=1, help="Number of keys to make.")
@click.option("--provider", help="The provider that keeps the private key, such as an HSM.")
@_takes_new_key
@pass_session
def generate(session: Session, /, alg: str, name: str | None, count: int, **options: Any) -> None:
    """Make a key of the algorithm ALG, or many of them.

    NAME becomes the alias of the key, and must not be an alias of another key. `mkms algorithms`
    lists the algorithms.
    """
    given = _given(name, options)
    if count == 1:
        session.show_key(session.client.generate_key(alg, **given))
        return
    if "alias" in given or "alias_taken" in given:
        raise click.UsageError("Only one key can have the alias.")
    sizes = [min(1000, count - start) for start in range(0, count, 1000)]
    for size in progress(sizes, "Making keys"):
        for made in session.client.generate_keys(alg, size, **given):
            session.show(made, made.kid)


@key.command(
    "import",
    examples="mkms key import private.jwk imported\n"
    "mkms key import keys.ndjson --if-exists keep\n"
    "mkms key import seed.bin --as seed --alg ed25519",
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--alg",
    shell_complete=completion.algorithms,
    help="The algorithm, if FILE has a secret, a seed, or a JWK without it.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["jwk", "secret", "seed", "wrapped"]),
    default="jwk",
    help="Content of FILE: JWKs, or the bytes of one key.",
)
@click.option(
    "--unwrap-kid",
    shell_complete=completion.keys,
    help="The kid of the key that wrapped the bytes.",
)
@click.option(
    "--if-exists",
    type=click.Choice(["refuse", "keep"]),
    help="If the key exists, refuse the call or keep the key.",
)
@_takes_new_key
@pass_session
def import_(session: Session, /, file: Path, name: str | None, form: str, **options: Any) -> None:
    """Import the keys of FILE, or with - of standard input.

    NAME becomes the alias of a single key, and must not be an alias of another key.

    A FILE of JWKs contains one JWK, a JWK Set, or NDJSON: on each line a JWK or a body of POST
    /key/import, such as {"jwk": {...}, "alias": "..."}.
    """
    given = _given(name, options)
    if form != "jwk":
        session.show_key(session.client.import_key(**{**given, form: contents(file)}))
        return
    bodies = _bodies(contents(file))
    if not bodies:
        raise click.UsageError(f"{file} has no key.")
    if len(bodies) > 1 and "alias" in given:
        raise click.UsageError("Only one key can have the alias.")
    for body in progress(bodies, "Importing keys"):
        made = session.client.import_key(**{**given, **body})
        if len(bodies) == 1:
            session.show_key(made)
        else:
            session.show(made, made.kid)


def _bodies(text: bytes) -> list[dict[str, Any]]:
    """Return the fields of import_key for each key in a file."""
    try:
        whole = json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        items = [from_json(line, f"Line {n}") for n, line in enumerate(lines, 1)]
    else:
        items = whole["keys"] if isinstance(whole, dict) and "keys" in whole else [whole]
    return [_body(item) for item in items]


def _body(item: Any) -> dict[str, Any]:
    """Return the fields of import_key, from a JWK or a body of POST /key/import."""
    if not isinstance(item, dict):
        raise click.UsageError("The file has a value that is not a JSON object.")
    if "kty" in item:
        return {"jwk": item}
    fields = dict(item)
    for name in fields.keys() & {"secret", "seed", "wrapped"}:
        fields[name] = from_text(fields[name])
    for name in fields.keys() & {"rotate_every", "publish_ahead", "retire_after", "delete_after"}:
        fields[name] = optional(seconds, fields[name])
    if "expires" in fields:
        fields["expires"] = optional(moment, fields["expires"])
    return fields


def _state(key: Key) -> str:
    """Return the state of a key, and the time of its deletion, if scheduled."""
    if key.deletes is None:
        return key.state
    return f"{key.state}, deletes {shown_time(key.deletes)}"


def _is_in(key: Key, state: str | None) -> bool:
    """Tell whether a key is in a state, or scheduled for deletion."""
    if state == _SCHEDULED:
        return key.deletes is not None
    return state in (None, key.state)


_COLUMNS = {
    "kid": lambda key: key.kid,
    "alg": lambda key: key.alg,
    "state": _state,
    "created": lambda key: shown_time(key.created),
    "aliases": lambda key: " ".join(key.aliases),
    "used": last_use,
}


@key.command(
    "list",
    examples="mkms key list --alg p256 --label use=login\nmkms key list --state disabled --json\n"
    "mkms key list --state deletion-scheduled",
)
@click.option("--alg", shell_complete=completion.algorithms, help="Only keys of this algorithm.")
@click.option("--alias", shell_complete=completion.aliases, help="Only the key with this alias.")
@click.option(
    "--state", type=_LISTED, help="Only keys in this state, or whose deletion is scheduled."
)
@duration_option("--unused", "Only keys not used for this time, such as 90d.")
@click.option("--without-rules", is_flag=True, help="Only keys that have no rules.")
@_labels_option
@pass_session
def list_(
    session: Session,
    alg: str | None,
    alias: str | None,
    state: str | None,
    unused: timedelta | None,
    without_rules: bool,
    labels: dict[str, str],
) -> None:
    """List all keys, the oldest first."""
    only = _NEXT if state == _NEXT else None
    keys = session.client.keys(alg=alg, alias=alias, label=labels, unused=unused, state=only)
    session.show_rows(
        (key for key in keys if _is_in(key, state) and not (without_rules and key.rules)),
        _COLUMNS,
    )


@key.command(
    examples="mkms key show signer\nmkms key show signer --json\n"
    "mkms key show signer --pem >signer.pem",
)
@click.argument("name", shell_complete=completion.keys)
@click.option("--pem", "is_pem", is_flag=True, help="Print the public key in PEM.")
@pass_session
def show(session: Session, name: str, is_pem: bool) -> None:
    """Show the key NAME: its kid or an alias."""
    if not is_pem:
        session.show_key(session.key(name))
        return
    pem = session.by_name(name, session.client.get_pem)
    if session.is_json:
        session.show_json({"pem": pem})
    else:
        click.echo(visible(pem, keep="\n"), nl=False)


@key.command(
    examples="mkms key alias signer did:example:123#key-1",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("alias")
@click.option("--alias-taken", type=_TAKEN, help=_TAKEN_HELP)
@pass_session
def alias(session: Session, name: str, alias: str, alias_taken: str | None) -> None:
    """Give the key NAME an ALIAS."""
    made = session.client.associate_alias(session.kid(name), alias, alias_taken=alias_taken)
    session.show(made, made.kid)


@key.command(
    examples="mkms key unalias signer",
)
@click.argument("alias", shell_complete=completion.aliases)
@pass_session
def unalias(session: Session, alias: str) -> None:
    """Remove an ALIAS from its key."""
    gone = session.client.dissociate_alias(session.by_alias(alias).kid, alias)
    session.show(gone, gone.kid)


@key.command(
    examples="mkms key update signer --state verify-only\n"
    "mkms key update signer --expires 90d --label use=login",
)
@click.argument("name", shell_complete=completion.keys)
@click.option("--state", type=_STATES, help="The new state of the key.")
@_expires_option
@click.option("--never-expires", is_flag=True, help="Let the key never expire.")
@_rotate_every_option
@click.option("--never-rotate", is_flag=True, help="End the scheduled rotation of the key.")
@bound_option(*_PUBLISH_AHEAD)
@bound_option(*_RETIRE_AFTER)
@_labels_option
@pass_session
def update(
    session: Session,
    name: str,
    state: str | None,
    expires: datetime | None,
    never_expires: bool,
    rotate_every: timedelta | None,
    never_rotate: bool,
    publish_ahead: timedelta | UnsetType | None,
    retire_after: timedelta | UnsetType | None,
    labels: dict[str, str],
) -> None:
    """Change the key NAME; labels replace all of its labels."""
    if expires and never_expires:
        raise click.UsageError("Use --expires or --never-expires, not both.")
    if rotate_every and never_rotate:
        raise click.UsageError("Use --rotate-every or --never-rotate, not both.")
    is_changed = any((state, expires, never_expires, rotate_every, never_rotate, labels))
    if not is_changed and publish_ahead is UNSET and retire_after is UNSET:
        raise click.UsageError("Name a field to change.")
    session.show_key(
        session.client.update_key(
            session.kid(name),
            state=state,
            expires=None if never_expires else expires or UNSET,
            rotate_every=None if never_rotate else rotate_every or UNSET,
            publish_ahead=publish_ahead,
            retire_after=retire_after,
            labels=labels or None,
        )
    )


@key.command(
    examples="mkms key rules signer\nmkms key rules signer sd-jwt-vc",
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("rules", required=False, callback=_rules)
@pass_session
def rules(session: Session, name: str, rules: str | dict[str, Any] | None) -> None:
    """Show the rules of the key NAME, or replace them by RULES, which must be at least as tight.

    RULES are a JSON object, such as {"raw": false}, or a name such as sd-jwt-vc.
    """
    found = session.key(name)
    if rules is not None:
        found = session.client.update_key(found.kid, rules=rules)
    indent = 2 if sys.stdout.isatty() and not session.is_json else None
    click.echo(json.dumps(found.rules or {}, indent=indent))


@key.command(
    "next",
    examples="mkms key next signer",
)
@click.argument("name", shell_complete=completion.keys)
@pass_session
def next_(session: Session, name: str) -> None:
    """Show the next key of the key NAME, which its rotation will use; make it if needed."""
    session.show_key(session.client.next_key(session.kid(name)))


@key.command(
    examples="mkms key rotate signer\n"
    "mkms key next signer\nmkms key rotate signer --if-published 0s",
)
@click.argument("name", shell_complete=completion.keys)
@duration_option("--if-published", "Refuse unless the next key has been published so long.")
@pass_session
def rotate(session: Session, name: str, if_published: timedelta | None) -> None:
    """Replace the key NAME by its next key, or else a new one, which takes its aliases."""
    session.show_key(session.client.rotate_key(session.kid(name), if_published=if_published))


@key.command(
    examples="mkms key export backup >backup.jwk",
)
@click.argument("name", shell_complete=completion.keys)
@pass_session
def export(session: Session, name: str) -> None:
    """Print the private JWK of the key NAME, which was made exportable."""
    click.echo(json.dumps(session.client.export_key(session.kid(name))))


@key.command(
    examples="mkms key delete signer --after 7d\nmkms key delete signer --yes",
)
@click.argument("name", shell_complete=completion.keys)
@after_option
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@pass_session
def delete(session: Session, name: str, after: timedelta | None, yes: bool) -> None:
    """Delete the key NAME, now or after a time; on a terminal, ask first."""
    found = session.key(name)
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        what = "Delete" if after is None else "Schedule the deletion of"
        click.confirm(f"{what} the key {visible(found.kid)} ({_aliases(found)})?", abort=True)
    deletion = session.client.delete_key(found.kid, after=after)
    session.show(deletion, deletion.kid)


def _aliases(key: Key) -> str:
    """Return the first aliases of a key, for a question."""
    shown = ", ".join(map(visible, key.aliases[:_MOST_ALIASES])) or "no alias"
    more = len(key.aliases) - _MOST_ALIASES
    return f"{shown} and {more} more" if more > 0 else shown


@key.command(
    examples="mkms key delete signer --after 7d\nmkms key restore signer",
)
@click.argument("name", shell_complete=completion.keys)
@pass_session
def restore(session: Session, name: str) -> None:
    """Cancel the scheduled deletion of the key NAME."""
    session.show_key(session.client.restore_key(session.kid(name)))
