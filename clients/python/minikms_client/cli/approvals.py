"""`mkms approve` and `mkms approver`: sign uses of keys, and name who signs them."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from minikms_client import KeyNotFound
from minikms_client.cli import completion
from minikms_client.cli.approval_words import in_words
from minikms_client.cli.commands import Command, Group
from minikms_client.cli.context_file import Contexts
from minikms_client.cli.data import contents, from_json
from minikms_client.cli.display import shown_time, tell
from minikms_client.cli.exits import REFUSED, fail
from minikms_client.cli.session import Session, pass_session, plain
from minikms_client.cli.times import duration_option
from minikms_client.models import Approval
from minikms_client.wire import Jwk, whole_seconds

_TYP: Final = "approval+jwt"
_FILE: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e", "alg", "pub")


@click.command(
    cls=Command,
    examples="mkms approve\n"
    "mkms approve LW5qE2rUu0v7qj3mWmcO1g\n"
    "mkms approve LW5qE2rUu0v7qj3mWmcO1g --jwk-file ann.jwk",
)
@click.argument("named", metavar="[ID]", required=False)
@click.option("--jwk-file", type=_FILE, help="Sign with the private JWK in a file.")
@click.option("--key", help="Sign with a key of a Mini KMS: its kid or an alias.")
@click.option(
    "--key-context",
    shell_complete=completion.contexts,
    help="The context of the Mini KMS that has the key; by default, that of the approval.",
)
@click.option("--withdraw", is_flag=True, help="Let the use wait no longer.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@pass_session
def approve(
    session: Session,
    named: str | None,
    jwk_file: Path | None,
    key: str | None,
    key_context: str | None,
    withdraw: bool,
    yes: bool,
) -> None:
    """List the uses of keys that wait for approvals, or show, sign or withdraw the use ID.

    What is asked is read from the signed document and from the bytes themselves.
    """
    signs = jwk_file is not None or key is not None
    if (jwk_file is not None) + (key is not None) + withdraw > 1:
        raise click.UsageError("Give one of --jwk-file, --key and --withdraw.")
    if key_context is not None and key is None:
        raise click.UsageError("Name the key in this context: --key.")
    if named is None:
        if signs or withdraw:
            raise click.UsageError("Give the ID of the approval; `mkms approve` lists them.")
        _list(session)
        return
    found = session.client.get_approval(named)
    words = [*_words(session)(found), _circumstances(found)]
    if not (signs or withdraw):
        if session.is_json:
            session.show_json({**plain(found), "words": words})
        for line in () if session.is_json else words:
            session.show(None, line)
        return
    tell("\n".join(words))
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm("Withdraw it?" if withdraw else "Approve it?", abort=True)
    if withdraw:
        done = session.client.withdraw_approval(named)
        session.show(done, done.id)
        return
    if jwk_file is not None:
        jws = _signed_by_file(jwk_file, found.document)
    else:
        jws = _signed_by_key(session, str(key), key_context, found.document)
    done = session.client.approve(named, jws=jws)
    session.show(done, done.id, done.state, _count(done))


def _list(session: Session) -> None:
    words = _words(session)
    session.show_rows(
        session.client.list_approvals(),
        {
            "id": lambda one: one.id,
            "state": lambda one: one.state,
            "approved": _count,
            "expires": lambda one: shown_time(one.expires),
            "use": lambda one: " ".join(words(one)),
        },
    )


def _count(approval: Approval) -> str:
    return f"{len(approval.approved_by)} of {approval.threshold}"


def _circumstances(approval: Approval) -> str:
    who = json.loads(approval.document)["who"] or "anybody"
    names = ", ".join(approval.approved_by) or "nobody"
    return (
        f"asked by {who}; {_count(approval)} approvals: {names};"
        f" expires {shown_time(approval.expires)}"
    )


def _words(session: Session) -> Callable[[Approval], list[str]]:
    """Return a function that says what an approval allows, and names its key by an alias."""
    names: dict[str, str] = {}

    def name_of(kid: str) -> str:
        if kid not in names:
            try:
                aliases = session.client.get_key(kid).aliases
            except KeyNotFound:
                aliases = ()
            names[kid] = f"{aliases[0]} ({kid})" if aliases else kid
        return names[kid]

    def words(approval: Approval) -> list[str]:
        try:
            return in_words(approval, name_of(approval.kid))
        except (ValueError, KeyError, TypeError) as error:
            fail(f"Do not approve {approval.id}: it cannot be read. {error}", REFUSED)

    return words


def _signed_by_file(file: Path, document: bytes) -> str:
    """Sign a document with the private JWK in a file."""
    try:
        from joserfc import jws
        from joserfc.errors import JoseError
        from joserfc.jwk import import_key
    except ImportError:
        needed = "--jwk-file needs: pip install 'minikms-client[cli,jose]'."
        raise click.UsageError(needed) from None
    jwk = from_json(contents(file), str(file))
    try:
        key = import_key(jwk)
        alg = jwk.get("alg") or _DEFAULTS[jwk.get("crv", jwk["kty"])]
        signed: str = jws.serialize_compact({"alg": alg, "typ": _TYP}, document, key, [alg])
        return signed
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        # Their messages may contain members of the key.
        raise click.UsageError(f"{file} has no private JWK that signs.") from None


# The algorithm of a JWK without `alg`, by its curve or type.
_DEFAULTS: Final = {
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "secp256k1": "ES256K",
    "Ed25519": "Ed25519",
    "Ed448": "Ed448",
    "RSA": "PS256",
}


def _signed_by_key(session: Session, key: str, context: str | None, document: bytes) -> str:
    """Sign a document with a key of this Mini KMS, or of the one in a context."""
    if context is None:
        client = session.client
    else:
        client = click.get_current_context().with_resource(
            session.connect(Contexts.read().named(context))
        )
    header = {"typ": _TYP}

    def sign(kid: str | None = None, alias: str | None = None) -> str:
        return client.sign_jws(document, kid=kid, alias=alias, header=header, kid_header="none")

    return session.by_name(key, sign)


@click.group(cls=Group)
def approver() -> None:
    """Name the people who approve uses of a key."""


def _approvers(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[Any]:
    """Parse NAME=FILE, where the file has a JWK, or an approver with a passkey."""
    found = []
    for one in given:
        name, equals, file = one.partition("=")
        if not (name and equals and file):
            raise click.BadParameter("Give NAME=FILE, such as ann=ann.jwk.")
        members = from_json(contents(Path(file)), file)
        if not isinstance(members, dict):
            raise click.BadParameter(f"{file} is not an object.")
        passkey = {"passkey": members["passkey"]} if "passkey" in members else {}
        jwk = _public(members.get("jwk", members))
        found.append({"name": name, "jwk": jwk, **passkey})
    return found


def _public(jwk: Jwk) -> dict[str, Any]:
    """Leave out the private members of a JWK: they never leave the file."""
    return {name: jwk[name] for name in _PUBLIC if name in jwk}


@approver.command(
    "add",
    examples="mkms approver add signer ann=ann.jwk\n"
    "mkms approver add provider ann=ann.jwk bob=bob.jwk --threshold 2",
)
@click.argument("key", shell_complete=completion.keys)
@click.argument("approvers", metavar="NAME=FILE...", nargs=-1, required=True, callback=_approvers)
@click.option("--threshold", type=int, help="The number of people who must approve.")
@duration_option("--expires-in", "The time to approve a use, such as 10m.")
@duration_option("--wait", "The time that a call waits for its approval, such as 60s.")
@click.option("--delete", is_flag=True, help="Deleting the key needs approvals, too.")
@pass_session
def add_approver(
    session: Session,
    key: str,
    approvers: list[Any],
    threshold: int | None,
    expires_in: timedelta | None,
    wait: timedelta | None,
    delete: bool,
) -> None:
    """Let each NAME approve uses of KEY, with the JWK in FILE, which may be public or private.

    For a passkey, FILE is what the console shows when it is registered. If the key has approvers,
    they must approve this change.
    """
    found = session.key(key)
    rules = dict(found.rules or {})
    rule = dict(rules.get("approval") or {})
    rule["approvers"] = [*rule.get("approvers", ()), *approvers]
    if threshold is not None:
        rule["threshold"] = threshold
    for name, duration in {"expires_in": expires_in, "wait": wait}.items():
        if duration is not None:
            rule[name] = whole_seconds(duration)
    if delete:
        rule["delete"] = True
    changed = session.client.update_key(found.kid, rules={**rules, "approval": rule})
    session.show_key(changed)
