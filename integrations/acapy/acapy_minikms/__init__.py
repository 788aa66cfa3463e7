"""An ACA-Py plugin that keeps the keys of an agent, and of its subwallets, in Mini KMS."""

import asyncio
import logging
import sys
from typing import Any

from acapy_agent.config.error import ArgsParseError
from acapy_agent.config.injection_context import InjectionContext
from acapy_agent.core.error import StartupError
from acapy_agent.vc.vc_ld.external_suite import ExternalSuiteProvider
from acapy_agent.wallet.default_verification_key_strategy import BaseVerificationKeyStrategy

from acapy_minikms.clients import Clients
from acapy_minikms.replacement import check_version, replace_wallets
from acapy_minikms.settings import PluginOptions
from acapy_minikms.suites import MinikmsSuiteProvider
from acapy_minikms.verification_keys import MinikmsVerificationKeyStrategy
from minikms_client import MinikmsError

LOGGER = logging.getLogger(__name__)


async def setup(context: InjectionContext) -> None:
    """Replace the agent's own keys by Mini KMS, or stop the agent with one sentence.

    ACA-Py itself would log a traceback of a hundred lines.
    """
    try:
        await _set_up(context)
    except (ArgsParseError, StartupError, MinikmsError) as error:
        LOGGER.error("The agent cannot have its keys in Mini KMS: %s", error)
        asyncio.get_running_loop().set_exception_handler(_report)
        sys.exit(1)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report failed tasks, except for the exit, which nest_asyncio leaves in its task."""
    if not isinstance(context.get("exception"), SystemExit):
        loop.default_exception_handler(context)


async def _set_up(context: InjectionContext) -> None:
    check_version()
    options = PluginOptions.of(context.settings)
    clients = Clients(options)
    await clients.check()
    context.injector.bind_instance(Clients, clients)
    context.injector.bind_instance(ExternalSuiteProvider, MinikmsSuiteProvider(clients))
    context.injector.bind_instance(
        BaseVerificationKeyStrategy, MinikmsVerificationKeyStrategy(clients)
    )
    replace_wallets()
