"""The command line: `minikms serve`, `minikms algorithms`; `minikms store` is beside it."""

import asyncio
import logging
import signal
import warnings
from typing import Any

import click
import uvloop
from aiohttp import web

from minikms.config import Config
from minikms.errors import PluginError, StoreError
from minikms.location import StoreLocation
from minikms.options import config_of, fail, options_of_config
from minikms.registry import AlgorithmRegistry
from minikms.store_cli import store
from minikms.web import logs
from minikms.web.app import create_app
from minikms.web.server import KmsRunner

LOGGER = logging.getLogger("minikms")

# How long calls that are under way get after SIGTERM, in seconds.
_SHUTDOWN_TIMEOUT = 30.0


@click.group()
@click.version_option(package_name="minikms")
def main() -> None:
    """Mini KMS: makes keys, keeps them, and uses them, so that you never hold them."""


main.add_command(store)


@main.command()
@options_of_config()
def serve(**options: Any) -> None:
    """Run the service."""
    config = config_of(options)
    logs.configure(config.log_format, config.log_level)
    # aiohttp-swagger3 keeps its own things in each request under a plain string.
    warnings.simplefilter("ignore", web.NotAppKeyWarning)
    try:
        app = create_app(config)
    except PluginError as exc:
        fail(str(exc), 2)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, config))
    except StoreError as exc:
        fail(str(exc), 2)
    except OSError as exc:
        fail(f"Cannot listen on {config.host}:{config.port}: {exc.strerror}.", 1)


@main.command()
def algorithms() -> None:
    """List the algorithms and what each can do."""
    try:
        registry = AlgorithmRegistry.from_installed()
    except PluginError as exc:
        fail(str(exc), 2)
    rows = [("NAME", "KTY", "JOSE", "OPERATIONS", "SOURCE")]
    for entry in registry:
        alg = entry.algorithm
        jose, operations = " ".join(entry.jose_algs), " ".join(alg.operations)
        rows.append((alg.name, alg.kty, jose, operations, entry.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


async def _serve(app: web.Application, config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = KmsRunner(app, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        host, port = runner.addresses[0][:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        LOGGER.info("listening on %s, documentation on %s/docs", url, url)
        location = StoreLocation.parse(config.store)
        if location.shared:
            LOGGER.info("keys are kept in %s", location)
        else:
            LOGGER.info("keys live in memory only: they are gone when this process ends")
        await stop.wait()
        LOGGER.info("stopping: finishing what is under way")
    finally:
        await runner.cleanup()
