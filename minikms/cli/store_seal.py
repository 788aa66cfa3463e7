"""`minikms store seal`, `seals`, `unseal` and `reseal`, of the file of a store key."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from minikms.basics.secret_files import replace_secret, require_new, write_secret
from minikms.cli.help import HelpCommand
from minikms.cli.options import config_of, options_of_config
from minikms.seals.envelope import Envelope
from minikms.seals.key_file import read_envelope, read_key
from minikms.seals.opening import faults
from minikms.seals.opening import seal as seal_key
from minikms.seals.opening import unseal as unseal_key
from minikms.startup_errors import StoreError

_KEY_FILE = "--store-key-file store.key"
_URI = "'vault-transit:https://vault.example/v1/transit/keys/kms?token-file=vault.token'"


@click.command(cls=HelpCommand, examples=(f"minikms store seal {_KEY_FILE} --by {_URI}",))
@click.option(
    "--by",
    "uris",
    metavar="URI",
    multiple=True,
    required=True,
    help="URI of a seal, such as vault-transit:URL, awskms:KEYID, pkcs11:TOKEN; repeatable.",
)
@options_of_config("store_key_file")
def seal(uris: Sequence[str], **options: Any) -> None:
    """Encrypt a store key in its file by seals; each of them then opens it.

    Existing seals of the file are replaced. If all seals are lost, the store is lost: use two, or
    keep the output of `minikms store unseal` in a safe.
    """
    file = _file_of(options)
    _replace(file, read_key(file, "", "raw").secret, uris)
    if len(uris) == 1:
        click.echo(
            "If this seal is lost, so is the store: add another, or keep a plain key in a safe."
        )


@click.command(cls=HelpCommand, examples=(f"minikms store unseal {_KEY_FILE} --to plain.key",))
@click.option("--to", "target", metavar="FILE", required=True, help="New file for the plain key.")
@options_of_config("store_key_file")
def unseal(target: str, **options: Any) -> None:
    """Write a sealed store key in plain text to a new file. The sealed file is kept."""
    file = _file_of(options)
    envelope = _require_sealed(file)
    require_new(target, "key", StoreError)
    write_secret(target, unseal_key(envelope, file, 0).secret, "key", StoreError)
    click.echo(f"The plain key is in {target}: whoever reads it can open the store.")


@click.command(cls=HelpCommand, examples=(f"minikms store reseal {_KEY_FILE}",))
@options_of_config("store_key_file")
def reseal(**options: Any) -> None:
    """Encrypt a sealed store key again by the same seals, for example after a key rotation."""
    file = _file_of(options)
    envelope = _require_sealed(file)
    _replace(file, unseal_key(envelope, file, 0).secret, [key.uri for key in envelope.keys])


@click.command(cls=HelpCommand, examples=(f"minikms store seals {_KEY_FILE}",))
@options_of_config("store_key_file")
def seals(**options: Any) -> None:
    """Open a sealed store key by each of its seals, and list the results."""
    file = _file_of(options)
    causes = faults(_require_sealed(file))
    for sealed, cause in causes.items():
        click.echo(f"{sealed.shown}: {cause or 'opens the store key'}")
    if any(causes.values()):
        sys.exit(1)


def _file_of(options: dict[str, Any]) -> str:
    file = config_of(options).store_key_file
    if not file:
        raise StoreError("The file of the store key is missing: --store-key-file.")
    return file


def _require_sealed(file: str) -> Envelope:
    """Return the envelope in a key file; raises StoreError if its key is plain."""
    envelope = read_envelope(file)
    if envelope is None:
        raise StoreError(f"The key file {file} is not sealed.")
    return envelope


def _replace(file: str, secret: str, uris: Sequence[str]) -> None:
    """Replace the store key in a file by the same key, sealed anew; raises StoreError."""
    envelope = seal_key(secret, uris)
    replace_secret(file, envelope.dump(), "key", StoreError)
    click.echo(f"The key in {file} is sealed by: {', '.join(key.shown for key in envelope.keys)}.")
