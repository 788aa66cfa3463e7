"""An ACA-Py plugin that keeps the keys of an agent, and of its subwallets, in Mini KMS."""

from acapy_agent.config.injection_context import InjectionContext
from acapy_agent.vc.vc_ld.external_suite import ExternalSuiteProvider
from acapy_agent.wallet.default_verification_key_strategy import BaseVerificationKeyStrategy

from acapy_minikms.clients import Clients
from acapy_minikms.replacement import check_version, replace_wallets
from acapy_minikms.settings import PluginOptions
from acapy_minikms.suites import MinikmsSuiteProvider
from acapy_minikms.verification_keys import MinikmsVerificationKeyStrategy


async def setup(context: InjectionContext) -> None:
    """Put Mini KMS into the place of the agent's own keys; raises where that cannot be done."""
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
