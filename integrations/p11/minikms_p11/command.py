"""The command `minikms-p11`."""

import argparse
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path

import uvloop

from minikms_p11.check import check_tokens
from minikms_p11.login import Pins, read_token
from minikms_p11.server import Server, hold_signals
from minikms_p11.sidecar import Settings
from minikms_p11.slots import Slot


def main() -> None:
    """Serve programs; exit with 2 if options or files are wrong, 1 if it cannot begin or check."""
    hold_signals()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    parser = _parser()
    arguments = parser.parse_args()
    settings = _settings(parser, arguments)
    if arguments.check == "files":
        return
    try:
        uvloop.run(check_tokens(settings) if arguments.check else Server(settings).run())
    except (OSError, ValueError) as error:
        sys.exit(f"minikms-p11: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minikms-p11",
        description="Lets programs that speak PKCS#11 use keys of Mini KMS, by p11-kit.",
    )
    parser.add_argument("--url", required=True, help="the URL of the service")
    parser.add_argument(
        "--socket",
        metavar="PATH",
        help="serve programs on this Unix socket; by default one program on standard input",
    )
    parser.add_argument(
        "--slot",
        action="append",
        type=_slot,
        metavar="LABEL[=PROFILE][,alg=NAME+NAME][,label=NAME:VALUE]",
        help="a slot, with the keys that it shows; by default `minikms`, of the profile `default`",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the token of programs that do not log in"
    )
    parser.add_argument(
        "--pins", type=Path, metavar="FILE", help="lines of a PIN and the path of its token"
    )
    parser.add_argument(
        "--uid",
        action="append",
        type=int,
        help="a user of the machine who may connect; by default the sidecar's own",
    )
    parser.add_argument(
        "--allow-delete", action="store_true", help="let programs delete keys: C_DestroyObject"
    )
    parser.add_argument(
        "--cache",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how long a key may be used as it was read (2)",
    )
    parser.add_argument(
        "--check",
        nargs="?",
        choices=("tokens", "files"),
        const="tokens",
        help="only check the options, their files and tokens; with `files`, do not try the tokens",
    )
    parser.add_argument("--version", action="version", version=version("minikms-p11"))
    return parser


def _slot(text: str) -> Slot:
    try:
        return Slot.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _settings(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Settings:
    slots: tuple[Slot, ...] = tuple(arguments.slot or [Slot("minikms")])
    if not arguments.url.startswith(("http://", "https://")):
        parser.error("--url is not an http or https URL")
    if len({slot.label for slot in slots}) < len(slots):
        parser.error("two slots have the same label")
    if arguments.cache < 0:
        parser.error("--cache is negative")
    try:
        Pins(arguments.pins)
        if arguments.token_file is not None:
            read_token(arguments.token_file)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return Settings(
        url=arguments.url,
        socket=None if arguments.socket is None else os.path.abspath(arguments.socket),
        slots=slots,
        token_file=arguments.token_file,
        pins=arguments.pins,
        uids=frozenset(arguments.uid or [os.getuid()]),
        allow_delete=arguments.allow_delete,
        cache=arguments.cache,
    )
